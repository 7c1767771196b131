"""The compiled programs of a run: one per phase, the end of an iteration, and sampling."""

import concurrent.futures
import contextlib
import dataclasses
import functools
import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jax.sharding import Mesh

from stylegan_jax.models.blocks import make_noise
from stylegan_jax.ops.pyramid import repeat_pixels
from stylegan_jax.training.build import ImageShape
from stylegan_jax.training.phases import (
    Hyperparameters,
    Networks,
    Phase,
    draw_inputs,
    make_phases,
)
from stylegan_jax.training.schedules import Level
from stylegan_jax.training.sharding import (
    batch_sharding,
    replicated,
    shardings,
    split_over_data,
)
from stylegan_jax.training.state import TrainState
from stylegan_jax.training.step import Report, average_G, run_phase

Batch = dict[str, jax.Array]

# Most of a step on the CPU is spent in libraries; the rest is as fast with less optimisation, and
# compiled in three quarters of the time.
_COMPILER_OPTIONS = {"cpu": {"xla_backend_optimization_level": 1}}
# Those of one image without any, where only speed and memory matter.
_NO_LABELS = np.full(1, -1, np.int32)


@dataclasses.dataclass(frozen=True)
class Programs:
    """Compiled programs of a level; a state that goes into one is donated and is used up."""

    level: Level
    phases: tuple[Phase, ...]
    run: dict[str, Callable[..., Any]]
    count: Callable[[jax.Array], jax.Array]

    def iteration(
        self, state: TrainState, key: jax.Array, batch: Batch, labels: jax.Array, index: int
    ) -> tuple[TrainState, list[Report]]:
        """Runs the phases that are due in iteration `index`; `G_ema` moves behind those of D.

        Args:
            state: State before; donated.
            key: The run's key; each phase folds in the image counter and its own number.
            batch: Real images and labels, split over `data`.
            labels: Labels of all training images.
            index: Number of the iteration, from 0.

        Returns:
            `(state, reports)`, on the devices: nothing is waited for.
        """
        reports = []
        for net, phases in itertools.groupby(self.phases, lambda phase: phase.net):
            for phase in phases:
                if index % phase.interval == 0:
                    state, report = self.run[phase.name](state, key, batch, labels)
                    reports.append(report)
            if net == "D":
                state = self.run["EMA"](state)
        return dataclasses.replace(state, nimg=self.count(state.nimg)), reports


def phase_program(
    phase: Phase, number: int, networks: Networks, hyper: Hyperparameters, level: Level, mesh: Mesh
) -> Callable[..., tuple[TrainState, Report]]:
    """A phase as the function that is compiled: draws its inputs, then steps."""

    def program(state: TrainState, key: jax.Array, batch: Batch, labels: jax.Array):
        # Randomness depends on the seed, the image counter and the phase, on nothing else.
        key = jax.random.fold_in(jax.random.fold_in(key, state.nimg), number)
        statics = dict(networks=networks, hyper=hyper, level=level)
        fade = level.fade(state.nimg)
        inputs = draw_inputs(key, phase, batch, labels, fade=fade, mesh=mesh, **statics)
        return run_phase(state, inputs, phase, **statics)

    program.__name__ = f"phase_{phase.name}"
    return program


def trace_programs(
    networks: Networks,
    hyper: Hyperparameters,
    level: Level,
    mesh: Mesh,
    state: Any,
    shape: ImageShape,
    labels: Any = _NO_LABELS,
) -> Iterator[tuple[str, Callable[[], jax.stages.Traced]]]:
    """Names every program of a level's iteration and how to trace it.

    Args:
        networks: Structures and optimisers.
        hyper: Numbers of the losses.
        level: Resolution, batch and learning rates.
        mesh: Devices.
        state: Shapes of the state with shardings, from `shard_state`, or the state.
        shape: Channels and labels of the images.
        labels: Labels of all training images, see `draw_inputs`, or their shape.
    """
    whole, split, spread = replicated(mesh), batch_sharding(mesh), shardings(state)
    n, side = level.batch_size, level.resolution
    py, px = networks.packing(side)
    image = (n, side // py, side // px, py * px * shape.img_channels)
    batch = {
        "image": jax.ShapeDtypeStruct(image, shape.img_dtype, sharding=split),
        "label": jax.ShapeDtypeStruct((n, shape.c_dim), jnp.float32, sharding=split),
    }
    key = jax.eval_shape(lambda: jax.random.key(0))
    key = jax.ShapeDtypeStruct(key.shape, key.dtype, sharding=whole)
    labels = jax.ShapeDtypeStruct(labels.shape, labels.dtype, sharding=whole)
    for number, phase in enumerate(make_phases(hyper)):
        jitted = jax.jit(
            phase_program(phase, number, networks, hyper, level, mesh),
            donate_argnames="state",
            out_shardings=(spread, whole),
        )
        args = (state, key, batch, labels)
        yield phase.name, functools.partial(_trace, mesh, jitted, *args)
    average = jax.jit(
        lambda state: average_G(state, hyper, level), donate_argnums=0, out_shardings=spread
    )
    yield "EMA", functools.partial(_trace, mesh, average, state)


def _trace(mesh: Mesh, jitted: Any, *args: Any) -> jax.stages.Traced:
    """Traces a program where its hints about the mesh hold."""
    with jax.set_mesh(mesh):
        return jitted.trace(*args)


def _quietly(*_: Any) -> contextlib.AbstractContextManager:
    """Says nothing while a program is compiled."""
    return contextlib.nullcontext()


def compile_programs(
    networks: Networks,
    hyper: Hyperparameters,
    level: Level,
    mesh: Mesh,
    state: Any,
    shape: ImageShape,
    labels: Any = _NO_LABELS,
    *,
    announce: Callable[[str, int, int], contextlib.AbstractContextManager] = _quietly,
) -> Programs:
    """Compiles a level's iteration ahead of time, in parallel.

    Arguments are those of `trace_programs`; `announce(name, number, total)` surrounds each.
    """
    jobs = list(trace_programs(networks, hyper, level, mesh, state, shape, labels))

    def compile_one(job: tuple[int, tuple[str, Callable[[], jax.stages.Traced]]]):
        index, (name, trace) = job
        with announce(f"{name} {level.resolution} px", index + 1, len(jobs)):
            return trace().lower().compile(compiler_options=options)

    options = _COMPILER_OPTIONS.get(mesh.devices.flat[0].platform)
    workers = max(os.cpu_count() or 1, 2)
    with concurrent.futures.ThreadPoolExecutor(max_workers=workers) as pool:
        compiled = list(pool.map(compile_one, enumerate(jobs)))
    run = {name: program for (name, _), program in zip(jobs, compiled)}
    count = jax.jit(
        lambda nimg: nimg + level.batch_size, donate_argnums=0, out_shardings=replicated(mesh)
    )
    return Programs(level, make_phases(hyper), run, count.lower(state.nimg).compile())


def make_sampler(graphdef: nnx.GraphDef, mesh: Mesh) -> Callable[..., jax.Array]:
    """Compiles on first use: images of a generator as it stands in training.

    Returns:
        `sample(G, stats, z, c, keys, fade, *, resolution)`: float32 images `[n, h, w, c]` at full
        size, with repeated pixels where the network has not grown so far. The devices share the
        work, so n is a multiple of `num_batch_devices`, and each gets all images. Noise is drawn
        from `keys`, from each for as many images; None takes the stored noise.
    """
    whole = replicated(mesh)

    @functools.partial(jax.jit, static_argnames="resolution", out_shardings=whole)
    def sample(G, stats, z, c, keys, fade, *, resolution):
        network = nnx.merge(graphdef, lax.with_sharding_constraint(G, whole))
        z, c = split_over_data(mesh, (z, c))
        noise = stats["noise_const"]
        if keys is not None:

            def draw(key):
                return make_noise(key, len(z) // len(keys), network.noise_layers, resolution)

            drawn = jax.tree.map(jnp.concatenate, jax.vmap(draw)(keys))
            noise = split_over_data(mesh, drawn)
        img = network(z, c, noise, {}, resolution=resolution, fade=fade)
        return repeat_pixels(img, network.img_resolution // resolution)

    return sample
