"""The blur that D's images begin with: it keeps D from looking at fine detail at first."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

# Pixels that the blur reaches at most: sigma is 10 at the start of training.
MAX_RADIUS = 30


def blur(
    images: Float[Array, "n h w c"],
    sigma: Float[Array, ""] | float,
    *,
    max_radius: int = MAX_RADIUS,
) -> Float[Array, "n h w c"]:
    """Blurs images by `2^-(k / sigma)^2`, cut off at 3 sigma, with zeros around them.

    Args:
        images: Of any number of channels.
        sigma: Width in pixels, at least 0; traced. Below 1/3 nothing happens.
        max_radius: Pixels that the filter reaches at most; sigma must stay below
            `(max_radius + 1) / 3`, or the filter is cut off there.

    Source: Karras et al. 2021 (StyleGAN3), appendix G; Sauer et al. 2023 (StyleGAN-T).
    Checked: tests/parity, case `sgt_diffaug_loss`.
    """
    # One filter of fixed length, zero where sigma does not reach.
    k = jnp.arange(-max_radius, max_radius + 1, dtype=jnp.float32)
    sigma = lax.stop_gradient(jnp.asarray(sigma, jnp.float32))
    reaches = jnp.abs(k) <= jnp.floor(3 * sigma)
    taps = jnp.where(reaches, jnp.exp2(-jnp.square(k / jnp.maximum(sigma, 0.1))), 0.0)
    taps /= jnp.sum(taps)

    for axis in (1, 2):
        # A product with a banded matrix: the filter's taps by distance.
        pixel = jnp.arange(images.shape[axis])
        distance = pixel[:, None] - pixel
        near = jnp.abs(distance) <= max_radius
        matrix = jnp.where(near, taps[jnp.clip(distance + max_radius, 0, 2 * max_radius)], 0.0)
        subscripts = "oy,nyxc->noxc" if axis == 1 else "ox,nyxc->nyoc"
        images = jnp.einsum(subscripts, matrix.astype(images.dtype), images, precision="highest")
    return images
