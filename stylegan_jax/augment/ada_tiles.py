"""Rotated images as products: tiles of the result, each from a window of the image.

A matrix unit cannot read here and there, but what a tile of positions needs lies in a window of the
image, and along each axis a position is a sum of its pixels with the weights of `ada_axis.py`:

    result[p] = sum_x weights_x[x, p] * sum_y weights_y[y, p] * window[y, x]

The transpose adds products to windows. JAX is told so: by itself it would add an array as large as
the image for every window.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_derivatives import linear_call
from jaxtyping import Array, Float

from stylegan_jax.augment.ada_axis import (
    EDGE,
    Bounds,
    grid,
    num_positions,
    pixel_weights,
    positions,
    shrink,
)

# Pixels of the image that a position reads before and after its own.
_REACH = EDGE // 2


class Cut(NamedTuple):
    """Sides of tiles of the result, and of the windows of the image that they read."""

    tile: int
    window: int

    def fits(self, g: Float[Array, "3 3"]) -> Array:
        """Whether windows hold what tiles read, for images moved by a matrix."""
        # Zoomed pixels from one position to the next, along the axis where these are most.
        step = jnp.max(jnp.sum(jnp.abs(g[:2, :2]), axis=1))
        # From a tile's first to its last position, and what both reach.
        return (self.tile - 1) * step / 2 + 2 * _REACH + 2 <= self.window


# Tiles that suit most rotations, up to a shrinking by 1.78 along an axis: at p = 1 ADA goes beyond
# once in 13 images. Up to 3.6: not once in a million. Any: slow.
CUTS = (Cut(64, 64), Cut(32, 64), Cut(1, 8))


def by_tiles(
    image: Float[Array, "h w c"], g: Float[Array, "3 3"], bounds: Bounds, cut: Cut
) -> Float[Array, "h w c"]:
    """Moves an image by products, a row of tiles after the other."""
    size = image.shape[:2]
    read = [num_positions(side) for side in size]
    num_tiles = [-(-n // cut.tile) for n in read]
    # Planes of one colour, continued by reflection, and beyond that by what windows may hold.
    x = jnp.pad(image.transpose(2, 0, 1), ((0, 0), *((side - 1,) * 2 for side in size)), "reflect")
    x = jnp.pad(x, ((0, 0), (_REACH,) * 2, (_REACH,) * 2))
    origins = [side - 1 + _REACH for side in size]
    window = tuple(min(cut.window, side) for side in x.shape[1:])

    def weigh(row: Array, residuals: tuple) -> tuple[list[Array], list[Array]]:
        """First pixels `[t]` of a row's windows along y and x, and weights `[t, k, p]`."""
        g, *limits = residuals
        tile = np.arange(cut.tile)
        ys = grid((row * cut.tile + tile).astype(jnp.float32), size[0])
        xs = grid(np.arange(num_tiles[1] * cut.tile, dtype=np.float32), size[1])
        firsts, weights = [], []
        for axis, p in enumerate(positions(g, ys, xs, size)):
            p = p.reshape(cut.tile, num_tiles[1], cut.tile).swapaxes(0, 1)
            p = p.reshape(num_tiles[1], -1)  # [t, tile * tile]
            pixel = jnp.floor(jnp.min(p, axis=1) / 2).astype(jnp.int32) - _REACH
            first = jnp.clip(pixel + origins[axis], 0, x.shape[1 + axis] - window[axis])
            pixels = (first - origins[axis])[:, None] + np.arange(window[axis])
            firsts.append(first)
            weights.append(pixel_weights(p, pixels, limits[axis]))
        return firsts, weights

    def read_all(residuals: tuple, x: Array) -> Array:
        """Results by rows of tiles, `[rows, c, tile, columns]`."""

        def read_row(row: Array) -> Array:
            firsts, (weights_y, weights_x) = weigh(row, residuals)
            windows = lax.map(
                lambda first: lax.dynamic_slice(x, (0, *first), (len(x), *window)), tuple(firsts)
            )
            lines = jnp.einsum("typ,tcyx->tcxp", weights_y, windows, precision="highest")
            y = jnp.sum(lines * weights_x[:, None], axis=2)  # [t, c, p]
            y = y.reshape(*y.shape[:2], cut.tile, cut.tile)
            return y.transpose(1, 2, 0, 3).reshape(len(x), cut.tile, -1)

        return lax.map(read_row, np.arange(num_tiles[0]))

    def write_all(residuals: tuple, y: Array) -> Array:
        """The transpose: planes, from cotangents of results."""

        def write_row(planes: Array, row_and_y: tuple[Array, Array]) -> tuple[Array, None]:
            row, y = row_and_y
            firsts, (weights_y, weights_x) = weigh(row, residuals)
            y = y.reshape(len(planes), cut.tile, -1, cut.tile).transpose(2, 0, 1, 3)
            y = y.reshape(*y.shape[:2], -1)  # [t, c, p]
            lines = y[:, :, None] * weights_x[:, None]  # [t, c, x, p]
            windows = jnp.einsum("typ,tcxp->tcyx", weights_y, lines, precision="highest")

            def add(tile: Array, planes: Array) -> Array:
                at = (0, firsts[0][tile], firsts[1][tile])
                before = lax.dynamic_slice(planes, at, (len(planes), *window))
                return lax.dynamic_update_slice(planes, before + windows[tile], at)

            return lax.fori_loop(0, num_tiles[1], add, planes), None

        planes = jnp.zeros_like(x)
        return lax.scan(write_row, planes, (np.arange(num_tiles[0]), y))[0]

    residuals = (g, *jax.tree.map(jnp.asarray, tuple(bounds)))
    y = linear_call(read_all, write_all, residuals, x)
    y = y.swapaxes(0, 1).reshape(len(x), num_tiles[0] * cut.tile, -1)[:, : read[0], : read[1]]
    shrinks = [shrink(jnp.eye(n)[None, :, :, None], 1)[0, :, :, 0] for n in read]
    return jnp.einsum("oi,cij,pj->opc", *(shrinks[0], y, shrinks[1]), precision="highest")
