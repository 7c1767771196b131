"""Moving pictures of frames that are drawn one after another: MP4, WebP, GIF, or a folder of PNGs.

Frames go to MP4s and folders as they come; of WebP and GIF all are held in memory until the end.
"""

import contextlib
import importlib.util
import itertools
import pathlib
import subprocess
import tempfile
from collections.abc import Iterable, Iterator

import numpy as np
from etils import epath
from PIL import Image

from stylegan_jax.files import replacing
from stylegan_jax.run.images import save_png
from stylegan_jax.tools.command import check_output

_PILLOW = {".webp": "WEBP", ".gif": "GIF"}
SUFFIXES = (".mp4", *_PILLOW)
# Smaller pictures are enlarged: halved colours would blur them, and players show them as stamps.
_MIN_SIDE_PX = 256
# H.264's constant rate factor: 0 loses nothing, 23 is usual; at 15 no block shows.
_CRF = 15


def check_frames_output(text: str, flag: str = "out") -> epath.Path:
    """Looks whether frames can be written there: a file that ends in `SUFFIXES`, or a folder.

    Raises:
        ValueError: Another suffix, or an MP4 without the package that writes it.
        OSError: It must not be written there.
    """
    suffix = pathlib.PurePath(text).suffix.lower()
    if suffix and suffix not in SUFFIXES:
        known = ", ".join(SUFFIXES)
        raise ValueError(f"--{flag}={text}: give a file that ends in {known}, or a folder.")
    if suffix == ".mp4":
        check_mp4(f"--{flag}={text}")
    return check_output(text, suffix or None, flag)


def check_mp4(what: str) -> None:
    """Refuses MP4 where no ffmpeg is installed.

    Raises:
        ValueError: Says what to install, after `what` asked for it.
    """
    if importlib.util.find_spec("imageio_ffmpeg") is None:
        raise ValueError(
            f"{what} needs imageio-ffmpeg, which brings ffmpeg: pip install -e '.[video]'. "
            "A .webp or .gif file, or a folder of PNG files, needs nothing."
        )


def choose_zoom(height: int, width: int) -> int:
    """Returns by what whole number frames are enlarged so that both sides have 256 px or more."""
    return -(-_MIN_SIDE_PX // min(height, width))


def write_frames(
    path: epath.PathLike, frames: Iterable[np.ndarray], *, fps: float
) -> tuple[int, tuple[int, int]]:
    """Writes frames of one size.

    Args:
        path: A file that ends in `SUFFIXES`, or a folder, which gets `frame000000.png` and so on.
            MP4 is H.264 that every player shows: sides are even, an odd one repeats its last row
            or column.
        frames: uint8 `[h, w, 1 or 3]`, at least one.
        fps: Frames per second; of WebP to 1 ms, of GIF to 10 ms.

    Returns:
        How many frames, and their height and width in pixels.
    """
    path = epath.Path(path)
    suffix = path.suffix.lower()
    # The first one tells the size; a generator cannot be asked twice.
    stream = iter(frames)
    first = next(stream)
    size = first.shape[0], first.shape[1]
    counted = _Counted(itertools.chain([first], stream))
    if suffix not in SUFFIXES:
        for number, frame in enumerate(counted):
            save_png(path / f"frame{number:06d}.png", frame)
    else:
        with replacing(path) as file:
            if suffix == ".mp4":
                _write_mp4(file, counted, fps)
            else:
                _write_pillow(file, counted, fps, _PILLOW[suffix])
    return counted.count, size


class _Counted(Iterator[np.ndarray]):
    """Hands frames on and counts them."""

    def __init__(self, frames: Iterator[np.ndarray]):
        self._frames = frames
        self.count = 0

    def __next__(self) -> np.ndarray:
        frame = next(self._frames)
        self.count += 1
        return frame


def _write_mp4(file: pathlib.Path, frames: Iterator[np.ndarray], fps: float) -> None:
    """Writes H.264 through ffmpeg, a frame at a time.

    Raises:
        OSError: ffmpeg failed; says what it said.
    """
    import imageio_ffmpeg

    first = _pad_even(next(frames))
    size = f"{first.shape[1]}x{first.shape[0]}"  # as ffmpeg has it: width, height
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", str(fps), "-i", "-"]
    # Halved colours, which every player takes; the index in front, so that pages play at once.
    coded = ["-c:v", "libx264", "-crf", str(_CRF), "-pix_fmt", "yuv420p", "-movflags", "+faststart"]
    # The kind is named, as the file's temporary name does not tell it.
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *raw, *coded, "-f", "mp4"]
    with tempfile.TemporaryFile() as said:
        # A group of its own: Ctrl-C is for us, and the file is put aside then.
        process = subprocess.Popen(
            [*command, str(file)], stdin=subprocess.PIPE, stderr=said, process_group=0
        )
        assert process.stdin is not None
        # Where ffmpeg has ended before the frames did, it says why.
        with contextlib.suppress(BrokenPipeError), process, process.stdin as pipe:
            for frame in itertools.chain([first], frames):
                pipe.write(np.ascontiguousarray(_pad_even(frame)))
        if process.returncode:
            said.seek(0)
            raise OSError(f"ffmpeg: {said.read().decode(errors='replace').strip()}")


def _pad_even(frame: np.ndarray) -> np.ndarray:
    """Makes RGB of even height and width."""
    height, width, _ = frame.shape
    padded = np.pad(frame, [(0, height % 2), (0, width % 2), (0, 0)], mode="edge")
    return _to_rgb(padded)


def _to_rgb(frame: np.ndarray) -> np.ndarray:
    """Makes RGB of grey; a view of what is RGB."""
    return np.broadcast_to(frame, (*frame.shape[:2], 3))


def _write_pillow(file: pathlib.Path, frames: Iterator[np.ndarray], fps: float, name: str) -> None:
    """Writes an animation that loops for ever; pixels of WebP are kept as they are."""
    pictures = (Image.fromarray(np.ascontiguousarray(_to_rgb(frame))) for frame in frames)
    first = next(pictures)
    first.save(
        file,
        format=name,
        save_all=True,
        append_images=pictures,
        duration=1000 / fps if name == "GIF" else round(1000 / fps),
        loop=0,
        **({"lossless": True} if name == "WEBP" else {}),
    )
