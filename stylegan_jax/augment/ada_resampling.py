"""Images moved by matrices, band-limited, and how each platform computes it.

An image is continued by reflection, zoomed by 2 with a low-pass filter, read between its pixels
where the matrix says, and shrunk by 2 with the same filter. All of it is linear in the image. Where
a matrix keeps the axes apart (flips, quarter turns, zooms, translations) it is two products with
small matrices, one for rows and one for columns; a rotation needs four reads for each of the
`(2 h + 12) (2 w + 12)` positions, and its gradient as many writes. Hardware that multiplies
matrices and cannot read here and there cuts the result of a rotation into tiles instead
(`ada_tiles.py`).
"""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from stylegan_jax.augment.ada_axis import (
    EDGE,
    Bounds,
    pixel_weights,
    positions,
    shrink,
    whole_grid,
    zoom,
)
from stylegan_jax.augment.ada_tiles import by_tiles
from stylegan_jax.ops.formulation import Resampling, platform_formulation

# Displacement, in pixels of the zoomed image, below which an axis counts as kept: quarter turns of
# float32 leave 5e-5 at 1024 pixels.
_STRAIGHT = 1e-4

Margins = Literal["whole", "batch"]


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
    kinds = jax.vmap(lambda g: _kind(g, size))(G)

    def move(one: tuple[Array, Array, Array]) -> Array:
        image, g, kind = one
        branches = [
            lambda: _by_products(image, g, bounds, swapped=False),
            lambda: _by_products(image, g, bounds, swapped=True),
        ]
        if resampling == "by_tiles":
            branches.append(lambda: by_tiles(image, g, bounds))
        else:
            branches.append(lambda: _by_reading(image[None], g[None], bounds)[0])
        return lax.switch(kind, branches)

    return lax.map(jax.checkpoint(move, prevent_cse=False), (images, G, kinds))


def _whole_bounds(size: tuple[int, int]) -> Bounds:
    """All that can be reflected: an edge is not repeated."""
    height, width = size
    return Bounds((1 - height, 2 * height - 2), (1 - width, 2 * width - 2))


def _batch_bounds(G: Array, size: tuple[int, int]) -> Bounds:
    """As far as the corners of any image reach, and a few pixels for the filters."""
    found = []
    cy, cx = ((side - 1) / 2 for side in size)
    corners = jnp.asarray([[x, y, 1.0] for x in (-cx, cx) for y in (-cy, cy)])  # [4, 3]
    reached = jnp.sum(G[:, None, :2] * corners[:, None, :], axis=-1)  # [n, 4, x and y]
    for axis, side, c in ((1, size[0], cy), (0, size[1], cx)):
        ends = reached[..., axis]
        before = jnp.ceil(jnp.clip(jnp.max(-ends) + EDGE - c, 0, side - 1))
        after = jnp.ceil(jnp.clip(jnp.max(ends) + EDGE - c, 0, side - 1))
        found.append((-before, side - 1 + after))
    return Bounds(*found)


def _kind(g: Float[Array, "3 3"], size: tuple[int, int]) -> Array:
    """0: rows stay rows, 1: rows become columns, 2: neither."""
    # How far the other axis moves a position, at most, in pixels of the zoomed image.
    reach_y, reach_x = (2 * float(np.abs(whole_grid(side)).max()) for side in size)
    keeps = jnp.maximum(jnp.abs(g[0, 1]) * reach_y, jnp.abs(g[1, 0]) * reach_x) < _STRAIGHT
    swaps = jnp.maximum(jnp.abs(g[0, 0]) * reach_x, jnp.abs(g[1, 1]) * reach_y) < _STRAIGHT
    return jnp.where(keeps, 0, jnp.where(swaps, 1, 2))


# ----------------------------------------------------------------------------------------------
# Reading between pixels


def _by_reading(images: Array, G: Array, bounds: Bounds) -> Array:
    """Bilinear reads from the continued, zoomed image."""
    size = (images.shape[1], images.shape[2])
    grid_y, grid_x = (whole_grid(side) for side in size)
    ys, xs = jax.vmap(lambda g: positions(g, grid_y, grid_x, size))(G)
    y = _read(_zoomed(images, bounds), ys, xs, bounds)  # [n, 2 h + 12, 2 w + 12, c]
    return shrink(shrink(y, 1), 2)


def _zoomed(images: Array, bounds: Bounds) -> Float[Array, "n p q c"]:
    """Continues images and zooms them by 2: pixel k of an image is 2 k of its zoomed one."""
    height, width = images.shape[1:3]
    x = jnp.pad(images, ((0, 0), (height - 1,) * 2, (width - 1,) * 2, (0, 0)), mode="reflect")
    for axis, side, (first, last) in ((1, height, bounds.y), (2, width, bounds.x)):
        if isinstance(first, Array):
            pixel = jnp.arange(1 - side, 2 * side - 1)
            kept = (pixel >= first) & (pixel <= last)
            x = x * jnp.expand_dims(kept.astype(x.dtype), [a for a in range(4) if a != axis])
        x = zoom(x, axis)
    return x


def _read(
    x: Float[Array, "n p q c"],
    ys: Float[Array, "n i j"],
    xs: Float[Array, "n i j"],
    bounds: Bounds,
) -> Float[Array, "n i j c"]:
    """Bilinear interpolation at positions, zero outside the bounds."""
    _, height, width, c = x.shape
    corners = []
    for read, side, (first, last) in ((ys, height, bounds.y), (xs, width, bounds.x)):
        below = jnp.floor(read)
        share = read - below
        offset = (side - 2) // 3  # zoomed pixels before pixel 0: side = 2 (3 s - 2)
        for step, weight in ((0, 1 - share), (1, share)):
            k = below + step
            inside = (k >= 2 * first) & (k <= 2 * last + 1)
            index = jnp.clip(k, 2 * first, 2 * last + 1).astype(jnp.int32) + offset
            corners.append((index, jnp.where(inside, weight, 0.0)))

    def look_up(flat: Array, index: Array) -> Array:
        return flat.at[index].get(mode="promise_in_bounds")

    flat = x.reshape(-1, height * width, c)
    result = jnp.zeros((), x.dtype)
    for row, weight_y in corners[:2]:
        for column, weight_x in corners[2:]:
            value = jax.vmap(look_up)(flat, row * width + column)  # [n, i, j, c]
            result += value * (weight_y * weight_x)[..., None]
    return result


# ----------------------------------------------------------------------------------------------
# Products with matrices


def _by_products(image: Array, g: Array, bounds: Bounds, *, swapped: bool) -> Array:
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
        read = 2 * (row[1 - axis] * whole_grid(side) + row[2]) + side_in - 1
        products.append(_axis_matrix(read, side_in, bound))
    rows, columns = products
    return jnp.einsum("iy,yxc,jx->ijc", rows, image, columns, precision="highest")


def _axis_matrix(
    read: Float[Array, " m"], side: int, bound: tuple[Array | int, Array | int]
) -> Float[Array, "o side"]:
    """The matrix that continues, zooms, reads at positions, and shrinks along one axis."""
    # Of the continued axis.
    weights = pixel_weights(read, jnp.arange(1 - side, 2 * side - 1), bound)  # [3 side - 2, m]
    # Reflected pixels are pixels of the image.
    matrix = weights[side - 1 : 2 * side - 1]
    matrix = matrix.at[1:].add(weights[side - 2 :: -1])
    matrix = matrix.at[:-1].add(weights[: 2 * side - 2 : -1])
    return shrink(matrix.T[None, :, :, None], 1)[0, :, :, 0]
