"""Schedules in images: EMA half-life and lazy regularisation; pure functions."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def ema_beta(
    nimg: Int[Array, ""], *, batch_size: int, ema_kimg: float, ema_rampup: float | None
) -> Float[Array, ""]:
    """Share of the old average that one iteration keeps.

    Args:
        nimg: Images seen before this iteration.
        batch_size: Images per iteration.
        ema_kimg: Half-life of the average, in thousands of images.
        ema_rampup: The half-life is at most this share of `nimg`, so that the random start is
            forgotten soon (the first iteration copies); None: constant half-life.

    Source: Karras et al. 2018 (ProGAN), section 6.2 (average); StyleGAN2-ADA (ramp-up).
    Checked: tests/parity, cases `train_*`.
    """
    half_life = jnp.float32(ema_kimg * 1000)
    if ema_rampup is not None:
        half_life = jnp.minimum(half_life, nimg.astype(jnp.float32) * ema_rampup)
    return jnp.exp2(-batch_size / jnp.maximum(half_life, 1e-8))


def lazy_adam(
    learning_rate: float, betas: tuple[float, float], reg_interval: int | None
) -> tuple[float, tuple[float, float]]:
    """Corrects Adam for the extra steps that lazy regularisation takes.

    With a regularisation step every k iterations, k + 1 steps happen where k would: rates and
    decays are raised to `c = k / (k + 1)`.

    Source: Karras et al. 2020 (StyleGAN2), appendix B. Checked: tests/training/test_schedules.py.
    """
    if not reg_interval:
        return learning_rate, betas
    c = reg_interval / (reg_interval + 1)
    return learning_rate * c, (betas[0] ** c, betas[1] ** c)
