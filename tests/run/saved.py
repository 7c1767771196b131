"""What tests of checkpoints share: a small state, its checkpoints, and damage to them."""

import dataclasses
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from stylegan_jax.run.checkpoint import CheckpointStore

META = {"config": {"model": "stylegan2", "res": 16}, "data": {"step": 3, "seed": 0, "batch": 8}}


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class State:
    """The kinds of nodes and leaves that the real train state has."""

    G: dict
    G_ema: dict
    opt: Any
    stats: dict
    nimg: jax.Array


def make_state(seed: int = 0, width: int = 64) -> State:
    """A state of a few random arrays and one real optax state."""
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return jnp.asarray(rng.standard_normal(shape), jnp.float32)

    G = {"synthesis": {"b4": {"const": draw(4, 4, width), "bias": draw(width)}}, "tail": {}}
    labels = {"synthesis": "main", "tail": "frozen"}
    opt = optax.partition({"main": optax.adam(1e-3), "frozen": optax.set_to_zero()}, labels)
    return State(
        G=G,
        G_ema=jax.tree.map(lambda x: x + 1, G),
        opt=opt.init(G),
        stats={"w_avg": draw(8), "none": jnp.zeros((0, 4)), "half": draw(3).astype(jnp.bfloat16)},
        nimg=jnp.int32(seed),
    )


def assert_equal(actual: Any, expected: Any) -> None:
    """Bit for bit, same tree, same dtypes."""
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for a, e in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert a.dtype == e.dtype and a.shape == e.shape
        assert np.asarray(a).tobytes() == np.asarray(e).tobytes()


def save_steps(workdir: pathlib.Path, steps=(1000, 2000), **kwargs) -> None:
    """Saves make_state(step) at each step."""
    with CheckpointStore(workdir, **kwargs) as store:
        for step in steps:
            assert store.save(make_state(step), step, META)


def array_files(step_dir: pathlib.Path) -> list[pathlib.Path]:
    """The files with array data, largest last."""
    files = [f for f in (step_dir / "state").rglob("d/*") if f.is_file()]
    return sorted(files, key=lambda f: f.stat().st_size)


def flip(path: pathlib.Path, at: float = 0.5) -> None:
    """Flips one bit of a file."""
    data = bytearray(path.read_bytes())
    data[int(len(data) * at)] ^= 0x10
    path.write_bytes(data)


def flip_array(step_dir):
    flip(array_files(step_dir)[-1])
