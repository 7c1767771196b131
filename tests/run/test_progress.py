"""The log, the bar, the tables."""

import io
import logging
import os
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl import logging as absl_logging
from ml_collections import ConfigDict
from tqdm import tqdm

from stylegan_jax.run.progress import (
    ProgressBar,
    announce_compile,
    param_table,
    prepare_terminal,
    tee_log,
    tell_reasons,
)


def test_tee_log_copies_what_the_terminal_shows(tmp_path, capsys):
    """Prints, warnings, absl and Python logging reach both; streams are put back; runs append."""
    handler = logging.StreamHandler(sys.stderr)
    logging.getLogger().addHandler(handler)
    out, err = sys.stdout, sys.stderr
    try:
        for run in ("one", "two"):
            with tee_log(tmp_path):
                print("print", run)
                print("error", run, file=sys.stderr)
                logging.getLogger("some.library").warning("library %s", run)
                absl_logging.warning("absl %s", run)
                print("\x1b[31mred\x1b[0m no newline", end="")
            assert sys.stdout is out and sys.stderr is err and handler.stream is err
    finally:
        logging.getLogger().removeHandler(handler)
    log = (tmp_path / "log.txt").read_text()
    for run in ("one", "two"):
        for text in (f"print {run}\n", f"error {run}\n", f"library {run}\n", f"absl {run}\n"):
            assert log.count(text) == 1, text
    assert log.count("red no newline\n") == 2
    shown = capsys.readouterr()
    assert "print two" in shown.out and "library two" in shown.err


def test_tee_log_keeps_the_traceback(tmp_path):
    """The log of a crashed run says why."""
    with pytest.raises(ZeroDivisionError), tee_log(tmp_path):
        print("before")
        1 / 0  # noqa: B018
    log = (tmp_path / "log.txt").read_text()
    assert "before\nTraceback" in log and "ZeroDivisionError" in log


def test_tee_log_is_not_flooded_by_progress_bars(tmp_path):
    """A bar of a thousand states leaves one line; Windows line ends are not taken for a bar."""
    with tee_log(tmp_path):
        for _ in tqdm(range(1000), file=sys.stderr, mininterval=0, ascii=True):
            pass
        sys.stdout.write("split\r")
        sys.stdout.write("\nwhole\r\n")
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert len([line for line in lines if line]) == 3
    assert "1000/1000" in lines[0] and lines[-2:] == ["split", "whole"]


class FakeClock:
    """Seconds that pass when told."""

    now = 0.0

    def __call__(self):
        """Returns the time."""
        return self.now


def test_progress_in_plain_lines():
    """Without a terminal each tick prints one line; the compiling first tick is forgotten."""
    clock, stream = FakeClock(), io.StringIO()
    with ProgressBar(100_000, nimg=10_000, stream=stream, clock=clock) as bar:
        clock.now = 100.0
        assert bar.update(11_000) == "11.0/100.0 kimg  10.0 img/s  ETA 2h 28m"
        clock.now = 110.0
        line = bar.update(12_000, {"G": 0.71234, "D": 1.25})
        assert line == "12.0/100.0 kimg  100.0 img/s  ETA 14m 40s  G 0.712  D 1.25"
    assert stream.getvalue().splitlines()[1] == line
    assert "\r" not in stream.getvalue()


def test_progress_speed_is_that_of_recent_ticks():
    """A change of speed shows fully after one window."""
    clock, stream = FakeClock(), io.StringIO()
    bar = ProgressBar(10**6, stream=stream, clock=clock)
    nimg = 0
    for speed in [10] * 20 + [50] * 10:
        clock.now += 1
        nimg += speed
        line = bar.update(nimg)
    assert "50.0 img/s" in line and "ETA 5h 33m" in line


def test_progress_on_a_terminal():
    """A terminal gets one line that is written over."""

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream, clock = Terminal(), FakeClock()
    with ProgressBar(2000, stream=stream, clock=clock) as bar:
        for nimg in (1000, 2000):
            clock.now += 10
            bar.update(nimg, {"G": 0.5})
    shown = stream.getvalue()
    assert shown.count("\r") >= 2 and shown.count("\n") == 1
    assert "50%" in shown and "100%" in shown and "2.0/2.0 kimg  100.0 img/s  ETA 0s" in shown


def test_progress_before_any_image_and_disabled():
    """No speed means no estimate; other processes print nothing."""
    stream = io.StringIO()
    line = ProgressBar(10**9, stream=stream, clock=FakeClock(), enabled=False).update(0)
    assert line.endswith("ETA ?") and stream.getvalue() == ""


def test_param_table():
    """Paths in natural order, shapes, counts and the total; abstract arrays will do."""
    params = {
        "b16": {"weight": jax.ShapeDtypeStruct((3, 3, 512, 512), jnp.float32)},
        "b4": {"const": np.zeros((4, 4, 8)), "strength": np.zeros(())},
    }
    lines = param_table(params, "G").splitlines()
    assert lines[0].split() == ["G", "shape", "parameters"]
    assert lines[2].split() == ["b4/const", "4", "x", "4", "x", "8", "128"]
    assert lines[3].split() == ["b4/strength", "scalar", "1"]
    assert lines[4].split()[0] == "b16/weight" and lines[4].endswith("2,359,296")
    assert lines[-1].split() == ["total", "2,359,425"]
    assert len({len(line) for line in lines}) == 1


def test_announce_compile(capsys):
    """Says what it waits for, then how long it took, also on failure."""
    with announce_compile("G main", 1, 4):
        assert capsys.readouterr().out == "compiling G main (1/4) ...\n"
    assert "G main (1/4): compiled in 0.0 s" in capsys.readouterr().out
    with pytest.raises(RuntimeError), announce_compile("D"):
        raise RuntimeError
    assert "D: failed after 0.0 s" in capsys.readouterr().out


def open_terminal(descriptor):
    return open(descriptor, "w", encoding="ascii", buffering=1)


def test_names_that_cannot_be_shown_are_escaped(tmp_path, monkeypatch):
    """A letter that an ASCII terminal lacks, and a byte of a file's name that is no text."""
    with open_terminal(tmp_path / "terminal") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        prepare_terminal()
        with tee_log(tmp_path):
            print("data: \u00e4\udcff")
    assert (tmp_path / "terminal").read_bytes() == b"data: \\xe4\\udcff\n"
    assert (tmp_path / "log.txt").read_text(encoding="utf-8") == "data: \u00e4\\udcff\n"


def test_output_that_nobody_reads_goes_to_the_log_alone(tmp_path, monkeypatch):
    """As behind `| head -1`, or once the window is closed; so does what is not Python's."""
    reading, writing = os.pipe()
    with open_terminal(writing) as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        monkeypatch.setattr(sys, "stderr", terminal)
        prepare_terminal()
        with tee_log(tmp_path):
            print("first")
            assert os.read(reading, 100) == b"first\n"
            os.close(reading)
            print("second")
            print("third", file=sys.stderr, flush=True)
            os.write(writing, b"straight to the terminal")
    assert (tmp_path / "log.txt").read_text() == "first\nsecond\nthird\n"


def test_a_rule_says_what_it_chose_and_why(capsys):
    """What is given besides is not the rule's."""
    config = ConfigDict(
        dict(loss=dict(gamma=0.25), batch=64, reasons="batch: fits\nloss.gamma: R1")
    )
    tell_reasons(config, {})
    lines = ["preset: batch = 64: fits", "preset: loss.gamma = 0.25: R1"]
    assert capsys.readouterr().out.splitlines() == lines
    tell_reasons(config, {"batch": 64})
    lines[0] = "preset: batch is not the rule's but 64, as given"
    assert capsys.readouterr().out.splitlines() == lines
    config.reasons = ""
    tell_reasons(config, {})
    assert not capsys.readouterr().out
