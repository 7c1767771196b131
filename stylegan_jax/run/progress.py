"""What a run says while it trains: its log, its progress, its networks, its compilations."""

import contextlib
import errno
import io
import logging
import math
import os
import re
import shutil
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
from absl import logging as absl_logging
from etils import epath
from ml_collections import ConfigDict
from tqdm import tqdm

from stylegan_jax.errors import UserError
from stylegan_jax.files import Mirror, naming
from stylegan_jax.training.settings import flatten

# Name in the run's folder.
LOG_FILE = "log.txt"
# Ticks over which images per second are averaged.
RATE_WINDOW = 10
# What a terminal, or the program behind a pipe, that is gone says to whoever writes to it.
_GONE = (errno.EPIPE, errno.EIO, errno.ENXIO, errno.ENODEV, errno.ECONNRESET)
# Colours and movements of the cursor.
_TERMINAL_CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class _LastingFile(io.FileIO):
    """A terminal or pipe that may go away: what is written then is lost, and no error."""

    def write(self, data: Any) -> int | None:
        """Writes, or drops what cannot be written: the log file has it."""
        try:
            return super().write(data)
        except BlockingIOError:
            raise
        except OSError as error:
            # Also what C++ code writes there goes nowhere.
            if error.errno in _GONE:
                with open(os.devnull, "wb") as nowhere:
                    os.dup2(nowhere.fileno(), self.fileno())
            return memoryview(data).nbytes


def prepare_terminal() -> None:
    """Lets a program print to any terminal, and go on where its output is read no longer.

    Names of files and classes appear on an ASCII terminal, too, as escapes. An ssh session may end,
    or the `head` or `tee` behind a pipe: what is printed after that is lost, or in a log alone.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.flush()
            file = io.BufferedWriter(_LastingFile(stream.fileno(), "wb", closefd=False))
            lasting = io.TextIOWrapper(
                file,
                encoding=stream.encoding,
                errors="backslashreplace",
                line_buffering=stream.line_buffering,
                write_through=stream.write_through,
            )
            setattr(sys, name, lasting)


class _Tee:
    """A text stream that also writes whole lines to a log file."""

    def __init__(self, terminal: Any, log: io.TextIOWrapper, lock: threading.Lock):
        """Stores both text streams; the lock is shared with the other tee of the same log."""
        self._terminal = terminal
        self._log = log
        self._lock = lock
        self._line = ""  # what has not ended yet

    def write(self, text: str) -> int:
        """Writes to both; the log gets a line once it ends, as the terminal last showed it."""
        self._terminal.write(text)
        if self._log.closed:  # a thread that outlives the run
            return len(text)
        # Whole lines go to the log; the rest waits for its end.
        with self._lock:
            *lines, self._line = (self._line + text).replace("\r\n", "\n").split("\n")
            with naming(self._log.name):
                self._log.writelines(_as_shown(line) + "\n" for line in lines)
            self._line = _as_shown(self._line)
        return len(text)

    def flush(self) -> None:
        """Flushes the terminal; the log is flushed at each line."""
        self._terminal.flush()

    def finish(self) -> None:
        """Logs an unfinished line."""
        if self._line.strip():
            self._log.write(self._line.rstrip() + "\n")
        self._line = ""

    def __getattr__(self, name: str) -> Any:
        """Acts as the terminal in all other respects."""
        return getattr(self._terminal, name)


def _as_shown(line: str) -> str:
    """Drops colours and what a carriage return overwrote, such as earlier progress bars."""
    end = "\r" if line.endswith("\r") else ""  # may be the first half of a line ending
    return _TERMINAL_CODES.sub("", line.rstrip("\r").rpartition("\r")[2]) + end


@contextlib.contextmanager
def tee_log(workdir: epath.PathLike, *, enabled: bool = True) -> Iterator[Callable[[str], None]]:
    """Copies prints, warnings, log messages and a final traceback to `log.txt` in the run's folder.

    A resumed run appends. A progress bar leaves only its last state. What C++ code writes straight
    to the terminal is not seen.

    Args:
        workdir: Folder of the run, made if missing; in a bucket the log follows as `Mirror` says.
        enabled: False on all processes but the first: nothing is written.

    Yields:
        A function that writes text to the log alone: what is too long for a terminal.
    """
    if not enabled:
        yield lambda text: None
        return
    lock = threading.Lock()
    with (
        Mirror(workdir, LOG_FILE) as folder,
        # Names of files may hold bytes that are no text.
        (folder / LOG_FILE).open(
            "a", encoding="utf-8", errors="backslashreplace", buffering=1
        ) as log,
        contextlib.ExitStack() as stack,
    ):
        out = _Tee(sys.stdout, log, lock)
        err = _Tee(sys.stderr, log, lock)
        # Handlers keep the stream of the day they were made: hand them the new one.
        absl_handler = absl_logging.get_absl_handler().python_handler
        for handler in {absl_handler, *logging.getLogger().handlers}:
            if getattr(handler, "stream", None) is sys.stderr:
                handler.setStream(err)
                stack.callback(handler.setStream, sys.stderr)
        # Prints and warnings look the stream up each time.
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))

        def write_log(text: str) -> None:
            """Writes to the log what the terminal does not get."""
            with lock, naming(log.name):
                log.write(text.rstrip("\n") + "\n")

        try:
            yield write_log
        except BaseException as error:
            # The terminal gets it from Python; the log may be what cannot be written.
            with contextlib.suppress(OSError):
                if isinstance(error, UserError) and error.__cause__ is None:
                    log.write(f"{error}\n")
                elif not isinstance(error, SystemExit):
                    log.write(traceback.format_exc())
            raise
        finally:
            out.finish()
            err.finish()


class ProgressBar:
    """Shows images done, speed, time left and losses; call `update` once a tick.

    On a terminal it is one moving line; elsewhere each update prints a plain line.
    """

    def __init__(
        self,
        total_nimg: int,
        *,
        nimg: int = 0,
        stream: Any = None,
        clock: Callable[[], float] = time.monotonic,
        enabled: bool = True,
    ):
        """Starts the clock.

        Args:
            total_nimg: Images at the end of the run.
            nimg: Images already shown when the run resumes.
            stream: Where to write; standard error by default.
            clock: Seconds, for tests.
            enabled: False on all processes but the first: nothing is written.
        """
        self._stream = sys.stderr if stream is None else stream
        self._total = total_nimg
        self._clock = clock
        self._enabled = enabled

        # (seconds, images) of the last updates, for the speed.
        self._marks = deque([(clock(), nimg)], maxlen=RATE_WINDOW + 1)
        self._updates = 0

        # A bar needs a terminal that can move back in its line.
        self._bar = None
        if enabled and self._stream.isatty():
            self._bar = tqdm(
                total=total_nimg,
                initial=nimg,
                file=self._stream,
                ncols=_terminal_columns(),
                nrows=2,  # it needs no more, and 0 would hide it
                bar_format="{percentage:3.0f}% |{bar}| {desc}",
                mininterval=0,
            )

    def update(self, nimg: int, losses: Mapping[str, float] | None = None) -> str:
        """Shows the state of the run.

        Args:
            nimg: Images shown so far.
            losses: Short names to numbers, already on the host.

        Returns:
            The line shown, without the bar.
        """
        # The speed over the last ticks.
        self._marks.append((self._clock(), nimg))
        self._updates += 1
        if self._updates == 2:
            self._marks.popleft()  # the first tick held the compilation
        start_sec, start_nimg = self._marks[0]
        end_sec, _ = self._marks[-1]
        speed = (nimg - start_nimg) / max(end_sec - start_sec, 1e-9)

        # The line: 12.0/25.0 kimg  31.4 img/s  ETA 6m 54s  G 0.71  D 1.2
        remaining_sec = (self._total - nimg) / speed if speed else math.inf
        parts = [f"{nimg / 1000:.1f}/{self._total / 1000:.1f} kimg", f"{speed:.1f} img/s"]
        parts.append(f"ETA {describe_duration(remaining_sec)}")
        parts += [f"{name} {value:.3g}" for name, value in (losses or {}).items()]
        line = "  ".join(parts)
        if self._bar is not None:
            # The window may have been resized since.
            self._bar.n = nimg
            self._bar.ncols = _terminal_columns()
            self._bar.set_description_str(line)
        elif self._enabled:
            print(line, file=self._stream, flush=True)
        return line

    def close(self) -> None:
        """Ends the moving line."""
        if self._bar is not None:
            self._bar.close()

    def __enter__(self) -> "ProgressBar":
        """Returns itself."""
        return self

    def __exit__(self, *exc_info) -> None:
        """Ends the moving line."""
        self.close()


def _terminal_columns() -> int:
    """Returns the terminal's present width; 80 where it claims to have none, as in containers."""
    return shutil.get_terminal_size().columns


def describe_duration(seconds: float) -> str:
    """Writes a duration with its two largest units, such as 1d 03h or 42s."""
    if not math.isfinite(seconds):
        return "?"
    minutes, s = divmod(max(round(seconds), 0), 60)
    hours, m = divmod(minutes, 60)
    days, h = divmod(hours, 24)
    # The largest unit that is not zero leads.
    if days:
        return f"{days}d {h:02d}h"
    if hours:
        return f"{h}h {m:02d}m"
    return f"{m}m {s:02d}s" if minutes else f"{s}s"


def tell_reasons(config: ConfigDict, overrides: Mapping[str, Any]) -> None:
    """Prints what a recipe's rule chose, a line each: what, the value, why.

    Args:
        config: With the rule's `reasons`; empty where there was no rule.
        overrides: Settings that were given besides.
    """
    values = dict(flatten(config))
    for line in values["reasons"].splitlines():
        key, _, why = line.partition(": ")
        if key in overrides:
            print(f"preset: {key} is not the rule's but {values[key]}, as given")
        else:
            print(f"preset: {key} = {values[key]:g}: {why}")


def describe_network(params: Mapping[str, Any], name: str) -> str:
    """Says in one line how large a network is; `param_table` lists it."""
    leaves = jax.tree.leaves(params)
    total = sum(math.prod(leaf.shape) for leaf in leaves)
    return f"{name}: {total:,} parameters in {len(leaves)} arrays"


def param_table(params: Mapping[str, Any], name: str) -> str:
    """Lists a network's parameters.

    Args:
        params: Nested dictionary of arrays or of jax.ShapeDtypeStruct.
        name: Name of the network, such as "G".

    Returns:
        Text with path, shape and number of parameters a line, and the total.
    """
    # (path, shape, number of parameters), in the order of the network: b4, b8, b16.
    leaves = jax.tree_util.tree_leaves_with_path(params)
    rows = [
        (jax.tree_util.keystr(p, simple=True, separator="/"), leaf.shape, math.prod(leaf.shape))
        for p, leaf in leaves
    ]
    rows.sort(key=lambda row: _natural_order(row[0]))
    total = sum(count for _, _, count in rows)

    # Texts in three columns, each as wide as its widest.
    cells = [(name, "shape", "parameters")]
    cells += [(p, " x ".join(map(str, shape)) or "scalar", f"{n:,}") for p, shape, n in rows]
    cells.append(("total", "", f"{total:,}"))
    first, second, third = (max(len(row[i]) for row in cells) for i in range(3))
    lines = [f"{a:<{first}}  {b:<{second}}  {c:>{third}}" for a, b, c in cells]
    rule = "-" * (first + second + third + 4)
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def _natural_order(path: str) -> list[tuple[int, str]]:
    """Sorts b4, b8, b16 by their numbers."""
    parts = re.findall(r"\d+|\D+", path)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


@contextlib.contextmanager
def announce_compile(name: str, index: int = 1, total: int = 1) -> Iterator[None]:
    """Prints what is being compiled and how long it took: no silent minutes at the start.

    Args:
        name: What is compiled, such as "G main".
        index: Its number, from 1.
        total: How many there are; shown if more than one.
    """
    # The line before is flushed, so that it stands there while one waits.
    label = f"{name} ({index}/{total})" if total > 1 else name
    print(f"compiling {label} ...", flush=True)
    start = time.monotonic()
    outcome = "failed after"
    try:
        yield
        outcome = "compiled in"
    finally:
        print(f"{label}: {outcome} {time.monotonic() - start:.1f} s", flush=True)
