"""Colours of an augmented image: one matrix per image.

The first three channels of three or more are red, green and blue; channels after them (alpha, and
whatever data have) keep their values. The first channel of one or two is grey, and a second one
(alpha) keeps its values. Grey has neither hue nor saturation: those transformations leave it alone.
"""

import math

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from stylegan_jax.augment.ada_draws import Draws
from stylegan_jax.augment.ada_geometry import compose, gated, matrices
from stylegan_jax.augment.ada_pipe import Pipe

# The direction of grey, in homogeneous coordinates.
_GREY = np.asarray([1, 1, 1, 0], np.float32) / np.float32(math.sqrt(3))
_ALONG_GREY = np.outer(_GREY, _GREY)
_IDENTITY = np.eye(4, dtype=np.float32)


def colour_matrices(
    draws: Draws, p: Float[Array, ""] | float, pipe: Pipe, *, has_hue: bool
) -> Float[Array, "n 4 4"]:
    """Composes the maps of colours `(red, green, blue, 1)`, in the order of the lines below.

    Args:
        draws: What is random.
        p: Strength.
        pipe: Which transformations there are.
        has_hue: Whether images have colours, and not grey alone.

    Source: Karras et al. 2020 (StyleGAN2-ADA), appendix B, algorithm 1, lines 29 to 46.
    Checked: tests/parity, cases `ada_*`.
    """
    values = draws.values
    n = len(next(iter(values.values())))
    C = jnp.broadcast_to(jnp.asarray(_IDENTITY), (n, 4, 4))

    if pipe.brightness:
        b = values["brightness"] * pipe.brightness_std
        b = gated(draws, "brightness", pipe.brightness * p, b, 0.0)
        rows = [[1.0, 0.0, 0.0, b], [0.0, 1.0, 0.0, b], [0.0, 0.0, 1.0, b], [0.0, 0.0, 0.0, 1.0]]
        C = compose(matrices(rows), C)
    if pipe.contrast:
        c = jnp.exp2(values["contrast"] * pipe.contrast_std)
        c = gated(draws, "contrast", pipe.contrast * p, c, 1.0)
        rows = [[c, 0.0, 0.0, 0.0], [0.0, c, 0.0, 0.0], [0.0, 0.0, c, 0.0], [0.0, 0.0, 0.0, 1.0]]
        C = compose(matrices(rows), C)
    if pipe.lumaflip:
        # A reflection at the plane through black to which grey is normal.
        i = jnp.floor(2 * values["lumaflip"])
        i = gated(draws, "lumaflip", pipe.lumaflip * p, i, 0.0)
        C = compose(jnp.asarray(_IDENTITY - 2 * i[:, None, None] * _ALONG_GREY), C)
    if pipe.hue and has_hue:
        angle = (2 * values["hue"] - 1) * math.pi * pipe.hue_max
        C = compose(_about_grey(gated(draws, "hue", pipe.hue * p, angle, 0.0)), C)
    if pipe.saturation and has_hue:
        s = jnp.exp2(values["saturation"] * pipe.saturation_std)
        s = gated(draws, "saturation", pipe.saturation * p, s, 1.0)
        # The last row is no longer (0, 0, 0, 1); nothing reads it.
        C = compose(jnp.asarray(_ALONG_GREY + (_IDENTITY - _ALONG_GREY) * s[:, None, None]), C)
    return C


def recolour(images: Float[Array, "n h w c"], C: Float[Array, "n 4 4"]) -> Float[Array, "n h w c"]:
    """Maps the colours of images; grey is mapped as equal red, green and blue, and averaged."""
    C = lax.stop_gradient(C)
    if images.shape[-1] < 3:
        mean = jnp.mean(C[:, :3], axis=1)  # [n, 4]
        factor = jnp.sum(mean[:, :3], axis=1)[:, None, None, None]
        colours = images[..., :1] * factor + mean[:, 3, None, None, None]
        return jnp.concatenate([colours, images[..., 1:]], axis=-1)

    # Red, green and blue of the result; sums in float32, which a matrix unit would round.
    C = C[:, None, None]  # [n, 1, 1, 4, 4]
    rgb = images[..., None, :3]
    colours = jnp.sum(rgb * C[..., :3, :3], axis=-1) + C[..., :3, 3]
    return jnp.concatenate([colours, images[..., 3:]], axis=-1)


def _about_grey(angle: Float[Array, " n"]) -> Float[Array, "n 4 4"]:
    """Rotations about the direction of grey (Rodrigues' formula)."""
    v = float(_GREY[0])
    c, s = jnp.cos(angle), jnp.sin(angle)
    cc = (1 - c) * v * v
    a, b, d = cc + c, cc - v * s, cc + v * s
    rows = [[a, b, d, 0.0], [d, a, b, 0.0], [b, d, a, 0.0], [0.0, 0.0, 0.0, 1.0]]
    return matrices(rows)
