"""The command on a set of the network's own images."""

import numpy as np
import pytest

from stylegan_jax.tools.spectra.__main__ import compare, drop_alpha, read_reals
from tests.commands import run_module
from tests.data.foreign import write_folder


def test_the_command_line(workdir, generator, tmp_path, monkeypatch, capsys):
    """Reals that are the fakes have the same spectrum."""
    images = generator.sample(range(5, 11))
    write_folder(tmp_path / "own", images, [f"{i}.png" for i in range(6)])
    words = ["stylegan_jax.tools.spectra", f"--checkpoint={workdir}", f"--out={tmp_path}/s.png"]
    words += [f"--data={tmp_path}/own", "--noise_mode=const", "--seed=5", "--num_images=6"]
    run_module(monkeypatch, words)
    assert "6 reals, 6 fakes; above 0.25 cycles per pixel fakes have" in capsys.readouterr().out
    with np.load(tmp_path / "s.npz") as arrays:
        assert arrays["reals"].shape == (64, 64)
        # Images of another batch size round differently, by up to one level of 255.
        np.testing.assert_allclose(arrays["fakes"], arrays["reals"], rtol=0.02, atol=1e-3)
        assert arrays["fakes_radial"].shape == arrays["frequency"].shape == (32,)
        np.testing.assert_allclose(arrays["mean"], images.mean(), rtol=1e-9)
        np.testing.assert_allclose(arrays["std"], images.std(), rtol=1e-9)


def test_fakes_are_those_of_the_options(generator):
    reals = generator.sample(range(3))
    one, _, _ = compare(generator, reals, num_images=3, truncation_psi=0.0, noise_mode="const")
    other, _, _ = compare(generator, reals, num_images=3, truncation_psi=1.0, noise_mode="const")
    np.testing.assert_array_equal(one["reals"], other["reals"])
    assert np.any(one["fakes"] != other["fakes"])
    with pytest.raises(ValueError, match="num_images=0"):
        compare(generator, reals, num_images=0)
    with pytest.raises(ValueError, match="seeds: 4294967296 is no seed"):
        compare(generator, reals, num_images=2, seed=2**32 - 1)


def test_alpha_is_no_brightness(rng):
    for channels in (1, 2, 3, 4, 5):
        images = rng.integers(0, 256, (4, 16, 16, channels), dtype=np.uint8)
        colours = channels - 1 if channels in (2, 4) else channels
        np.testing.assert_array_equal(drop_alpha(images), images[..., :colours])
        (read,) = read_reals(images, np.arange(4), "reading")
        np.testing.assert_array_equal(read, images[..., :colours])
