"""Steps between the resolutions of progressive growing: repeated pixels, averages, fades."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def repeat_pixels(x: Float[Array, "n h w c"], factor: int) -> Float[Array, "n p q c"]:
    """Enlarges images by an integer factor, each pixel becoming a square.

    Source: Karras et al. 2018 (ProGAN), figure 2. Checked: tests/parity, case `sg1_ops`.
    """
    if factor == 1:
        return x
    n, h, w, c = x.shape
    x = jnp.broadcast_to(x[:, :, None, :, None], (n, h, factor, w, factor, c))
    return x.reshape(n, h * factor, w * factor, c)


def average_pixels(x: Float[Array, "n h w c"], factor: int) -> Float[Array, "n p q c"]:
    """Shrinks images by an integer factor, each square becoming its mean.

    Raises:
        ValueError: The factor does not divide height and width.

    Source: Karras et al. 2018 (ProGAN), figure 2. Checked: tests/parity, case `sg1_ops`.
    """
    n, h, w, c = x.shape
    if h % factor or w % factor:
        raise ValueError(f"Images of {h}x{w} cannot be averaged by {factor}: give a divisor.")
    if factor == 1:
        return x
    return x.reshape(n, h // factor, factor, w // factor, factor, c).mean(axis=(2, 4))


def fade_to(
    x: Float[Array, "..."], coarse: Float[Array, "..."], fade: Float[Array, ""] | float
) -> Float[Array, "..."]:
    """Mixes in what the resolution below gives: `x + (coarse - x) * fade`, exactly x at 0.

    Source: Karras et al. 2018 (ProGAN), figure 2 (alpha there is 1 - fade).
    """
    return x + (coarse - x) * jnp.asarray(fade, x.dtype)
