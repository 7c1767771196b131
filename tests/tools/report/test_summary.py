"""The head of the page: state, best scores, checkpoints, times."""

import dataclasses
import json
import os

import pytest

from stylegan_jax.tools.report.curves import make_curves
from stylegan_jax.tools.report.reading import Checkpoint, read_runs
from stylegan_jax.tools.report.summary import (
    Best,
    is_lower_better,
    list_checkpoints,
    summarise,
)
from tests.tools.report.conftest import ticks

NOW = 1_800_000_000


def read(folder):
    for name in ("metrics.jsonl", "log.txt", "config.json"):
        if (folder / name).exists():
            os.utime(folder / name, (NOW - 60, NOW - 60))
    return read_runs([str(folder)])[0]


def test_a_run_half_way(make_run):
    found = summarise(read(make_run()), now=NOW)
    assert (found.kimg, found.total_kimg, found.state) == (2.0, 3.0, "stopped")
    assert found.state_text == "stopped before its end, silent for 1m 00s"
    assert found.best == [Best("swd", 50.0, 2.0)] and found.alarm_hours == ["36s"]
    facts = dict(found.facts)
    assert facts["Training"] == "1m 12s" and facts["Hardware"] == "8 x TPU v5 lite"
    assert facts["Speed"] == "27.8 images / s, 35.97 s per kimg"
    assert facts["Last written"] == "2027-01-15 07:59 UTC" and "Started" not in facts
    assert facts["Command line"] == "loss.r1_gamma, optimizer.betas, seed"


@pytest.mark.parametrize(
    ("silence", "owner", "kimg", "state", "words"),
    [
        (60, True, 2.0, "running", "running on vm"),
        (7200, True, 2.0, "silent", "silent for 2h 00m: it hangs, or was killed"),
        (7200, False, 2.0, "stopped", "stopped before its end, silent for 2h 00m"),
        (60, True, 3.0, "finished", "finished"),
    ],
)
def test_states(make_run, silence, owner, kimg, state, words):
    folder = make_run(lines=[{"kimg": kimg, "swd": 1.0}])
    if owner:
        (folder / ".run.json").write_text('{"host": "vm"}')
    found = summarise(read(folder), now=NOW - 60 + silence)
    assert (found.state, found.state_text) == (state, words)


def test_nothing_but_a_log(make_run):
    folder = make_run()
    for name in ("config.json", "metrics.jsonl"):
        (folder / name).unlink()
    found = summarise(read(folder), now=NOW)
    assert (found.kimg, found.total_kimg, found.best, found.checkpoints) == (0, None, [], [])
    assert found.alarm_hours == [""] and found.grid_kimg == float("inf")


def test_time_that_was_given_up(make_run):
    found = summarise(read(make_run(lines=ticks() + ticks()[2:])), now=NOW)
    assert dict(found.facts)["Training"] == "1m 12s, and 36s that were given up"
    # Between two ticks a grid may be drawn; later ones are of what was given up.
    assert found.grid_kimg == 2.5


def test_best_scores(make_run):
    lines = [
        {"kimg": 1.0, "swd": 5.0, "swd_16": 1.0, "memory": 0.1, "fid": "nan", "precision": 0.2},
        {"kimg": 2.0, "swd": "nan", "fid": 9.0, "precision": 0.6, "Loss/G/loss": 0.0},
        {"kimg": 3.0, "swd": 7.0, "fid": 8.0, "precision": 0.4},
    ]
    folder = make_run(lines=lines, settings={"metrics.best": "fid"})
    evaluated = [
        {"metric": "kid", "nimg": 1000, "values": {"kid": 3.0, "n": None, "ok": True}},
        {"metric": "kid", "nimg": 2000, "values": {"kid": 2.0}},
        {"metric": "kid", "nimg": 3000, "values": {"kid": "nan"}},
    ]
    (folder / "evaluations.jsonl").write_text("\n".join(map(json.dumps, evaluated)))
    assert summarise(read(folder), now=NOW).best == [
        Best("fid", 8.0, 3.0),
        Best("precision", 0.6, 2.0),
        Best("swd", 5.0, 1.0),
        Best("kid", 2.0, 2.0),
    ]


@pytest.mark.parametrize("name", ["fid50k_full", "kid", "swd", "ppl", "presence", "isolation"])
def test_lower_is_better(name):
    assert is_lower_better(name)


@pytest.mark.parametrize(
    "name",
    [
        "is50k_mean",
        "pr50k3_recall",
        "precision",
        "EQT",
        "eqt5k_int",
        "eqr50k",
        "psnr",
        "is",
        "coverage",
    ],
)
def test_higher_is_better(name):
    assert not is_lower_better(name)


def test_checkpoints(make_run):
    lines = [{"kimg": k, "swd": 10 - k} for k in (0.0, 0.5, 1.0, 1.5, 2.0)]
    folder = make_run(lines=lines, settings={"io.checkpoint_kimg": 0.5})
    (folder / "evaluations.jsonl").write_text(
        '{"metric": "kid", "nimg": 1000, "values": {"kid": 3.0}}\n'
        '{"metric": "kid", "nimg": 1500, "values": {"kid": 2.0}}\n'
    )
    run = read(folder)
    saved = (
        # Batches of 4: the interval is reached a little behind it.
        Checkpoint(1000, "kept", {"swd": 9.0}, "swd"),
        Checkpoint(1504, "diverged", {"swd": 1.0}, "swd"),
        Checkpoint(2000, "kept", {"swd": float("nan")}, "swd"),
    )
    run = dataclasses.replace(run, checkpoints=saved)
    rows = list_checkpoints(run, make_curves(run.records), 2.0)
    assert [(row.kimg, row.state, row.is_best) for row in rows] == [
        (0.5, "deleted", False),
        (1.0, "kept", True),
        (1.504, "diverged", False),
        (2.0, "kept", False),
    ]
    assert rows[0].scores == {"swd": 9.5} and rows[1].scores == {"swd": 9.0, "kid": 3.0}
