"""What frozen networks take: images of the metrics, as colours in float32."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Num


def to_rgb(img: Num[Array, "n h w c"]) -> Float[Array, "n h w 3"]:
    """Returns images as three channels in float32, on the same scale; grey is repeated.

    Args:
        img: Bytes, or floats of 0 to 255, with 1 or 3 channels.

    Raises:
        ValueError: Another number of channels.
    """
    channels = img.shape[3]
    if channels not in (1, 3):
        raise ValueError(
            f"Images of {channels} channels: frozen networks see grey (1) or RGB (3). Choose the "
            "channels that they should see, such as img[..., :3]."
        )
    x = img.astype(jnp.float32)
    return x if channels == 3 else jnp.repeat(x, 3, axis=3)
