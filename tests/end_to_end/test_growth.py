"""Whole runs of networks that grow: phase changes, resuming at and between them, the strip."""

import shutil

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from stylegan_jax.inference.generator import Generator
from stylegan_jax.run.ownership import LOCK_FILE
from stylegan_jax.train import train
from tests.end_to_end.growing import get_config

pytestmark = pytest.mark.slow


def growing(data_dir, recipe="stylegan1_ffhq", **changes):
    config = get_config(recipe).unlock()
    config.data.data_dir = str(data_dir)
    for name, value in changes.items():
        section, key = name.split("__")
        config[section][key] = value
    return config.lock()


@pytest.fixture(scope="module")
def run(tmp_path_factory, data_dir):
    """An undisturbed run that keeps all its checkpoints."""
    workdir = tmp_path_factory.mktemp("run")
    config = growing(data_dir, io__checkpoint_kimg=0.008, io__keep_newest=100)
    return workdir, train(config, str(workdir))


def assert_same_bits(got, want):
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(got), jax.tree.leaves(want)):
        np.testing.assert_array_equal(a, b, err_msg=jax.tree_util.keystr(path))


# In the first phase, at its end, inside the fade, at its end.
@pytest.mark.parametrize("nimg", [32, 64, 88, 112])
def test_continued_anywhere_a_run_has_the_bits_of_an_undisturbed_one(run, tmp_path, data_dir, nimg):
    workdir, whole = run
    (tmp_path / "checkpoints").mkdir()
    shutil.copytree(workdir / "checkpoints" / str(nimg), tmp_path / "checkpoints" / str(nimg))
    state = train(growing(data_dir), str(tmp_path))
    assert int(state.nimg) == 160
    assert_same_bits(state, whole)


def test_batches_change_with_the_resolution(run):
    workdir, _ = run
    saved = sorted(int(p.name) for p in (workdir / "checkpoints").iterdir() if p.name.isdigit())
    assert saved == [16, 32, 48, 64, *range(72, 161, 8)]
    log = (workdir / "log.txt").read_text()
    for part in ("Dboth 8 px (1/4): compiled in", "Dboth 16 px (1/4): compiled in"):
        assert log.count(part) == 1


def test_adam_starts_anew_at_both_ends_of_a_fade(run):
    """Six iterations of 16 px lie behind the fade, and Adam has counted these alone."""
    _, state = run
    assert int(state.opt_G.count) == int(state.opt_D.count) == (160 - 112) // 8


def test_the_strip_has_a_row_per_resolution(run):
    workdir, _ = run
    for side in (8, 16):
        with Image.open(workdir / "samples" / f"grown_{side:04d}.png") as row:
            pixels = np.asarray(row)
        assert pixels.shape == (16, 64, 3)
        is_repeated = np.array_equal(pixels, pixels[::2, ::2].repeat(2, 0).repeat(2, 1))
        assert is_repeated == (side == 8)
    with Image.open(workdir / "growth.png") as strip:
        assert strip.size[0] > 128 and strip.size[1] == 2 * 32


def test_a_half_grown_checkpoint_is_drawn_as_it_stands(run):
    workdir, _ = run
    small = Generator(str(workdir), step=48).sample([0, 1])
    assert small.shape == (2, 16, 16, 3)
    np.testing.assert_array_equal(small, small[:, ::2, ::2].repeat(2, 1).repeat(2, 2))
    whole = Generator(str(workdir)).sample([0, 1])
    assert not np.array_equal(whole, whole[:, ::2, ::2].repeat(2, 1).repeat(2, 2))


@pytest.mark.parametrize("recipe", ["ffhq:config=D", "quickstart:model=progan,shape=48x32,labels"])
def test_the_other_families_grow(tmp_path, data_dir, recipe):
    state = train(growing(data_dir, recipe), str(tmp_path))
    assert int(state.nimg) == 160 and int(state.skipped["G"]) == int(state.skipped["D"]) == 0
    for leaf in jax.tree.leaves((state.G_ema, state.D)):
        assert np.all(np.isfinite(leaf))
    with Image.open(tmp_path / "growth.png") as strip:
        # A row for each of two resolutions: 16 px high, or 24 and enlarged once.
        assert strip.size[1] == 2 * (24 if "shape" in recipe else 2 * 16)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(growth__transition_kimg=0.2), "ends before the networks have grown to resolution 16"),
        (dict(growth__batch_sizes={"b16": 6}), "growth.batch_sizes.b16=6"),
        (dict(growth__batch_sizes={"b12": 6}), "growth.batch_sizes.b12: .*b4, b8, b16"),
        (dict(growth__init_resolution=32), "growing begins above the full size"),
        (dict(G__grows=False), "init_resolution=8, but G cannot work below full size"),
        (dict(loss__adversarial="mse"), "loss.adversarial='mse'"),
        (dict(schedule__net_order="DD"), "schedule.net_order='DD'"),
        (dict(G__architecture="skip"), "G.name='stylegan1' has no setting architecture"),
    ],
)
def test_bad_schedules_are_refused_before_anything_is_written(tmp_path, data_dir, changes, message):
    config = growing(data_dir).unlock()
    for name, value in changes.items():
        section, key = name.split("__")
        config[section][key] = ConfigDict(value) if isinstance(value, dict) else value
    with pytest.raises(ValueError, match=message):
        train(config.lock(), str(tmp_path))
    assert {p.name for p in tmp_path.iterdir()} <= {"log.txt", "checkpoints", LOCK_FILE}
