"""Small networks in the middle of a run, their data, and what a step finds with them."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stylegan_jax.configs.common import (
    shrink,
    stylegan1_defaults,
    stylegan2_defaults,
    stylegan3_defaults,
)
from stylegan_jax.ops import partition
from stylegan_jax.sizes import ImageShape
from stylegan_jax.training import sharding
from stylegan_jax.training.build import make_setup
from stylegan_jax.training.inputs import draw_inputs
from stylegan_jax.training.objectives import LOSSES, make_phases
from stylegan_jax.training.schedules import Level
from stylegan_jax.training.sharding import put_batch, replicated, shard_state, shardings
from stylegan_jax.training.step import gradients

# Twelve rows of eight columns: what holds for them holds for squares.
SHAPE = ImageShape(12, 8, 3, 2)
LEVEL = Level(resolution=8, lod=0, batch_size=16, G_lr=0.002, D_lr=0.002)


def first_state(init):
    """Weights that noise and biases act on, so that nothing is hidden behind zeros."""
    state = jax.jit(init)(jax.random.key(0))
    leaves, tree = jax.tree.flatten(state.G)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    moved = [x + 0.1 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys)]
    return dataclasses.replace(state, G=jax.tree.unflatten(tree, moved))


def with_hyper(setup, **changes):
    """The setup with other numbers of its losses."""
    return dataclasses.replace(setup, hyper=dataclasses.replace(setup.hyper, **changes))


def phase_of(setup, name):
    """The phase of that name."""
    return {phase.name: phase for phase in make_phases(setup.hyper)}[name]


def loss_of(setup, phase):
    """The loss of a phase, as the machine takes it."""
    return functools.partial(LOSSES[phase.net], phase=phase, setup=setup)


def constants_of(*classes):
    """Labels of a training set of so many images."""
    return {"labels": jnp.asarray(classes, jnp.int32)}


def gradients_on(mesh, state, batch, setup, names=None):
    """Gradients and statistics of every phase, or of those of some names, on a mesh."""
    labels = np.asarray([0, 1, 1], np.int32)
    constants = {"labels": jax.device_put(labels, replicated(mesh))}
    state = jax.device_put(state, shardings(shard_state(mesh, state)))
    found = []
    for phase in make_phases(setup.hyper):
        if names is not None and phase.name not in names:
            continue

        def run(state, batch, constants, phase=phase):
            key, fade = jax.random.key(2), setup.fade(state.nimg)
            inputs = draw_inputs(key, phase, batch, constants, setup, fade=fade, mesh=mesh)
            loss = loss_of(setup, phase)
            return gradients(state, inputs, constants, loss, net=phase.net, setup=setup)[:2]

        with jax.set_mesh(mesh):
            out = jax.jit(run)(state, put_batch(mesh, batch, len(batch["image"])), constants)
        found.append(jax.tree.map(np.asarray, out))
    return found


def assert_close(got, want, rtol, atol=1e-7):
    """Equal up to so much of the largest value of each array."""
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(got), jax.tree.leaves(want)):
        limit = rtol * float(jnp.max(jnp.abs(b))) + atol
        assert float(jnp.max(jnp.abs(a - b))) <= limit, jax.tree_util.keystr(path)


@pytest.fixture(scope="session")
def whole():
    """StyleGAN2 at 12 x 8 px: its setup, initialiser and a state."""
    config = stylegan2_defaults()
    shrink(config)
    config.G.channel_max = config.D.channel_max = 8
    setup, init = make_setup(config, SHAPE)
    return setup.at(LEVEL), init, first_state(init)


@pytest.fixture(scope="session")
def growing():
    """StyleGAN 1, half-way from 6 x 4 to 12 x 8 px, 24 x 16 in the end; with R1 and WGAN-GP."""
    config = stylegan1_defaults()
    shrink(config)
    config.schedule.num_micro_batches = config.D.mbstd_group_size = 2
    config.loss.gp_weight = 10.0
    setup, init = make_setup(config, dataclasses.replace(SHAPE, height=24, width=16))
    level = Level(
        resolution=8, lod=1, batch_size=16, G_lr=0.001, D_lr=0.001, fade_start=48, fade_nimg=64
    )
    return setup.at(level), init, dataclasses.replace(first_state(init), nimg=jnp.int32(80))


@pytest.fixture(scope="session")
def alias_free():
    """StyleGAN3-R at 12 x 8 px, whose D sees blurred images at first."""
    config = stylegan3_defaults("r", "12x8")
    shrink(config)
    config.G.channel_max = config.D.channel_max = 4
    config.G.num_layers, config.G.num_critical, config.G.margin_size = 2, 1, 2
    config.G.num_bf16_res = config.D.num_bf16_res = config.D.mbstd_num_channels = 0
    config.augment.mode = "none"
    config.schedule.magnitude_ema_kimg = 0.1
    config.loss.blur_init_sigma, config.loss.blur_fade_kimg = 2.0, 0.1
    setup, init = make_setup(config, SHAPE)
    return setup.at(LEVEL), init, first_state(init)


@pytest.fixture(scope="session")
def batch():
    """Sixteen images of 12 x 8 px with labels of two classes."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (16, 12, 8, 3), dtype=np.uint8)
    return {"image": image, "label": np.eye(2, dtype=np.float32)[rng.integers(0, 2, 16)]}


@pytest.fixture
def split_small(monkeypatch):
    """Splits arrays and images that are too small for it otherwise."""
    monkeypatch.setattr(sharding, "_MIN_SPLIT_SIZE", 64)
    monkeypatch.setattr(partition, "MIN_ROWS", 2)
