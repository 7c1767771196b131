"""Runs in a bucket: what they write, how they continue, what is drawn from them.

Processes of their own: the clients read where the bucket is when they are first used.
"""

import io
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.end_to_end.command import python_module
from tests.gcs import serve

ROOT = pathlib.Path(__file__).parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def gcs():
    with serve("bucket") as server:
        yield server


def run_module(gcs, name, *arguments, check=True):
    """Runs `python -m stylegan_jax.NAME` against the fake bucket; its output."""
    env = os.environ | gcs.environment() | {"PYTHONPATH": str(ROOT)}
    command = [*python_module(name), *arguments]
    result = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert not check or result.returncode == 0, result.stderr
    return result.stdout + result.stderr


def train(gcs, data_dir, total_kimg):
    return run_module(
        gcs,
        "main",
        "--config=configs/quickstart.py:smoke,model=stylegan1",
        "--workdir=gs://bucket/run",
        f"--config.data.data_dir={data_dir}",
        "--config.metrics.kimg=0",
        f"--config.schedule.total_kimg={total_kimg}",
    )


@pytest.fixture(scope="module")
def first_half(gcs, data_dir):
    return train(gcs, data_dir, 0.08)


def picture_size(data):
    with Image.open(io.BytesIO(data)) as picture:
        return picture.size


def test_a_run_writes_its_files_into_the_bucket(gcs, first_half):
    assert "starting a new run" in first_half and "could not be written" not in first_half
    names = [name.removeprefix("run/") for name in gcs.names("bucket")]
    assert {"config.json", "growth.png", "log.txt", "metrics.jsonl", "reals.png"} <= set(names)
    assert {"samples/fakes_000000.000.png", "samples/fakes_000000.080.png"} <= set(names)
    assert {"checkpoints/80/commit_success.txt", "checkpoints/80/meta/metadata"} <= set(names)
    assert picture_size(gcs.read("bucket", "run/reals.png")) == (64, 64)
    assert json.loads(gcs.read("bucket", "run/config.json"))["schedule"]["batch_size"] == 16
    # Each picture ends a file of events, of which no byte is sent again.
    events = [gcs.read("bucket", f"run/{name}") for name in names if name.startswith("events.")]
    assert [b"PNG" in data for data in events] == [True] * 4 + [False]
    assert b"Loss/G/loss" in b"".join(events)


def test_the_same_command_continues_the_run(gcs, first_half, data_dir, tmp_path):
    output = train(gcs, data_dir, 0.112)
    assert "continuing at 0.080 kimg" in output and "damaged" not in output
    lines = gcs.read("bucket", "run/metrics.jsonl").decode().splitlines()
    ticks = [line["kimg"] for line in map(json.loads, lines) if "Timing/img_per_sec" in line]
    assert ticks == [0.032, 0.064, 0.08, 0.096, 0.112]
    log = gcs.read("bucket", "run/log.txt").decode()
    assert log.index("starting a new run") < log.index("continuing at 0.080 kimg")
    width, height = picture_size(gcs.read("bucket", "run/growth.png"))
    assert height == 64, "a row of each half"

    local = tmp_path / "grid.png"
    for out in (local, "gs://bucket/out/grid.png", "gs://bucket/out/single"):
        run_module(
            gcs, "tools.sample", "--checkpoint=gs://bucket/run", "--seeds=0-3", f"--out={out}"
        )
    assert gcs.read("bucket", "out/grid.png") == local.read_bytes()
    singles = [f"out/single/seed{seed:04d}.png" for seed in range(4)]
    assert [n for n in gcs.names("bucket") if n.startswith("out/single")] == singles
    with Image.open(local) as grid, Image.open(io.BytesIO(gcs.read("bucket", singles[0]))) as one:
        np.testing.assert_array_equal(np.asarray(grid)[:16, :16], np.asarray(one))


_CHECKPOINTS = """
import sys
import jax.numpy as jnp
from stylegan_jax.run.checkpoint import CheckpointStore
from stylegan_jax.run.restore import restore_subtree

META = {"config": {}, "data": {}}

def state(value):
    return {"w": jnp.full((4, 4), value, jnp.float32)}

with CheckpointStore("gs://bucket/states", best_metric="swd") as store:
    if sys.argv[1] == "save":
        for nimg in range(1, 6):
            store.save(state(nimg), nimg, META, {"swd": abs(nimg - 2)})
        store.save(state(50), 5, META, force=True)
    restored, meta = store.restore_latest(state(0))
    print("restored", float(restored["w"][0, 0]), meta["nimg"], store.steps())
    print("best", float(restore_subtree("gs://bucket/states", ["w"], step="best")[0]["w"][0, 0]))
"""


def run_checkpoints(gcs, verb):
    command = [sys.executable, "-c", _CHECKPOINTS, verb]
    env = os.environ | gcs.environment() | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)


def step_names(gcs):
    names = [name.split("/") for name in gcs.names("bucket")]
    return sorted({name[2] for name in names if name[:2] == ["states", "checkpoints"]})


def test_checkpoints_in_a_bucket_are_pruned_replaced_and_told_from_the_network(gcs):
    saved = run_checkpoints(gcs, "save")
    assert "restored 50.0 5 [2, 4, 5]" in saved.stdout and "best 2.0" in saved.stdout
    assert step_names(gcs) == ["2", "4", "5"]

    # Objects that must not be read, by TensorStore or by gcsfs, are no damage.
    for refused in ("5%2Fstate%2Fmanifest", "5%2Fmeta%2Fmetadata"):
        gcs.fault = lambda method, path, part=refused: 403 if part in path else None
        result = run_checkpoints(gcs, "restore")
        gcs.fault = lambda method, path: None
        assert result.returncode and "damaged" not in result.stderr, result.stderr
        assert step_names(gcs) == ["2", "4", "5"]

    for name in [n for n in gcs.names("bucket") if n.startswith("states/checkpoints/5/state/d/")]:
        del gcs.buckets["bucket"][name]
    result = run_checkpoints(gcs, "restore")
    assert "restored 4.0 4" in result.stdout and "5 is damaged" in result.stderr
    assert step_names(gcs) == ["2", "4", "5.corrupt"]
