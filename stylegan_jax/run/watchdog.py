"""Says where a run hangs, and ends it if it is told to: no hang goes unseen or lasts for ever."""

import faulthandler
import os
import statistics
import sys
import tempfile
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable

import jax

from stylegan_jax.run.progress import describe_duration

# A stall takes this much longer than usual, and a minute at least: hosts have hiccups.
STALL_RATIO = 10.0
STALL_SEC = 60.0
# What has not been done before may compile, or read from slow storage.
FIRST_SEC = 1800.0
# EX_TEMPFAIL of sysexits.h: whoever started the process may start it again.
EXIT_CODE = 75

# Between two looks.
_CHECK_SEC = 5.0
# Durations that are remembered of each activity.
_MEMORY = 32
# Longest wait for a terminal that may hang itself.
_PRINT_SEC = 5.0


class Watchdog:
    """A thread that watches how long a run's activities take.

    The run calls `beat` where an activity begins, which costs no more than a look at the clock:

        with Watchdog() as watchdog:
            while nimg < total:
                watchdog.beat("training", nimg)

    Where one takes far longer than usual, the stacks of all threads are printed, once per stall.
    """

    def __init__(
        self,
        *,
        abort_sec: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        check_sec: float = _CHECK_SEC,
        abort: Callable[[int], None] = os._exit,
    ):
        """Watches nothing before the first beat.

        Args:
            abort_sec: End the process, with `EXIT_CODE`, where a stall has lasted for so long
                since its last beat; 0: never.
            clock: Seconds.
            check_sec: Between two looks.
            abort: Ends the process; an ordinary exit would wait for the thread that hangs.
        """
        self._abort_sec = abort_sec
        self._clock = clock
        self._abort = abort
        self._check_sec = check_sec

        # Durations by activity, and what is done now: (activity, nimg, start). A tuple is replaced
        # as a whole, so both threads may read it without a lock.
        self._took: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=_MEMORY))
        self._now: tuple[str, int | None, float] | None = None
        # The beat whose stall has been reported.
        self._told: tuple[str, int | None, float] | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def beat(self, activity: str, nimg: int | None = None) -> None:
        """Ends one activity and begins the next.

        Args:
            activity: What begins, such as "saving"; what is usual is learnt for each name.
            nimg: Images shown so far; None: not known yet.
        """
        now = self._clock()
        before = self._now
        if before is not None:
            ended, _, start = before
            self._took[ended].append(now - start)
            if before is self._told:
                print(f"watchdog: {ended} went on after {describe_duration(now - start)}")
        self._now = (activity, nimg, now)

    def check(self) -> None:
        """Looks once; the thread does so every few seconds."""
        beat = self._now
        if beat is None:
            return
        activity, nimg, start = beat
        elapsed = self._clock() - start

        # What is usual, by the median: one slow time must not hide the next.
        took = list(self._took.get(activity, ()))
        usual = statistics.median(took) if took else None
        limit = FIRST_SEC if usual is None else max(STALL_SEC, STALL_RATIO * usual)

        # One report per stall, and the end where it lasts too long.
        if elapsed > limit and beat is not self._told:
            self._told = beat
            _print_in_thread(_describe_stall(activity, nimg, elapsed, usual))
        if beat is self._told and 0 < self._abort_sec < elapsed:
            _print_in_thread(
                f"watchdog: ending the process with code {EXIT_CODE}, since health.abort_sec="
                f"{self._abort_sec:g} is over; the same command continues from the last checkpoint"
            )
            self._abort(EXIT_CODE)

    def _watch(self) -> None:
        """Looks every few seconds until the block ends."""
        while not self._closing.wait(self._check_sec):
            self.check()

    def __enter__(self) -> "Watchdog":
        """Starts the thread."""
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Ends it."""
        self._closing.set()
        self._thread.join(_PRINT_SEC)


def _describe_stall(activity: str, nimg: int | None, elapsed: float, usual: float | None) -> str:
    """Says what hangs, and where every thread is."""
    # What is done, how far the run is, and for how long.
    where = "" if nimg is None else f" at {nimg / 1000:.3f} kimg"
    usually = "for the first time" if usual is None else f"usually {usual:.1f} s"
    lines = [
        f"WATCHDOG: stuck while {activity}{where}, for "
        f"{describe_duration(elapsed)} by now ({usually}).",
    ]
    # On a pod a hang is seldom the fault of the process that waits.
    if jax.process_count() > 1:
        lines.append(
            f"This is process {jax.process_index()} of {jax.process_count()}. If the others wait "
            "as well, one of them is gone or slow: look for the one whose log ends first."
        )
    lines.append("Where each thread is, the latest call first:")
    # Written by C code, which works even where Python's lock is held; it wants a real file.
    with tempfile.TemporaryFile() as file:
        faulthandler.dump_traceback(file, all_threads=True)
        file.seek(0)
        lines.append(file.read().decode(errors="replace"))
    return "\n".join(lines)


def _print_in_thread(text: str) -> None:
    """Prints from a thread of its own: where the terminal is what hangs, the watch goes on."""
    thread = threading.Thread(
        target=lambda: print(text, file=sys.stderr, flush=True), name="watchdog says", daemon=True
    )
    thread.start()
    thread.join(_PRINT_SEC)
