"""The step around the losses: micro-batches, devices, bad gradients, averages, compilations."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import monitoring

from configs.common import shrink, stylegan1_defaults, stylegan2_defaults
from stylegan_jax.ops import partition
from stylegan_jax.plan import hlo
from stylegan_jax.training import sharding
from stylegan_jax.training.build import ImageShape, make_hyperparameters, make_networks
from stylegan_jax.training.grown import grown_part
from stylegan_jax.training.phases import draw_inputs, make_phases
from stylegan_jax.training.programs import compile_programs, trace_programs
from stylegan_jax.training.schedules import Level
from stylegan_jax.training.sharding import (
    make_mesh,
    put_batch,
    replicated,
    shard_state,
    shardings,
    state_specs,
)
from stylegan_jax.training.step import average_G, phase_gradients, run_phase

SHAPE = ImageShape(img_resolution=8, img_channels=3, c_dim=2)
LEVEL = Level(resolution=8, lod=0, batch_size=16, G_lr=0.002, D_lr=0.002)
STATICS = ("phase", "networks", "hyper", "level")


def first_state(init):
    """Weights that noise and biases act on, so that nothing is hidden behind zeros."""
    state = jax.jit(init)(jax.random.key(0))
    leaves, tree = jax.tree.flatten(state.G)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    moved = [x + 0.1 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys)]
    return dataclasses.replace(state, G=jax.tree.unflatten(tree, moved))


@pytest.fixture(scope="module")
def setup():
    config = stylegan2_defaults()
    shrink(config)
    config.G.channel_max = config.D.channel_max = 8
    networks, init = make_networks(config, SHAPE)
    return networks, make_hyperparameters(config), init, first_state(init)


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (16, 8, 8, 3), dtype=np.uint8)
    return {"image": image, "label": np.eye(2, dtype=np.float32)[rng.integers(0, 2, 16)]}


def assert_close(got, want, rtol, atol=1e-7):
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(got), jax.tree.leaves(want)):
        limit = rtol * float(jnp.max(jnp.abs(b))) + atol
        assert float(jnp.max(jnp.abs(a - b))) <= limit, jax.tree_util.keystr(path)


def test_micro_batches_average_to_the_batch(setup, batch):
    """The main losses are means over images once stddev groups fit into the parts."""
    networks, hyper, _, state = setup
    batch = jax.tree.map(jnp.asarray, batch)
    hyper = dataclasses.replace(hyper, style_mixing_prob=0.0)
    for phase in (p for p in make_phases(hyper) if p.main):
        labels = jnp.asarray([0, 1, 1], jnp.int32)
        inputs = draw_inputs(
            jax.random.key(2), phase, batch, labels, networks=networks, hyper=hyper, level=LEVEL
        )
        # Groups of four neighbours before dealing out are groups of four within a part.
        order = jnp.arange(16).reshape(2, 2, 4).transpose(0, 2, 1).reshape(-1)
        dealt = jax.tree.map(lambda x, order=order: x[order], inputs)
        parts = dataclasses.replace(hyper, num_micro_batches=2)
        run = jax.jit(phase_gradients, static_argnames=STATICS)
        want = run(state, inputs, phase=phase, networks=networks, hyper=hyper, level=LEVEL)
        got = run(state, dealt, phase=phase, networks=networks, hyper=parts, level=LEVEL)
        assert_close(got[0], want[0], rtol=1e-5)  # float32 sums in another order


def gradients(mesh, state, batch, *, networks, hyper, level):
    """Gradients and statistics of every phase on a mesh."""
    labels = jax.device_put(np.asarray([0, 1, 1], np.int32), replicated(mesh))
    state = jax.device_put(state, shardings(shard_state(mesh, state)))
    found = []
    for phase in make_phases(hyper):

        def run(state, batch, labels, phase=phase):
            statics = dict(networks=networks, hyper=hyper, level=level)
            key, fade = jax.random.key(2), level.fade(state.nimg)
            inputs = draw_inputs(key, phase, batch, labels, fade=fade, mesh=mesh, **statics)
            return phase_gradients(state, inputs, phase, **statics)[:2]

        with jax.set_mesh(mesh):
            out = jax.jit(run)(state, put_batch(mesh, batch, len(batch["image"])), labels)
        found.append(jax.tree.map(np.asarray, out))
    return found


@pytest.fixture(scope="module")
def on_one_device(setup, batch):
    networks, hyper, _, state = setup
    statics = dict(networks=networks, hyper=hyper, level=LEVEL)
    return gradients(make_mesh(jax.devices()[:1]), state, batch, **statics)


def test_four_devices_equal_one(setup, batch, on_one_device):
    """The same seed gives the same gradients on any number of devices, up to rounding."""
    networks, hyper, _, state = setup
    statics = dict(networks=networks, hyper=hyper, level=LEVEL)
    four = gradients(make_mesh(), state, batch, **statics)
    assert_close(four, on_one_device, rtol=1e-4)  # sums over images in another order


@pytest.fixture
def split_small(monkeypatch):
    """Splits arrays and images that are too small for it otherwise."""
    monkeypatch.setattr(sharding, "_MIN_SPLIT_SIZE", 64)
    monkeypatch.setattr(partition, "MIN_ROWS", 2)


def test_a_split_state_and_split_rows_change_nothing(setup, batch, split_small, on_one_device):
    networks, hyper, _, state = setup
    statics = dict(networks=networks, hyper=hyper, level=LEVEL)
    found = gradients(make_mesh(fsdp=2, spatial=2), state, batch, **statics)
    assert_close(found, on_one_device, rtol=1e-4)


def test_a_growing_step_with_split_state_and_rows_changes_nothing(
    growing_setup, batch, split_small, growing_on_one_device
):
    networks, hyper, state, level = growing_setup
    statics = dict(networks=networks, hyper=hyper, level=level)
    mesh = make_mesh(fsdp=2, spatial=2)
    # Biases before instance norm have no gradient but the rounding of sums, up to 2e-7 here.
    found = gradients(mesh, state, batch, **statics)
    assert_close(found, growing_on_one_device, rtol=1e-4, atol=1e-6)


@pytest.fixture(scope="module")
def growing_setup():
    """StyleGAN 1 half-way through a fade from 4 to 8 px, 16 px in the end, with R1 and WGAN-GP."""
    config = stylegan1_defaults()
    shrink(config)
    config.schedule.num_micro_batches = config.D.mbstd_group_size = 2
    config.loss.gp_weight = 10.0
    networks, init = make_networks(config, dataclasses.replace(SHAPE, img_resolution=16))
    state = dataclasses.replace(first_state(init), nimg=jnp.int32(80))
    level = Level(
        resolution=8, lod=1, batch_size=16, G_lr=0.001, D_lr=0.001, fade_start=48, fade_nimg=64
    )
    return networks, make_hyperparameters(config), state, level


@pytest.fixture(scope="module")
def growing_on_one_device(growing_setup, batch):
    networks, hyper, state, level = growing_setup
    statics = dict(networks=networks, hyper=hyper, level=level)
    return gradients(make_mesh(jax.devices()[:1]), state, batch, **statics)


def test_a_growing_step_on_four_devices_equals_one(growing_setup, batch, growing_on_one_device):
    networks, hyper, state, level = growing_setup
    statics = dict(networks=networks, hyper=hyper, level=level)
    four = gradients(make_mesh(), state, batch, **statics)
    assert_close(four, growing_on_one_device, rtol=1e-4)  # sums over images in another order


def test_real_images_are_mixed_with_their_averages(growing_setup, batch):
    networks, hyper, _, level = growing_setup
    phase = make_phases(hyper)[0]
    assert phase.name == "Dboth"
    statics = dict(networks=networks, hyper=hyper, level=level)
    args = (jax.random.key(2), phase, jax.tree.map(jnp.asarray, batch), jnp.zeros(1, jnp.int32))
    got = draw_inputs(*args, fade=jnp.float32(0.25), **statics)
    whole = batch["image"] / 127.5 - 1
    means = whole.reshape(16, 4, 2, 4, 2, 3).mean(axis=(2, 4)).repeat(2, 1).repeat(2, 2)
    np.testing.assert_allclose(got["real"]["img"], 0.75 * whole + 0.25 * means, atol=1e-6)
    assert set(got["gen"]["noise"]) == {"b4", "b8"}, "no noise above the level's resolution"
    assert float(jnp.max(got["gen"]["cutoff"])) <= 4, "four layers have grown"


def test_non_finite_gradient_changes_nothing_but_the_counter(setup, batch):
    networks, hyper, _, state = setup
    batch = jax.tree.map(jnp.asarray, batch)
    phase = make_phases(hyper)[2]
    assert phase.name == "Dmain"
    inputs = draw_inputs(
        jax.random.key(2),
        phase,
        batch,
        jnp.zeros(1, jnp.int32),
        networks=networks,
        hyper=hyper,
        level=LEVEL,
    )
    run = jax.jit(run_phase, static_argnames=STATICS)
    statics = dict(phase=phase, networks=networks, hyper=hyper, level=LEVEL)
    good, _ = run(state, inputs, **statics)
    inputs["real"]["img"] = inputs["real"]["img"].at[0, 0, 0, 0].set(jnp.nan)
    bad, report = run(state, inputs, **statics)
    assert int(good.skipped["D"]) == 0 and int(bad.skipped["D"]) == 1
    assert not np.isfinite(report["Grad/Dmain"])
    for name in ("D", "opt_D", "stats"):
        for a, b in zip(jax.tree.leaves(getattr(bad, name)), jax.tree.leaves(getattr(state, name))):
            np.testing.assert_array_equal(a, b)
    weights = (good.D["b4"]["out"]["weight"], state.D["b4"]["out"]["weight"])
    assert not np.array_equal(*weights)


def test_average_of_G(setup):
    _, hyper, _, state = setup
    hyper = dataclasses.replace(hyper, ema_kimg=0.016, ema_rampup=None)
    after = average_G(state, hyper, LEVEL)
    # One half-life has passed.
    want = jax.tree.map(lambda ema, p: (ema + p) / 2, state.G_ema, state.G)
    assert_close(after.G_ema, want, rtol=1e-6)
    fixed = average_G(state, dataclasses.replace(hyper, ema_decay=0.999), LEVEL)
    want = jax.tree.map(lambda ema, p: 0.999 * ema + 0.001 * p, state.G_ema, state.G)
    assert_close(fixed.G_ema, want, rtol=1e-6)


def test_labels_of_fakes_follow_the_data(setup, batch):
    networks, hyper, _, _ = setup
    phase = make_phases(hyper)[0]
    labels = jnp.asarray([1] * 9 + [0], jnp.int32)
    big = {k: jnp.repeat(v, 64, axis=0) for k, v in batch.items()}
    inputs = draw_inputs(
        jax.random.key(5), phase, big, labels, networks=networks, hyper=hyper, level=LEVEL
    )
    share = float(inputs["gen"]["c"][:, 1].mean())
    assert 0.85 < share < 0.95  # 0.9 +- 5 standard errors of 1024 draws


def test_mixing_cutoffs(setup, batch):
    """Mixed with the wanted probability, between the first and the last layer."""
    networks, hyper, _, _ = setup
    batch = jax.tree.map(jnp.asarray, batch)
    hyper = dataclasses.replace(hyper, num_micro_batches=16)
    phase = make_phases(hyper)[0]

    def draw(key):
        labels = jnp.zeros(1, jnp.int32)
        statics = dict(networks=networks, hyper=hyper, level=LEVEL)
        return draw_inputs(key, phase, batch, labels, **statics)["gen"]

    cutoffs = np.asarray(jax.jit(jax.vmap(draw))(jax.random.split(jax.random.key(6), 64))["cutoff"])
    is_mixed = cutoffs < networks.num_ws
    assert set(cutoffs[is_mixed]) == set(range(1, networks.num_ws))
    assert 0.85 < is_mixed.mean() < 0.95  # 0.9 +- 5 standard errors of 1024 draws


def test_programs_compile_once_and_donate(setup, batch):
    """After the first lazy cycle nothing compiles, nothing crosses to the host, state is reused."""
    networks, hyper, init, _ = setup
    hyper = dataclasses.replace(hyper, g_reg_interval=2, d_reg_interval=2)
    mesh = make_mesh(jax.devices()[:2])
    everywhere = replicated(mesh)
    state = jax.jit(init, out_shardings=everywhere)(jax.random.key(0))
    abstract = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=everywhere), state
    )
    labels = np.zeros(3, np.int32)
    programs = compile_programs(networks, hyper, LEVEL, mesh, abstract, SHAPE, labels)
    key, labels = jax.device_put((jax.random.key(3), labels), everywhere)
    compiles = []
    monitoring.register_event_duration_secs_listener(
        lambda name, *_, **__: compiles.append(name) if "backend_compile" in name else None
    )
    try:
        for index in range(4):
            if index == 2:
                compiles.clear()
            old = state
            with jax.transfer_guard("disallow"):
                placed = put_batch(mesh, batch, len(batch["image"]))
                state, _ = programs.iteration(state, key, placed, labels, index)
            assert all(leaf.is_deleted() for leaf in jax.tree.leaves((old.G, old.D, old.opt_G)))
    finally:
        monitoring.clear_event_listeners()
    assert not compiles
    assert int(state.nimg) == 4 * LEVEL.batch_size


def collectives(setup, mesh, program, shape=SHAPE):
    """What travels in a compiled program: `{operation: (how often, bytes it gives back)}`."""
    networks, hyper, level, state = setup
    labels = np.zeros(3, np.int32)
    jobs = trace_programs(networks, hyper, level, mesh, shard_state(mesh, state), shape, labels)
    text = dict(jobs)[program]().lower().compile().as_text()
    return {op: (found["count"], found["bytes"]) for op, found in hlo.collectives(text).items()}


def num_bytes(tree):
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))


# The mean style, and the sums behind the logged losses.
STATISTICS_BYTES = 16 * 4 + 16 * 4


@pytest.mark.parametrize("num_micro_batches", [1, 2])
def test_gradients_are_summed_over_devices_once(setup, num_micro_batches):
    """However many parts the batch has, and whatever the compiler makes of it: one sum."""
    networks, hyper, _, state = setup
    hyper = dataclasses.replace(hyper, num_micro_batches=num_micro_batches)
    mesh = make_mesh(jax.devices()[:2])
    found = collectives((networks, hyper, LEVEL, state), mesh, "Dmain")
    assert set(found) == {"all-reduce"}
    count, size = found["all-reduce"]
    assert count <= 1 + num_micro_batches  # the mean style moves in every part
    assert 0 <= size - num_bytes(state.D) <= num_micro_batches * STATISTICS_BYTES


def test_of_networks_that_grow_only_the_grown_part_is_summed(growing_setup):
    networks, hyper, state, level = growing_setup
    shape = dataclasses.replace(SHAPE, img_resolution=16)
    setup = (networks, hyper, level, state)
    found = collectives(setup, make_mesh(jax.devices()[:2]), "Dboth", shape)
    assert set(found) == {"all-reduce"}
    size = num_bytes(grown_part(state.D, level.resolution))
    assert 0 <= found["all-reduce"][1] - size <= 2 * STATISTICS_BYTES


def test_a_split_state_is_gathered_once_and_its_gradients_scattered(setup, split_small):
    networks, hyper, _, state = setup
    mesh = make_mesh(fsdp=2)
    found = collectives((networks, hyper, LEVEL, state), mesh, "Dmain")
    split = {net: num_bytes(split_leaves(getattr(state, net), mesh)) for net in "GD"}
    assert min(split.values()) > 0
    assert set(found) == {"all-gather", "reduce-scatter", "all-reduce"}
    assert found["all-gather"][1] == split["G"] + split["D"]
    assert found["reduce-scatter"][1] == split["D"] // 2
    own = num_bytes(state.D) - split["D"] // 2
    assert 0 <= found["all-reduce"][1] - own <= STATISTICS_BYTES


def split_leaves(state, mesh):
    specs = state_specs(state, mesh)
    return [x for x, spec in zip(jax.tree.leaves(state), jax.tree.leaves(specs)) if "fsdp" in spec]


def test_of_split_rows_only_edges_travel(setup, split_small):
    networks, hyper, _, state = setup
    found = collectives((networks, hyper, LEVEL, state), make_mesh(spatial=2), "Dmain")
    assert set(found) == {"collective-permute", "all-reduce", "all-gather"}
    whole_map = 8 * 8 * 8 * 8 * 4  # images of two devices, at full size
    assert found["all-gather"][1] < whole_map
    # Its weights are moved, its images are not.
    assert found["all-reduce"][1] < 3 * num_bytes(state.D)
