"""Images moved by matrices, band-limited, and how each platform computes it.

An image is continued by reflection, zoomed by 2 with a low-pass filter, read between its pixels
where the matrix says, and shrunk by 2 with the same filter. All of it is linear in the image. Where
a matrix keeps the axes apart (flips, quarter turns, zooms, translations) it is two products with
small matrices, one for rows and one for columns; a rotation needs four reads for each of the
`(2 h + 12) (2 w + 12)` positions, and its gradient as many writes. Hardware that multiplies
matrices and cannot read here and there cuts the result of a rotation into tiles instead: what a
tile needs lies in a window of the image, and is a product with it.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from stylegan_jax.ops.fir_axis import filter_axis
from stylegan_jax.ops.formulation import Resampling, platform_formulation

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
# Pixels by which the result is computed larger than it is, at twice its rate, on every side: what
# the second filter reads.
_EDGE = len(_SYM6) // 2
# Displacement, in pixels of the zoomed image, below which an axis counts as kept: quarter turns of
# float32 leave 5e-5 at 1024 pixels.
_STRAIGHT = 1e-4
# Sides of tiles, and of the windows of the zoomed image that they read: enough for what a rotated
# tile reaches in images shrunken to 0.35 of their size, five standard deviations of what ADA draws;
# beyond that, it is read.
_TILE = 32
_WINDOW = 128

Margins = Literal["whole", "batch"]


class _Bounds(NamedTuple):
    """First and last pixel of the continued image along each axis; there is nothing beyond."""

    y: tuple[Array | int, Array | int]
    x: tuple[Array | int, Array | int]


def resample(
    images: Float[Array, "n h w c"],
    G: Float[Array, "n 3 3"],
    *,
    margins: Margins = "whole",
    resampling: Resampling | None = None,
) -> Float[Array, "n h w c"]:
    """Moves images: the pixel at position v of the result is what lies at `G v` of the image.

    A matrix that moves nothing still filters twice: images come back nearly the same.

    Args:
        images: Of at least 2 pixels in height and width.
        G: Maps of positions in pixels, from the centre.
        margins: How far images are continued by reflection: by all that there is to reflect
            (`whole`), or, as the original does, as far as the corners of any image of the batch
            reach (`batch`). What lies beyond is zero.
        resampling: How it is computed; None: as suits this platform.

    Source: Karras et al. 2020 (StyleGAN2-ADA), appendix B, algorithm 1, lines 19 to 28.
    Checked: tests/parity, cases `ada_*`; tests/augment/test_ada_resampling.py vs NumPy loops.
    """
    size = (images.shape[1], images.shape[2])
    if min(size) < 2:
        raise ValueError(
            f"images of {size[0]}x{size[1]} pixels have nothing to reflect: give at least 2x2."
        )
    resampling = resampling or platform_formulation().resampling
    G = lax.stop_gradient(G)
    bounds = _whole_bounds(size) if margins == "whole" else _batch_bounds(G, size)
    if resampling == "gather":
        return _by_reading(images, G, bounds)
    cuts = resampling == "by_tiles"
    kinds = jax.vmap(lambda g: _kind(g, size, cuts=cuts))(G)

    def move(one: tuple[Array, Array, Array]) -> Array:
        image, g, kind = one
        branches = [
            lambda: _by_products(image, g, bounds, swapped=False),
            lambda: _by_products(image, g, bounds, swapped=True),
            lambda: _by_reading(image[None], g[None], bounds)[0],
        ]
        if cuts:
            branches.append(lambda: _by_tiles(image, g, bounds))
        return lax.switch(kind, branches)

    return lax.map(jax.checkpoint(move, prevent_cse=False), (images, G, kinds))


def _whole_bounds(size: tuple[int, int]) -> _Bounds:
    """All that can be reflected: an edge is not repeated."""
    height, width = size
    return _Bounds((1 - height, 2 * height - 2), (1 - width, 2 * width - 2))


def _batch_bounds(G: Array, size: tuple[int, int]) -> _Bounds:
    """As far as the corners of any image reach, and a few pixels for the filters."""
    found = []
    cy, cx = ((side - 1) / 2 for side in size)
    corners = jnp.asarray([[x, y, 1.0] for x in (-cx, cx) for y in (-cy, cy)])  # [4, 3]
    reached = jnp.sum(G[:, None, :2] * corners[:, None, :], axis=-1)  # [n, 4, x and y]
    for axis, side, c in ((1, size[0], cy), (0, size[1], cx)):
        positions = reached[..., axis]
        before = jnp.ceil(jnp.clip(jnp.max(-positions) + _EDGE - c, 0, side - 1))
        after = jnp.ceil(jnp.clip(jnp.max(positions) + _EDGE - c, 0, side - 1))
        found.append((-before, side - 1 + after))
    return _Bounds(*found)


def _grid(side: int) -> np.ndarray:
    """Positions of the result along an axis, at twice its rate and larger by the edges."""
    n = 2 * side + 2 * _EDGE
    return (np.arange(n, dtype=np.float32) - (n - 1) / 2 + 0.5) / 2


def _kind(g: Float[Array, "3 3"], size: tuple[int, int], *, cuts: bool) -> Array:
    """0: rows stay rows, 1: rows become columns, 2: neither, 3: neither, and tiles will do."""
    # How far the other axis moves a position, at most, in pixels of the zoomed image.
    reach_y, reach_x = (2 * float(np.abs(_grid(side)).max()) for side in size)
    keeps = jnp.maximum(jnp.abs(g[0, 1]) * reach_y, jnp.abs(g[1, 0]) * reach_x) < _STRAIGHT
    swaps = jnp.maximum(jnp.abs(g[0, 0]) * reach_x, jnp.abs(g[1, 1]) * reach_y) < _STRAIGHT
    # A tile's first and last position, and the pixels around them.
    step = jnp.max(jnp.sum(jnp.abs(g[:2, :2]), axis=1))
    fits = cuts & ((_TILE - 1) * step + 3 <= _WINDOW)
    return jnp.where(keeps, 0, jnp.where(swaps, 1, jnp.where(fits, 3, 2)))


# ----------------------------------------------------------------------------------------------
# Reading between pixels


def _by_reading(images: Array, G: Array, bounds: _Bounds) -> Array:
    """Bilinear reads from the continued, zoomed image."""
    ys, xs = _positions(G, (images.shape[1], images.shape[2]))
    y = _read(_zoomed(images, bounds), ys, xs, bounds)  # [n, 2 h + 12, 2 w + 12, c]
    return _shrink(_shrink(y, 1), 2)


def _zoomed(images: Array, bounds: _Bounds) -> Float[Array, "n p q c"]:
    """Continues images and zooms them by 2: pixel k of an image is 2 k of its zoomed one."""
    height, width = images.shape[1:3]
    x = jnp.pad(images, ((0, 0), (height - 1,) * 2, (width - 1,) * 2, (0, 0)), mode="reflect")
    for axis, side, (first, last) in ((1, height, bounds.y), (2, width, bounds.x)):
        if isinstance(first, Array):
            pixel = jnp.arange(1 - side, 2 * side - 1)
            kept = (pixel >= first) & (pixel <= last)
            x = x * jnp.expand_dims(kept.astype(x.dtype), [a for a in range(4) if a != axis])
        x = _zoom(x, axis)
    return x


def _positions(G: Array, size: tuple[int, int]) -> tuple[Array, Array]:
    """Rows and columns where results are read, in pixels of the zoomed image, [n, i, j] each."""
    grid_y, grid_x = (jnp.asarray(_grid(side)) for side in size)
    ys, xs = (
        2 * (G[:, a, 0, None, None] * grid_x + G[:, a, 1, None, None] * grid_y[:, None])
        + (2 * G[:, a, 2, None, None] + side - 1)
        for a, side in ((1, size[0]), (0, size[1]))
    )
    return ys, xs


def _zoom(x: Float[Array, "n h w c"], axis: int) -> Float[Array, "n p q c"]:
    """Zooms by 2: the filter is convolved."""
    taps = tuple(2 * tap for tap in LOW_PASS[::-1])
    size = 2 * x.shape[axis]
    return filter_axis(x, taps, axis=axis, up=2, down=1, pad=_EDGE, size=size, way="shifts")


def _shrink(x: Float[Array, "n h w c"], axis: int) -> Float[Array, "n p q c"]:
    """Shrinks by 2 and takes the edges away: the filter is correlated."""
    size = x.shape[axis] // 2 - _EDGE
    return filter_axis(x, LOW_PASS, axis=axis, up=1, down=2, pad=-1, size=size, way="shifts")


def _read(
    x: Float[Array, "n p q c"],
    ys: Float[Array, "n i j"],
    xs: Float[Array, "n i j"],
    bounds: _Bounds,
) -> Float[Array, "n i j c"]:
    """Bilinear interpolation at positions, zero outside the bounds."""
    _, height, width, c = x.shape
    corners = []
    for positions, side, (first, last) in ((ys, height, bounds.y), (xs, width, bounds.x)):
        below = jnp.floor(positions)
        share = positions - below
        offset = (side - 2) // 3  # zoomed pixels before pixel 0: side = 2 (3 s - 2)
        for step, weight in ((0, 1 - share), (1, share)):
            k = below + step
            inside = (k >= 2 * first) & (k <= 2 * last + 1)
            index = jnp.clip(k, 2 * first, 2 * last + 1).astype(jnp.int32) + offset
            corners.append((index, jnp.where(inside, weight, 0.0)))

    def read(flat: Array, index: Array) -> Array:
        return flat.at[index].get(mode="promise_in_bounds")

    flat = x.reshape(-1, height * width, c)
    result = jnp.zeros((), x.dtype)
    for row, weight_y in corners[:2]:
        for column, weight_x in corners[2:]:
            value = jax.vmap(read)(flat, row * width + column)  # [n, i, j, c]
            result += value * (weight_y * weight_x)[..., None]
    return result


# ----------------------------------------------------------------------------------------------
# Products with matrices


def _by_products(image: Array, g: Array, bounds: _Bounds, *, swapped: bool) -> Array:
    """One product along each axis; `swapped`: rows of the result are columns of the image."""
    height, width = image.shape[:2]
    sources = [(height, g[1], bounds.y), (width, g[0], bounds.x)]
    if swapped:
        image = image.transpose(1, 0, 2)
        sources.reverse()
    products = []
    for axis, (source, side) in enumerate(zip(sources, (height, width))):
        side_in, row, bound = source
        # Position 1 of g's row is y, along the rows of the result.
        positions = 2 * (row[1 - axis] * _grid(side) + row[2]) + side_in - 1
        products.append(_axis_matrix(positions, side_in, bound))
    rows, columns = products
    return jnp.einsum("iy,yxc,jx->ijc", rows, image, columns, precision="highest")


def _axis_matrix(
    positions: Float[Array, " m"], side: int, bound: tuple[Array | int, Array | int]
) -> Float[Array, "o side"]:
    """The matrix that continues, zooms, reads at `positions`, and shrinks along one axis."""
    return _shrink(_reading_matrix(positions, side, bound)[None, :, :, None], 1)[0, :, :, 0]


def _reading_matrix(
    positions: Float[Array, " m"], side: int, bound: tuple[Array | int, Array | int]
) -> Float[Array, "m side"]:
    """The matrix that continues, zooms, and reads at `positions` of the zoomed axis."""
    first, last = bound
    pixel = jnp.arange(1 - side, 2 * side - 1)  # of the continued axis
    kept = (pixel >= first) & (pixel <= last)

    # What a pixel gives to a position: the zooming filter's taps, joined by straight lines.
    weights = jnp.zeros(())
    for r, tap in enumerate(LOW_PASS):
        node = 2 * pixel + r - (_EDGE - 1)  # the zoomed pixel that the tap reaches
        inside = kept & (node >= 2 * first) & (node <= 2 * last + 1)
        hat = jnp.maximum(0.0, 1 - jnp.abs(positions[:, None] - node))
        weights += jnp.where(inside, 2 * tap, 0.0) * hat  # [m, 3 side - 2]

    # Reflected pixels are pixels of the image.
    matrix = weights[:, side - 1 : 2 * side - 1]
    matrix = matrix.at[:, 1:].add(weights[:, side - 2 :: -1])
    return matrix.at[:, :-1].add(weights[:, : 2 * side - 2 : -1])


# ----------------------------------------------------------------------------------------------
# Products of tiles


def _by_tiles(image: Array, g: Array, bounds: _Bounds) -> Array:
    """Bilinear interpolation as products of each tile's weights with the window that it reads."""
    height, width, c = image.shape
    positions = _positions(g[None], (height, width))
    shape = positions[0].shape[1:]  # 2 h + 12, 2 w + 12

    # Continued and zoomed, by products, too: reads at all pixels of the zoomed axes.
    origins = [2 * (side - 1) for side in (height, width)]
    zooms = [
        _reading_matrix(jnp.arange(3.0 * origin + 2) - origin, side, bound)
        for origin, side, bound in zip(origins, (height, width), bounds)
    ]
    x = jnp.einsum("iy,yxc,jx->cij", zooms[0], image, zooms[1], precision="highest")

    # Positions by tiles, counted from the first zoomed pixel, and from their window's first.
    window = [min(_WINDOW, side) for side in x.shape[1:]]
    firsts, offsets = [], []
    for axis, origin in enumerate(origins):
        p = jnp.pad(positions[axis][0] + origin, [(0, -n % _TILE) for n in shape], mode="edge")
        rows, columns = (n // _TILE for n in p.shape)
        p = p.reshape(rows, _TILE, columns, _TILE).swapaxes(1, 2).reshape(rows, columns, -1)
        start = jnp.clip(jnp.floor(jnp.min(p, axis=-1)), 0, x.shape[1 + axis] - window[axis])
        firsts.append(start.astype(jnp.int32))
        offsets.append(p - start[..., None])  # [rows, columns, 32 * 32]

    def cut(first_y: Array, first_x: Array) -> Array:
        return lax.dynamic_slice(x, (0, first_y, first_x), (c, *window))

    def read(row: tuple[Array, Array, Array]) -> Array:
        windows, *offset = row
        hat_y, hat_x = (
            jnp.maximum(0.0, 1 - jnp.abs(p[..., None] - np.arange(side, dtype=np.float32)))
            for p, side in zip(offset, window)
        )
        lines = jnp.einsum("tpy,tcyx->tpcx", hat_y, windows, precision="highest")
        return jnp.sum(lines * hat_x[:, :, None], axis=-1)  # [columns, _TILE**2, c]

    # A row of tiles after the other: their lines are large.
    windows = jax.vmap(jax.vmap(cut))(*firsts)
    y = lax.map(jax.checkpoint(read, prevent_cse=False), (windows, *offsets))
    rows, columns = y.shape[:2]
    y = y.reshape(rows, columns, _TILE, _TILE, c).swapaxes(1, 2)
    y = y.reshape(rows * _TILE, columns * _TILE, c)[: shape[0], : shape[1]]
    shrinks = [_shrink(jnp.eye(side)[None, :, :, None], 1)[0, :, :, 0] for side in shape]
    return jnp.einsum("oi,ijc,pj->opc", shrinks[0], y, shrinks[1], precision="highest")
