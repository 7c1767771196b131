"""What is laid over an augmented image: noise, and a grey rectangle. All channels have it."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from stylegan_jax.augment.ada_draws import Draws
from stylegan_jax.augment.ada_pipe import Pipe


def add_noise(
    images: Float[Array, "n h w c"], draws: Draws, p: Float[Array, ""] | float, pipe: Pipe
) -> Float[Array, "n h w c"]:
    """Adds white noise whose deviation differs by image.

    Source: Karras et al. 2020 (StyleGAN2-ADA), appendix B, algorithm 1, lines 60 to 63.
    """
    sigma = jnp.abs(draws.values["noise"]) * pipe.noise_std
    sigma = jnp.where(draws.opened("noise", pipe.noise * p), sigma, 0.0)
    assert draws.noise is not None
    return images + draws.noise * sigma[:, None, None, None]


def cut_out(
    images: Float[Array, "n h w c"], draws: Draws, p: Float[Array, ""] | float, pipe: Pipe
) -> Float[Array, "n h w c"]:
    """Sets a rectangle to 0, which is grey; its centre is in the image, all of it need not be.

    Source: Karras et al. 2020 (StyleGAN2-ADA), appendix B, algorithm 1, lines 64 to 69.
    """
    opened = draws.opened("cutout", pipe.cutout * p)
    half = jnp.where(opened, pipe.cutout_size, 0.0)[:, None] / 2
    kept = []
    for axis, side in enumerate(images.shape[2:0:-1]):  # x, then y
        centres = (np.arange(side, dtype=np.float32) + 0.5) / side
        kept.append(jnp.abs(centres - draws.values["cutout"][:, axis, None]) >= half)
    kept_x, kept_y = kept
    mask = kept_x[:, None, :] | kept_y[:, :, None]  # [n, h, w]
    return images * mask[..., None].astype(images.dtype)
