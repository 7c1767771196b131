"""Two processes with two devices each, joined on this machine, do what one process does."""

import itertools
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from stylegan_jax.training.checkpoint import restore_subtree

ROOT = pathlib.Path(__file__).parents[2]
FAKES = ROOT / "tests" / "launch" / "fakes"
TOTAL_KIMG, TICK_KIMG = 0.096, 0.016
# All sums over the batch run in another order on other devices.
TOLERANCE = 2e-5

# The program, with less patience for the dead; it leaves its number for whoever wants to signal it.
MAIN = """
import os, pathlib, runpy, sys
from stylegan_jax.training import processes
processes.HEARTBEAT_SEC = 10
flag = [f for f in sys.argv if f.startswith("--process_id=")]
number = flag[0].split("=")[1] if flag else os.environ.get("SLURM_PROCID", 0)
pathlib.Path(f"{os.environ['PIDS']}/{number}").write_text(str(os.getpid()))
runpy.run_module("stylegan_jax.main", run_name="__main__")
"""


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Run:
    """Processes of a run in float32, without path lengths and scores: three programs."""

    def __init__(self, workdir, data_dir, commands, *, devices, total_kimg=TOTAL_KIMG, **env):
        self.workdir = pathlib.Path(workdir)
        settings = {
            "schedule.total_kimg": total_kimg,
            "metrics.swd_kimg": 0,
            "cpu_devices": devices,
        }
        settings |= {"G.num_bf16_res": 0, "D.num_bf16_res": 0, "loss.pl_weight": 0}
        settings |= {"data.data_dir": data_dir, "io.tick_kimg": TICK_KIMG}
        flags = ["--config=configs/ffhq.py:smoke", f"--workdir={workdir}"]
        flags += [f"--config.{key}={value}" for key, value in settings.items()]
        self.pids = self.workdir.with_suffix(f".pids{time.monotonic()}")
        self.pids.mkdir(parents=True)
        whole = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
        whole |= {"JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir}
        whole |= {"PIDS": str(self.pids), **env}
        self.log = self.pids / "log"
        with self.log.open("w") as out:
            self.processes = [
                subprocess.Popen([*command, *flags], cwd=ROOT, env=whole, stdout=out, stderr=out)
                for command in commands
            ]

    def pid(self, number):
        return int((self.pids / str(number)).read_text())

    def wait(self, timeout=400):
        """Exit codes of all commands."""
        deadline = time.monotonic() + timeout
        try:
            return [p.wait(max(deadline - time.monotonic(), 1)) for p in self.processes]
        finally:
            self.kill()

    def wait_for(self, text, timeout=300):
        """Waits until the run has said something."""
        deadline = time.monotonic() + timeout
        while text not in self.text():
            if time.monotonic() > deadline or any(p.poll() is not None for p in self.processes):
                self.kill()
                raise AssertionError(self.text())
            time.sleep(0.05)

    def kill(self):
        for process in self.processes:
            process.kill()

    def text(self):
        return self.log.read_text()

    def metrics(self):
        lines = (self.workdir / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]


def python(*flags):
    return [sys.executable, "-c", MAIN, *flags]


def assert_same_run(got, want, *, stopped_kimg):
    """Equal weights, and equal losses in the ticks that the stop did not cut."""
    names = ["G", "D", "G_ema"]
    (a, _), (b, _) = restore_subtree(got.workdir, names), restore_subtree(want.workdir, names)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, atol=TOLERANCE)
    assert [m["kimg"] for m in got.metrics()] == [m["kimg"] for m in want.metrics()]
    whole = [m["kimg"] - TICK_KIMG >= stopped_kimg for m in want.metrics()]
    assert sum(whole) >= 2
    for x, y in itertools.compress(zip(got.metrics(), want.metrics()), whole):
        losses = {name for name in x if name.startswith("Loss/")}
        assert losses == {name for name in y if name.startswith("Loss/")}
        for name in losses:
            np.testing.assert_allclose(x[name], y[name], rtol=1e-3, atol=1e-4, err_msg=name)


@pytest.fixture(scope="module")
def alone(tmp_path_factory, data_dir):
    """The undisturbed run of one process with four devices."""
    run = Run(tmp_path_factory.mktemp("alone") / "run", data_dir, [python()], devices=4)
    assert run.wait() == [0], run.text()
    return run


def test_tasks_of_a_slurm_job_stop_together_and_one_process_goes_on(tmp_path, data_dir, alone):
    program = tmp_path / "main.py"
    program.write_text(MAIN)
    both = Run(
        tmp_path / "run",
        data_dir,
        [["bash", str(ROOT / "launch/slurm/train.sbatch")]],
        devices=2,
        PATH=f"{FAKES}:{os.environ['PATH']}",
        PYTHONPATH=str(ROOT),
        FAKE_LOG=str(tmp_path / "asked.txt"),
        SLURM_JOB_ID=str(free_port()),  # jax takes its port from the job's number
        TRAIN_COMMAND=f"{sys.executable} {program}",
    )
    both.wait_for("compiling")  # it stops in the first iteration that all can agree on
    assert "process 0 of 2" in both.text() and "devices: 4 x cpu" in both.text()
    os.kill(both.pid(1), signal.SIGTERM)  # to the one that does not speak
    both.wait()
    assert "exit code 42" in both.text() and "asking to be queued again" in both.text()
    assert both.text().count("stopped and saved") == 1
    saved = [p.name for p in (both.workdir / "checkpoints").iterdir() if p.name.isdigit()]
    stopped_at = max(map(int, saved))
    assert 0 < stopped_at < 1000 * TOTAL_KIMG
    # Another number of processes and of devices.
    rest = Run(tmp_path / "run", data_dir, [python()], devices=2)
    assert rest.wait() == [0], rest.text()
    assert f"continuing at {stopped_at / 1000:.3f} kimg" in rest.text()
    assert_same_run(rest, alone, stopped_kimg=stopped_at / 1000)


def test_a_dead_process_ends_the_other(tmp_path, data_dir):
    joined = [f"--coordinator=127.0.0.1:{free_port()}", "--num_processes=2"]
    commands = [python(*joined, f"--process_id={number}") for number in range(2)]
    both = Run(tmp_path / "run", data_dir, commands, devices=2, total_kimg=100.0)
    both.wait_for("first step done")
    both.processes[1].kill()
    start = time.monotonic()
    codes = both.wait(timeout=120)
    assert codes[0] not in (0, 42) and codes[1] == -signal.SIGKILL, both.text()
    assert time.monotonic() - start < 100
