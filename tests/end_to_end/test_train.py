"""Whole runs of shrunken recipes: what they write, how they continue, what they refuse."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest
from PIL import Image

from stylegan_jax.configs import ffhq, lsun, quickstart, stylegan2_ada, stylegan3
from stylegan_jax.inference.generator import Generator
from stylegan_jax.run.networks import load_networks
from stylegan_jax.run.numerics import numeric_environment
from stylegan_jax.run.ownership import LOCK_FILE
from stylegan_jax.run.restore import restore_subtree
from stylegan_jax.train import train
from tests.end_to_end.command import python_module

ROOT = pathlib.Path(__file__).parents[2]


def smoke(data_dir, recipe=ffhq, arg="smoke", **changes):
    config = recipe.get_config(arg).unlock()
    config.data.data_dir = str(data_dir)
    for name, value in changes.items():
        section, key = name.split("__")
        config[section][key] = value
    return config.lock()


@pytest.fixture(scope="module")
def run(tmp_path_factory, data_dir):
    """An undisturbed run of eight iterations: its folder and its last state."""
    workdir = tmp_path_factory.mktemp("run")
    return workdir, train(smoke(data_dir, schedule__total_kimg=0.128), str(workdir))


def assert_same_bits(got, want):
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(got), jax.tree.leaves(want)):
        np.testing.assert_array_equal(a, b, err_msg=jax.tree_util.keystr(path))


def picture_size(path):
    with Image.open(path) as picture:
        return picture.size


def read_lines(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def test_a_run_writes_what_users_look_for(run):
    workdir, state = run
    assert int(state.nimg) == 128
    written = {p.name.split(".")[0] for p in workdir.iterdir() if p.name != LOCK_FILE}
    assert written == {"config", "checkpoints", "samples", "reals", "metrics", "log", "events"}
    pictures = sorted(p.name for p in (workdir / "samples").iterdir())
    assert pictures[0] == "fakes_000000.000.png" and len(pictures) == 5
    for name in ("reals.png", "samples/fakes_000000.000.png"):
        assert picture_size(workdir / name) == (64, 64)
    lines = read_lines(workdir)
    assert all("kimg" in line for line in lines)
    assert {"swd64", "swd64_floor"} <= set(lines[0]) and lines[0]["kimg"] == 0
    assert "Loss/r1_penalty" in lines[1] and "Timing/img_per_sec" in lines[1]
    kept = json.loads((workdir / "config.json").read_text())
    assert kept["schedule"]["batch_size"] == 16
    assert kept["environment"] == numeric_environment()
    log = (workdir / "log.txt").read_text()
    for part in ("synthesis/b16/conv0/weight", "Greg 16 px (2/6): compiled in", "batch_size: 16"):
        assert part in log
    assert log.count("first step done") == 1


@pytest.mark.slow
def test_two_halves_equal_the_whole(run, tmp_path, data_dir):
    """N + N iterations give the bits of 2N: parameters, optimiser, statistics, data order."""
    workdir, whole = run
    train(smoke(data_dir, schedule__total_kimg=0.064), str(tmp_path))
    halves = train(smoke(data_dir, schedule__total_kimg=0.128), str(tmp_path))
    assert_same_bits(halves, whole)
    # What is measured at both ends of the first half agrees too; its own end is one line more.
    ours = {(line["kimg"], "swd64" in line): line for line in read_lines(tmp_path)}
    for line in read_lines(workdir):
        for name, value in line.items():
            if not name.startswith(("Timing", "Memory")):
                assert ours[line["kimg"], "swd64" in line][name] == value, name


# A process that signals itself as it begins the iteration from 96 images, and as it saves.
SIGNALS = """
import os, signal
from stylegan_jax.run import watchdog

# As in a terminal, even where the tests run under nohup.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

def beat(self, activity, nimg=None, usual=watchdog.Watchdog.beat):
    if (activity, nimg) == ("training", 96):
        os.kill(os.getpid(), {how})
    if (activity, nimg) == ("saving", 112):
        os.kill(os.getpid(), signal.SIGINT)
    usual(self, activity, nimg)

watchdog.Watchdog.beat = beat
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGHUP])
def test_a_killed_run_continues_as_if_nothing_had_happened(run, tmp_path, data_dir, how):
    """Its bits are those of this process, whose programs are compiled alike.

    Once with processes that read, once where nobody reads its output since the first line.
    Whatever its shell wants of jax.
    """
    command = [
        *python_module("main", SIGNALS.format(how=int(how))),
        *("--config=configs/ffhq.py:smoke", f"--workdir={tmp_path}"),
        *(f"--config.data.data_dir={data_dir}", "--config.schedule.total_kimg=0.128"),
    ]
    if how == signal.SIGKILL:
        command.append("--config.data.num_workers=2")
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    env |= {"JAX_ENABLE_X64": "1", "JAX_DEFAULT_PRNG_IMPL": "rbg", "JAX_RANDOM_SEED_OFFSET": "3"}
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        code = process.wait(timeout=300)
    saved = max(int(p.name) for p in (tmp_path / "checkpoints").iterdir() if p.name.isdigit())
    if how == signal.SIGKILL:
        # The checkpoint of 96 may have been on its way.
        assert code == -signal.SIGKILL and saved in (64, 96)
    else:
        assert code == 42 and saved == 112, "stopped and saved"
        log = (tmp_path / "log.txt").read_text()
        assert "stopped and saved; the same command continues" in log and "Traceback" not in log
    continued = train(smoke(data_dir, schedule__total_kimg=0.128), str(tmp_path))
    assert_same_bits(continued, run[1])
    kimgs = [line["kimg"] for line in read_lines(tmp_path) if "Timing/img_per_sec" in line]
    assert kimgs == sorted(set(kimgs)), "no tick is written twice"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "arg"),
    [
        (quickstart, "shape=48x32,smoke"),
        (lsun, "smoke,category=car"),
        (stylegan2_ada, "smoke"),
        (stylegan3, "model=r,smoke"),
        (quickstart, "smoke,labels"),
    ],
)
def test_every_recipe_runs_shrunken(tmp_path, data_dir, recipe, arg):
    config = smoke(data_dir, recipe, arg, schedule__total_kimg=0.032)
    if recipe is stylegan2_ada:
        config.augment.pipe = "color"  # a tenth of the whole pipe's time to compile
    if recipe is stylegan3:
        # A layer takes as long to compile as a block, and so does a step.
        config.G.num_layers, config.G.num_critical, config.loss.r1_gamma = 2, 1, 0.0
        config.G.num_bf16_res = config.D.num_bf16_res = 0
    state = train(config, str(tmp_path))
    assert int(state.nimg) == 32 and int(state.skipped["G"]) == 0
    for leaf in jax.tree.leaves((state.G_ema, state.D)):
        assert np.all(np.isfinite(leaf))
    if recipe is stylegan2_ada:
        # Strength is part of the state, and of what a checkpoint tells of its networks.
        p = float(state.stats["augment"]["p"])
        assert p == load_networks(tmp_path, networks=["G_ema"]).augment_p
        assert any("Augment/r_t" in line for line in read_lines(tmp_path))
    if recipe is stylegan3:
        # Magnitudes are part of the network, wherever it is opened.
        network = load_networks(tmp_path, networks=["G_ema"]).networks["G_ema"]
        assert_same_bits(network.buffers["moving"], state.stats["G"])
        assert_same_bits(network.params, state.G_ema)
    if "shape" in arg:
        # Four by four images, 16 px wide and 24 high.
        assert picture_size(tmp_path / "reals.png") == (64, 96)
        assert Generator(str(tmp_path)).sample([0]).shape == (1, 24, 16, 3)
    if "labels" in arg:
        generator = Generator(str(tmp_path))
        assert generator.shape.c_dim == 9 and generator.class_names[-1] == "flags"
        assert generator.sample([0, 1], class_idx=3).shape == (2, 16, 16, 3)
        by_name = generator.sample([0, 1], class_idx=generator.class_names[3])
        np.testing.assert_array_equal(by_name, generator.sample([0, 1], class_idx=3))
        with pytest.raises(ValueError, match="class=9.*faces"):
            generator.sample([0], class_idx=9)


def test_the_exported_state_is_the_averaged_generator(run):
    workdir, state = run
    trees, meta = restore_subtree(str(workdir), ["G_ema"])
    assert_same_bits(trees["G_ema"], state.G_ema)
    assert (meta["data"]["height"], meta["data"]["width"]) == (16, 16)


def save_images(folder, sizes, mode="RGB"):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for i, size in enumerate(sizes):
        pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).convert(mode).save(folder / f"{i}.png")
    return str(folder)


@pytest.mark.slow
def test_a_folder_of_images_trains(tmp_path):
    folder = save_images(tmp_path / "images", [(16, 16)] * 20, mode="L")
    config = smoke(tmp_path, data__dataset=folder, metrics__kimg=0.0, loss__pl_weight=0.0)
    state = train(config, str(tmp_path / "run"))
    assert state.G["synthesis"]["b16"]["torgb"]["bias"].shape == (1,)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(schedule__batch_size=18), "batch_size=18"),
        (dict(D__mbstd_group_size=3), "mbstd_group_size=3"),
        (dict(loss__pl_batch_shrink=3), "pl_batch_shrink=3"),
        (dict(D__name="biggan"), "D.name='biggan'"),
        (dict(data__dataset="no/such/folder"), "no/such/folder"),
        (dict(optimizer__absent_grads="half"), "absent_grads"),
        (dict(io__tick_kimg=0.0), "io.tick_kimg"),
        (dict(data__resolution=8), "data.resolution=8: swd needs 16 px"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_written(tmp_path, data_dir, changes, message):
    with pytest.raises(ValueError, match=message):
        train(smoke(data_dir, **changes), str(tmp_path))
    assert {p.name for p in tmp_path.iterdir()} <= {"log.txt", "checkpoints", LOCK_FILE}
    assert not list(tmp_path.glob("checkpoints/*"))


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ([], "image"),
        ([(16, 16), (16, 12)], "1.png"),
        ([(32, 32)], "0.png"),
    ],
)
def test_bad_images_are_refused(tmp_path, sizes, message):
    folder = save_images(tmp_path / "images", sizes)
    with pytest.raises(ValueError, match=message):
        train(smoke(tmp_path, data__dataset=folder), str(tmp_path / "run"))


def test_resume_in_another_environment_is_told(run, tmp_path, data_dir, monkeypatch, capsys):
    workdir, state = run
    shutil.copytree(workdir, tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("JAX_DEFAULT_MATMUL_PRECISION", "highest")
    again = train(smoke(data_dir, schedule__total_kimg=0.128), str(tmp_path))
    assert_same_bits(again, state)
    told = capsys.readouterr().out
    assert "another environment (JAX_DEFAULT_MATMUL_PRECISION was not set, is highest)" in told


def test_resume_with_another_architecture_changes_nothing(run, data_dir):
    workdir, _ = run
    before = {p: p.stat().st_mtime_ns for p in workdir.rglob("*") if p.name != "log.txt"}
    for changes, message in (
        (dict(G__channel_max=8), "architecture"),
        (dict(schedule__batch_size=32), "batch_size: 16 then, 32 now"),
    ):
        with pytest.raises(ValueError, match=message):
            train(smoke(data_dir, **changes), str(workdir))
    assert {p: p.stat().st_mtime_ns for p in workdir.rglob("*") if p.name != "log.txt"} == before


def test_unknown_config_key_on_the_command_line(tmp_path):
    result = subprocess.run(
        [
            *(sys.executable, "-m", "stylegan_jax.main", "--config=configs/ffhq.py:smoke"),
            *(f"--workdir={tmp_path}", "--config.schedule.batchsize=8"),
        ],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert result.returncode != 0 and "Traceback" not in result.stderr
    assert "no setting schedule.batchsize in this recipe: the nearest are schedule.batch_size" in (
        result.stderr
    )
    assert not list(tmp_path.iterdir())
