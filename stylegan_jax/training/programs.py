"""The compiled programs of a run: one per phase, the end of an iteration, and sampling."""

import concurrent.futures
import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh

from stylegan_jax.models.stylegan2 import make_noise
from stylegan_jax.training.build import ImageShape
from stylegan_jax.training.progress import describe_compile
from stylegan_jax.training.sharding import batch_sharding, replicated
from stylegan_jax.training.state import TrainState
from stylegan_jax.training.step import (
    Hyperparameters,
    Networks,
    Phase,
    Report,
    draw_inputs,
    finish_iteration,
    make_phases,
    run_phase,
)

Batch = dict[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class Programs:
    """Compiled programs; the state that goes into one is donated and must not be used again."""

    phases: tuple[Phase, ...]
    run: dict[str, Callable[[TrainState, jax.Array, Batch, jax.Array], tuple[TrainState, Report]]]
    finish: Callable[[TrainState], TrainState]

    def iteration(
        self, state: TrainState, key: jax.Array, batch: Batch, labels: jax.Array, index: int
    ) -> tuple[TrainState, list[Report]]:
        """Runs the phases that are due in iteration `index`, then moves `G_ema`.

        Args:
            state: State before; donated.
            key: The run's key; each phase folds in the image counter and its own number.
            batch: Real images and labels, split over `data`.
            labels: Class of every training image.
            index: Number of the iteration, from 0.

        Returns:
            `(state, reports)`, on the devices: nothing is waited for.
        """
        reports = []
        for phase in self.phases:
            if index % phase.interval == 0:
                state, report = self.run[phase.name](state, key, batch, labels)
                reports.append(report)
        return self.finish(state), reports


def phase_program(
    phase: Phase, number: int, networks: Networks, hyper: Hyperparameters, mesh: Mesh
) -> Callable[..., tuple[TrainState, Report]]:
    """A phase as the function that is compiled: draws its inputs, then steps."""

    def program(state: TrainState, key: jax.Array, batch: Batch, labels: jax.Array):
        # Randomness depends on the seed, the image counter and the phase, on nothing else.
        key = jax.random.fold_in(jax.random.fold_in(key, state.nimg), number)
        inputs = draw_inputs(key, phase, batch, labels, networks=networks, hyper=hyper, mesh=mesh)
        return run_phase(state, inputs, phase, networks=networks, hyper=hyper)

    program.__name__ = f"phase_{phase.name}"
    return program


def lower_programs(
    networks: Networks,
    hyper: Hyperparameters,
    mesh: Mesh,
    state: Any,
    shape: ImageShape,
    num_labels: int,
) -> Iterator[tuple[str, Callable[[], jax.stages.Lowered]]]:
    """Names every program of the step and how to lower it.

    Args:
        networks: Structures and optimisers.
        hyper: Numbers of the losses.
        mesh: Devices.
        state: The state, or its shapes with shardings.
        shape: Sizes of images and labels.
        num_labels: Images in the data set.
    """
    whole, split = replicated(mesh), batch_sharding(mesh)
    n, side = hyper.batch_size, shape.img_resolution
    image = (n, side, side, shape.img_channels)
    batch = {
        "image": jax.ShapeDtypeStruct(image, jnp.uint8, sharding=split),
        "label": jax.ShapeDtypeStruct((n, shape.c_dim), jnp.float32, sharding=split),
    }
    key = jax.eval_shape(lambda: jax.random.key(0))
    key = jax.ShapeDtypeStruct(key.shape, key.dtype, sharding=whole)
    labels = jax.ShapeDtypeStruct((num_labels,), jnp.int32, sharding=whole)
    for number, phase in enumerate(make_phases(hyper)):
        jitted = jax.jit(
            phase_program(phase, number, networks, hyper, mesh),
            donate_argnames="state",
            out_shardings=(whole, whole),
        )
        yield phase.name, lambda jitted=jitted: jitted.lower(state, key, batch, labels)
    finish = jax.jit(
        lambda state: finish_iteration(state, hyper), donate_argnums=0, out_shardings=whole
    )
    yield "EMA", lambda: finish.lower(state)


def compile_programs(
    networks: Networks,
    hyper: Hyperparameters,
    mesh: Mesh,
    state: Any,
    shape: ImageShape,
    num_labels: int,
) -> Programs:
    """Compiles the whole step ahead of time, two programs at once, and says what takes how long.

    Arguments are those of `lower_programs`.
    """
    jobs = list(lower_programs(networks, hyper, mesh, state, shape, num_labels))

    def compile_one(job: tuple[int, tuple[str, Callable[[], jax.stages.Lowered]]]):
        index, (name, lower) = job
        with describe_compile(name, index + 1, len(jobs)):
            return lower().compile()

    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        compiled = list(pool.map(compile_one, enumerate(jobs)))
    *phases, finish = compiled
    return Programs(make_phases(hyper), {name: run for (name, _), run in zip(jobs, phases)}, finish)


def make_sampler(graphdef: nnx.GraphDef, img_resolution: int) -> Callable[..., jax.Array]:
    """Compiles on first use: images of a generator for one noise kind.

    Returns:
        `sample(G, stats, z, c, key=None, psi=1.0, *, noise_mode="const", truncation_cutoff=None)`:
        float32 images `[n, h, w, c]`. `noise_mode` is `const` (the stored noise), `random` (from
        `key`) or `none`.
    """

    @functools.partial(jax.jit, static_argnames=("noise_mode", "truncation_cutoff"))
    def sample(G, stats, z, c, key=None, psi=1.0, *, noise_mode="const", truncation_cutoff=None):
        if noise_mode not in ("const", "random", "none"):
            raise ValueError(f"noise_mode={noise_mode!r}: choose const, random or none.")
        noise = stats["noise_const"] if noise_mode == "const" else None
        if noise_mode == "random":
            noise = make_noise(key, z.shape[0], img_resolution)
        return nnx.merge(graphdef, G)(
            z,
            c,
            noise,
            w_avg=stats["w_avg"],
            truncation_psi=psi,
            truncation_cutoff=truncation_cutoff,
        )

    return sample
