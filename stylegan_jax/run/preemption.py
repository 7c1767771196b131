"""Stopping a run cleanly when the machine is taken away or the user presses Ctrl-C."""

import itertools
import os
import signal
import threading
from types import FrameType

import jax
from absl import logging
from jax.experimental import multihost_utils

# What schedulers send before they take a machine away, and Ctrl-C.
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
# Jax's service agrees on the number of a poll, and remembers the last one while the process lives.
_polls = itertools.count(1)


def _write_now(message: str) -> None:
    """Prints from a signal handler."""
    # print() may not be re-entered from a handler; a write to the descriptor may.
    os.write(2, f"\n{message}\n".encode())


class PreemptionGuard:
    """Turns the first SIGTERM or SIGINT into a request that the training loop polls.

    The loop then saves and leaves by its ordinary path:

        with PreemptionGuard() as guard:
            while nimg < total and not guard.should_stop():
                ...

    With several processes, a signal to any of them stops all in the same iteration: jax's own
    service listens for SIGTERM and agrees on it, in the background.

    A SIGINT after the first signal raises KeyboardInterrupt at once. Leaving the block puts
    the previous handlers back.
    """

    def __init__(self):
        """Makes a guard that has seen no signal yet; it listens inside a `with` block."""
        self.requested = False
        # Handlers by signal, as they were before.
        self._previous = {}

    def __enter__(self) -> "PreemptionGuard":
        """Installs the handlers."""
        # Python lets the main thread alone install handlers.
        if threading.current_thread() is not threading.main_thread():
            logging.warning("not in the main thread: SIGTERM and Ctrl-C will not save first")
            return self
        # The service's handler of SIGTERM must stay.
        for number in _SIGNALS if jax.process_count() == 1 else (signal.SIGINT,):
            self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Puts the previous handlers back."""
        for number, handler in self._previous.items():
            # None stands for a handler that was not installed from Python.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._previous = {}

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """Notes the first signal; a second Ctrl-C ends the program at once."""
        del frame
        name = signal.Signals(number).name
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        if self.requested:
            _write_now(f"{name}: already stopping, the checkpoint is on its way")
        else:
            self.requested = True
            # The other processes hear of Ctrl-C as of a preemption of this one.
            if jax.process_count() > 1:
                os.kill(os.getpid(), signal.SIGTERM)
            _write_now(f"{name}: saving a checkpoint, then stopping; Ctrl-C again stops without it")

    def should_stop(self) -> bool:
        """Tells whether any process of the run was asked to stop; call it once per iteration.

        All processes must ask equally often, and get the same answer each time.
        """
        if jax.process_count() == 1:
            return self.requested
        # The service agrees on the next number: they must not have gaps.
        return multihost_utils.reached_preemption_sync_point(next(_polls))
