"""Rotated images as products: tiles of the result, each from a window of the image.

A matrix unit cannot read here and there, but what a tile of positions needs lies in a window of the
image, and along each axis a position is a sum of its pixels with the weights of `ada_axis.py`:

    result[p] = sum_x weights_x[x, p] * sum_y weights_y[y, p] * window[y, x]

Where an image is shrunken so much that a tile needs more than a window, it is a sum over several.

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


# One window serves a shrinking by up to 1.78 along an axis, a rotation by 45 degrees included. ADA
# goes beyond once in 110 rotations at p = 0.2, once in 13 at p = 1; not once in a million beyond
# 3.6, where four windows do.
CUT = Cut(64, 64)


def by_tiles(
    image: Float[Array, "h w c"], g: Float[Array, "3 3"], bounds: Bounds, cut: Cut = CUT
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


def _num_windows(g: Array, size: tuple[int, int], cut: Cut) -> tuple[Array, Array]:
    """How many windows along y and x hold what any tile reads."""
    found = []
    for axis, side in ((1, _plane(size)[0]), (0, _plane(size)[1])):
        # From a tile's first to its last position, and what both reach; no more than there is.
        step = jnp.sum(jnp.abs(g[axis, :2])) / 2
        pixels = jnp.minimum((cut.tile - 1) * step + 2 * _REACH + 2, side)
        found.append(jnp.ceil(pixels / cut.window).astype(jnp.int32))
    return found[0], found[1]


def _weigh(
    row: Array,
    number: tuple[Array, Array],
    g: Array,
    limits: Array,
    size: tuple[int, int],
    cut: Cut,
) -> tuple[list[Array], list[Array]]:
    """First pixels `[t]` of a window of each tile of a row, y and x, and weights `[t, k, p]`.

    `number`: which of the windows of a tile it is, along y and x.
    """
    columns = _num_tiles(size, cut)[1]
    ys = grid((row * cut.tile + np.arange(cut.tile)).astype(jnp.float32), size[0])
    xs = grid(np.arange(columns * cut.tile, dtype=np.float32), size[1])
    sides, windows, origins = _plane(size), _window(size, cut), _origins(size)
    firsts, weights = [], []
    for axis, p in enumerate(positions(g, ys, xs, size)):
        side, window, origin = sides[axis], windows[axis], origins[axis]
        p = p.reshape(cut.tile, columns, cut.tile).swapaxes(0, 1)
        p = p.reshape(columns, -1)  # [t, tile * tile]
        pixel = jnp.floor(jnp.min(p, axis=1) / 2).astype(jnp.int32) - _REACH
        begin = jnp.clip(pixel + origin, 0, side - window) + number[axis] * window
        # The last window ends with the plane; what the one before it held counts there.
        first = jnp.minimum(begin, side - window)
        indices = first[:, None] + np.arange(window)
        # No weight belongs to pixels as far outside.
        pixels = jnp.where(indices >= begin[:, None], indices - origin, 2 * side)
        firsts.append(first)
        weights.append(pixel_weights(p, pixels, (limits[2 * axis], limits[2 * axis + 1])))
    return firsts, weights


def _read(
    x: Float[Array, "c h w"], g: Array, limits: Array, *, size: tuple[int, int], cut: Cut
) -> Float[Array, "r c t m"]:
    """Results by rows of tiles."""
    window = (len(x), *_window(size, cut))
    rows, columns = _num_tiles(size, cut)
    num_y, num_x = _num_windows(g, size, cut)

    def read_row(row: Array) -> Array:
        def add(number: Array, y: Array) -> Array:
            firsts, weights = _weigh(row, (number // num_x, number % num_x), g, limits, size, cut)
            windows = lax.map(lambda at: lax.dynamic_slice(x, (0, *at), window), tuple(firsts))
            lines = jnp.einsum("typ,tcyx->tcxp", weights[0], windows, precision="highest")
            return y + jnp.sum(lines * weights[1][:, None], axis=2)

        y = jnp.zeros((columns, len(x), cut.tile**2), x.dtype)  # [t, c, p]
        y = lax.fori_loop(0, num_y * num_x, add, y)
        y = y.reshape(*y.shape[:2], cut.tile, cut.tile)
        return y.transpose(1, 2, 0, 3).reshape(len(x), cut.tile, -1)

    return lax.map(read_row, jnp.arange(rows))


def _write(
    y: Float[Array, "r c t m"], g: Array, limits: Array, *, size: tuple[int, int], cut: Cut
) -> Float[Array, "c h w"]:
    """The transpose: planes, from cotangents of results."""
    window = (y.shape[1], *_window(size, cut))
    num_y, num_x = _num_windows(g, size, cut)

    def write_row(planes: Array, row_and_y: tuple[Array, Array]) -> tuple[Array, None]:
        row, y = row_and_y
        y = y.reshape(len(planes), cut.tile, -1, cut.tile).transpose(2, 0, 1, 3)
        y = y.reshape(*y.shape[:2], -1)  # [t, c, p]

        def add(number: Array, planes: Array) -> Array:
            firsts, weights = _weigh(row, (number // num_x, number % num_x), g, limits, size, cut)
            lines = y[:, :, None] * weights[1][:, None]  # [t, c, x, p]
            windows = jnp.einsum("typ,tcxp->tcyx", weights[0], lines, precision="highest")

            def add_one(tile: Array, planes: Array) -> Array:
                at = (0, firsts[0][tile], firsts[1][tile])
                before = lax.dynamic_slice(planes, at, window)
                return lax.dynamic_update_slice(planes, before + windows[tile], at)

            return lax.fori_loop(0, len(windows), add_one, planes)

        return lax.fori_loop(0, num_y * num_x, add, planes), None

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
