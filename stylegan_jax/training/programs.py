"""The compiled programs of a run: one per step of an iteration, and sampling."""

import concurrent.futures
import contextlib
import functools
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.sharding import Mesh, NamedSharding

from stylegan_jax.models.blocks import make_noise
from stylegan_jax.ops.pyramid import repeat_pixels
from stylegan_jax.sizes import ImageShape, name_size
from stylegan_jax.training.inputs import Batch, Constants
from stylegan_jax.training.objectives import make_steps
from stylegan_jax.training.setup import Setup
from stylegan_jax.training.sharding import (
    batch_sharding,
    replicated,
    shardings,
    split_over_data,
)
from stylegan_jax.training.state import TrainState
from stylegan_jax.training.step import Report, Step

# Most of a step on the CPU is spent in libraries; the rest is as fast with less optimisation, and
# compiled in three quarters of the time.
_COMPILER_OPTIONS: dict[str, dict[str, Any]] = {"cpu": {"xla_backend_optimization_level": 1}}


def run_iteration(
    steps: Sequence[Step],
    state: TrainState,
    key: jax.Array,
    batch: Batch,
    constants: Constants,
    index: int,
) -> tuple[TrainState, list[Report]]:
    """Runs the steps that are due in iteration `index`, one after the other.

    Args:
        steps: From `compile_steps`.
        state: State before; donated, and used up.
        key: The run's key.
        batch: Real images and labels, split over `data`.
        constants: What all steps read and none changes.
        index: Number of the iteration, from 0.

    Returns:
        `(state, reports)`, on the devices: nothing is waited for.
    """
    # Which steps are due is known on the host: each variant is a program of its own.
    reports = []
    for step in steps:
        if index % step.interval == 0:
            state, report = step.run(state, key, batch, constants)
            if report:
                reports.append(report)
    return state, reports


def trace_steps(
    setup: Setup,
    mesh: Mesh,
    state: Any,
    shape: ImageShape,
    constants: Constants | None = None,
) -> Iterator[tuple[Step, Callable[[], jax.stages.Traced]]]:
    """Lists the steps of a level's iteration, and how to trace the program of each.

    Args:
        setup: Networks, numbers and level.
        mesh: Devices.
        state: Shapes of the state with shardings, from `shard_state`, or the state.
        shape: Channels and labels of the images.
        constants: Arrays that lie where the run has them; None: the labels of a single image, where
            only speed and memory matter.
    """
    # Arguments as shapes, and where they lie: the state as it is kept, images split, others whole.
    whole = replicated(mesh)
    split = batch_sharding(mesh)
    n = setup.level.batch_size
    height, width = setup.size
    py, px = setup.packing
    image = (n, height // py, width // px, py * px * shape.channels)
    batch = {
        "image": jax.ShapeDtypeStruct(image, shape.dtype, sharding=split),
        "label": jax.ShapeDtypeStruct((n, shape.c_dim), jnp.float32, sharding=split),
    }
    key = jax.eval_shape(lambda: jax.random.key(0))
    key = jax.ShapeDtypeStruct(key.shape, key.dtype, sharding=whole)
    if constants is None:
        one = jax.ShapeDtypeStruct((1,), jnp.int32, sharding=whole)
        constants = {"labels": one} if shape.c_dim else {}

    # The state is donated: what a step changes is written where it was.
    for step in make_steps(setup, mesh):
        jitted = jax.jit(
            _named(step), donate_argnames="state", out_shardings=(shardings(state), whole)
        )
        yield step, functools.partial(_trace, mesh, jitted, state, key, batch, constants)


def _named(step: Step) -> Callable[..., tuple[TrainState, Report]]:
    """A step as a function whose name its compiled program bears, in profiles and dumps."""

    def program(state: TrainState, key: jax.Array, batch: Batch, constants: Constants):
        return step.run(state, key, batch, constants)

    program.__name__ = f"step_{step.name}"
    return program


def _trace(mesh: Mesh, jitted: Any, *args: Any) -> jax.stages.Traced:
    """Traces a program where its hints about the mesh hold."""
    with jax.set_mesh(mesh):
        return jitted.trace(*args)


def _quietly(*_: Any) -> contextlib.AbstractContextManager:
    """Says nothing while a program is compiled."""
    return contextlib.nullcontext()


def compile_steps(
    setup: Setup,
    mesh: Mesh,
    state: Any,
    shape: ImageShape,
    constants: Constants | None = None,
    *,
    announce: Callable[[str, int, int], contextlib.AbstractContextManager] = _quietly,
) -> tuple[Step, ...]:
    """Compiles a level's iteration ahead of time, in parallel.

    Args:
        setup: See `trace_steps`, as the other arguments.
        mesh: Devices.
        state: Shapes of the state with shardings.
        shape: Channels and labels of the images.
        constants: Arrays that lie where the run has them.
        announce: `(name, number, total)` to what surrounds a compilation.

    Returns:
        The steps, which run compiled programs now; a state that goes into one is used up.
    """
    # XLA compiles without holding Python's lock: programs overlap.
    jobs = list(trace_steps(setup, mesh, state, shape, constants))
    options = _COMPILER_OPTIONS.get(mesh.devices.flat[0].platform)

    def compile_one(number: int, step: Step, trace: Callable[[], jax.stages.Traced]) -> Step:
        with announce(f"{step.name} {name_size(setup.size)} px", number, len(jobs)):
            program = trace().lower().compile(compiler_options=options)
        return step._replace(run=program)

    workers = max(os.cpu_count() or 1, 2)
    with concurrent.futures.ThreadPoolExecutor(max_workers=workers) as pool:
        futures = [pool.submit(compile_one, i + 1, *job) for i, job in enumerate(jobs)]
        return tuple(future.result() for future in futures)


def make_sampler(
    graphdef: nnx.GraphDef, mesh: Mesh, *, out_sharding: NamedSharding
) -> Callable[..., jax.Array]:
    """Compiles on first use: images of a generator as it stands in training.

    Args:
        graphdef: Structure of the generator.
        mesh: Devices.
        out_sharding: Where the images go: `replicated` for whoever needs them all, or
            `batch_sharding`, which leaves them where they are made.

    Returns:
        `sample(G, stats, z, c, keys, fade, *, resolution)`: float32 images `[n, h, w, c]` at full
        size, with repeated pixels where the network has not grown so far. The devices share the
        work, so n is a multiple of `num_batch_devices`. Noise is drawn from `keys`, from each for
        as many images; None takes the stored noise.
    """
    whole = replicated(mesh)

    @functools.partial(jax.jit, static_argnames="resolution", out_shardings=out_sharding)
    def sample(G, stats, z, c, keys, fade, *, resolution):
        # The state may be split over devices; drawing needs all of G on each.
        network = nnx.merge(graphdef, lax.with_sharding_constraint(G, whole))
        z, c = split_over_data(mesh, (z, c))
        noise = stats["noise_const"]
        if keys is not None:
            # [k] keys of n / k images each

            def draw(key):
                return make_noise(key, len(z) // len(keys), network.noise_layers, resolution)

            drawn = jax.tree.map(jnp.concatenate, jax.vmap(draw)(keys))
            noise = split_over_data(mesh, drawn)
        img = network(z, c, noise, stats["G"], resolution=resolution, fade=fade)
        return repeat_pixels(img, network.img_resolution // resolution)

    return sample
