"""How far images are from what their captions say."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def spherical_distance(a: Float[Array, "n d"], b: Float[Array, "n d"]) -> Float[Array, " n"]:
    """The squared angle between features, of any length, in radians.

    Its gradient is not finite where they have the same or the opposite direction.

    Source: Sauer et al. 2023 (StyleGAN-T), section 3.3.
    Checked: tests/parity, case `sgt_diffaug_loss`.
    """
    a = a / jnp.linalg.norm(a, axis=-1, keepdims=True)
    b = b / jnp.linalg.norm(b, axis=-1, keepdims=True)
    return jnp.square(jnp.arccos(jnp.sum(a * b, axis=-1)))
