"""LPIPS of a narrow trunk as a projection's distance."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath
from flax import nnx

from stylegan_jax.convert.pretrained import Pretrained, loading
from stylegan_jax.convert.pretrained.files import WeightsFile
from stylegan_jax.convert.pretrained.loading import FoundFile
from stylegan_jax.models.pretrained.lpips import LPIPS, lpips_distance
from stylegan_jax.ops.pyramid import average_pixels
from stylegan_jax.tools.project.distance import pyramid_distance
from stylegan_jax.tools.project.lpips import choose_distance, load_lpips, lpips_to
from tests.models.pretrained import narrow


@pytest.fixture
def weights(rng, tmp_path):
    graphdef, params = narrow.draw(LPIPS, rng, channels=narrow.VGG16)
    params |= {f"lin{k}": np.abs(params[f"lin{k}"]) for k in range(5)}
    return Pretrained(
        "lpips", graphdef, params, (FoundFile(epath.Path(tmp_path / "vgg16.pt"), "0"),)
    )


def test_images_of_256_px_at_most_are_compared(rng, weights):
    target = rng.integers(0, 256, (64, 512, 3), dtype=np.uint8)
    img = jnp.asarray(rng.uniform(-1, 1, (1, 64, 512, 3)), jnp.float32)
    distance = lpips_to(target, weights.graphdef, weights.params)

    @jax.jit
    def run(distance, params, img, target):
        small = [average_pixels(x, 2) for x in ((img + 1) * 127.5, target)]
        module = nnx.merge(weights.graphdef, params)
        return distance(img, None), lpips_distance(module, *small)

    got, want = run(distance, weights.params, img, jnp.float32(target)[None])
    np.testing.assert_allclose(got, want, rtol=1e-4)
    # Weights are what programs are given, no part of them.
    assert len(jax.tree.leaves(distance)) == 31 + 5
    chosen = choose_distance("auto", weights, target)
    assert jax.tree.structure(chosen).num_leaves == 36


def test_where_auto_takes_the_pyramid(weights, monkeypatch, tmp_path, capsys):
    files = (WeightsFile("vgg16.pt", (tmp_path / "gone").as_uri(), "00", 1, "MIT"),)
    monkeypatch.setitem(loading.WEIGHTS, "lpips", (files,))
    folder = tmp_path / "kept"
    assert load_lpips("auto", folder) is None
    shown = capsys.readouterr().out
    assert "that of Laplacian pyramids" in shown and f"not in {folder}. Put there vgg16.pt" in shown
    assert load_lpips("pyramid", folder) is None and not capsys.readouterr().out
    with pytest.raises(FileNotFoundError, match="gone cannot be loaded.*Put there vgg16.pt"):
        load_lpips("lpips", folder)
    # A file that is there is read, and refused if it is another.
    folder.mkdir()
    (folder / "vgg16.pt").write_bytes(b"another")
    with pytest.raises(ValueError, match="it is another file"):
        load_lpips("auto", folder)

    # Images that LPIPS cannot see.
    grey = np.zeros((16, 16, 1), np.uint8)
    assert choose_distance("pyramid", None, grey) is pyramid_distance
    for target in (np.zeros((16, 16, 4), np.uint8), np.zeros((2048, 64, 3), np.uint8)):
        assert choose_distance("auto", weights, target) is pyramid_distance
        assert "LPIPS sees grey or RGB of 16 px or more" in capsys.readouterr().out
        with pytest.raises(ValueError, match="LPIPS sees grey or RGB"):
            choose_distance("lpips", weights, target)
