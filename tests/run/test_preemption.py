"""Signals become a request to stop, or an end where nothing is to be saved; handlers come back."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from stylegan_jax.run import preemption
from stylegan_jax.run.preemption import EXIT_STOPPED, PreemptionGuard

STOPS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]


@pytest.fixture(autouse=True)
def hears_hang_ups():
    """As in a terminal, even where the tests themselves run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", STOPS)
def test_first_signal_sets_the_flag_and_says_so(number, capfd):
    before = signal.getsignal(number)
    with PreemptionGuard() as guard:
        assert not guard.should_stop()
        os.kill(os.getpid(), number)
        assert guard.should_stop()
    assert signal.getsignal(number) is before
    err = capfd.readouterr().err
    assert number.name in err and "saving a checkpoint" in err


@pytest.mark.parametrize("second", STOPS)
def test_further_signals_do_not_interrupt_the_save(second, capfd):
    with PreemptionGuard() as guard:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), second)
        assert guard.should_stop()
    assert f"{second.name}: already stopping" in capfd.readouterr().err


def test_a_hang_up_that_is_ignored_stays_so():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with PreemptionGuard() as guard:
        os.kill(os.getpid(), signal.SIGHUP)
        assert not guard.should_stop()


def test_a_signal_is_obeyed_where_its_message_cannot_be_shown(monkeypatch):
    """Ctrl-C ends the `tee` behind a pipe as well."""
    reading, writing = os.pipe()
    os.close(reading)
    before = os.dup(2)
    try:
        os.dup2(writing, 2)
        with PreemptionGuard() as guard:
            os.kill(os.getpid(), signal.SIGINT)
            assert guard.should_stop()
    finally:
        os.dup2(before, 2)


def test_processes_decide_together():
    """A signal to one of them asks jax's service, which listens for SIGTERM, to tell all."""
    told = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: told.append(number))
    try:
        guard = PreemptionGuard()
        guard.share(lambda: bool(told))
        with guard:
            assert not guard.should_stop()
            os.kill(os.getpid(), signal.SIGHUP)
            assert guard.should_stop()
    finally:
        signal.signal(signal.SIGTERM, before)


def test_other_threads_are_left_without_handlers(caplog):
    before = signal.getsignal(signal.SIGTERM)

    def enter():
        with PreemptionGuard() as guard:
            assert not guard.should_stop()
            assert signal.getsignal(signal.SIGTERM) is before

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert "not in the main thread" in caplog.text


# A process that exists for a run, in three situations. Nothing here needs jax.
RUN = f"""
import hashlib, os, sys, time
from stylegan_jax.run import preemption
preemption._LEAVE_SEC = 0.3
guard = preemption.PreemptionGuard(ends_process=True).__enter__()
print("ready", flush=True)
what = sys.argv[1]
if what == "imports":
    time.sleep(60)
elif what == "compiles":  # without a look at Python's signals
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)
elif what == "trains":
    guard.is_saved = False
    while not guard.should_stop():
        time.sleep(0.01)
    time.sleep(1.0)  # saves
    print("saved", flush=True)
    guard.finish({EXIT_STOPPED})
    sys.exit({EXIT_STOPPED})
elif what == "hangs":
    guard.finish({EXIT_STOPPED})
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)
"""


@pytest.mark.parametrize(
    ("what", "number"),
    [
        ("imports", signal.SIGINT),
        ("compiles", signal.SIGTERM),
        ("trains", signal.SIGHUP),
        ("hangs", signal.SIGINT),
    ],
)
def test_a_process_ends_soon_with_what_it_has_saved(what, number):
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, what],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.2)  # until it is within its long call
    start = time.monotonic()
    process.send_signal(number)
    time.sleep(0.1)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == EXIT_STOPPED
    assert time.monotonic() - start < preemption._LEAVE_SEC + 5
    assert "Traceback" not in err
    # Handlers are not heard within a long call: there the watching thread speaks.
    has_spoken = "all is saved" in out if what in ("compiles", "hangs") else number.name in err
    assert has_spoken, out + err
    assert ("saved\n" == out) == (what == "trains")
