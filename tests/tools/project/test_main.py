"""What the command writes."""

import sys

import numpy as np
import pytest
from PIL import Image

from stylegan_jax.convert.pretrained import loading
from stylegan_jax.convert.pretrained.files import WeightsFile
from stylegan_jax.inference.saved import read_styles
from stylegan_jax.tools.project import optimise
from tests.commands import run_module
from tests.tools.test_frames import read_mp4


def test_the_command_line(workdir, generator, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(optimise, "_NUM_SAMPLES", 64)
    monkeypatch.setenv("STYLEGAN_JAX_WEIGHTS", str(tmp_path))
    target = generator.sample([3])[0]
    Image.fromarray(target).save(tmp_path / "target.png")
    out = tmp_path / "out"
    words = ["stylegan_jax.tools.project", f"--checkpoint={workdir}", f"--out={out}"]
    words += [f"--target={tmp_path}/target.png", "--num_steps=50", "--space=w+"]
    run_module(monkeypatch, [*words, "--video", "--nooptimise_noise"])
    shown = capsys.readouterr().out
    assert "after 50 steps" in shown and f"The weights of 'lpips' are not in {tmp_path}" in shown

    # The target, and beside it what the styles draw.
    saved = read_styles([out / "projected_w.npz"], generator)
    assert saved.ws.shape == (1, 6, 16) and not saved.notes
    noise = generator.stored_noise()["b16"]["conv1"]
    np.testing.assert_array_equal(saved.noise["b16"]["conv1"], noise)
    with Image.open(out / "projection.png") as picture:
        shown = np.asarray(picture)[::16, ::16].astype(int)
    assert shown.shape == (16, 32, 3)
    np.testing.assert_array_equal(shown[:, :16], target)
    # Drawn again from the file: the same pixels.
    sample = ["stylegan_jax.tools.sample", f"--checkpoint={workdir}"]
    sample += [f"--ws={out}/projected_w.npz", f"--out={tmp_path}/again.png"]
    run_module(monkeypatch, sample)
    with Image.open(tmp_path / "again.png") as picture:
        np.testing.assert_array_equal(shown[:, 16:], np.asarray(picture))

    # The beginning and two parts of 25 steps; the last is nearest.
    frames, fps = read_mp4(out / "progress.mp4")
    assert frames.shape == (3, 256, 512, 3) and fps == 10
    errors = np.abs(frames[:, :, :256].astype(int) - frames[:, :, 256:]).mean(axis=(1, 2, 3))
    assert errors[2] < errors[0] / 2


def test_what_is_refused_before_a_network_is_loaded(tmp_path, monkeypatch):
    words = ["stylegan_jax.tools.project", "--checkpoint=x", "--target=x", f"--out={tmp_path}"]
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)  # not installed
    with pytest.raises(ValueError, match="--video needs imageio-ffmpeg"):
        run_module(monkeypatch, [*words, "--video"], load=None)
    files = (WeightsFile("vgg16.pt", (tmp_path / "gone").as_uri(), "00", 1, "MIT"),)
    monkeypatch.setitem(loading.WEIGHTS, "lpips", (files,))
    monkeypatch.setenv("STYLEGAN_JAX_WEIGHTS", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="gone cannot be loaded"):
        run_module(monkeypatch, [*words, "--distance=lpips"], load=None)
