"""One training iteration as pure functions: phases of G and D, then the moving average of G.

An iteration runs `Gmain`, every few times `Greg` (path length), `Dmain`, every few times `Dreg`
(R1), and `finish_iteration`. Each phase is a function of (state, inputs) with latents of its own.
"""

import dataclasses
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import lax
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from stylegan_jax.losses.adversarial import discriminator_logistic, generator_logistic
from stylegan_jax.losses.regularizers import path_length_penalty, path_lengths, r1_penalty
from stylegan_jax.models.stylegan2 import broadcast_ws, make_noise
from stylegan_jax.training.optimizer import Optimizer
from stylegan_jax.training.schedules import ema_beta
from stylegan_jax.training.sharding import split_over_data
from stylegan_jax.training.state import TrainState

Inputs = dict[str, Any]
Report = dict[str, Array]


@dataclasses.dataclass(frozen=True)
class Networks:
    """The static half of a training run: network structures, their sizes, their optimisers."""

    G: nnx.GraphDef
    D: nnx.GraphDef
    opt_G: Optimizer
    opt_D: Optimizer
    z_dim: int
    num_ws: int
    img_resolution: int


@dataclasses.dataclass(frozen=True)
class Hyperparameters:
    """Numbers of the losses and averages; all static.

    Attributes:
        batch_size: Real images per iteration, over all devices.
        num_micro_batches: Gradients are averaged over this many parts of the batch.
        r1_gamma: Weight of R1 (the loss is gamma / 2 * penalty).
        pl_weight: Weight of the path length penalty; 0: no such phase.
        pl_decay: Rate of the moving mean of path lengths.
        pl_batch_shrink: Path lengths are measured on this fraction of the batch.
        style_mixing_prob: Probability that an iteration mixes two latents.
        w_avg_beta: Decay of the mean style.
        w_avg_update: `every_pass` moves it in each pass of the mapping (StyleGAN2-ADA), `Dmain`
            in that phase alone (StyleGAN3).
        ema_kimg: Half-life of `G_ema`.
        ema_rampup: See `ema_beta`.
        g_reg_interval: Iterations between `Greg` phases; None: regularised in every main phase.
        d_reg_interval: Iterations between `Dreg` phases; None: likewise.
    """

    batch_size: int
    num_micro_batches: int
    r1_gamma: float
    pl_weight: float
    pl_decay: float
    pl_batch_shrink: int
    style_mixing_prob: float
    w_avg_beta: float
    w_avg_update: Literal["every_pass", "Dmain"]
    ema_kimg: float
    ema_rampup: float | None
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
    for net, weight, interval in (
        ("G", hyper.pl_weight, hyper.g_reg_interval),
        ("D", hyper.r1_gamma, hyper.d_reg_interval),
    ):
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
    labels: Int[Array, " m"],
    *,
    networks: Networks,
    hyper: Hyperparameters,
    mesh: Mesh | None = None,
) -> Inputs:
    """Draws everything random in a phase from one key.

    Args:
        key: Key of this iteration and phase.
        phase: What the inputs are for.
        batch: Real images `image` [n, h, w, c] (uint8) and their labels `label` [n, c_dim].
        labels: Class of every training image; fakes get that of a uniformly drawn one.
        networks: For the sizes.
        hyper: For the batch sizes.
        mesh: Keeps the draws split over `data`.

    Returns:
        As far as the phase needs them: `gen` (latents), `pl` (latents and directions of the
        path length), `real` (images in [-1, 1] and labels).
    """
    n, *img_shape = batch["image"].shape
    c_dim = batch["label"].shape[1]
    key_gen, key_pl, key_directions = jax.random.split(key, 3)

    def latents(key: Array, n: int) -> dict[str, Any]:
        key_z, key_mix, key_c, key_noise = jax.random.split(key, 4)
        drawn: dict[str, Any] = {
            "z": jax.random.normal(key_z, (n, networks.z_dim)),
            "c": jnp.zeros((n, 0)),
            "noise": make_noise(key_noise, n, networks.img_resolution),
        }
        if c_dim > 0:
            index = jax.random.randint(key_c, (n,), 0, labels.shape[0])
            drawn["c"] = jax.nn.one_hot(labels[index], c_dim)
        if hyper.style_mixing_prob > 0:
            drawn["z_mix"] = jax.random.normal(key_mix, (n, networks.z_dim))
            cutoffs = _draw_cutoffs(jax.random.fold_in(key_mix, 1), networks, hyper)
            drawn["cutoff"] = jnp.repeat(cutoffs[None], n // len(cutoffs), 0).reshape(n)
        return drawn

    inputs: Inputs = {}
    if phase.main:
        inputs["gen"] = latents(key_gen, n)
    if phase.net == "G" and phase.reg:
        n_pl = n // hyper.pl_batch_shrink
        inputs["pl"] = latents(key_pl, n_pl)
        inputs["pl"]["directions"] = jax.random.normal(key_directions, (n_pl, *img_shape))
    if phase.net == "D":
        inputs["real"] = {"img": batch["image"] / 127.5 - 1.0, "c": batch["label"]}
    return split_over_data(mesh, inputs)


def run_phase(
    state: TrainState,
    inputs: Inputs,
    phase: Phase,
    *,
    networks: Networks,
    hyper: Hyperparameters,
) -> tuple[TrainState, Report]:
    """One optimiser step; left out, and counted, where a gradient is not finite.

    Args:
        state: State before.
        inputs: As `draw_inputs` gives them.
        phase: Which network and which losses.
        networks: Structures and optimisers.
        hyper: Numbers of the losses.

    Returns:
        `(state, report)`: the report holds the means of the losses and the gradient's norm.
    """
    grads, stats, report = phase_gradients(state, inputs, phase, networks=networks, hyper=hyper)
    report = {name: jnp.mean(value) for name, value in report.items()}
    norm = optax.tree.norm(grads)
    report[f"Grad/{phase.name}"] = norm
    is_finite = jnp.isfinite(norm)

    net = phase.net
    optimizer: Optimizer = getattr(networks, f"opt_{net}")
    old = {
        net: getattr(state, net),
        f"opt_{net}": getattr(state, f"opt_{net}"),
        "stats": state.stats,
    }
    params, opt_state = optimizer.update(grads, old[f"opt_{net}"], old[net], is_reg=not phase.main)
    new = {net: params, f"opt_{net}": opt_state, "stats": stats}
    new = jax.tree.map(lambda a, b: jnp.where(is_finite, a, b), new, old)
    skipped = dict(state.skipped)
    skipped[net] += jnp.where(is_finite, 0, 1)
    return dataclasses.replace(state, **new, skipped=skipped), report


def finish_iteration(state: TrainState, hyper: Hyperparameters) -> TrainState:
    """Moves the average of G and counts the images."""
    beta = ema_beta(
        state.nimg,
        batch_size=hyper.batch_size,
        ema_kimg=hyper.ema_kimg,
        ema_rampup=hyper.ema_rampup,
    )
    G_ema = jax.tree.map(lambda ema, p: p + (ema - p) * beta, state.G_ema, state.G)
    return dataclasses.replace(state, G_ema=G_ema, nimg=state.nimg + hyper.batch_size)


def phase_gradients(
    state: TrainState,
    inputs: Inputs,
    phase: Phase,
    *,
    networks: Networks,
    hyper: Hyperparameters,
) -> tuple[dict[str, Any], dict[str, Any], Report]:
    """Gradients of a phase's loss, averaged over micro-batches.

    Returns:
        `(grads, stats, report)`: gradients of the phase's network, the moved statistics, and
        per-image values.
    """
    loss = _g_loss if phase.net == "G" else _d_loss

    def gradients(stats: dict[str, Any], inputs: Inputs):
        def total(params: dict[str, Any]):
            trial = dataclasses.replace(state, **{phase.net: params}, stats=stats)
            return loss(trial, inputs, phase, networks, hyper)

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


def split_micro_batches(inputs: Inputs, num_micro_batches: int) -> Inputs:
    """Deals images out, `[n, ...] -> [m, n / m, ...]`: image i goes to micro-batch i mod m.

    Every device keeps its own images, so no data moves.
    """

    def split(x: Array) -> Array:
        per_micro = x.shape[0] // num_micro_batches
        return jnp.swapaxes(x.reshape(per_micro, num_micro_batches, *x.shape[1:]), 0, 1)

    return jax.tree.map(split, inputs)


def _g_loss(
    state: TrainState, inputs: Inputs, phase: Phase, networks: Networks, hyper: Hyperparameters
) -> tuple[Float[Array, ""], tuple[dict[str, Any], Report]]:
    """Non-saturating logistic loss and path length penalty of G."""
    G = nnx.merge(networks.G, state.G)
    D = nnx.merge(networks.D, state.D)
    stats, report, loss = state.stats, {}, jnp.float32(0)
    if phase.main:
        gen = inputs["gen"]
        ws, stats = _styles(G, gen, stats, "Gmain", networks, hyper)
        logits = D(G.synthesis(ws, gen["noise"]), gen["c"])
        losses = generator_logistic(logits)
        report |= _scores("fake", logits) | {"Loss/G/loss": losses}
        loss += jnp.mean(losses)
    if phase.reg:
        pl = inputs["pl"]
        ws, stats = _styles(G, pl, stats, "Greg", networks, hyper)
        lengths = path_lengths(lambda ws: G.synthesis(ws, pl["noise"]), ws, pl["directions"])
        penalty, pl_mean = path_length_penalty(lengths, stats["pl_mean"], pl_decay=hyper.pl_decay)
        stats = dict(stats, pl_mean=pl_mean)
        losses = penalty * hyper.pl_weight
        report |= {"Loss/pl_penalty": penalty, "Loss/G/reg": losses}
        loss += jnp.mean(losses) * phase.interval
    return loss, (stats, report)


def _d_loss(
    state: TrainState, inputs: Inputs, phase: Phase, networks: Networks, hyper: Hyperparameters
) -> tuple[Float[Array, ""], tuple[dict[str, Any], Report]]:
    """Logistic loss and R1 of D."""
    G = nnx.merge(networks.G, state.G)
    D = nnx.merge(networks.D, state.D)
    real = inputs["real"]
    stats, report, loss = state.stats, {}, jnp.float32(0)
    if phase.reg:
        penalty, real_logits = r1_penalty(lambda img: D(img, real["c"]), real["img"])
        losses = penalty * (hyper.r1_gamma / 2)
        report |= {"Loss/r1_penalty": penalty, "Loss/D/reg": losses}
        loss += jnp.mean(losses) * phase.interval
    else:
        real_logits = D(real["img"], real["c"])
    report |= _scores("real", real_logits)
    if phase.main:
        gen = inputs["gen"]
        ws, stats = _styles(G, gen, stats, "Dmain", networks, hyper)
        img = lax.stop_gradient(G.synthesis(ws, gen["noise"]))
        fake_logits = D(img, gen["c"])
        losses = discriminator_logistic(fake_logits, real_logits)
        report |= _scores("fake", fake_logits) | {"Loss/D/loss": losses}
        loss += jnp.mean(losses)
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
    w = G.mapping(latents["z"], latents["c"])
    if hyper.w_avg_update in ("every_pass", where):
        mean = lax.stop_gradient(jnp.mean(w, axis=0))
        stats = dict(stats, w_avg=mean + (stats["w_avg"] - mean) * hyper.w_avg_beta)
    ws = broadcast_ws(w, networks.num_ws)
    if "z_mix" in latents:
        ws_mix = broadcast_ws(G.mapping(latents["z_mix"], latents["c"]), networks.num_ws)
        layer = jnp.arange(networks.num_ws)[None, :, None]
        ws = jnp.where(layer < latents["cutoff"][:, None, None], ws, ws_mix)
    return ws, stats


def _draw_cutoffs(key: Array, networks: Networks, hyper: Hyperparameters) -> Int[Array, " m"]:
    """First layer of the second style, one per micro-batch; `num_ws` where nothing is mixed."""
    shape = (hyper.num_micro_batches,)
    key_mix, key_cutoff = jax.random.split(key)
    cutoff = jax.random.randint(key_cutoff, shape, 1, networks.num_ws)
    is_mixed = jax.random.uniform(key_mix, shape) < hyper.style_mixing_prob
    return jnp.where(is_mixed, cutoff, networks.num_ws)


def _scores(kind: str, logits: Array) -> Report:
    """Logits and their signs, under the names that StyleGAN logs use."""
    return {f"Loss/scores/{kind}": logits, f"Loss/signs/{kind}": jnp.sign(logits)}
