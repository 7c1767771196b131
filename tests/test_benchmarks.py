"""Every benchmark runs, shrunken; what it measures is not looked at."""

import json
import re

import jax
import numpy as np
import pytest

from benchmarks import bench_data_tf, bench_ops
from stylegan_jax.data import sources
from stylegan_jax.plan import planner, targets, wire
from tests.commands import ROOT, run_module

SMALLEST_RECIPE = "--config=configs/ffhq.py:smoke,config=E,G=skip,D=skip"
SMALLEST = ["--config.data.resolution=4", "--config.loss.pl_weight=0", "--config.loss.r1_gamma=0"]
SMALLEST += ["--config.metrics.swd_kimg=0"]


@pytest.fixture
def table(monkeypatch, capsys):
    """Runs a benchmark and returns what it printed."""

    def run(name, *options, **changes):
        run_module(monkeypatch, [f"benchmarks.{name}", *options], **changes)
        return capsys.readouterr().out

    return run


def test_none_is_forgotten():
    text = "".join(path.read_text() for path in (ROOT / "tests").glob("test_*.py"))
    for path in (ROOT / "benchmarks").glob("*.py"):
        assert re.search(rf'"{path.stem}"|import.* {path.stem}\b', text), path.name


def test_a_step(table):
    out = table("bench_step", SMALLEST_RECIPE, "--repeats=1", *SMALLEST)
    assert re.search(r"4 px, batch 16\n.*\n +Gmain .*\n +Dmain ", out)
    assert re.search(r"average iteration \d+\.\d ms, \d+\.\d images/s; compiled in", out)


@pytest.mark.slow
def test_growth(table):
    out = table("growth", "--model=progan", "--resolution=4", "--seconds")
    # A network of one resolution is the same, grown or not.
    assert re.search(r"^ +4 +\d+\.\d +1\.00 +\d+\.\d +1\.00 +\d+\.\d +\d+\.\d\d$", out, re.M)


def test_ops(monkeypatch, capsys):
    every = list(bench_ops.formulations())
    x, weight = np.ones((1, 8, 8, 2), np.float32), np.ones((3, 3, 2, 2), np.float32)
    for _, _, op in every:
        for function in bench_ops.derivatives(op):
            jax.eval_shape(function, x, weight)
    monkeypatch.setattr(bench_ops, "formulations", lambda: every[3:6:2])
    monkeypatch.setattr("sys.argv", ["bench_ops", "--batch_size=1", "--sides=8", "--channels=2"])
    bench_ops.main()
    out = capsys.readouterr().out
    assert len(re.findall(r"^\| conv 3x3 up \| 8, 2 \|", out, re.M)) == 2


def test_data(table, monkeypatch):
    monkeypatch.setattr(bench_data_tf, "WARM_UP_SEC", 0.01)
    monkeypatch.setattr(sources, "CACHE_LIMIT_BYTES", 70 * 3 * 16 * 16)
    options = ["--resolutions=16", "--seconds=0.01", "--repeats=2"]
    out = table("bench_data", *options, WORKERS=(0,))
    for encoding in ("PNG", "QOI", "raw"):
        assert f"| 16 px, {encoding}, 0 workers |" in out


class _Compiler(planner.Compiler):
    """Finds the same for every program, and fits up to four images per device."""

    def survey(self):
        num_devices = np.prod(self._target.shape).item() * self._target.num_slices
        program = dict(level=0, program="Gmain", label="Gmain", interval=1, reads_batch=True)
        found = dict(num_devices=num_devices, num_batch_devices=num_devices, num_hosts=1)
        found |= dict(memory_bytes=2**34, state_bytes=2**20, checkpoint_bytes=2**20)
        return found | dict(host_checkpoint_bytes=2**19, programs=[program])

    def run(self, jobs, memory_bytes, *, config=None, only_memory=False):
        batch = self._config.schedule.batch_size // self.survey()["num_devices"]
        found = dict(fits=batch <= 4, total_bytes=2**30, model_flops=1e12, flops=2e12)
        found |= dict(traffic_bytes=1e9, wire=wire.Wire(3e7, 0.002, 1e7, 0.001)._asdict())
        if not only_memory:
            found["schedule_sec"] = 0.1
        return [job | found for job in jobs]


@pytest.fixture
def no_compilers(monkeypatch):
    """Those of TPUs and GPUs, which this machine need not have, are stood in for."""
    monkeypatch.setattr(planner, "Compiler", _Compiler)
    monkeypatch.setattr(targets, "check_installed", lambda target: None)


@pytest.mark.usefixtures("no_compilers")
def test_plans(table):
    options = ["--topologies=v5e:2x2,h100:1x4", "--resolutions=16"]
    out = table("bench_plan", "--config=configs/ffhq.py:smoke", *options)
    # Eight images per device do not fit, four do.
    assert re.search(r"^\| v5e:2x2 \| 16 \| tpu \| 4 \| 1\.00 \| \d", out, re.M)
    assert re.search(r"^\| h100:1x4 \| 16 \| plain \| 4 \| 1\.00 \| \d", out, re.M)


@pytest.mark.usefixtures("no_compilers")
def test_pods(table, tmp_path):
    results = f"--results={tmp_path / 'pods.json'}"
    options = ["--config=configs/ffhq.py:smoke", results, "--resolutions=16"]
    options += ["--batch_per_device=4", "--topologies=v5e:2x2", "--chips=v5e", "--most_devices=16"]
    out = table("bench_pods", *options, "--tables=plan,times,scaling")
    assert re.search(r"^\| v5e:2x2 \| 16 \| 16 \| 1\.00 \| 16\.00 \|", out, re.M)
    assert re.search(r"^\| v5e:2x4 \| 16 \| \d+\.\d \|$", out, re.M)
    assert re.search(r"^\| 16 \| v5e:4x4 \| 16 \| 64 \|.*%", out, re.M)
    assert len(json.loads((tmp_path / "pods.json").read_text())) == 4
    again = table("bench_pods", *options, "--tables=scaling", "--compute_ms=16:100")
    assert "| 100.0 |" in again


def test_sampling(table):
    """The first pictures are drawn by processes of their own; here, two of them at 4 px."""
    out = table("bench_sampling", "--resolution=4", "--batches=2", "--repeats=1")
    assert re.search(
        r"empty cache: [\d.]+ s\n.*filled cache: [\d.]+ s\nbatch 2: [\d.]+ images/s", out
    )
    assert out.count("7 images, ") == 2
