"""Facts, alarms and events of a log; logs that were cut short or hold other things."""

from stylegan_jax.configs import ffhq
from stylegan_jax.run.alarms import STRONG_TICKS
from stylegan_jax.run.health import QUIET_TICKS, HealthMonitor
from stylegan_jax.tools.report.log import TAIL_LINES, Alarm, read_log
from stylegan_jax.training.schedules import Level
from tests.tools.report.conftest import LOG

START = "devices: 1 x cpu\n"


def events(text):
    return [(event.kind, event.kimg) for event in read_log(text).events]


def test_facts_alarm_and_settings():
    log = read_log(LOG)
    assert log.facts == {
        "devices": "8 x TPU v5 lite",
        "data": "portraits, 499 images of 32x32 pixels, 3 channel(s), uint8, no labels",
        "G": "stylegan2: 246,076 parameters",
        "D": "stylegan2: 218,449 parameters",
    }
    assert log.overrides == ("loss.r1_gamma", "optimizer.betas", "seed")
    assert log.alarms == [
        Alarm(
            1.0,
            "D is too strong",
            "Loss/signs/real is 0.972 and Loss/signs/fake -0.981: nearly all are told",
            "D tells nearly every image",
            "raise loss.r1_gamma from 5 to 15; lower optimizer.D_lr from 0.003 to 0.0015",
            over_kimg=2.0,
        )
    ]
    assert events(LOG) == [("start", None)]


def test_what_ends_a_run():
    killed = START + "starting a new run\n1.0/3.0 kimg  5 img/s\n" + START
    assert events(killed) == [("start", None), ("killed", 1.0)]
    stopped = "1.0/3.0 kimg  5 img/s\nstopped and saved; the same command continues\n"
    assert events(START + stopped + START) == [("stop", 1.0)]
    finished = START + "3.0/3.0 kimg  5 img/s\n" + START + "continuing at 3.000 kimg\n"
    assert events(finished) == [("resume", 3.0)]
    back = "ROLLBACK: The run has diverged at 2 kimg: swd is 9.\ndevices: 1 x cpu\n"
    assert events(START + back + "continuing at 1.500 kimg\n") == [
        ("rollback", None),
        ("resume", 1.5),
    ]


def test_a_trace_and_the_watchdog():
    text = (
        START
        + "2.0/3.0 kimg  5 img/s\nwatchdog: saving went on after 2m 03s\n"
        + 'Traceback (most recent call last):\n  File "x.py", line 1, in f\n    g(\n'
        + "jax.errors.JaxRuntimeError: RESOURCE_EXHAUSTED: out of memory\nNOTE: a note\n"
    )
    found = read_log(text + START).events
    assert [event.kind for event in found] == ["watchdog", "error", "note"]
    assert found[1].text == "jax.errors.JaxRuntimeError: RESOURCE_EXHAUSTED: out of memory"
    assert found[0].text == "saving went on after 2m 03s"
    # A trace that a kill cut short.
    cut = read_log("Traceback (most recent call last):\n  File ")
    assert cut.events[-1].text == "ended with an error"


def test_a_restart_replaces_facts_and_settings():
    log = read_log(LOG + "settings: seed=4\ndevices: 4 x NVIDIA H100\n")
    assert log.facts["devices"] == "4 x NVIDIA H100" and log.overrides == ("seed",)


def test_alarms_that_come_again():
    line = "ALARM at {} kimg: D tells nothing\n"
    log = read_log(
        line.format(1.0) + "alarm over at 2.0 kimg: D tells nothing\n" + line.format(3.5)
    )
    assert [(alarm.kimg, alarm.over_kimg) for alarm in log.alarms] == [(1.0, 2.0), (3.5, None)]


def test_no_log_and_a_long_one():
    assert read_log("").num_lines == 0 and read_log("").tail == []
    log = read_log("x" * 100_000 + "\n" + "line\n" * 1000)
    assert log.num_lines == 1001 and len(log.tail) == TAIL_LINES
    assert len(read_log("x" * 100_000).tail[0]) < 10_000


def test_alarms_are_those_that_a_run_prints(capsys):
    """The words of `run/health.py` are read whole."""
    monitor = HealthMonitor(ffhq.get_config())
    level = Level(resolution=1024, lod=0, batch_size=32, G_lr=0.002, D_lr=0.002)
    for number in range(1, 12 + QUIET_TICKS):
        sign = 0.99 if number < 12 else 0.1
        means = {"Loss/signs/real": sign, "Loss/signs/fake": -sign, "Grad/Gmain": 1.0}
        monitor.tick(number * 1000, means, level)
    (alarm,) = read_log(capsys.readouterr().out).alarms
    assert alarm.title == "D is too strong"
    assert (alarm.kimg, alarm.over_kimg) == (STRONG_TICKS, 11 + QUIET_TICKS)
    assert "0.990" in alarm.seen and alarm.means and "loss.r1_gamma" in alarm.advice
