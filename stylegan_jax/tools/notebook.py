"""What the notebooks show: pictures of a size to look at, times of cells, training as it goes."""

import math
import os
import signal
import subprocess
import sys
import time
from typing import Any

import numpy as np
from etils import epath
from PIL import Image

from stylegan_jax.files import as_path
from stylegan_jax.run.images import make_grid, show_channels
from stylegan_jax.run.ownership import wait_for_owner
from stylegan_jax.run.preemption import EXIT_STOPPED
from stylegan_jax.tools.figures.picture import Figure, enlarge, render

# Smaller images are enlarged, larger pictures shrunk: a notebook keeps them all in its file.
_MIN_IMAGE_PX = 128
_MAX_PICTURE_PX = 2048
# A kernel that is killed or restarted takes no leave of its processes: Linux is asked for a SIGTERM
# in its place (prctl 1, PR_SET_PDEATHSIG), which stays asked for when the program is replaced.
_BOUND = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, int(signal.SIGTERM))
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
# Longest time that a run saves after it was told to stop.
_LEAVE_SEC = 60.0


def show_grid(images: np.ndarray, cols: int) -> Image.Image:
    """Lays images out in rows: each of 128 px or more, all of them of 2048 px or less.

    Args:
        images: uint8 `[n, h, w, c]`.
        cols: Images per row.
    """
    zoom = math.ceil(_MIN_IMAGE_PX / images.shape[2])
    return _shrink(make_grid(enlarge(show_channels(images), zoom), cols))


def show_figure(figure: Figure) -> Image.Image:
    """Draws a figure with its labels, of 2048 px or less."""
    return _shrink(render(figure))


def _shrink(pixels: np.ndarray) -> Image.Image:
    """Wraps pixels `[h, w, 1 or 3]` for Pillow, and makes them smaller where they are many."""
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    picture.thumbnail((_MAX_PICTURE_PX, _MAX_PICTURE_PX))
    return picture


class CellTimer:
    """Says below each cell of a notebook how long it took."""

    def __init__(self):
        """Starts with the next cell."""
        self._start: float | None = None

    def attach(self, shell: Any) -> None:
        """Follows the cells of `get_ipython()`; a second time changes nothing."""
        shell.events.register("pre_run_cell", self._begin)
        shell.events.register("post_run_cell", self._end)

    def _begin(self, info: Any) -> None:
        """Is called before a cell."""
        self._start = time.perf_counter()

    def _end(self, result: Any) -> None:
        """Is called after a cell; the one that attached it did not begin."""
        if self._start is not None:
            print(f"({time.perf_counter() - self._start:.1f} s)")


# One for all calls, as cells are run again.
_TIMER = CellTimer()


def time_cells(shell: Any) -> None:
    """Says below each further cell how long it took; `shell` is `get_ipython()`."""
    _TIMER.attach(shell)


def ends_with_this_process(command: list[str]) -> list[str]:
    """Changes a command of Python so that it gets a SIGTERM when this process ends, on Linux."""
    if sys.platform != "linux":
        return command
    return [sys.executable, "-c", _BOUND, *command[1:]]


def run_training(
    recipe: str, workdir: epath.PathLike, *settings: str, cpu_only: bool = False
) -> None:
    """Trains in a process of its own, and shows its lines and its newest samples below the cell.

    A cell that is interrupted, and a kernel that dies or is restarted, stop the run, which saves;
    the same call continues it. The process takes the accelerator, which it can only where the
    notebook does not hold it.

    Args:
        recipe: What `--config` takes, as `quickstart:fast`.
        workdir: Folder of the run, local or `gs://`.
        *settings: Further options of the command, as `--config.schedule.total_kimg=100`.
        cpu_only: Leave the accelerator to the notebook.

    Raises:
        RuntimeError: The run failed; its last lines say why.
    """
    command = [sys.executable, "-m", "stylegan_jax.main", f"--config={recipe}"]
    command += [f"--workdir={os.fspath(workdir)}", *settings]
    env = os.environ | {"PYTHONUNBUFFERED": "1"} | ({"JAX_PLATFORMS": "cpu"} if cpu_only else {})
    # The run of a kernel that is gone may still be saving.
    wait_for_owner(workdir, _LEAVE_SEC)
    # In a session of its own: the interruption of a cell reaches it once, from here.
    with subprocess.Popen(
        ends_with_this_process(command),
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        screen = _Screen(as_path(workdir) / "samples")
        try:
            screen.follow(process)
        except KeyboardInterrupt:
            process.send_signal(signal.SIGTERM)
            screen.follow(process)
    if process.returncode == EXIT_STOPPED:
        print("Stopped and saved: the same cell continues.")
    elif process.returncode:
        raise RuntimeError(f"the run ended with {process.returncode}: its last lines say why.")


class _Screen:
    """The lines of a run, and below them one picture that is replaced."""

    def __init__(self, folder: epath.Path):
        """Shows nothing yet; `folder` is where samples appear."""
        self._folder = folder
        self._shown = ""
        self._handle: Any = None

    def follow(self, process: subprocess.Popen[str]) -> None:
        """Prints lines until the process ends."""
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="")
            self._update()
        self._update()

    def _update(self) -> None:
        """Shows the newest samples if they are new."""
        from IPython.display import display

        paths = self._folder.glob("fakes_*.png") if self._folder.exists() else ()
        newest = max(paths, default=None, key=lambda path: path.name)
        if newest is None or newest.name == self._shown:
            return
        self._shown = newest.name
        with newest.open("rb") as file, Image.open(file) as image:
            picture = image.convert("RGB")
        picture.thumbnail((_MAX_PICTURE_PX, _MAX_PICTURE_PX))
        if self._handle is None:
            self._handle = display(picture, display_id=True)
        else:
            self._handle.update(picture)
