"""Where feature maps may be bfloat16 and sums may not."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def wide(x: Array) -> Array:
    """The array in float32, or as it is if that is wider."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def spread(x: Float[Array, "..."], like: Float[Array, "..."]) -> Float[Array, "..."]:
    """Numbers that pixels share, in the shape and dtype of feature maps.

    Their gradient is a float32 sum over the pixels, whatever that dtype is.
    """
    return jnp.broadcast_to(wide(x), like.shape).astype(like.dtype)
