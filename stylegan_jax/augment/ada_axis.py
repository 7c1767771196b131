"""One axis of a moved image: its low-pass filter, its positions, what each pixel gives to them.

The image is continued by reflection and zoomed by 2: pixel k becomes pixel 2 k of the zoomed axis.
The result is computed at twice its rate as well, and larger by `EDGE` pixels on every side, which
is what the filter that shrinks it reads.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from stylegan_jax.ops.fir_axis import filter_axis

# Low-pass filter of the wavelet sym6 (Daubechies 1992, table 8.1), orthonormal.
_SYM6 = (
    0.015404109327027373,
    0.0034907120842174702,
    -0.11799011114819057,
    -0.048311742585633,
    0.4910559419267466,
    0.787641141030194,
    0.3379294217276218,
    -0.07263752278646252,
    -0.021060292512300564,
    0.04472490177066578,
    0.0017677118642428036,
    -0.007800708325034148,
)
# Scaled to sum 1.
LOW_PASS = tuple(tap / sum(_SYM6) for tap in _SYM6)
EDGE = len(_SYM6) // 2


class Bounds(NamedTuple):
    """First and last pixel of the continued image along each axis; there is nothing beyond."""

    y: tuple[Array | int, Array | int]
    x: tuple[Array | int, Array | int]


def grid(indices: Array | np.ndarray, side: int) -> Array | np.ndarray:
    """Positions of the result's pixels along an axis, from the image's centre."""
    return (indices - (num_positions(side) - 1) / 2 + 0.5) / 2


def num_positions(side: int) -> int:
    """Pixels of the result along an axis, at twice its rate and larger by the edges."""
    return 2 * side + 2 * EDGE


def whole_grid(side: int) -> Float[np.ndarray, " m"]:
    """All positions of an axis."""
    return np.asarray(grid(np.arange(num_positions(side), dtype=np.float32), side))


def positions(
    g: Float[Array, "3 3"], ys: Array | np.ndarray, xs: Array | np.ndarray, size: tuple[int, int]
) -> tuple[Float[Array, "i j"], Float[Array, "i j"]]:
    """Rows and columns where a grid of results is read, in pixels of the zoomed image."""
    read_y, read_x = (
        2 * (g[axis, 0] * xs + g[axis, 1] * ys[:, None]) + (2 * g[axis, 2] + side - 1)
        for axis, side in ((1, size[0]), (0, size[1]))
    )
    return read_y, read_x


def pixel_weights(
    read: Float[Array, "*n p"], pixels: Int[Array, "*n k"], bound: tuple[Array | int, Array | int]
) -> Float[Array, "*n k p"]:
    """What each pixel of the continued axis gives to each position of the zoomed one.

    A pixel reaches 12 zoomed pixels, with a tap each; between these, values are joined by straight
    lines.
    """
    first, last = bound
    kept = (pixels >= first) & (pixels <= last)
    weights = jnp.zeros(())
    for r, tap in enumerate(LOW_PASS):
        node = 2 * pixels + r - (EDGE - 1)  # the zoomed pixel that the tap reaches
        inside = kept & (node >= 2 * first) & (node <= 2 * last + 1)
        hat = jnp.maximum(0.0, 1 - jnp.abs(read[..., None, :] - node[..., None]))
        weights += jnp.where(inside, 2 * tap, 0.0)[..., None] * hat
    return weights


def zoom(x: Float[Array, "n h w c"], axis: int) -> Float[Array, "n p q c"]:
    """Zooms by 2: the filter is convolved."""
    taps = tuple(2 * tap for tap in LOW_PASS[::-1])
    size = 2 * x.shape[axis]
    return filter_axis(x, taps, axis=axis, up=2, down=1, pad=EDGE, size=size, way="shifts")


def shrink(x: Float[Array, "n h w c"], axis: int) -> Float[Array, "n p q c"]:
    """Shrinks by 2 and takes the edges away: the filter is correlated."""
    size = x.shape[axis] // 2 - EDGE
    return filter_axis(x, LOW_PASS, axis=axis, up=1, down=2, pad=-1, size=size, way="shifts")
