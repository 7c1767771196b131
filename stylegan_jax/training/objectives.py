"""What G and D are trained for, as the StyleGAN papers write it, and the order of an iteration.

Losses read like the papers; how they become a step on many devices is the business of `step.py`.
Another paper is another file like this one: its losses, and `make_steps`, the list of its steps.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.sharding import Mesh
from jaxtyping import Array, Float

from stylegan_jax.augment.ada_control import (
    Controller,
    adjust_strength,
    init_strength,
    observe_reals,
)
from stylegan_jax.augment.blur import blur
from stylegan_jax.losses.adversarial import ADVERSARIAL_LOSSES
from stylegan_jax.losses.regularizers import (
    gradient_penalty,
    path_length_penalty,
    path_lengths,
    r1_penalty,
)
from stylegan_jax.models.blocks import BaseGenerator, broadcast_ws
from stylegan_jax.ops.packing import depth_to_space, space_to_depth
from stylegan_jax.ops.partition import with_whole_images
from stylegan_jax.training.inputs import Batch, Constants, Inputs, Latents, draw_inputs
from stylegan_jax.training.setup import Hyperparameters, Net, Phase, Setup
from stylegan_jax.training.state import Params, Stats, TrainState
from stylegan_jax.training.step import (
    COUNT,
    Report,
    Step,
    average_G,
    count_images,
    gradient_step,
)

# `(img, c, draws, stats) -> (logits [n, 1], stats)`
Judge = Callable[[Array, Array, Any, Stats], tuple[Array, Stats]]
LossValue = tuple[Float[Array, ""], tuple[Stats, Report]]


def generator_loss(
    state: TrainState, inputs: Inputs, constants: Constants, *, phase: Phase, setup: Setup
) -> LossValue:
    """Adversarial loss and path length penalty of G.

    Args:
        state: Networks and moving values.
        inputs: As `draw_inputs` gives them for the phase.
        constants: Not used.
        phase: Which of the two terms it has.
        setup: Structures and numbers.

    Returns:
        `(loss, (stats, report))`: the mean over the images, the moved values, and per-image values
        under the names of StyleGAN's logs.

    Source: Karras et al. 2020 (StyleGAN2), section 3.2; Goodfellow et al. 2014, section 3.
    Checked: tests/parity, cases `loss_*`, `train_*`, `*_losses`.
    """
    del constants
    hyper = setup.hyper
    G = nnx.merge(setup.networks.G, state.G)
    fade = setup.fade(state.nimg)
    moves = hyper.w_avg_update == "every_pass"
    loss = jnp.float32(0)
    report: Report = {}
    stats = state.stats

    if phase.main:
        # Fakes: z -> w, mixed -> image -> what D says of it.
        gen = inputs.gen
        assert gen is not None
        ws, stats = map_styles(G, gen, stats, setup, moves=moves)  # [n, num_ws, w_dim]
        draw = functools.partial(draw_images, G, setup=setup, fade=fade, moves=moves)
        img, stats = draw(ws, gen.noise, stats)  # [n, h, w, c], packed
        judge = make_judge(state, setup)
        logits, stats = judge(img, gen.c, inputs.draws_fake, stats)  # [n, 1]

        # G wants them to be taken for reals; the logistic loss is -log sigmoid(D(G(z))).
        adversarial, _ = ADVERSARIAL_LOSSES[hyper.adversarial]
        losses = adversarial(logits)
        report |= _scores("fake", logits) | {"Loss/G/loss": losses}
        loss += jnp.mean(losses)

    if phase.reg:
        # (|J_w^T y| - a)^2, y of unit normals and a its moving mean (StyleGAN2, eq. 4), every
        # `interval` iterations and that much stronger.
        pl = inputs.pl
        assert pl is not None and inputs.directions is not None
        ws, stats = map_styles(G, pl, stats, setup, moves=moves)
        draw = functools.partial(
            draw_images, G, setup=setup, fade=fade, moves=moves, recompute=True
        )
        lengths, stats = path_lengths(
            functools.partial(draw, noise=pl.noise, stats=stats),
            ws,
            space_to_depth(inputs.directions, setup.packing),
            num_pixels=math.prod(setup.size),
        )
        penalty, pl_mean = path_length_penalty(lengths, stats["pl_mean"], pl_decay=hyper.pl_decay)
        stats = stats | {"pl_mean": pl_mean}
        losses = penalty * hyper.pl_weight
        report |= {"Loss/pl_penalty": penalty, "Loss/G/reg": losses}
        loss += jnp.mean(losses) * phase.interval
    return loss, (stats, report)


def discriminator_loss(
    state: TrainState, inputs: Inputs, constants: Constants, *, phase: Phase, setup: Setup
) -> LossValue:
    """Adversarial loss and gradient penalties of D.

    Arguments and result are those of `generator_loss`.

    Source: Goodfellow et al. 2014, section 3; Mescheder et al. 2018, eqs. 9 and 10 (R1, R2);
    Gulrajani et al. 2017, eq. 3 (WGAN-GP); Karras et al. 2018, appendix A.1 (drift).
    Checked: tests/parity, cases `loss_*`, `train_*`, `*_losses`.
    """
    del constants
    hyper = setup.hyper
    fade = setup.fade(state.nimg)
    judge = make_judge(state, setup)
    loss = jnp.float32(0)
    report: Report = {}
    penalties: dict[str, Array] = {}
    stats = state.stats

    # Reals, and R1 there: gamma / 2 * |grad D(x)|^2.
    real = inputs.real
    assert real is not None
    r1_gamma = hyper.r1_gamma if phase.reg else 0.0
    look = functools.partial(_look_at, judge, gamma=r1_gamma, lod=setup.level.lod)
    real_logits, stats, penalty = look(real.img, real.c, inputs.draws_real, stats)
    report |= _scores("real", real_logits)
    if "augment" in stats:
        # How sure D is of reals tells whether it overfits (Karras et al. 2020, ADA, section 3.2).
        stats = stats | {"augment": observe_reals(stats["augment"], real_logits)}
    if penalty is not None:
        report["Loss/r1_penalty"] = penalty
        penalties["r1"] = penalty * (r1_gamma / 2)

    if inputs.gen is not None:
        # Fakes: what G draws now. It stands still in this step: nothing flows back into it.
        gen = inputs.gen
        G = nnx.merge(setup.networks.G, state.G)
        ws, stats = map_styles(G, gen, stats, setup, moves=True)
        img, stats = draw_images(G, ws, gen.noise, stats, setup, fade=fade, moves=True)
        img = lax.stop_gradient(img)

        # R2 is R1 at the fakes.
        r2_gamma = hyper.r2_gamma if phase.reg else 0.0
        look = functools.partial(_look_at, judge, gamma=r2_gamma, lod=setup.level.lod)
        fake_logits, stats, penalty = look(img, gen.c, inputs.draws_fake, stats)
        if penalty is not None:
            report["Loss/r2_penalty"] = penalty
            penalties["r2"] = penalty * (r2_gamma / 2)

        if inputs.mix is not None:
            # (|grad D| - 1)^2 between a real and a fake image.
            penalty = gradient_penalty(
                lambda img: judge(img, real.c, inputs.draws_real, stats),
                real.img,
                img,
                inputs.mix,
                target=hyper.gp_target,
                gradient_gain=2.0**-setup.level.lod,
            )
            report["Loss/gp_penalty"] = penalty
            penalties["gp"] = penalty * hyper.gp_weight

        if phase.main:
            # D tells them apart; the drift keeps a critic's scores near zero.
            _, adversarial = ADVERSARIAL_LOSSES[hyper.adversarial]
            losses = adversarial(fake_logits, real_logits)
            losses += hyper.drift_weight * jnp.square(real_logits)
            report |= _scores("fake", fake_logits) | {"Loss/D/loss": losses}
            loss += jnp.mean(losses)

    if penalties:
        report["Loss/D/reg"] = sum(penalties.values(), jnp.float32(0))
        loss += jnp.mean(report["Loss/D/reg"]) * phase.interval
    return loss, (stats, report)


def map_styles(
    G: BaseGenerator, latents: Latents, stats: Stats, setup: Setup, *, moves: bool
) -> tuple[Float[Array, "n l w_dim"], Stats]:
    """Maps latents to the styles of all layers, mixes two of them, and moves the mean style.

    Args:
        G: The generator.
        latents: Of n fakes.
        stats: Moving values, `w_avg` [w_dim] among them.
        setup: For the number of styles and the mean's decay.
        moves: Whether this pass moves the mean.

    Returns:
        `(ws, stats)`: styles [n, num_ws, w_dim], and the values after.

    Source: Karras et al. 2019 (StyleGAN), section 3.1 (mixing) and appendix B (mean style).
    """
    z = latents.z[:, None]  # [n, 1, z_dim]
    c = latents.c[:, None]
    if latents.z_mix is not None:
        # Both in one pass: the weights are read, and their gradients summed, once.
        z = jnp.stack([latents.z, latents.z_mix], axis=1)  # [n, 2, z_dim]
        c = jnp.broadcast_to(c, (*z.shape[:2], c.shape[2]))
    w = G.mapping(z, c)  # [n, 1 or 2, w_dim]

    if moves:
        # Devices see their own images; the machine averages what has moved.
        mean = lax.stop_gradient(jnp.mean(w[:, 0], axis=0))
        w_avg = mean + (stats["w_avg"] - mean) * setup.hyper.w_avg_beta
        stats = stats | {"w_avg": w_avg}

    num_ws = setup.networks.num_ws
    ws = broadcast_ws(w[:, 0], num_ws)  # [n, num_ws, w_dim]
    if latents.z_mix is not None:
        # Layers from the cutoff on take the second style.
        assert latents.cutoff is not None
        layer = jnp.arange(num_ws)[None, :, None]
        ws_mix = broadcast_ws(w[:, 1], num_ws)
        ws = jnp.where(layer < latents.cutoff[:, None, None], ws, ws_mix)
    return ws, stats


def draw_images(
    G: BaseGenerator,
    ws: Float[Array, "n l w_dim"],
    noise: Any,
    stats: Stats,
    setup: Setup,
    *,
    fade: Float[Array, ""] | None,
    moves: bool,
    recompute: bool = False,
) -> tuple[Float[Array, "n h w cf"], Stats]:
    """Draws images at the level's resolution, packed as D holds them.

    `moves`: whether this pass moves the averages in G.
    """
    ema_beta = None
    if moves:
        # A half-life in images: each micro-batch moves them by its share of the batch.
        half_life = setup.hyper.magnitude_ema_kimg * 1000
        ema_beta = 0.5 ** (setup.level.batch_size / setup.hyper.num_micro_batches / half_life)
    img, moved = G.synthesis(
        ws,
        noise,
        stats["G"],
        resolution=setup.level.resolution,
        fade=fade,
        packing=setup.packing,
        recompute=recompute,
        ema_beta=ema_beta,
    )
    return img, stats | {"G": moved}


def make_judge(state: TrainState, setup: Setup) -> Judge:
    """The one place where images come before D, in the losses of both networks.

    Returns:
        `judge(img, c, draws, stats) -> (logits, stats)`: blurs images, augments them by `draws`,
        scores them, and moves D's own values.
    """
    D = nnx.merge(setup.networks.D, _freeze(state.D, setup.frozen_D))
    fade = setup.fade(state.nimg)
    blurs = setup.hyper.blur_init_sigma > 0

    def judge(
        img: Float[Array, "n h w cf"], c: Float[Array, "n c"], draws: Any, stats: Stats
    ) -> tuple[Float[Array, "n 1"], Stats]:
        if blurs or setup.augmentation is not None:
            img = depth_to_space(img, setup.packing)
            if blurs:
                img = _blur(img, state.nimg, setup.hyper)
            if setup.augmentation is not None:
                apply = setup.augmentation.apply
                img = with_whole_images(
                    lambda each, stats: apply(each[0], each[1], stats), (img, draws), stats
                )
            img = space_to_depth(img, setup.packing)
        logits, moved = D(img, c, stats["D"], fade=fade, packing=setup.packing)
        return logits, stats | {"D": moved}

    return judge


def _blur(img: Array, nimg: Array, hyper: Hyperparameters) -> Array:
    """At first D sees no fine detail, which it would learn too soon (StyleGAN3, appendix F)."""
    total = hyper.blur_fade_kimg * 1000
    sigma = jnp.maximum((total - nimg) / jnp.float32(total), 0.0) * hyper.blur_init_sigma
    radius = math.floor(3 * hyper.blur_init_sigma)
    # Nothing is computed any more once the filter reaches no neighbour.
    blurred = functools.partial(blur, max_radius=radius)
    return lax.cond(3 * sigma >= 1, blurred, lambda img, _: img, img, sigma)


def _freeze(params: Params, frozen: tuple[tuple[str, ...], ...]) -> Params:
    """Lets no gradient reach some layers: they, and their moments, stand still (Mo et al. 2020)."""
    for path in frozen:
        params = _replace(params, path)
    return params


def _replace(params: Params, path: tuple[str, ...]) -> Params:
    """Returns parameters of which those below a path are constants."""
    name, *rest = path
    below = _replace(params[name], tuple(rest)) if rest else lax.stop_gradient(params[name])
    return params | {name: below}


def _look_at(
    judge: Judge, img: Array, c: Array, draws: Any, stats: Stats, *, gamma: float, lod: int
) -> tuple[Float[Array, "n 1"], Stats, Float[Array, " n"] | None]:
    """Logits, moved values, and the squared norm of the logits' gradient where `gamma` is not 0."""
    if not gamma:
        logits, stats = judge(img, c, draws, stats)
        return logits, stats, None
    penalty, logits, stats = r1_penalty(lambda img: judge(img, c, draws, stats), img)
    # The originals differentiate for images enlarged to full size by repeated pixels.
    return logits, stats, penalty * 4.0**-lod


def _scores(kind: str, logits: Array) -> Report:
    """Logits and their signs, under the names that StyleGAN logs use."""
    return {f"Loss/scores/{kind}": logits, f"Loss/signs/{kind}": jnp.sign(logits)}


def init_stats(
    *, w_dim: int, moving_G: Stats, moving_D: Stats, controller: Controller | None = None
) -> Stats:
    """Returns the first moving values of these losses, of the networks and of the augmentation."""
    stats = {
        "w_avg": jnp.zeros((w_dim,)),
        "pl_mean": jnp.zeros(()),
        "G": moving_G,
        "D": moving_D,
    }
    return stats if controller is None else stats | {"augment": init_strength(controller)}


def make_phases(hyper: Hyperparameters) -> tuple[Phase, ...]:
    """Lists the steps of G and D that the numbers of the losses ask for, in their order.

    A regulariser has a step of its own every few iterations (lazy regularisation: Karras et al.
    2020, appendix B), or is part of the main step where its interval is None.
    """
    is_regularized = {
        "G": bool(hyper.pl_weight),
        "D": bool(hyper.r1_gamma or hyper.r2_gamma or hyper.gp_weight),
    }
    intervals = {"G": hyper.g_reg_interval, "D": hyper.d_reg_interval}
    phases: list[Phase] = []
    nets: tuple[Net, ...] = ("G", "D") if hyper.net_order == "GD" else ("D", "G")
    for net in nets:
        interval = intervals[net]
        if not is_regularized[net]:
            phases.append(Phase(f"{net}main", net, main=True, reg=False, interval=1))
        elif interval is None:
            phases.append(Phase(f"{net}both", net, main=True, reg=True, interval=1))
        else:
            phases.append(Phase(f"{net}main", net, main=True, reg=False, interval=1))
            phases.append(Phase(f"{net}reg", net, main=False, reg=True, interval=interval))
    return tuple(phases)


# The loss of each network.
LOSSES = {"G": generator_loss, "D": discriminator_loss}


def make_steps(setup: Setup, mesh: Mesh | None = None) -> tuple[Step, ...]:
    """Lists the steps of an iteration in their order.

    StyleGAN2: G, its path lengths, D, its R1, the average of G, the counter. ProGAN and StyleGAN
    step D first, and G after the average has moved.

    Args:
        setup: Networks, numbers and level.
        mesh: Keeps what is drawn split over its devices.

    Source: Karras et al. 2018 (ProGAN), appendix A.1; Karras et al. 2020, appendix B.
    """
    steps: dict[str, list[Step]] = {"G": [], "D": []}
    for number, phase in enumerate(make_phases(setup.hyper)):
        run = functools.partial(_run_phase, phase=phase, number=number, setup=setup, mesh=mesh)
        steps[phase.net].append(Step(phase.name, run, phase.interval))

    def average(state: TrainState, *_: Any) -> tuple[TrainState, Report]:
        return average_G(state, setup), {}

    def count(state: TrainState, *_: Any) -> tuple[TrainState, Report]:
        return count_images(state, setup), {}

    averaged = Step("average_G", average, reads_batch=False)
    ending = [Step(COUNT, count, reads_batch=False)]
    augmentation = setup.augmentation
    if augmentation is not None and augmentation.controller is not None:
        adjust = functools.partial(_adjust, controller=augmentation.controller, setup=setup)
        ending.insert(0, Step("adjust_p", adjust, reads_batch=False))
    if setup.hyper.net_order == "DG":
        return (*steps["D"], averaged, *steps["G"], *ending)
    return (*steps["G"], *steps["D"], averaged, *ending)


def _adjust(
    state: TrainState, *_: Any, controller: Controller, setup: Setup
) -> tuple[TrainState, Report]:
    """Moves the strength of the augmentation by what D said of reals."""
    batch_size = setup.level.batch_size
    before = state.stats["augment"]
    strength = adjust_strength(
        before, controller, batch_size=batch_size, nimg=state.nimg + batch_size
    )
    report: Report = {"Augment/p": strength["p"]}
    if "sign_sum" in before:
        report["Augment/r_t"] = before["sign_sum"] / jnp.maximum(before["sign_count"], 1)
    return dataclasses.replace(state, stats=state.stats | {"augment": strength}), report


def _run_phase(
    state: TrainState,
    key: Array,
    batch: Batch,
    constants: Constants,
    *,
    phase: Phase,
    number: int,
    setup: Setup,
    mesh: Mesh | None,
) -> tuple[TrainState, Report]:
    """Draws what is random in a phase and takes its step."""
    # Randomness depends on the seed, the image counter and the phase, on nothing else.
    key = jax.random.fold_in(jax.random.fold_in(key, state.nimg), number)
    fade = setup.fade(state.nimg)
    inputs = draw_inputs(key, phase, batch, constants, setup, fade=fade, mesh=mesh)
    loss = functools.partial(LOSSES[phase.net], phase=phase, setup=setup)
    return gradient_step(
        state,
        inputs,
        constants,
        loss,
        net=phase.net,
        name=phase.name,
        is_reg=not phase.main,
        setup=setup,
    )
