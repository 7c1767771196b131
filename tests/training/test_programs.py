"""Compiled steps: compiled once, state reused, what travels between devices."""

import contextlib
import dataclasses

import jax
import numpy as np
import pytest
from jax import monitoring

from stylegan_jax.plan import hlo
from stylegan_jax.training.grown import grown_part
from stylegan_jax.training.programs import compile_steps, run_iteration, trace_steps
from stylegan_jax.training.sharding import (
    make_mesh,
    put_batch,
    replicated,
    shard_state,
    state_specs,
)
from tests.training.conftest import LEVEL, SHAPE, with_hyper


def test_programs_compile_once_and_donate(whole, batch):
    """After the first lazy cycle nothing compiles, nothing crosses to the host, state is reused."""
    setup, init, _ = whole
    setup = with_hyper(setup, g_reg_interval=2, d_reg_interval=2)
    mesh = make_mesh(jax.devices()[:2])
    everywhere = replicated(mesh)
    state = jax.jit(init, out_shardings=everywhere)(jax.random.key(0))
    abstract = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=everywhere), state
    )
    key, labels = jax.device_put((jax.random.key(3), np.zeros(3, np.int32)), everywhere)
    constants = {"labels": labels}
    announced = []

    def announce(*what):
        announced.append(what)
        return contextlib.nullcontext()

    steps = compile_steps(setup, mesh, abstract, SHAPE, constants, announce=announce)
    assert sorted(announced)[0] == ("Dmain 12x8 px", 3, 6)
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
                state, reports = run_iteration(steps, state, key, placed, constants, index)
            assert all(leaf.is_deleted() for leaf in jax.tree.leaves((old.G, old.D, old.opt_G)))
            assert len(reports) == (4 if index % 2 == 0 else 2)
    finally:
        monitoring.clear_event_listeners()
    assert not compiles
    assert int(state.nimg) == 4 * LEVEL.batch_size
    assert not labels.is_deleted() and not key.is_deleted()


def compiled_text(setup, state, mesh, name, shape=SHAPE):
    """The optimised program of a step."""
    jobs = trace_steps(setup, mesh, shard_state(mesh, state), shape)
    programs = {step.name: trace for step, trace in jobs}
    return programs[name]().lower().compile().as_text()


def collectives(setup, state, mesh, name, shape=SHAPE):
    """What travels in a compiled step: `{operation: (how often, bytes it gives back)}`."""
    text = compiled_text(setup, state, mesh, name, shape)
    return {op: (found["count"], found["bytes"]) for op, found in hlo.collectives(text).items()}


def num_bytes(tree):
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))


# The moving values w_avg and pl_mean, and the sums behind the logged losses.
STATISTICS_BYTES = 16 * 4 + 4 + 16 * 4


@pytest.mark.parametrize("num_micro_batches", [1, 2])
def test_gradients_are_summed_over_devices_once(whole, num_micro_batches):
    """However many parts the batch has, and whatever the compiler makes of it: one sum."""
    setup, _, state = whole
    setup = with_hyper(setup, num_micro_batches=num_micro_batches)
    found = collectives(setup, state, make_mesh(jax.devices()[:2]), "Dmain")
    assert set(found) == {"all-reduce"}
    count, size = found["all-reduce"]
    assert count <= 2
    assert 0 <= size - num_bytes(state.D) <= STATISTICS_BYTES


def test_of_networks_that_grow_only_the_grown_part_is_summed(growing):
    setup, _, state = growing
    shape = dataclasses.replace(SHAPE, height=24, width=16)
    found = collectives(setup, state, make_mesh(jax.devices()[:2]), "Dboth", shape)
    assert set(found) == {"all-reduce"}
    size = num_bytes(grown_part(state.D, setup.level.resolution))
    assert 0 <= found["all-reduce"][1] - size <= STATISTICS_BYTES


def test_a_split_state_is_gathered_once_and_its_gradients_scattered(whole, split_small):
    setup, _, state = whole
    mesh = make_mesh(fsdp=2)
    found = collectives(setup, state, mesh, "Dmain")
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


def test_of_split_rows_only_edges_travel(whole, split_small):
    setup, _, state = whole
    found = collectives(setup, state, make_mesh(spatial=2), "Dmain")
    assert set(found) == {"collective-permute", "all-reduce", "all-gather"}
    whole_map = 8 * 12 * 8 * 8 * 4  # images of two devices, at full size
    assert found["all-gather"][1] < whole_map
    # Its weights are moved, its images are not.
    assert found["all-reduce"][1] < 3 * num_bytes(state.D)


@pytest.mark.parametrize("name", ["average_G", "count"])
def test_steps_without_a_loss_send_nothing_and_copy_nothing_else(whole, name):
    """What a step leaves alone passes through in place."""
    setup, _, state = whole
    text = compiled_text(setup, state, make_mesh(jax.devices()[:2]), name)
    assert f"jit_step_{name}" in text, "profiles and plans find it by its name"
    assert not hlo.collectives(text)
    (aliased,) = [line for line in text.splitlines() if line.startswith("HloModule")]
    assert aliased.count("may-alias") + aliased.count("must-alias") == len(jax.tree.leaves(state))
