"""The machine of a training step: it takes any loss and knows neither networks nor papers.

A loss is a function `(state, inputs, constants) -> (loss, (stats, report))`: a scalar, the moving
values after it, and what is to be logged. The machine differentiates it with respect to one entry
of the state, micro-batch by micro-batch on every device, sums the gradients over the devices once,
and takes the optimiser's step, unless a gradient is not finite.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float

from stylegan_jax.ops.partition import BATCH_AXES
from stylegan_jax.training.grown import grown_part, with_grown_part
from stylegan_jax.training.inputs import Batch, Constants, split_micro_batches
from stylegan_jax.training.schedules import ema_beta
from stylegan_jax.training.setup import Setup
from stylegan_jax.training.sharding import gather_state, mean_over_devices, state_specs
from stylegan_jax.training.state import Stats, TrainState, fixed_stats, moving_stats

# Logged values by name: per image inside a step, means of the batch outside.
Report = dict[str, Array]
Loss = Callable[[TrainState, Any, Constants], tuple[Float[Array, ""], tuple[Stats, Report]]]


class Step(NamedTuple):
    """An entry of the list that an iteration is.

    Attributes:
        name: What it is called in logs, metrics and plans.
        run: `(state, key, batch, constants) -> (state, report)`; `key` is the run's.
        interval: It is done in every `interval`-th iteration, beginning with the first.
        reads_batch: Whether what it needs depends on the images.
    """

    name: str
    run: Callable[[TrainState, Array, Batch, Constants], tuple[TrainState, Report]]
    interval: int = 1
    reads_batch: bool = True


# The step that ends every iteration.
COUNT = "count"


def gradient_step(
    state: TrainState,
    inputs: Any,
    constants: Constants,
    loss: Loss,
    *,
    net: str,
    name: str,
    is_reg: bool,
    setup: Setup,
) -> tuple[TrainState, Report]:
    """Takes one optimiser step; leaves it out, and counts that, where a gradient is not finite.

    Args:
        state: State before.
        inputs: What the loss reads, arrays whose leading axis is that of the images.
        constants: What the loss reads besides.
        loss: See the module's docstring.
        net: The entry of the state that is stepped, with `opt_<net>` beside it.
        name: The step's name, for the report.
        is_reg: Whether the loss is a regulariser alone.
        setup: Optimisers, rates and micro-batches.

    Returns:
        `(state, report)`: the report holds the means of what the loss reports, and the gradient's
        norm.
    """
    # Gradients of the whole batch, and what is logged of it.
    resolution = setup.level.resolution
    grads, stats, report = gradients(state, inputs, constants, loss, net=net, setup=setup)
    report = {name: jnp.mean(value) for name, value in report.items()}
    norm = optax.tree.norm(grown_part(grads, resolution))
    report[f"Grad/{name}"] = norm
    is_finite = jnp.isfinite(norm)

    # Only the blocks that have grown are stepped; the others pass through untouched.
    optimizer = getattr(setup.networks, f"opt_{net}")
    whole = {entry: getattr(state, entry) for entry in (net, f"opt_{net}")}
    old = grown_part(whole, resolution)
    params, opt_state = optimizer.update(
        grown_part(grads, resolution),
        old[f"opt_{net}"],
        old[net],
        learning_rate=getattr(setup.level, f"{net}_lr"),
        is_reg=is_reg,
    )
    new = {net: params, f"opt_{net}": opt_state}

    # A bad gradient changes nothing but the counter.
    new, stats = jax.tree.map(
        lambda after, before: jnp.where(is_finite, after, before),
        (new, stats),
        (old, moving_stats(state.stats)),
    )
    skipped = dict(state.skipped)
    skipped[net] += jnp.where(is_finite, 0, 1)
    new = with_grown_part(whole, new)
    stats = fixed_stats(state.stats) | stats
    return dataclasses.replace(state, **new, stats=stats, skipped=skipped), report


def gradients(
    state: TrainState, inputs: Any, constants: Constants, loss: Loss, *, net: str, setup: Setup
) -> tuple[dict[str, Any], Stats, Report]:
    """Differentiates a loss, averaged over micro-batches and devices.

    With a mesh in the context every device sums its own images, all micro-batches of them, before
    the sums of the devices meet once.

    Returns:
        `(grads, stats, report)`: gradients with respect to the state's entry `net`, split as
        `state_specs` says, the moved statistics, and per-image values.
    """
    # Statistics that never move stay outside: they would be averaged for nothing.
    own = functools.partial(
        _own_gradients, loss=loss, net=net, num_micro_batches=setup.hyper.num_micro_batches
    )
    state = dataclasses.replace(state, stats=moving_stats(state.stats))

    # Without a mesh there is one device.
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return own(state, inputs, constants)

    # The state as it is kept, images split, everything else whole.
    specs = state_specs(state, mesh)
    net_specs = getattr(specs, net)
    split = PartitionSpec(BATCH_AXES)
    whole = PartitionSpec()

    def on_device(state: TrainState, inputs: Any, constants: Constants):
        grads, stats, report = own(gather_state(state, specs), inputs, constants)
        # Every moving value is averaged here, whether its loss has thought of the devices or not:
        # `out_specs` would take the unequal values of the devices for equal ones. What they moved
        # is: a value that stood still keeps its bits, on however many devices.
        moved = lax.pmean(jax.tree.map(jnp.subtract, stats, state.stats), BATCH_AXES)
        stats = jax.tree.map(jnp.add, state.stats, moved)
        return mean_over_devices(grads, net_specs), stats, report

    return jax.shard_map(
        on_device,
        in_specs=(specs, split, whole),
        out_specs=(net_specs, whole, split),
        axis_names=set(BATCH_AXES),
        check_vma=False,  # our own operations do not say what varies over devices
    )(state, inputs, constants)


def _own_gradients(
    state: TrainState,
    inputs: Any,
    constants: Constants,
    *,
    loss: Loss,
    net: str,
    num_micro_batches: int,
) -> tuple[dict[str, Any], Stats, Report]:
    """Gradients on the images that are given, averaged over micro-batches."""

    def grad(stats: Stats, inputs: Any):
        def total(params: dict[str, Any]):
            # The loss sees the state with the parameters that are differentiated.
            trial = dataclasses.replace(state, **{net: params}, stats=stats)
            return loss(trial, inputs, constants)

        return jax.grad(total, has_aux=True)(getattr(state, net))

    if num_micro_batches == 1:
        grads, (stats, report) = grad(state.stats, inputs)
        return grads, stats, report

    def body(carry: tuple, micro: Any):
        total, stats = carry
        grads, (stats, report) = grad(stats, micro)
        return (jax.tree.map(jnp.add, total, grads), stats), report

    # One micro-batch after the other: their images are never in memory together.
    zeros = jax.tree.map(jnp.zeros_like, getattr(state, net))
    micros = split_micro_batches(inputs, num_micro_batches)  # [m, n / m, ...]
    (grads, stats), report = lax.scan(body, (zeros, state.stats), micros)
    grads = jax.tree.map(lambda g: g / num_micro_batches, grads)
    return grads, stats, jax.tree.map(jnp.ravel, report)


def average_G(state: TrainState, setup: Setup) -> TrainState:
    """Moves the average of G: `ema = p + (ema - p) * beta` (Karras et al. 2018, section 6.2)."""
    hyper, level = setup.hyper, setup.level
    beta = hyper.ema_decay  # fixed (ProGAN), or of a half-life in images
    if beta is None:
        beta = ema_beta(
            state.nimg,
            batch_size=level.batch_size,
            ema_kimg=hyper.ema_kimg,
            ema_rampup=hyper.ema_rampup,
        )
    old = grown_part(state.G_ema, level.resolution)
    G = grown_part(state.G, level.resolution)
    G_ema = jax.tree.map(lambda ema, p: p + (ema - p) * beta, old, G)
    return dataclasses.replace(state, G_ema=with_grown_part(state.G_ema, G_ema))


def count_images(state: TrainState, setup: Setup) -> TrainState:
    """Ends an iteration: its images have been seen."""
    return dataclasses.replace(state, nimg=state.nimg + setup.level.batch_size)


def restart_optimizers(state: TrainState, setup: Setup) -> TrainState:
    """Returns the state with Adam as before its first step: moments and step counts are zero."""
    networks = setup.networks
    return dataclasses.replace(
        state, opt_G=networks.opt_G.init(state.G), opt_D=networks.opt_D.init(state.D)
    )
