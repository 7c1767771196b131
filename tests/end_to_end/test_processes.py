"""Two processes with two devices each, joined on this machine, do what one process does."""

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
TOTAL_KIMG = 0.32
# All sums over the batch run in another order on other devices.
TOLERANCE = 2e-5


# The program, with less patience for the dead.
_MAIN = """
import runpy
from stylegan_jax.training import processes
processes.HEARTBEAT_SEC = 10
runpy.run_module("stylegan_jax.main", run_name="__main__")
"""


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def settings(data_dir, *, devices, **changes):
    """Flags of the shrunken recipe in float32, without scores."""
    changes = dict(schedule__total_kimg=TOTAL_KIMG, metrics__swd_kimg=0.0) | changes
    changes |= dict(G__num_bf16_res=0, D__num_bf16_res=0, data__data_dir=data_dir)
    changes["cpu_devices"] = devices
    flags = [f"--config.{key.replace('__', '.')}={value}" for key, value in changes.items()]
    return ["--config=configs/ffhq.py:smoke", *flags]


def environment():
    """As a user has it, but with the programs that were compiled before."""
    env = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    return env | {"JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir}


class Run:
    """A run on this machine, of one process or several."""

    def __init__(self, workdir, data_dir, *, processes, devices, **changes):
        self.workdir, port = pathlib.Path(workdir), free_port()
        flags = settings(data_dir, devices=devices, **changes)
        joined = [f"--coordinator=127.0.0.1:{port}", f"--num_processes={processes}"]
        self.logs = [self.workdir.with_suffix(f".{i}.log") for i in range(processes)]
        self.processes = []
        for index, log in enumerate(self.logs):
            command = [sys.executable, "-c", _MAIN, f"--workdir={workdir}", *flags]
            if processes > 1:
                command += [*joined, f"--process_id={index}"]
            with log.open("w") as out:
                self.processes.append(
                    subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=out, stderr=out)
                )

    def wait(self, timeout=400):
        """Exit codes of all processes."""
        deadline = time.monotonic() + timeout
        try:
            return [p.wait(max(deadline - time.monotonic(), 1)) for p in self.processes]
        finally:
            self.kill()

    def wait_for(self, text, timeout=300):
        """Waits until the run has said something."""
        deadline = time.monotonic() + timeout
        while text not in self.logs[0].read_text():
            if time.monotonic() > deadline or any(p.poll() is not None for p in self.processes):
                self.kill()
                raise AssertionError(self.text())
            time.sleep(0.05)

    def kill(self):
        for process in self.processes:
            process.kill()

    def text(self):
        return "\n".join(log.read_text() for log in self.logs)

    def metrics(self):
        lines = (self.workdir / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]


def assert_same_run(got, want):
    names = ["G", "D", "G_ema"]
    (a, _), (b, _) = restore_subtree(got.workdir, names), restore_subtree(want.workdir, names)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, atol=TOLERANCE)
    assert [m["kimg"] for m in got.metrics()] == [m["kimg"] for m in want.metrics()]
    for x, y in zip(got.metrics(), want.metrics()):
        losses = {name for name in x if name.startswith("Loss/")}
        assert losses == {name for name in y if name.startswith("Loss/")}
        for name in losses:
            np.testing.assert_allclose(x[name], y[name], rtol=1e-3, atol=1e-4, err_msg=name)


@pytest.fixture(scope="module")
def alone(tmp_path_factory, data_dir):
    """The undisturbed run of one process with four devices."""
    run = Run(tmp_path_factory.mktemp("alone") / "run", data_dir, processes=1, devices=4)
    assert run.wait() == [0], run.text()
    return run


def test_two_processes_stop_together_and_one_goes_on(tmp_path, data_dir, alone):
    both = Run(tmp_path / "run", data_dir, processes=2, devices=2)
    both.wait_for("first step done")
    both.processes[1].send_signal(signal.SIGTERM)  # to the one that does not speak
    assert both.wait() == [42, 42], both.text()
    assert "stopped and saved" in both.text()
    saved = [p.name for p in (both.workdir / "checkpoints").iterdir() if p.name.isdigit()]
    stopped_at = max(map(int, saved))
    assert 0 < stopped_at < 1000 * TOTAL_KIMG
    # Another number of processes and of devices.
    rest = Run(tmp_path / "run", data_dir, processes=1, devices=2)
    assert rest.wait() == [0], rest.text()
    assert f"continuing at {stopped_at / 1000:.3f} kimg" in rest.text()
    assert_same_run(rest, alone)


def test_a_dead_process_ends_the_other(tmp_path, data_dir):
    both = Run(tmp_path / "run", data_dir, processes=2, devices=2, schedule__total_kimg=100.0)
    both.wait_for("first step done")
    both.processes[1].kill()
    start = time.monotonic()
    codes = both.wait(timeout=120)
    assert codes[0] not in (0, 42) and codes[1] == -signal.SIGKILL, both.text()
    assert time.monotonic() - start < 100


def test_the_slurm_script_trains_with_two_tasks(tmp_path, data_dir):
    fakes = ROOT / "tests" / "launch" / "fakes"
    env = environment() | {
        "PATH": f"{fakes}:{os.environ['PATH']}",
        "FAKE_LOG": str(tmp_path / "asked.txt"),
        "SLURM_JOB_ID": str(free_port()),  # jax takes its port from the job's number
        "TRAIN_COMMAND": f"{sys.executable} -m stylegan_jax.main",
    }
    flags = settings(data_dir, devices=2, schedule__total_kimg=0.064)
    command = ["bash", str(ROOT / "launch/slurm/train.sbatch"), f"--workdir={tmp_path}/run"]
    done = subprocess.run(
        [*command, *flags], cwd=ROOT, env=env, capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "process 0 of 2" in done.stdout and "devices: 4 x cpu" in done.stdout
    kimg = [
        json.loads(s)["kimg"] for s in (tmp_path / "run/metrics.jsonl").read_text().splitlines()
    ]
    assert kimg[-1] == 0.064
