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
from stylegan_jax.tools.evaluate import subjects
from stylegan_jax.training.sharding import make_mesh
from tests.commands import run_module
from tests.compiler import FAST_FLAGS
from tests.data.foreign import drawings, write_folder
from tests.inference.tiny import make_generator
from tests.run.frozen import TinyFrozen

__all__ = ["make_generator"]

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


# float32, without path lengths and scores: three programs. Eight devices get two images each. The
# strength of the augmentation takes a step in the fourth of six iterations.
FFHQ = (
    "configs/ffhq.py:smoke",
    {"metrics.kimg": 0, "loss.pl_weight": 0, "schedule.total_kimg": TOTAL_KIMG}
    | {"G.num_bf16_res": 0, "D.num_bf16_res": 0, "D.mbstd_group_size": 2}
    | {"augment.mode": "ada", "augment.pipe": "color", "augment.p": 0.5, "augment.kimg": 0.2},
)
# Behind a constant, instance normalisation takes the difference of nearly equal numbers: its
# gradients are mostly rounding, which Adam makes full steps of, on other devices others. So there
# is none, and steps for gradients that are tiny all over the batch are small. With seeds 0
# and 1 an activation lies within rounding of the kink of its leaky ReLU on some CPUs, and weights
# differ by up to 4e-4; with this one by 2e-5.
GROWING = (
    "tests/end_to_end/growing.py:stylegan1_ffhq",
    {"io.checkpoint_kimg": 0.016, "G.const_input": False, "optimizer.eps": 1e-4, "seed": 2},
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
        # Signs are counted, and devices are a power of two: to the bit.
        for name in ("Augment/p", "Augment/r_t"):
            assert x.get(name) == y.get(name), (name, x, y)


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
    # The signs that were seen before the stop are among those of the step after it.
    strengths = [m["Augment/p"] for m in rest.metrics()]
    assert stopped_at < 4 * 16 and strengths[:3] == [0.5] * 3 and 0.5 not in strengths[3:]


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
    # Means are 1e-6; other noise, data or settings make means of 1e-3.
    assert_same_run(again, alone, stopped_kimg=0.0, norm=np.mean)
    for name in ("growth.png", "samples/fakes_000000.160.png"):
        np.testing.assert_allclose(read_png(again, name), read_png(alone, name), atol=2)
    assert not both.written(1) and not again.written(1)
    assert {"metrics.jsonl", "growth.png", "log.txt"} <= again.written(0)


# The evaluation with stand-ins for frozen networks, which need no weights.
EVALUATE = """
import runpy, sys
import jax
from stylegan_jax.tools.evaluate import subjects
from tests.run.frozen import TinyFrozen
jax.config.update("jax_num_cpu_devices", 2)
subjects.FrozenNetworks = TinyFrozen
runpy.run_module("stylegan_jax.tools.evaluate", run_name="__main__")
"""


@pytest.fixture(scope="module")
def scored(tmp_path_factory, make_generator):
    """What is evaluated: a network of two classes, beside drawings of both."""
    folder = tmp_path_factory.mktemp("scored")
    images = drawings(20, 16)
    write_folder(folder / "reals", images, [f"{'ab'[i % 2]}/{i}.png" for i in range(20)])
    workdir, _ = make_generator(0.5, ("a", "b"))
    reals = f"--data={folder}/reals"
    metrics = "--metrics=fid10_full,kid10_full,swd10,ppl2_wend_10"
    return f"--checkpoint={workdir}", reals, metrics, "--per_class"


def evaluate_together(words, folder):
    """Exit codes and what both processes printed, of an evaluation by two of them."""
    joined = [f"--coordinator=127.0.0.1:{free_port()}", "--num_processes=2"]
    # Without what gives this process four devices.
    env = os.environ | {"XLA_FLAGS": FAST_FLAGS}
    processes = []
    for number in range(2):
        own = [f"--process_id={number}", f"--cache_dir={folder}/cache{number}"]
        command = [sys.executable, "-c", EVALUATE, *words, *joined, *own]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        processes.append(subprocess.Popen(command, cwd=ROOT, env=env, **pipes))
    try:
        told = [process.communicate(timeout=200) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [process.returncode for process in processes], told


def evaluate_here(monkeypatch, capsys, words, devices, folder):
    """Results of an evaluation by this process."""
    mesh = make_mesh(jax.devices()[:devices])
    with monkeypatch.context() as patch:
        patch.setattr(subjects, "FrozenNetworks", TinyFrozen)
        patch.setattr(subjects, "make_mesh", lambda: mesh)
        words = [*words, f"--cache_dir={folder}/alone{devices}"]
        run_module(patch, ["stylegan_jax.tools.evaluate", *words])
    return results_of(capsys.readouterr().out)


def results_of(text):
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def test_two_processes_evaluate_what_one_does(tmp_path, monkeypatch, capsys, scored):
    """To the bit, path lengths apart; the first one speaks, each keeps statistics of the reals."""
    out = tmp_path / "new" / "results.jsonl"
    codes, told = evaluate_together([*scored, f"--out={out}"], tmp_path)
    assert codes == [0, 0], told
    both = results_of(told[0][0])
    assert "process 1 of 2" in told[1][0] and not results_of(told[1][0])
    one, four = (
        evaluate_here(monkeypatch, capsys, [*scored, f"--out={tmp_path}/x.jsonl"], n, tmp_path)
        for n in (1, 4)
    )
    for of_others in (one, four):
        for got, want in zip(both, of_others, strict=True):
            assert got["metric"] == want["metric"]
            # Steps of 1e-4 in w make a last bit of the images a fourth digit, and how a CPU
            # splits its products among threads depends on how many devices share these.
            tolerance = 1e-3 if got["metric"].startswith("ppl") else 0
            assert got["values"] == pytest.approx(want["values"], rel=tolerance, abs=0)
    caches = [sorted(p.name for p in (tmp_path / f"cache{i}").iterdir()) for i in range(2)]
    assert caches[0] == caches[1] and len(caches[0]) > 2
    # Four metrics of all images, and of either class.
    assert len(out.read_text().splitlines()) == len(both) == 3 * 4
