import threading
import time

import jax
import pytest

from stylegan_jax.run import watchdog as module
from stylegan_jax.run.watchdog import EXIT_CODE, FIRST_SEC, STALL_SEC, Watchdog


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def trained(clock, sec_per_step, **settings):
    """A watchdog that has seen ten steps."""
    watchdog = Watchdog(clock=clock, **settings)
    for step in range(10):
        watchdog.beat("training", step * 32)
        clock.now += sec_per_step
    watchdog.beat("training", 320)
    return watchdog


def test_a_stall_is_told_once_with_every_stack(clock, capsys):
    watchdog = trained(clock, 0.5)
    clock.now += STALL_SEC
    watchdog.check()
    assert capsys.readouterr().err == ""
    clock.now += 1
    watchdog.check()
    told = capsys.readouterr().err
    assert "stuck while training at 0.320 kimg, for 1m 01s by now (usually 0.5 s)" in told
    assert "test_watchdog.py" in told and "in test_a_stall_is_told_once" in told
    assert "process" not in told
    clock.now += 1000
    watchdog.check()
    assert capsys.readouterr().err == ""
    watchdog.beat("training", 352)
    assert "training went on after 17m 41s" in capsys.readouterr().out
    clock.now += 3 * STALL_SEC
    watchdog.check()
    assert "stuck while training at 0.352" in capsys.readouterr().err


def test_what_is_long_depends_on_what_is_usual(clock, capsys):
    watchdog = trained(clock, 30.0)
    clock.now += 299
    watchdog.check()
    assert capsys.readouterr().err == ""
    clock.now += 2
    watchdog.check()
    assert "usually 30.0 s" in capsys.readouterr().err


def test_what_is_done_for_the_first_time_may_take_long(clock, capsys):
    watchdog = trained(clock, 0.5)
    watchdog.check()
    watchdog.beat("compiling", 320)
    clock.now += FIRST_SEC - 1
    watchdog.check()
    assert capsys.readouterr().err == ""
    clock.now += 2
    watchdog.check()
    assert "stuck while compiling" in (told := capsys.readouterr().err)
    assert "for the first time" in told


def test_nothing_is_watched_before_the_first_beat(clock, capsys):
    watchdog = Watchdog(clock=clock, abort_sec=1.0, abort=pytest.fail)
    clock.now += 1e6
    watchdog.check()
    assert capsys.readouterr().err == ""


def test_several_hosts_are_told_to_look_for_the_missing_one(clock, capsys, monkeypatch):
    watchdog = trained(clock, 0.5)
    monkeypatch.setattr(jax, "process_count", lambda: 4)
    clock.now += 2 * STALL_SEC
    watchdog.check()
    assert "process 0 of 4. If the others wait" in capsys.readouterr().err


def test_the_process_ends_where_that_is_wanted_and_only_after_a_stall(clock, capsys):
    codes = []
    watchdog = trained(clock, 20.0, abort_sec=100.0, abort=codes.append)
    clock.now += 150
    watchdog.check()
    assert not codes, "ten times the usual is not over"
    clock.now += 51
    watchdog.check()
    assert codes == [EXIT_CODE]
    assert "health.abort_sec=100 is over" in capsys.readouterr().err
    waiting = trained(clock, 0.5, abort_sec=100.0, abort=codes.append)
    clock.now += 70
    waiting.check()
    assert codes == [EXIT_CODE]


def test_the_thread_looks_by_itself_and_ends(capsys, monkeypatch):
    monkeypatch.setattr(module, "STALL_SEC", 0.05)
    done = threading.Event()
    with Watchdog(abort_sec=0.1, check_sec=0.01, abort=lambda code: done.set()) as watchdog:
        for step in range(3):
            watchdog.beat("training", step)
        assert done.wait(5)
    assert "in wait" in capsys.readouterr().err, "where this thread stood"
    assert "watchdog" not in {thread.name for thread in threading.enumerate()}


def test_the_watch_goes_on_where_the_terminal_hangs(clock, monkeypatch):
    class Stuck:
        def write(self, text):
            time.sleep(1)

        def flush(self):
            pass

    codes = []
    watchdog = trained(clock, 0.5, abort_sec=61.0, abort=codes.append)
    monkeypatch.setattr(module, "_PRINT_SEC", 0.01)
    monkeypatch.setattr(module.sys, "stderr", Stuck())
    clock.now += 62
    watchdog.check()
    assert codes == [EXIT_CODE]


def test_a_beat_costs_next_to_nothing():
    watchdog = Watchdog()
    start = time.perf_counter()
    for step in range(10000):
        watchdog.beat("training", step)
    assert (time.perf_counter() - start) / 10000 < 1e-4
