"""Signals become a request to stop; handlers come back; impatience is respected."""

import os
import signal
import threading

import pytest

from stylegan_jax.run.preemption import PreemptionGuard


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_first_signal_sets_the_flag_and_says_so(number, capfd):
    before = signal.getsignal(number)
    with PreemptionGuard() as guard:
        assert not guard.should_stop()
        os.kill(os.getpid(), number)
        assert guard.should_stop()
    assert signal.getsignal(number) is before
    err = capfd.readouterr().err
    assert number.name in err and "saving a checkpoint" in err


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
def test_ctrl_c_after_a_signal_stops_at_once(first):
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        with PreemptionGuard():
            os.kill(os.getpid(), first)
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_repeated_sigterm_does_not_interrupt_the_save(capfd):
    with PreemptionGuard() as guard:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert guard.should_stop()
    assert "already stopping" in capfd.readouterr().err


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
