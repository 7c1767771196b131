"""The phases of an iteration: whose step, with which losses, on what random inputs."""

import dataclasses
import math
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from stylegan_jax.models.blocks import NoiseLayers, make_noise
from stylegan_jax.ops.packing import UNPACKED, Packing, depth_to_space, space_to_depth
from stylegan_jax.ops.pyramid import average_pixels, fade_to, repeat_pixels
from stylegan_jax.training.optimizer import Optimizer
from stylegan_jax.training.schedules import Level
from stylegan_jax.training.sharding import split_over_data

Inputs = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Networks:
    """The static half of a training run: network structures, their sizes, their optimisers.

    `packings` are those of D's images by resolution; none is named: unpacked.
    """

    G: nnx.GraphDef
    D: nnx.GraphDef
    opt_G: Optimizer
    opt_D: Optimizer
    z_dim: int
    num_ws: int
    noise_layers: NoiseLayers
    packings: tuple[tuple[int, Packing], ...] = ()

    def packing(self, resolution: int) -> Packing:
        """How D holds images of a resolution, and so how they are handed over."""
        return dict(self.packings).get(resolution, UNPACKED)


@dataclasses.dataclass(frozen=True)
class Hyperparameters:
    """Numbers of the losses and averages; all static.

    Attributes:
        net_order: Whose phases come first, `GD` or `DG`; the average of G follows those of D.
        num_micro_batches: Gradients are averaged over this many parts of the batch.
        adversarial: A key of `ADVERSARIAL_LOSSES`.
        r1_gamma: Weight of R1 (the loss is gamma / 2 * penalty).
        r2_gamma: Weight of R2, likewise.
        gp_weight: Weight of the gradient penalty of WGAN-GP.
        gp_target: Gradient norm that it does not penalise.
        drift_weight: Weight of the squared logits of reals.
        pl_weight: Weight of the path length penalty; 0: no such phase.
        pl_decay: Rate of the moving mean of path lengths.
        pl_batch_shrink: Path lengths are measured on this fraction of the batch.
        style_mixing_prob: Probability that an iteration mixes two latents.
        w_avg_beta: Decay of the mean style.
        w_avg_update: `every_pass` moves it in each pass of the mapping (StyleGAN2-ADA), `Dmain`
            in that phase alone (StyleGAN3).
        ema_kimg: Half-life of `G_ema`.
        ema_rampup: See `ema_beta`.
        ema_decay: Share of the average kept per iteration, whatever the batch (ProGAN); None: as
            half-life and ramp-up have it.
        g_reg_interval: Iterations between `Greg` phases; None: regularised in every main phase.
        d_reg_interval: Iterations between `Dreg` phases; None: likewise.
    """

    net_order: Literal["GD", "DG"]
    num_micro_batches: int
    adversarial: str
    r1_gamma: float
    r2_gamma: float
    gp_weight: float
    gp_target: float
    drift_weight: float
    pl_weight: float
    pl_decay: float
    pl_batch_shrink: int
    style_mixing_prob: float
    w_avg_beta: float
    w_avg_update: Literal["every_pass", "Dmain"]
    ema_kimg: float
    ema_rampup: float | None
    ema_decay: float | None
    g_reg_interval: int | None
    d_reg_interval: int | None


class Phase(NamedTuple):
    """One optimiser step of one network: with its main loss, its regulariser, or both."""

    name: str
    net: Literal["G", "D"]
    main: bool
    reg: bool
    interval: int


def make_phases(hyper: Hyperparameters) -> tuple[Phase, ...]:
    """The phases of an iteration in their order; run a phase if `iteration % interval == 0`."""
    phases: list[Phase] = []
    penalties = hyper.r1_gamma or hyper.r2_gamma or hyper.gp_weight
    regularization = {
        "G": (hyper.pl_weight, hyper.g_reg_interval),
        "D": (penalties, hyper.d_reg_interval),
    }
    for net in hyper.net_order:
        weight, interval = regularization[net]
        if weight == 0:
            phases.append(Phase(f"{net}main", net, True, False, 1))
        elif interval is None:
            phases.append(Phase(f"{net}both", net, True, True, 1))
        else:
            phases.append(Phase(f"{net}main", net, True, False, 1))
            phases.append(Phase(f"{net}reg", net, False, True, interval))
    return tuple(phases)


def draw_inputs(
    key: Array,
    phase: Phase,
    batch: dict[str, Array],
    labels: Int[Array, " m"] | Float[Array, "m c_dim"],
    *,
    networks: Networks,
    hyper: Hyperparameters,
    level: Level,
    fade: Float[Array, ""] | None = None,
    mesh: Mesh | None = None,
) -> Inputs:
    """Draws everything random in a phase from one key.

    Args:
        key: Key of this iteration and phase.
        phase: What the inputs are for.
        batch: Real images `image` [n, h, w, c] (uint8 or uint16), as large as the level's and
            packed as `networks.packing` has it, and their labels `label` [n, c_dim].
        labels: Class, or label vector, of every training image; fakes get that of a uniformly
            drawn one.
        networks: For the sizes.
        hyper: For the batch sizes.
        level: For the resolution.
        fade: Share of their own averages in the real images; None: they are used as they are.
        mesh: Keeps the draws split over `data`.

    Returns:
        As far as the phase needs them: `gen` (latents), `pl` (latents and directions of the
        path length), `real` (packed images in [-1, 1] and labels), `mix` (of reals and fakes).
    """
    packing = networks.packing(level.resolution)
    n, _, _, packed_channels = batch["image"].shape
    img_shape = (level.resolution, level.resolution, packed_channels // math.prod(packing))
    key_gen, key_pl, key_directions, key_mix = jax.random.split(key, 4)

    def latents(key: Array, n: int) -> dict[str, Any]:
        key_latents, key_c = jax.random.split(key)
        fakes = _draw_latents(key_latents, n, networks=networks, hyper=hyper, level=level)
        index = jax.random.randint(key_c, (n,), 0, labels.shape[0])
        is_class = jnp.issubdtype(labels.dtype, jnp.integer)
        c = labels[index]
        fakes["c"] = jax.nn.one_hot(c, batch["label"].shape[1]) if is_class else c
        return fakes

    inputs: Inputs = {}
    if phase.main or (phase.net == "D" and (hyper.r2_gamma or hyper.gp_weight)):
        inputs["gen"] = latents(key_gen, n)
    if phase.net == "G" and phase.reg:
        n_pl = n // hyper.pl_batch_shrink
        inputs["pl"] = latents(key_pl, n_pl)
        inputs["pl"]["directions"] = jax.random.normal(key_directions, (n_pl, *img_shape))
    if phase.net == "D":
        img = batch["image"] / (jnp.iinfo(batch["image"].dtype).max / 2) - 1.0
        if fade is not None:
            img = depth_to_space(img, packing)
            img = fade_to(img, repeat_pixels(average_pixels(img, 2), 2), fade)
            img = space_to_depth(img, packing)
        inputs["real"] = {"img": img, "c": batch["label"]}
        if phase.reg and hyper.gp_weight:
            inputs["mix"] = jax.random.uniform(key_mix, (n, 1, 1, 1))
    return split_over_data(mesh, inputs)


def _draw_latents(
    key: Array, n: int, *, networks: Networks, hyper: Hyperparameters, level: Level
) -> dict[str, Any]:
    """Latents and noise of n fakes, and those that their styles are mixed with."""
    key_z, key_mix, key_cutoff, key_noise = jax.random.split(key, 4)
    drawn: dict[str, Any] = {
        "z": jax.random.normal(key_z, (n, networks.z_dim)),
        "noise": make_noise(key_noise, n, networks.noise_layers, level.resolution),
    }
    if hyper.style_mixing_prob > 0:
        drawn["z_mix"] = jax.random.normal(key_mix, (n, networks.z_dim))
        cutoffs = _draw_cutoffs(key_cutoff, networks, hyper, level)
        drawn["cutoff"] = jnp.repeat(cutoffs[None], n // len(cutoffs), 0).reshape(n)
    return drawn


def split_micro_batches(inputs: Inputs, num_micro_batches: int) -> Inputs:
    """Deals images out, `[n, ...] -> [m, n / m, ...]`: image i goes to micro-batch i mod m.

    Every device keeps its own images, so no data moves.
    """

    def split(x: Array) -> Array:
        per_micro = x.shape[0] // num_micro_batches
        return jnp.swapaxes(x.reshape(per_micro, num_micro_batches, *x.shape[1:]), 0, 1)

    return jax.tree.map(split, inputs)


def _draw_cutoffs(
    key: Array, networks: Networks, hyper: Hyperparameters, level: Level
) -> Int[Array, " m"]:
    """First layer of the second style, one per micro-batch; behind the last: nothing is mixed."""
    shape = (hyper.num_micro_batches,)
    key_mix, key_cutoff = jax.random.split(key)
    num_ws = networks.num_ws - 2 * level.lod  # those that have grown
    cutoff = jax.random.randint(key_cutoff, shape, 1, num_ws)
    is_mixed = jax.random.uniform(key_mix, shape) < hyper.style_mixing_prob
    return jnp.where(is_mixed, cutoff, num_ws)
