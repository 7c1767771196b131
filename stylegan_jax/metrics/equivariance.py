"""Equivariance: whether a generator that is told to move its image moves all of it, texture too.

    EQ = 10 log10( 2^2 / mean |move(G(w; identity)) - G(w; moved)|^2 )    in dB, higher is better

over pixels that are known after the move, of images in [-1, 1] that are neither clipped nor
quantised:

- `eqt_int`: translation by whole pixels, up to an eighth of the image in x and in y.
- `eqt_frac`: translation by any distance as large.
- `eqr`: rotation by any angle.

The generator must take a transform of its input, as StyleGAN3's does.

Source: Karras et al. 2021 (StyleGAN3), section 2 and appendix E.
"""

import math
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64

from stylegan_jax.metrics.equivariance_operators import (
    Rotation,
    Translation,
    design_rotation,
    design_translation,
    design_whole_translation,
    rotation_matrix,
)
from stylegan_jax.sizes import Size

# Numbers that a move of each kind is drawn as, and how large it can be: a share of the image, or an
# angle in radians.
_NUM_DRAWS = {"eqt_int": 2, "eqt_frac": 2, "eqr": 1}
_LARGEST = {"eqt_int": 0.125, "eqt_frac": 0.125, "eqr": math.pi}
KINDS = tuple(_NUM_DRAWS)


class Move(NamedTuple):
    """What a generator is told, and what is done to its upright images instead.

    Attributes:
        transform: float32 [3, 3], what is done to the coordinates that G draws at: the inverse of
            what happens to the image. The image spans 1 unit, on its shorter side.
        motion: What happens to the image.
    """

    transform: Any
    motion: Translation | Rotation


def draw_move(kind: str, rng: np.random.Generator) -> Float64[np.ndarray, " k"]:
    """Draws `[x, y]` as shares of the image, or `[angle]` in radians, for `plan_move`."""
    return _LARGEST[kind] * (2 * rng.random(_NUM_DRAWS[kind]) - 1)


def plan_move(kind: str, move: Float64[np.ndarray, " k"], size: Size) -> Move:
    """Designs a move on the host.

    Args:
        kind: One of `KINDS`.
        move: `[x, y]` as shares of the image's shorter side, which `eqt_int` rounds to pixels, or
            `[angle]` in radians, counter-clockwise.
        size: Height and width of the images.

    Raises:
        ValueError: An unknown kind.
    """
    if kind not in KINDS:
        raise ValueError(f"Equivariance knows {', '.join(KINDS)}, not {kind!r}.")
    transform = np.eye(3)
    if kind == "eqr":
        angle = float(move[0])
        transform[:2, :2] = rotation_matrix(-angle)
        return Move(transform.astype(np.float32), design_rotation(angle, size))
    shift_px = np.asarray(move, np.float64) * min(size)
    if kind == "eqt_int":
        shift_px = np.rint(shift_px)
    transform[:2, 2] = -shift_px / min(size)
    design = design_whole_translation if kind == "eqt_int" else design_translation
    return Move(transform.astype(np.float32), design(shift_px, size))


def squared_errors(
    upright: Float[Array, "n h w c"], drawn: Float[Array, "n h w c"], move: Move
) -> Float[Array, "n h"]:
    """Compares upright images, moved here, with those that were drawn moved.

    Returns:
        Squared errors where both are known, summed over columns and channels. Rows are to be summed
        in float64.
    """
    difference = move.motion.move(upright) - move.motion.match(drawn)
    mask = move.motion.mask[:, :, None]
    return jnp.sum(jnp.square(difference) * mask, axis=(2, 3))


def decibels(error: float, weight: float) -> float:
    """Returns the peak signal-to-noise ratio of images in [-1, 1], infinity for equal ones.

    Args:
        error: Sum of squared errors.
        weight: How many values it is a sum of.

    Raises:
        ValueError: No pixel was compared, or some are not finite.
    """
    if not weight or not math.isfinite(error):
        raise ValueError(
            f"A squared error of {error:g} over {weight:g} values has no PSNR: give images that "
            "are finite, and large enough that a moved one overlaps itself."
        )
    return 10 * math.log10(4 * weight / error) if error else math.inf
