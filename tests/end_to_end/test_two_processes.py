"""Two processes with two devices each, joined on this machine, do what one process does."""

import itertools
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from PIL import Image

from stylegan_jax.run.restore import restore_subtree
from tests.compiler import FAST_FLAGS

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[2]
FAKES = ROOT / "tests" / "launch" / "fakes"
TOTAL_KIMG, TICK_KIMG = 0.096, 0.016
# All sums over the batch run in another order on other devices.
TOLERANCE = 2e-5

# The program, with less patience for the dead. Of each process it leaves the id, for whoever wants
# to signal it, and the names of the files that it opens to write. One of them can be told to die.
# They compile in turn, so that the second one finds the programs in the cache, and optimise little:
# a few iterations do not repay it.
MAIN = """
import os, pathlib, runpy, signal, sys
from stylegan_jax import train
from stylegan_jax.run import processes, watchdog
from stylegan_jax.training import programs
processes.HEARTBEAT_SEC = 10
flag = [f for f in sys.argv if f.startswith("--process_id=")]
number = flag[0].split("=")[1] if flag else os.environ.get("SLURM_PROCID", "0")
pathlib.Path(f"{os.environ['NOTES']}/pid{number}").write_text(str(os.getpid()))
written = open(f"{os.environ['NOTES']}/written{number}", "a", buffering=1)

def note(event, args):
    is_file = event == "open" and not isinstance(args[0], int)  # nor what is open already
    if is_file and args[2] & (os.O_WRONLY | os.O_RDWR):
        written.write(f"{args[0]}\\n")

def beat(self, activity, nimg=None, usual=watchdog.Watchdog.beat):
    if f"{number} at {nimg}" == os.environ.get("DIES") and activity == "training":
        os.kill(os.getpid(), signal.SIGKILL)
    usual(self, activity, nimg)

def compile_in_turn(*args, usual=train.compile_steps, **kwargs):
    if number == "0":
        compiled = usual(*args, **kwargs)
    processes.wait_for_all("the first has compiled")
    return compiled if number == "0" else usual(*args, **kwargs)

watchdog.Watchdog.beat = beat
train.compile_steps = compile_in_turn
programs._COMPILER_OPTIONS.clear()
sys.addaudithook(note)
runpy.run_module("stylegan_jax.main", run_name="__main__")
"""


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


# float32, without path lengths and scores: three programs. Eight devices get two images each.
FFHQ = (
    "configs/ffhq.py:smoke",
    {"metrics.swd_kimg": 0, "loss.pl_weight": 0, "schedule.total_kimg": TOTAL_KIMG}
    | {"G.num_bf16_res": 0, "D.num_bf16_res": 0, "D.mbstd_group_size": 2},
)
# Behind a constant, instance normalisation takes the difference of nearly equal numbers: its
# gradients are mostly rounding, which Adam makes full steps of, on other devices others. So there
# is none, and steps for gradients that are tiny all over the batch are small.
GROWING = (
    "tests/end_to_end/growing.py:stylegan1_ffhq",
    {"io.checkpoint_kimg": 0.016, "G.const_input": False, "optimizer.eps": 1e-4},
)


class Run:
    """Processes of a run."""

    def __init__(self, workdir, data_dir, commands, *, devices, recipe=FFHQ, **env):
        self.workdir = pathlib.Path(workdir)
        config, settings = recipe
        settings = settings | {"data.data_dir": data_dir, "io.tick_kimg": TICK_KIMG}
        settings |= {"cpu_devices": devices}
        flags = [f"--config={config}", f"--workdir={workdir}"]
        flags += [f"--config.{key}={value}" for key, value in settings.items()]
        self.notes = self.workdir.with_suffix(f".notes{time.monotonic()}")
        self.notes.mkdir(parents=True)
        whole = os.environ | {"XLA_FLAGS": FAST_FLAGS, "NOTES": str(self.notes), **env}
        self.log = self.notes / "log"
        with self.log.open("w") as out:
            self.processes = [
                subprocess.Popen([*command, *flags], cwd=ROOT, env=whole, stdout=out, stderr=out)
                for command in commands
            ]

    def pid(self, number):
        return int((self.notes / f"pid{number}").read_text())

    def written(self, number):
        """Files of the run, apart from checkpoints, that a process has opened to write."""
        text = (self.notes / f"written{number}").read_text()
        text = re.sub(r"/\.([^/]+)\.\d+\.partial$", r"/\1", text, flags=re.MULTILINE)
        names = {line.removeprefix(f"{self.workdir}/") for line in text.splitlines()}
        return {name for name in names if not name.startswith(("/", "checkpoints/"))}

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


def assert_same_run(got, want, *, stopped_kimg, norm=np.max):
    """Equal weights by a norm of each array, and equal losses in the ticks that no stop cut."""
    names = ["G", "D", "G_ema"]
    (a, _), (b, _) = restore_subtree(got.workdir, names), restore_subtree(want.workdir, names)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert norm(np.abs(x - y)) < TOLERANCE
    assert [m["kimg"] for m in got.metrics()] == [m["kimg"] for m in want.metrics()]
    whole = [m["kimg"] - TICK_KIMG >= stopped_kimg for m in want.metrics()]
    assert sum(whole) >= 2
    for x, y in itertools.compress(zip(got.metrics(), want.metrics()), whole):
        losses = {name for name in x if name.startswith("Loss/")}
        assert losses == {name for name in y if name.startswith("Loss/")}
        for name in losses:
            np.testing.assert_allclose(x[name], y[name], rtol=1e-3, atol=1e-4, err_msg=name)


def run_alone(tmp_path_factory, data_dir, **recipe):
    """The undisturbed run of one process with four devices."""
    run = Run(tmp_path_factory.mktemp("alone") / "run", data_dir, [python()], devices=4, **recipe)
    assert run.wait() == [0], run.text()
    return run


def read_png(run, name):
    with Image.open(run.workdir / name) as picture:
        return np.asarray(picture).astype(int)


@pytest.fixture(scope="module")
def alone(tmp_path_factory, data_dir):
    return run_alone(tmp_path_factory, data_dir)


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
    rest = Run(tmp_path / "run", data_dir, [python()], devices=8)
    assert rest.wait() == [0], rest.text()
    assert f"continuing at {stopped_at / 1000:.3f} kimg" in rest.text()
    assert_same_run(rest, alone, stopped_kimg=stopped_at / 1000)


def two_processes(workdir, data_dir, **settings):
    joined = [f"--coordinator=127.0.0.1:{free_port()}", "--num_processes=2"]
    commands = [python(*joined, f"--process_id={number}") for number in range(2)]
    return Run(workdir, data_dir, commands, devices=2, **settings)


def test_a_dead_process_ends_the_other_and_both_go_on_growing(tmp_path, tmp_path_factory, data_dir):
    """One dies inside the fade to 16 px, in the batch after a checkpoint; see `growing.py`."""
    alone = run_alone(tmp_path_factory, data_dir, recipe=GROWING)
    both = two_processes(tmp_path / "run", data_dir, recipe=GROWING, DIES="1 at 96")
    assert both.processes[1].wait(300) == -signal.SIGKILL, both.text()
    assert both.wait(100)[0] not in (0, 42), both.text()
    again = two_processes(tmp_path / "run", data_dir, recipe=GROWING)
    assert again.wait() == [0, 0], again.text()
    found = re.search(r"continuing at 0\.(080|096) kimg", again.text())  # written in the background
    assert found and "Dboth 8 px" not in again.text()
    # Here an activation lies within rounding of the kink of its leaky ReLU; where it falls on the
    # other side, a few weights differ by 1e-4. Other noise, data or settings make means of 1e-3.
    assert_same_run(again, alone, stopped_kimg=0.0, norm=np.mean)
    for name in ("growth.png", "samples/fakes_000000.160.png"):
        np.testing.assert_allclose(read_png(again, name), read_png(alone, name), atol=2)
    assert not both.written(1) and not again.written(1)
    assert {"metrics.jsonl", "growth.png", "log.txt"} <= again.written(0)
