"""Videos: which frames show what."""

import numpy as np
import pytest
from absl.app import UsageError
from PIL import Image

from stylegan_jax.inference.saved import write_styles
from stylegan_jax.run.images import make_grid
from stylegan_jax.tools.video import count_frames, draw_frames, interpolate, parse_grid
from tests.commands import run_module
from tests.tools.test_frames import read_mp4


def test_keyframes_are_the_seeds(generator):
    """Cell (y, x), key k: seed number (y * cols + x) * keys + k."""
    seeds = [5, 3, 8, 1]
    want = generator.styles(seeds, truncation_psi=0.7)
    styles = interpolate(generator, want, grid=(1, 2), w_frames=3)
    # float32 with the mean taken away and added again.
    for frame, cells in ((0, [0, 2]), (3, [1, 3]), (6, [0, 2])):
        np.testing.assert_allclose(styles(np.array([frame % 6])), want[cells], rtol=0, atol=1e-6)
    assert styles(np.arange(4)).shape == (8, 6, 16)
    # Fewer seeds than keyframes: they come again.
    plain = generator.styles([5, 3])
    again = interpolate(generator, plain, grid=(2, 1), num_keyframes=3, w_frames=1)
    np.testing.assert_allclose(again(np.array([0])), plain[[0, 1]], rtol=0, atol=1e-6)


def test_kinds_of_interpolation(generator, monkeypatch):
    w_avg = generator.styles([0], truncation_psi=0.0)[0, 0]
    ws = generator.styles([0, 1])
    line = interpolate(generator, ws, w_frames=2, interpolation="linear", loop=False)
    np.testing.assert_allclose(line(np.array([1]))[0], ws.mean(axis=0), rtol=0, atol=1e-6)
    turn = interpolate(generator, ws, w_frames=2, interpolation="slerp", loop=False)
    lengths = np.linalg.norm(ws[:, 0] - w_avg, axis=-1)
    half = np.linalg.norm(turn(np.array([1]))[0, 0] - w_avg)
    np.testing.assert_allclose(half, lengths.mean(), rtol=1e-5)
    # Latents of one length keep it.
    monkeypatch.setattr(generator, "has_styles", False)
    plain = interpolate(generator, ws, w_frames=2, loop=False)
    half = np.linalg.norm(plain(np.array([1]))[0, 0])
    np.testing.assert_allclose(half, np.linalg.norm(ws[:, 0], axis=-1).mean(), rtol=1e-5)


def test_frames_are_the_images(generator):
    ws = generator.styles(range(4))
    styles = interpolate(generator, ws, grid=(2, 1), w_frames=9, loop=False)
    frames = list(draw_frames(generator, styles, 10, cols=1, cells=2))
    assert len(frames) == count_frames(2, 9, loop=False) == 10
    assert count_frames(2, 9, loop=True) == 18
    for frame, seeds in ((frames[0], [0, 2]), (frames[-1], [1, 3])):
        assert frame.shape == (512, 256, 3)
        grid = make_grid(generator.sample(seeds), 1)
        # Programs of other batch sizes round differently: up to one level of 255.
        np.testing.assert_allclose(frame[::16, ::16].astype(int), grid.astype(int), atol=1)


def test_the_command_line(workdir, generator, tmp_path, monkeypatch, capsys):
    out = tmp_path / "x.mp4"
    words = ["stylegan_jax.tools.video", f"--checkpoint={workdir}", f"--out={out}", "--seeds=4-6"]
    run_module(monkeypatch, [*words, "--w_frames=2", "--fps=30", "--noise_mode=none"])
    assert "6 frames of 256x256 pixels, 0.2 s" in capsys.readouterr().out
    got, fps = read_mp4(out)
    assert got.shape == (6, 256, 256, 3) and fps == 30
    want = generator.sample([4, 5, 6], noise_mode="none")
    # Of the middles of enlarged pixels; colours are halved, and levels quantised.
    for frame, image in zip(got[::2], want):
        difference = frame[8::16, 8::16].astype(int) - image
        assert np.abs(difference).mean() < 4

    # The same keyframes from two files, in their order.
    write_styles(tmp_path / "a.npz", generator, generator.styles([4, 5]))
    write_styles(tmp_path / "b.npz", generator, generator.styles([6]))
    saved = [*words[:2], f"--ws={tmp_path}/a.npz", f"--ws={tmp_path}/b.npz", "--w_frames=2"]
    run_module(monkeypatch, [*saved, f"--out={tmp_path}/frames", "--noise_mode=none"])
    for i, path in enumerate(sorted((tmp_path / "frames").iterdir())[::2]):
        with Image.open(path) as frame:
            np.testing.assert_allclose(np.asarray(frame)[::16, ::16], want[i].astype(int), atol=1)
    with pytest.raises(UsageError, match="in place of --seeds: leave it out"):
        run_module(monkeypatch, [*words, *saved[2:]], load=None)

    # Refused before a network is loaded.
    for option, message in (
        ("--grid=2x", "grid='2x': give rows x columns"),
        ("--grid=2x2", "3 keyframes for a grid of 2x2: give a multiple of 4"),
        ("--seeds=x", "seeds='x'"),
    ):
        with pytest.raises(ValueError, match=message):
            run_module(monkeypatch, [*words, option], load=None)
    with pytest.raises(ValueError, match="num_keyframes=-1"):
        run_module(monkeypatch, [*words, "--num_keyframes=-1"])
    with pytest.raises(ValueError, match="one frame holds 16384 images of 16 px"):
        run_module(monkeypatch, [*words, "--grid=200x200", "--num_keyframes=1"])
    assert parse_grid("12x3") == (12, 3)
