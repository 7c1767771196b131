import hashlib

import jax
import numpy as np
import pytest

from stylegan_jax.convert.pretrained import load_pretrained, loading
from stylegan_jax.convert.pretrained.files import WeightsFile
from stylegan_jax.convert.pretrained.lpips import params_from_official
from stylegan_jax.convert.readers.records import CheckpointFileError
from tests.convert.pretrained import vgg16_files
from tests.convert.pretrained.test_loading import tensors
from tests.convert.writing import make_script, write_script, write_stream, write_zip
from tests.models.pretrained import narrow


def test_heads_and_trunk_in_one_file_or_two(rng, tmp_path, monkeypatch):
    arrays = vgg16_files.torchvision_arrays(rng)
    nvidia = {n: np.float32(a) for n, a in vgg16_files.nvidia_arrays(arrays).items()}
    contents = {
        "vgg.pth": write_stream(tensors(vgg16_files.head_arrays())),
        "trunk": write_zip(tensors(arrays)),
        "vgg16.pt": write_script(make_script(nvidia)),
    }
    files = {}
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        files[name] = WeightsFile(name, "https://here", digest, 1, "MIT")
    choices = (files["vgg16.pt"],), (files["vgg.pth"], files["trunk"])
    monkeypatch.setitem(loading.WEIGHTS, "lpips", choices)

    one = load_pretrained("lpips", tmp_path, channels=narrow.VGG16)
    assert one.path.name == "vgg16.pt"
    (tmp_path / "vgg16.pt").unlink()
    two = load_pretrained("lpips", tmp_path, channels=narrow.VGG16)
    assert [file.path.name for file in two.files] == ["vgg.pth", "trunk"]
    assert jax.tree.all(jax.tree.map(np.array_equal, one.params, two.params))
    np.testing.assert_array_equal(two.params["lin4"], [5, 5, 5])


def test_weights_below_zero():
    heads = vgg16_files.head_arrays()
    with pytest.raises(CheckpointFileError, match="lin2 has weights below 0"):
        params_from_official(heads | {"lin2.model.1.weight": -np.ones((1, 3, 1, 1))})
