"""Rotated images as products: tiles of the result, each from a window of the image.

A matrix unit cannot read here and there, but what a tile of positions needs lies in a window of the
image, and along each axis a position is a sum of its pixels with the weights of `ada_axis.py`:

    result[p] = sum_x weights_x[x, p] * sum_y weights_y[y, p] * window[y, x]

The transpose adds products to windows. JAX is told so by a primitive (`ops/trilinear.py` says what
that is): by itself it would add an array as large as the image for every window.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
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
    # Planes of one colour, continued by reflection, and beyond that by what windows may hold.
    x = jnp.pad(image.transpose(2, 0, 1), ((0, 0), *((side - 1,) * 2 for side in size)), "reflect")
    x = jnp.pad(x, ((0, 0), (_REACH,) * 2, (_REACH,) * 2))
    limits = jnp.asarray([*bounds.y, *bounds.x], jnp.int32)
    y = _tiles_p.bind(x, g, limits, size=size, cut=cut, back=False)
    y = y.swapaxes(0, 1).reshape(len(x), y.shape[0] * cut.tile, -1)
    shrinks = []
    for side in size:
        identity = jnp.eye(num_positions(side))[None, :, :, None]
        shrinks.append(shrink(identity, 1)[0, :, :, 0])  # [side, positions]
    rows, columns = shrinks
    y = y[:, : rows.shape[1], : columns.shape[1]]
    return jnp.einsum("oi,cij,pj->opc", rows, y, columns, precision="highest")


# ----------------------------------------------------------------------------------------------
# A row of tiles after the other


def _num_tiles(size: tuple[int, int], cut: Cut) -> tuple[int, int]:
    """Rows and columns of tiles that hold all positions."""
    rows, columns = (-(-num_positions(side) // cut.tile) for side in size)
    return rows, columns


def _origins(size: tuple[int, int]) -> list[int]:
    """Where pixel 0 of the image is in its continued planes."""
    return [side - 1 + _REACH for side in size]


def _plane(size: tuple[int, int]) -> tuple[int, int]:
    """Pixels of the continued planes."""
    height, width = (2 * origin + side for origin, side in zip(_origins(size), size))
    return height, width


def _window(size: tuple[int, int], cut: Cut) -> tuple[int, int]:
    """Pixels of a window: no more than there are."""
    height, width = (min(cut.window, side) for side in _plane(size))
    return height, width


def _weigh(
    row: Array, g: Array, limits: Array, size: tuple[int, int], cut: Cut
) -> tuple[list[Array], list[Array]]:
    """First pixels `[t]` of the windows of a row of tiles, y and x, and weights `[t, k, p]`."""
    columns = _num_tiles(size, cut)[1]
    ys = grid((row * cut.tile + np.arange(cut.tile)).astype(jnp.float32), size[0])
    xs = grid(np.arange(columns * cut.tile, dtype=np.float32), size[1])
    firsts, weights = [], []
    for axis, p in enumerate(positions(g, ys, xs, size)):
        origin, side, window = (
            a(size)[axis] for a in (_origins, _plane, lambda s: _window(s, cut))
        )
        p = p.reshape(cut.tile, columns, cut.tile).swapaxes(0, 1)
        p = p.reshape(columns, -1)  # [t, tile * tile]
        pixel = jnp.floor(jnp.min(p, axis=1) / 2).astype(jnp.int32) - _REACH
        first = jnp.clip(pixel + origin, 0, side - window)
        pixels = (first - origin)[:, None] + np.arange(window)
        firsts.append(first)
        weights.append(pixel_weights(p, pixels, (limits[2 * axis], limits[2 * axis + 1])))
    return firsts, weights


def _read(
    x: Float[Array, "c h w"], g: Array, limits: Array, *, size: tuple[int, int], cut: Cut
) -> Float[Array, "r c t m"]:
    """Results by rows of tiles."""
    window = (len(x), *_window(size, cut))

    def read_row(row: Array) -> Array:
        firsts, (weights_y, weights_x) = _weigh(row, g, limits, size, cut)
        windows = lax.map(lambda at: lax.dynamic_slice(x, (0, *at), window), tuple(firsts))
        lines = jnp.einsum("typ,tcyx->tcxp", weights_y, windows, precision="highest")
        y = jnp.sum(lines * weights_x[:, None], axis=2)  # [t, c, p]
        y = y.reshape(*y.shape[:2], cut.tile, cut.tile)
        return y.transpose(1, 2, 0, 3).reshape(len(x), cut.tile, -1)

    return lax.map(read_row, jnp.arange(_num_tiles(size, cut)[0]))


def _write(
    y: Float[Array, "r c t m"], g: Array, limits: Array, *, size: tuple[int, int], cut: Cut
) -> Float[Array, "c h w"]:
    """The transpose: planes, from cotangents of results."""
    window = (y.shape[1], *_window(size, cut))

    def write_row(planes: Array, row_and_y: tuple[Array, Array]) -> tuple[Array, None]:
        row, y = row_and_y
        firsts, (weights_y, weights_x) = _weigh(row, g, limits, size, cut)
        y = y.reshape(len(planes), cut.tile, -1, cut.tile).transpose(2, 0, 1, 3)
        y = y.reshape(*y.shape[:2], -1)  # [t, c, p]
        lines = y[:, :, None] * weights_x[:, None]  # [t, c, x, p]
        windows = jnp.einsum("typ,tcxp->tcyx", weights_y, lines, precision="highest")

        def add(tile: Array, planes: Array) -> Array:
            at = (0, firsts[0][tile], firsts[1][tile])
            before = lax.dynamic_slice(planes, at, window)
            return lax.dynamic_update_slice(planes, before + windows[tile], at)

        return lax.fori_loop(0, len(windows), add, planes), None

    planes = jnp.zeros((y.shape[1], *_plane(size)), y.dtype)
    return lax.scan(write_row, planes, (jnp.arange(len(y)), y))[0]


# ----------------------------------------------------------------------------------------------
# What JAX does with it, rule by rule


def _compute(x: Array, g: Array, limits: Array, *, back: bool, **statics: Any) -> Array:
    """Results of planes, or back."""
    return (_write if back else _read)(x, g, limits, **statics)


def _result(x: Any, *_: Any, size: tuple[int, int], cut: Cut, back: bool) -> ShapedArray:
    """Shape and dtype."""
    if back:
        return ShapedArray((x.shape[1], *_plane(size)), x.dtype)
    rows, columns = _num_tiles(size, cut)
    return ShapedArray((rows, x.shape[0], cut.tile, columns * cut.tile), x.dtype)


def _tangent(primals: Any, tangents: Any, **statics: Any) -> tuple[Array, Array]:
    """Linear in the image; matrices and bounds have no tangents."""
    _, *moved = primals
    return _tiles_p.bind(*primals, **statics), _tiles_p.bind(tangents[0], *moved, **statics)


def _transposed(cotangent: Any, x: Any, *moved: Array, back: bool, **statics: Any) -> list[Any]:
    """The cotangent of the image, and none of what moves it."""
    if isinstance(cotangent, ad.Zero):
        return [ad.Zero(x.aval), None, None]
    return [_tiles_p.bind(cotangent, *moved, back=not back, **statics), None, None]


def _compute_mapped(args: Any, axes: Any, **statics: Any) -> tuple[Array, int]:
    """Under `vmap` JAX maps what it is computed with."""
    return jax.vmap(functools.partial(_compute, **statics), axes)(*args), 0


_tiles_p = Primitive("read_tiles")
_tiles_p.def_abstract_eval(_result)
_tiles_p.def_impl(jax.jit(_compute, static_argnames=("size", "cut", "back")))
mlir.register_lowering(_tiles_p, mlir.lower_fun(_compute, multiple_results=False))
batching.primitive_batchers[_tiles_p] = _compute_mapped
ad.primitive_jvps[_tiles_p] = _tangent
ad.primitive_transposes[_tiles_p] = _transposed
