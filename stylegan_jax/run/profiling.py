"""A window of iterations as a trace for XProf and TensorBoard."""

import pathlib
import re
import shutil
import tempfile
from typing import Any

import jax
from etils import epath

from stylegan_jax.files import as_path, is_cloud, replacing
from stylegan_jax.training.settings import SettingsError

# Where traces lie in the run's folder.
PROFILE_FOLDER = "profile"
# A trace has thousands of events per iteration, and a few iterations tell all there is.
_MOST_ITERATIONS = 1000


def parse_window(text: str) -> tuple[int, int]:
    """Reads `START:STOP`, iterations counted from where the process starts.

    Raises:
        SettingsError: It is no such window, or so long that no trace holds it.
    """
    # What does not match reads as an empty window.
    match = re.fullmatch(r"(\d+):(\d+)", text)
    start, stop = map(int, match.groups()) if match else (0, 0)
    if stop - start > _MOST_ITERATIONS:
        raise SettingsError(
            f"--profile={text}: a trace of {stop - start} iterations fits neither memory nor a "
            f"viewer; give at most {_MOST_ITERATIONS}, such as {start}:{start + 10}."
        )
    if stop <= start:
        raise SettingsError(
            f"--profile={text}: give START:STOP, iterations counted from where this process "
            "starts, such as 10:20 for the ten that follow the first ten."
        )
    return start, stop


class Profiler:
    """Traces one window of iterations into `workdir/profile`; at most once per process."""

    def __init__(self, workdir: epath.PathLike, window: str | None, *, enabled: bool = True):
        """Counts iterations, and nothing else, until the window begins.

        Args:
            workdir: Folder of the run, local or in a bucket.
            window: See `parse_window`; None: no trace.
            enabled: False on all processes but the first.

        Raises:
            SettingsError: The window is none.
        """
        self._start, self._stop = parse_window(window) if window else (-1, -1)
        if not enabled:
            self._start = self._stop = -1
        self._workdir = workdir
        # Iterations that have begun, less one: -1 before the first.
        self._count = -1
        # The trace that is being written, and the mark of its present iteration.
        self._folder: pathlib.Path | None = None
        self._step: Any = None

    def step(self, state: Any) -> None:
        """Marks the beginning of an iteration.

        Args:
            state: What the iteration takes. It is waited for at both ends of the window: the trace
                holds all the work of these iterations, and no other.
        """
        self._count += 1
        if self._start <= self._count <= self._stop:
            self._end_step()
            # The window opens or closes between two iterations.
            if self._count == self._start:
                self._begin(state)
            elif self._count == self._stop:
                self.close(state)
            # TensorBoard groups what the devices did by these marks.
            if self._folder is not None:
                self._step = jax.profiler.StepTraceAnnotation("train", step_num=self._count)
                self._step.__enter__()

    def close(self, state: Any = None) -> None:
        """Ends the trace, if there is one, and says where it lies."""
        if self._folder is None:
            return
        self._end_step()
        jax.block_until_ready(state)
        jax.profiler.stop_trace()
        local = self._folder
        self._folder = None

        # The profiler writes to local folders alone.
        target = as_path(self._workdir) / PROFILE_FOLDER
        # In a bucket, it is copied file by file.
        if is_cloud(self._workdir):
            for path in (path for path in local.rglob("*") if path.is_file()):
                with replacing(target / path.relative_to(local).as_posix()) as copy:
                    shutil.copyfile(path, copy)
            shutil.rmtree(local)
        print(
            f"profile: iterations {self._start} to {min(self._count, self._stop - 1)} are in "
            f"{target}; xprof or TensorBoard with its profile plugin show them: "
            f"--logdir={target}",
            flush=True,
        )

    def _begin(self, state: Any) -> None:
        """Starts the trace, once the devices have done all that came before."""
        if is_cloud(self._workdir):
            self._folder = pathlib.Path(tempfile.mkdtemp(prefix="stylegan_jax_profile_"))
        else:
            self._folder = pathlib.Path(self._workdir) / PROFILE_FOLDER
        jax.block_until_ready(state)
        print(f"profile: tracing iterations {self._start} to {self._stop - 1}", flush=True)
        jax.profiler.start_trace(str(self._folder))

    def _end_step(self) -> None:
        """Ends the mark of an iteration, if one is open."""
        if self._step is not None:
            self._step.__exit__(None, None, None)
            self._step = None
