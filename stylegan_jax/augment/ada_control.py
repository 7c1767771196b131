"""How strong the augmentation is: p, by how sure D is of reals, by a schedule, or fixed.

D overfits where it is sure: r_t, the mean of sign(D(x)) over reals, rises from 0 to 1. Every few
iterations p takes a small step, up where r_t is above its target and down where it is below. All of
it is arithmetic on a few scalars, which live in the training state's moving values.
"""

import dataclasses
import math
from typing import Literal, get_args

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Mode = Literal["ada", "fixed", "schedule", "none"]
# The scalars below, float32: devices may average them.
Strength = dict[str, Array]


@dataclasses.dataclass(frozen=True)
class Controller:
    """Who decides about p, and by which numbers; static.

    Attributes:
        mode: `ada`: p follows r_t; `fixed`: p stays; `schedule`: p goes from `p` to `p_end` along
            half a cosine; `none`: p is 0.
        p: Strength before the first image.
        target: r_t that `ada` aims at.
        interval: Iterations between its steps.
        kimg: Thousands of images in which p can go from 0 to 1. The paper has 500, and 100 where
            networks begin with weights of another data set.
        p_max: Largest p of `ada`; None: without bound, as the original. From 1 on nothing gets
            stronger, and from about 0.8 on images that D never sees unchanged may be learned as
            they are ("leaking": section 3.1 of the paper).
        p_end: Strength at the end of a schedule, and after it.
        total_kimg: Thousands of images of a schedule.

    Source: Karras et al. 2020 (StyleGAN2-ADA), section 3.2; Huang et al. 2024 (R3GAN), appendix D.
    """

    mode: Mode
    p: float = 0.0
    target: float = 0.6
    interval: int = 4
    kimg: float = 500.0
    p_max: float | None = None
    p_end: float = 0.0
    total_kimg: float = 0.0

    def __post_init__(self) -> None:
        """Refuses numbers that mean nothing.

        Raises:
            ValueError: Says which.
        """
        if self.mode not in get_args(Mode):
            raise ValueError(f"mode={self.mode!r}: choose one of {', '.join(get_args(Mode))}.")
        for name in ("p", "p_end"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name}={getattr(self, name)}: give a strength of at least 0.")
        if self.mode == "none" and self.p:
            raise ValueError(f"mode='none' has no strength, and p={self.p}: give mode='fixed'.")
        if self.mode == "ada":
            if not -1 <= self.target <= 1:
                raise ValueError(f"target={self.target}: a mean of signs lies in [-1, 1].")
            if self.interval < 1 or not 0 < self.kimg < math.inf:
                raise ValueError(
                    f"interval={self.interval}, kimg={self.kimg}: give an interval of at least 1 "
                    "and a kimg above 0."
                )
            if self.p_max is not None and self.p_max < self.p:
                raise ValueError(f"p={self.p} is above p_max={self.p_max}: give a smaller one.")
        if self.mode == "schedule" and not 0 < self.total_kimg < math.inf:
            raise ValueError(f"total_kimg={self.total_kimg}: a schedule needs a length above 0.")


def init_strength(controller: Controller) -> Strength:
    """The strength before the first image, and no signs seen."""
    zero = jnp.zeros(())
    strength = {"p": jnp.float32(controller.p)}
    if controller.mode == "ada":
        strength |= {"sign_sum": zero, "sign_count": zero, "iterations": zero}
    return strength


def observe_reals(strength: Strength, real_logits: Float[Array, "n ..."]) -> Strength:
    """Takes in the signs of D's logits of augmented reals: in its main steps and in those of R1.

    A pass counts once, with its mean, on however many devices its images are: a run may go on
    with another number of them. Nothing flows back; other modes than `ada` count nothing.
    """
    if "sign_sum" not in strength:
        return strength
    signs = jnp.sign(lax.stop_gradient(real_logits).astype(jnp.float32))
    return strength | {
        "sign_sum": strength["sign_sum"] + jnp.mean(signs),
        "sign_count": strength["sign_count"] + 1,
    }


def adjust_strength(
    strength: Strength, controller: Controller, *, batch_size: int, nimg: Array | int
) -> Strength:
    """Ends an iteration: moves p where a step is due.

    Args:
        strength: With the signs of this iteration.
        controller: The rule.
        batch_size: Images of an iteration.
        nimg: Images seen, those of this iteration among them.

    Returns:
        The strength of the next iteration.

    Source: Karras et al. 2020 (StyleGAN2-ADA), section 3.2.
    Checked: tests/parity, case `ada_controller`.
    """
    if controller.mode == "schedule":
        return strength | {"p": scheduled_strength(controller, nimg)}
    if controller.mode != "ada":
        return strength

    # p moves by the images since the last step, as a share of those that 0 to 1 takes.
    iterations = strength["iterations"] + 1
    step = batch_size * controller.interval / (controller.kimg * 1000)
    r_t = mean_sign(strength)
    p = strength["p"] + jnp.sign(r_t - controller.target) * step
    most = math.inf if controller.p_max is None else controller.p_max
    moved = {
        "p": jnp.where(strength["sign_count"] > 0, jnp.clip(p, 0, most), strength["p"]),
        "sign_sum": jnp.zeros(()),
        "sign_count": jnp.zeros(()),
        "iterations": jnp.zeros(()),
    }
    waiting = strength | {"iterations": iterations}
    is_due = iterations >= controller.interval
    return {name: jnp.where(is_due, moved[name], waiting[name]) for name in strength}


def mean_sign(strength: Strength) -> Float[Array, ""]:
    """r_t: the mean of the signs since the last step; 0 where there were none."""
    return strength["sign_sum"] / jnp.maximum(strength["sign_count"], 1)


def scheduled_strength(controller: Controller, nimg: Array | int) -> Float[Array, ""]:
    """p after `nimg` images: `p_end + (p - p_end) (1 + cos(pi nimg / total)) / 2`, then `p_end`."""
    done = jnp.clip(jnp.asarray(nimg, jnp.float32) / (controller.total_kimg * 1000), 0, 1)
    share = (1 + jnp.cos(jnp.pi * done)) / 2
    return controller.p_end + (controller.p - controller.p_end) * share
