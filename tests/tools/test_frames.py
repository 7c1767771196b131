"""Files of frames, read back."""

import re
import subprocess
import sys

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from stylegan_jax.tools import frames as frames_file
from stylegan_jax.tools.frames import check_frames_output, choose_zoom, write_frames


def read_mp4(path):
    """All frames, uint8 [n, h, w, 3], and their rate."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(path), "-f", "rawvideo"]
    done = subprocess.run([*command, "-pix_fmt", "rgb24", "-"], capture_output=True, check=True)
    said = re.search(r"Video: h264.*yuv420p.*?, (\d+)x(\d+).*?, ([\d.]+) fps", done.stderr.decode())
    width, height, fps = said.groups()
    pixels = np.frombuffer(done.stdout, np.uint8)
    return pixels.reshape(-1, int(height), int(width), 3), float(fps)


def ramps(n, height, width, channels):
    """Frames of smooth colours, each brighter than the one before."""
    x = np.linspace(0, 100, width)[None, :, None]
    y = np.linspace(0, 50, height)[:, None, None]
    levels = [x + y + 10 * i + 20 * np.arange(channels) for i in range(n)]
    return np.stack(levels).astype(np.uint8)


@pytest.mark.parametrize(("size", "channels"), [((33, 47), 3), ((32, 48), 1)])
def test_mp4(tmp_path, size, channels):
    frames = ramps(5, *size, channels)
    made = write_frames(tmp_path / "new" / "x.mp4", iter(frames), fps=25)
    assert made == (5, size)
    got, fps = read_mp4(tmp_path / "new" / "x.mp4")
    # Odd sides get one more row and column.
    assert fps == 25 and got.shape == (5, size[0] + size[0] % 2, size[1] + size[1] % 2, 3)
    # YUV in 8 bits, quantised: smooth colours come back within a few levels.
    difference = got[:, : size[0], : size[1]].astype(int) - frames
    assert np.abs(difference).mean() < 2


@pytest.mark.parametrize(("suffix", "ms"), [(".webp", 125), (".gif", 130)])
def test_animations(tmp_path, suffix, ms):
    frames = ramps(3, 15, 24, 3)
    assert write_frames(tmp_path / f"x{suffix}", frames, fps=8) == (3, (15, 24))
    with Image.open(tmp_path / f"x{suffix}") as picture:
        assert picture.n_frames == 3 and picture.size == (24, 15)
        for number, frame in enumerate(frames):
            picture.seek(number)
            got = np.asarray(picture.convert("RGB")).astype(int)
            # WebP is without loss, GIF has 256 colours.
            assert np.abs(got - frame).max() <= (0 if suffix == ".webp" else 24)
            assert abs(picture.info["duration"] - ms) <= 10


def test_a_folder(tmp_path):
    frames = ramps(2, 8, 6, 1)
    write_frames(tmp_path / "f", frames, fps=1)
    assert sorted(p.name for p in (tmp_path / "f").iterdir()) == [
        "frame000000.png",
        "frame000001.png",
    ]
    with Image.open(tmp_path / "f" / "frame000001.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), frames[1, ..., 0])


def test_a_broken_encoder_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr(frames_file, "_CRF", "good")
    with pytest.raises(OSError, match="(?s)ffmpeg: .*crf"):
        write_frames(tmp_path / "x.mp4", ramps(2, 16, 16, 3), fps=8)
    assert not list(tmp_path.iterdir())


def test_outputs(tmp_path, monkeypatch):
    assert check_frames_output(f"{tmp_path}/X.MP4") == tmp_path / "X.MP4"
    assert check_frames_output(f"{tmp_path}/folder") == tmp_path / "folder"
    with pytest.raises(ValueError, match="x.avi: give a file that ends in .mp4, .webp, .gif, or"):
        check_frames_output(f"{tmp_path}/x.avi")
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)  # not installed
    with pytest.raises(
        ValueError, match=r"x.mp4 needs imageio-ffmpeg.*pip install -e '.\[video\]'"
    ):
        check_frames_output(f"{tmp_path}/x.mp4")
    check_frames_output(f"{tmp_path}/x.webp")


def test_small_pictures_are_enlarged():
    assert [choose_zoom(*size) for size in ((48, 32), (256, 300), (255, 300), (1024, 1024))] == [
        8,
        1,
        2,
        1,
    ]
