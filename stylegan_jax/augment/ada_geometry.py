"""Where pixels of an augmented image come from: one matrix per image.

Positions are pixels from the centre of the image, x to the right and y down, whatever height and
width are: a rotation turns the picture, and does not skew one that is not square.
"""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

from stylegan_jax.augment.ada_draws import Draws
from stylegan_jax.augment.ada_pipe import Pipe


def inverse_matrices(
    draws: Draws, p: Float[Array, ""] | float, pipe: Pipe, size: tuple[int, int]
) -> Float[Array, "n 3 3"]:
    """Composes the maps from positions of the augmented image to positions of the image.

    Images are transformed in the order of the lines below: flip, quarter turn, translation, zoom,
    rotation, zoom of one axis, rotation, translation. Each line is the inverse of its own step, and
    acts on positions of the result, so that it stands to the right of those before.

    Args:
        draws: What is random.
        p: Strength.
        pipe: Which transformations there are.
        size: Height and width.

    Source: Karras et al. 2020 (StyleGAN2-ADA), appendix B, algorithm 1, lines 6 to 18.
    Checked: tests/parity, cases `ada_*`.
    """
    height, width = size
    sides = jnp.asarray([width, height], jnp.float32)
    factors = []

    # Pixel blitting. Half of the flips and a quarter of the turns change nothing.
    if pipe.xflip:
        i = gated(draws, "xflip", pipe.xflip * p, jnp.floor(2 * draws.values["xflip"]), 0.0)
        factors.append(_scale(1 - 2 * i, 1.0))
    if pipe.rotate90:
        quarters = jnp.floor(4 * draws.values["rotate90"])
        i = gated(draws, "rotate90", pipe.rotate90 * p, quarters, 0.0)
        factors.append(_rotation(math.pi / 2 * i))
    if pipe.xint:
        t = (2 * draws.values["xint"] - 1) * pipe.xint_max
        t = gated(draws, "xint", pipe.xint * p, t, 0.0)
        factors.append(_translation(-jnp.round(t * sides)))

    # General transformations. Rotations share a probability: that of either is `rotate * p`.
    if pipe.scale:
        s = jnp.exp2(draws.values["scale"] * pipe.scale_std)
        s = gated(draws, "scale", pipe.scale * p, s, 1.0)
        factors.append(_scale(1 / s, 1 / s))
    p_rot = 1 - jnp.sqrt(jnp.clip(1 - pipe.rotate * p, 0, 1))
    if pipe.rotate:
        factors.append(_rotation(_angle(draws, "rotate_pre", p_rot, pipe.rotate_max)))
    if pipe.aniso:
        s = jnp.exp2(draws.values["aniso"] * pipe.aniso_std)
        s = gated(draws, "aniso", pipe.aniso * p, s, 1.0)
        factors.append(_scale(1 / s, s))
    if pipe.rotate:
        factors.append(_rotation(_angle(draws, "rotate_post", p_rot, pipe.rotate_max)))
    if pipe.xfrac:
        t = draws.values["xfrac"] * pipe.xfrac_std
        t = gated(draws, "xfrac", pipe.xfrac * p, t, 0.0)
        factors.append(_translation(-t * sides))

    G = factors[0]
    for factor in factors[1:]:
        G = compose(G, factor)
    return G


def compose(a: Float[Array, "n i j"], b: Float[Array, "n j k"]) -> Float[Array, "n i k"]:
    """Products of small matrices in float32, which a matrix unit would round."""
    return jnp.sum(a[:, :, :, None] * b[:, None, :, :], axis=2)


def matrices(rows: list[list[Array | float]]) -> Float[Array, "n i j"]:
    """Matrices of entries that are numbers or arrays `[n]`."""
    entries = jnp.broadcast_arrays(*(jnp.asarray(x, jnp.float32) for row in rows for x in row))
    return jnp.stack(entries, axis=-1).reshape(-1, len(rows), len(rows[0]))


def gated(draws: Draws, name: str, probability: Array | float, value: Array, idle: float) -> Array:
    """A value where the transformation happens, and `idle` where it does not."""
    opened = draws.opened(name, probability)
    return jnp.where(opened.reshape(opened.shape + (1,) * (value.ndim - 1)), value, idle)


def _angle(draws: Draws, name: str, probability: Array, most: float) -> Float[Array, " n"]:
    """An angle of at most `most` half turns."""
    return gated(draws, name, probability, (2 * draws.values[name] - 1) * math.pi * most, 0.0)


def _scale(x: Array | float, y: Array | float) -> Float[Array, "n 3 3"]:
    """Multiplies positions."""
    return matrices([[x, 0.0, 0.0], [0.0, y, 0.0], [0.0, 0.0, 1.0]])


def _rotation(angle: Float[Array, " n"]) -> Float[Array, "n 3 3"]:
    """Turns positions from x towards y."""
    c, s = jnp.cos(angle), jnp.sin(angle)
    return matrices([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def _translation(t: Float[Array, "n 2"]) -> Float[Array, "n 3 3"]:
    """Adds to positions."""
    return matrices([[1.0, 0.0, t[:, 0]], [0.0, 1.0, t[:, 1]], [0.0, 0.0, 1.0]])
