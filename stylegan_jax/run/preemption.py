"""Stopping a run cleanly: machines that are taken away, Ctrl-C, terminals that are closed.

It imports nothing that takes time: `main` listens before it imports the rest.
"""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

# Stopped by a signal, and all is saved: start me again. Launchers know it.
EXIT_STOPPED = 42

# What schedulers send before they take a machine away, Ctrl-C, and a terminal that is closed.
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# Longest time to tidy up where nothing is to be saved; compilers do not let themselves be stopped.
_LEAVE_SEC = 5.0
_POLL_SEC = 0.1


def _write_now(message: str) -> None:
    """Prints from a signal handler."""
    # print() may not be re-entered from a handler; a write to the descriptor may.
    try:
        os.write(2, f"\n{message}\n".encode())
    except OSError:  # the terminal is gone
        pass


class PreemptionGuard:
    """Turns SIGTERM, SIGINT and SIGHUP into a request that the training loop polls.

    The loop then saves and leaves by its ordinary path:

        with PreemptionGuard() as guard:
            while nimg < total and not guard.should_stop():
                ...

    Further signals change nothing. Where SIGHUP is ignored (nohup), it stays so. Leaving the block
    puts the previous handlers back.

    With several processes, a signal to any of them stops all in the same iteration: jax's own
    service listens for SIGTERM and agrees on it, in the background. See `share`.

    A guard that `ends_process` also obeys where the loop does not poll. While `is_saved`, a signal
    leaves with `EXIT_STOPPED`: by SystemExit, and where that does not come through, as while XLA
    compiles, by ending the process after five seconds.

    Attributes:
        requested: Whether this process was asked to stop.
        is_saved: Whether the run would lose nothing if it ended now.
        has_stopped: Whether the run was told to stop, by a signal to any of its processes.
    """

    def __init__(self, *, ends_process: bool = False):
        """Makes a guard that has seen no signal yet; it listens inside a `with` block.

        Args:
            ends_process: The process exists for this run alone: it listens until its end.
        """
        self.requested = False
        self.is_saved = True
        self.has_stopped = False
        self._ends_process = ends_process
        self._agree: Callable[[], bool] | None = None
        # What the process ends with where it does not come to its end by itself.
        self._exit_code: int | None = None
        # Handlers by signal, as they were before.
        self._previous = {}

    def __enter__(self) -> "PreemptionGuard":
        """Installs the handlers."""
        # Python lets the main thread alone install handlers.
        if threading.current_thread() is not threading.main_thread():
            logging.warning("not in the main thread: SIGTERM and Ctrl-C will not save first")
            return self
        for number in _SIGNALS:
            # The service's handler of SIGTERM must stay.
            is_service = self._agree is not None and number == signal.SIGTERM
            is_nohup = number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN
            if not is_service and not is_nohup:
                self._previous[number] = signal.signal(number, self._handle)
        if self._ends_process:
            self._watch()
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Puts the previous handlers back."""
        for number, handler in self._previous.items():
            # None stands for a handler that was not installed from Python.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._previous = {}

    def share(self, agree: Callable[[], bool]) -> None:
        """Leaves it to all processes of a run, which have found each other, when to stop.

        Args:
            agree: Tells whether any process was asked to stop.
        """
        self._agree = agree

    def finish(self, code: int) -> None:
        """Declares that the run has ended: a signal can only hasten the end of the process.

        Args:
            code: What the process is about to exit with.
        """
        self._exit_code = code

    def should_stop(self) -> bool:
        """Tells whether any process of the run was asked to stop; call it once per iteration.

        All processes must ask equally often, and get the same answer each time.
        """
        stop = self.requested if self._agree is None else self._agree()
        self.has_stopped = self.has_stopped or stop
        return stop

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """Notes the first signal."""
        del frame
        name = signal.Signals(number).name
        if self.requested or self._exit_code is not None:
            _write_now(f"{name}: already stopping, the checkpoint is on its way")
            return
        self.requested = True
        # The other processes hear of Ctrl-C as of a preemption of this one.
        if self._agree is not None:
            os.kill(os.getpid(), signal.SIGTERM)
        elif self._may_leave():
            _write_now(f"{name}: stopping")
            # Where Python cannot raise it, it would print it.
            sys.unraisablehook = lambda unraisable: None
            sys.exit(EXIT_STOPPED)
        _write_now(f"{name}: saving a checkpoint, then stopping")

    def _may_leave(self) -> bool:
        """Tells whether the process may end here and now."""
        is_alone = self._agree is None
        return self._ends_process and (self._exit_code is not None or self.is_saved and is_alone)

    def _watch(self) -> None:
        """Ends the process where the main thread does not, on a thread of its own."""
        # Handlers run between two lines of Python; this is told of a signal within a long call.
        told, tell = os.pipe()
        os.set_blocking(tell, False)
        signal.set_wakeup_fd(tell, warn_on_full_buffer=False)

        def watch() -> None:
            while os.read(told, 1)[0] not in self._previous:
                pass
            deadline = time.monotonic() + _LEAVE_SEC
            while time.monotonic() < deadline:
                if not self._may_leave():
                    deadline = time.monotonic() + _LEAVE_SEC
                time.sleep(_POLL_SEC)
            code = EXIT_STOPPED if self._exit_code is None else self._exit_code
            _print_for_a_second("stopped on the way; all is saved, the same command continues")
            os._exit(code)

        threading.Thread(target=watch, name="signals", daemon=True).start()


def _print_for_a_second(text: str) -> None:
    """Prints where a terminal may hang itself; the log has it too."""
    thread = threading.Thread(target=print, args=(text,), kwargs={"flush": True}, daemon=True)
    thread.start()
    thread.join(1.0)
