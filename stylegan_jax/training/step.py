"""One training iteration as pure functions: phases of G and D, then the moving average of G.

An iteration runs `Gmain`, every few times `Greg` (path length), `Dmain`, every few times `Dreg`
(R1), and `average_G`; or D first. Each phase is a function of (state, inputs) with latents of its
own. Networks that grow work at the resolution of a `Level`, and so do their losses.
"""

import dataclasses
import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import lax
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float

from stylegan_jax.losses.adversarial import ADVERSARIAL_LOSSES
from stylegan_jax.losses.regularizers import (
    gradient_penalty,
    path_length_penalty,
    path_lengths,
    r1_penalty,
)
from stylegan_jax.models.blocks import broadcast_ws
from stylegan_jax.ops.packing import space_to_depth
from stylegan_jax.ops.partition import BATCH_AXES, batch_mean
from stylegan_jax.training.grown import grown_part, with_grown_part
from stylegan_jax.training.phases import (
    Hyperparameters,
    Inputs,
    Networks,
    Phase,
    split_micro_batches,
)
from stylegan_jax.training.schedules import Level, ema_beta
from stylegan_jax.training.sharding import gather_state, mean_over_devices, state_specs
from stylegan_jax.training.state import TrainState

Report = dict[str, Array]


def run_phase(
    state: TrainState,
    inputs: Inputs,
    phase: Phase,
    *,
    networks: Networks,
    hyper: Hyperparameters,
    level: Level,
) -> tuple[TrainState, Report]:
    """One optimiser step; left out, and counted, where a gradient is not finite.

    Args:
        state: State before.
        inputs: As `draw_inputs` gives them.
        phase: Which network and which losses.
        networks: Structures and optimisers.
        hyper: Numbers of the losses.
        level: Where the networks stand, with the learning rates.

    Returns:
        `(state, report)`: the report holds the means of the losses and the gradient's norm.
    """
    statics = dict(networks=networks, hyper=hyper, level=level)
    grads, stats, report = phase_gradients(state, inputs, phase, **statics)
    report = {name: jnp.mean(value) for name, value in report.items()}
    norm = optax.tree.norm(grown_part(grads, level.resolution))
    report[f"Grad/{phase.name}"] = norm
    is_finite = jnp.isfinite(norm)

    # Only the blocks that have grown are stepped; the others pass through untouched.
    net, optimizer = phase.net, getattr(networks, f"opt_{phase.net}")
    whole = {name: getattr(state, name) for name in (net, f"opt_{net}")}
    old = grown_part(whole, level.resolution)
    params, opt_state = optimizer.update(
        grown_part(grads, level.resolution),
        old[f"opt_{net}"],
        old[net],
        learning_rate=level.G_lr if net == "G" else level.D_lr,
        is_reg=not phase.main,
    )
    new = {net: params, f"opt_{net}": opt_state}
    new, stats = jax.tree.map(
        lambda a, b: jnp.where(is_finite, a, b), (new, stats), (old, state.stats)
    )
    new = with_grown_part(whole, new)
    skipped = dict(state.skipped)
    skipped[net] += jnp.where(is_finite, 0, 1)
    return dataclasses.replace(state, **new, stats=stats, skipped=skipped), report


def average_G(state: TrainState, hyper: Hyperparameters, level: Level) -> TrainState:
    """Moves the average of G."""
    beta = hyper.ema_decay
    if beta is None:
        half_life = dict(ema_kimg=hyper.ema_kimg, ema_rampup=hyper.ema_rampup)
        beta = ema_beta(state.nimg, batch_size=level.batch_size, **half_life)
    old, G = (grown_part(tree, level.resolution) for tree in (state.G_ema, state.G))
    G_ema = jax.tree.map(lambda ema, p: p + (ema - p) * beta, old, G)
    return dataclasses.replace(state, G_ema=with_grown_part(state.G_ema, G_ema))


def restart_optimizers(state: TrainState, networks: Networks) -> TrainState:
    """Adam as before its first step: moments and step counts are zero."""
    opt_G, opt_D = networks.opt_G.init(state.G), networks.opt_D.init(state.D)
    return dataclasses.replace(state, opt_G=opt_G, opt_D=opt_D)


def phase_gradients(
    state: TrainState,
    inputs: Inputs,
    phase: Phase,
    *,
    networks: Networks,
    hyper: Hyperparameters,
    level: Level,
) -> tuple[dict[str, Any], dict[str, Any], Report]:
    """Gradients of a phase's loss, averaged over micro-batches and devices.

    With a mesh in the context every device sums its own images, all micro-batches of them, before
    the sums of the devices meet once.

    Returns:
        `(grads, stats, report)`: gradients of the phase's network, split as `state_specs` has it,
        the moved statistics, and per-image values.
    """
    own = functools.partial(
        _own_gradients, phase=phase, networks=networks, hyper=hyper, level=level
    )
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return own(state, inputs)
    moving = {name: x for name, x in state.stats.items() if name != "noise_const"}
    state, stored = dataclasses.replace(state, stats=moving), state.stats
    specs = state_specs(state, mesh)
    split, net = PartitionSpec(BATCH_AXES), getattr(specs, phase.net)

    def on_device(state: TrainState, inputs: Inputs):
        grads, stats, report = own(gather_state(state, specs), inputs)
        return mean_over_devices(grads, net), stats, report

    grads, stats, report = jax.shard_map(
        on_device,
        in_specs=(specs, split),
        out_specs=(net, PartitionSpec(), split),
        axis_names=set(BATCH_AXES),
        check_vma=False,  # our own operations do not say what varies over devices
    )(state, inputs)
    return grads, stored | stats, report


def _own_gradients(
    state: TrainState,
    inputs: Inputs,
    *,
    phase: Phase,
    networks: Networks,
    hyper: Hyperparameters,
    level: Level,
) -> tuple[dict[str, Any], dict[str, Any], Report]:
    """Gradients on the images that are given, averaged over micro-batches."""
    loss = _g_loss if phase.net == "G" else _d_loss

    def gradients(stats: dict[str, Any], inputs: Inputs):
        def total(params: dict[str, Any]):
            trial = dataclasses.replace(state, **{phase.net: params}, stats=stats)
            return loss(trial, inputs, phase, networks=networks, hyper=hyper, level=level)

        return jax.grad(total, has_aux=True)(getattr(state, phase.net))

    if hyper.num_micro_batches == 1:
        grads, (stats, report) = gradients(state.stats, inputs)
        return grads, stats, report

    def body(carry: tuple, micro: Inputs):
        total, stats = carry
        grads, (stats, report) = gradients(stats, micro)
        return (jax.tree.map(jnp.add, total, grads), stats), report

    zeros = jax.tree.map(jnp.zeros_like, getattr(state, phase.net))
    micros = split_micro_batches(inputs, hyper.num_micro_batches)
    (grads, stats), report = lax.scan(body, (zeros, state.stats), micros)
    grads = jax.tree.map(lambda g: g / hyper.num_micro_batches, grads)
    return grads, stats, jax.tree.map(jnp.ravel, report)


def _g_loss(
    state: TrainState,
    inputs: Inputs,
    phase: Phase,
    *,
    networks: Networks,
    hyper: Hyperparameters,
    level: Level,
) -> tuple[Float[Array, ""], tuple[dict[str, Any], Report]]:
    """Adversarial loss and path length penalty of G."""
    G = nnx.merge(networks.G, state.G)
    D = nnx.merge(networks.D, state.D)
    fade = level.fade(state.nimg)
    packing = G.packing_at(level.resolution)
    where = dict(resolution=level.resolution, fade=fade, packing=packing)
    stats, report, loss = state.stats, {}, jnp.float32(0)
    if phase.main:
        gen = inputs["gen"]
        ws, stats = _styles(G, gen, stats, "Gmain", networks, hyper)
        logits = D(G.synthesis(ws, gen["noise"], {}, **where)[0], gen["c"], {}, fade=fade)[0]
        losses = ADVERSARIAL_LOSSES[hyper.adversarial][0](logits)
        report |= _scores("fake", logits) | {"Loss/G/loss": losses}
        loss += jnp.mean(losses)
    if phase.reg:
        pl = inputs["pl"]
        ws, stats = _styles(G, pl, stats, "Greg", networks, hyper)
        lengths, _ = path_lengths(
            lambda ws: G.synthesis(ws, pl["noise"], {}, recompute=True, **where),
            ws,
            space_to_depth(pl["directions"], packing),
            num_pixels=level.resolution**2,
        )
        penalty, pl_mean = path_length_penalty(lengths, stats["pl_mean"], pl_decay=hyper.pl_decay)
        stats = dict(stats, pl_mean=pl_mean)
        losses = penalty * hyper.pl_weight
        report |= {"Loss/pl_penalty": penalty, "Loss/G/reg": losses}
        loss += jnp.mean(losses) * phase.interval
    return loss, (stats, report)


def _d_loss(
    state: TrainState,
    inputs: Inputs,
    phase: Phase,
    *,
    networks: Networks,
    hyper: Hyperparameters,
    level: Level,
) -> tuple[Float[Array, ""], tuple[dict[str, Any], Report]]:
    """Adversarial loss and gradient penalties of D."""
    G = nnx.merge(networks.G, state.G)
    D = nnx.merge(networks.D, state.D)
    fade = level.fade(state.nimg)
    # All images are held as D holds them: so are their gradients.
    packing = networks.packing(level.resolution)
    stats, report, penalties = state.stats, {}, {}

    def judge(img: Array, c: Array, gamma: float, name: str) -> Array:
        """Logits, and the penalty on their gradient where it is asked for."""
        if not (phase.reg and gamma):
            return D(img, c, {}, fade=fade)[0]
        penalty, logits, _ = r1_penalty(lambda img: D(img, c, {}, fade=fade), img)
        # The originals differentiate for images enlarged to full size by repeated pixels.
        penalty = penalty * 4.0**-level.lod
        penalties[name] = penalty * (gamma / 2)
        report[f"Loss/{name}_penalty"] = penalty
        return logits

    real = inputs["real"]
    real_logits = judge(real["img"], real["c"], hyper.r1_gamma, "r1")
    report |= _scores("real", real_logits)
    loss = jnp.float32(0)
    if "gen" in inputs:
        gen = inputs["gen"]
        ws, stats = _styles(G, gen, stats, "Dmain", networks, hyper)
        where = dict(resolution=level.resolution, fade=fade, packing=packing)
        img, _ = G.synthesis(ws, gen["noise"], {}, **where)
        img = lax.stop_gradient(img)
        fake_logits = judge(img, gen["c"], hyper.r2_gamma, "r2")
        if "mix" in inputs:
            penalty = gradient_penalty(
                lambda img: D(img, real["c"], {}, fade=fade),
                real["img"],
                img,
                inputs["mix"],
                target=hyper.gp_target,
                gradient_gain=2.0**-level.lod,
            )
            penalties["gp"] = penalty * hyper.gp_weight
            report["Loss/gp_penalty"] = penalty
        if phase.main:
            losses = ADVERSARIAL_LOSSES[hyper.adversarial][1](fake_logits, real_logits)
            losses += hyper.drift_weight * jnp.square(real_logits)
            report |= _scores("fake", fake_logits) | {"Loss/D/loss": losses}
            loss += jnp.mean(losses)
    if penalties:
        report["Loss/D/reg"] = sum(penalties.values())
        loss += jnp.mean(report["Loss/D/reg"]) * phase.interval
    return loss, (stats, report)


def _styles(
    G: Any,
    latents: dict[str, Any],
    stats: dict[str, Any],
    where: Literal["Gmain", "Greg", "Dmain"],
    networks: Networks,
    hyper: Hyperparameters,
) -> tuple[Float[Array, "n l w"], dict[str, Any]]:
    """Maps latents to the layers' styles, mixes two of them, and moves the mean style.

    Source: Karras et al. 2019 (StyleGAN), section 3.1 (mixing regularisation).
    """
    z, c = latents["z"][:, None], latents["c"][:, None]
    if "z_mix" in latents:
        # Both in one pass: the weights are read, and their gradients summed, once.
        z = jnp.stack([latents["z"], latents["z_mix"]], axis=1)
        c = jnp.broadcast_to(c, (*z.shape[:2], c.shape[2]))
    w = G.mapping(z, c)
    if hyper.w_avg_update in ("every_pass", where):
        mean = lax.stop_gradient(batch_mean(w[:, 0]))
        stats = dict(stats, w_avg=mean + (stats["w_avg"] - mean) * hyper.w_avg_beta)
    ws = broadcast_ws(w[:, 0], networks.num_ws)
    if "z_mix" in latents:
        layer = jnp.arange(networks.num_ws)[None, :, None]
        ws_mix = broadcast_ws(w[:, 1], networks.num_ws)
        ws = jnp.where(layer < latents["cutoff"][:, None, None], ws, ws_mix)
    return ws, stats


def _scores(kind: str, logits: Array) -> Report:
    """Logits and their signs, under the names that StyleGAN logs use."""
    return {f"Loss/scores/{kind}": logits, f"Loss/signs/{kind}": jnp.sign(logits)}
