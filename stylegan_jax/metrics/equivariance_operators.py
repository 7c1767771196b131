"""What the equivariance of a generator is measured with: images translated and rotated after they
were drawn, as exactly as their pixels allow.

A motion is designed on the host, in float64, and applied on the devices, in float32: `Translation`
and `Rotation` hold arrays alone, so that motions of many batches are stacked and split over devices
as their images are. Every mask [h, w] is 1 where the result is known, 0 where it would need what
lies outside the image. x points right and y down.

Source: Karras et al. 2021 (StyleGAN3), appendix E.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64

from stylegan_jax.sizes import Size

# Lobes of the Lanczos windows.
_LOBES = 3
# Half the sides of band-limiting filters in pixels, and of the grid that they are designed on.
_EXTENT = 6
_SUPPORT = 64
# Rotation samples images that were enlarged so many times.
_UP = 4
# A filter has 2 * 6 * 4 - 1 = 47 taps and reaches over 23 of them.
_REACH = _EXTENT * _UP - 1


class Translation(NamedTuple):
    """A shift of images [n, h, w, c]; zeros come in from outside.

    Attributes:
        rows: Matrix [h, h] along y.
        columns: Matrix [w, w] along x.
        known: Mask of what the moved images know.
    """

    rows: Any
    columns: Any
    known: Any

    def move(self, img: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
        """Moves images."""
        highest = jax.lax.Precision.HIGHEST
        img = jnp.einsum("yh,nhwc->nywc", self.rows, img, precision=highest)
        return jnp.einsum("xw,nhwc->nhxc", self.columns, img, precision=highest)

    def match(self, img: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
        """Leaves out of images that were drawn moved what `move` leaves out of others: nothing."""
        return img

    @property
    def mask(self) -> Any:
        """Returns where `move` and `match` can be compared."""
        return self.known


class Rotation(NamedTuple):
    """A turn of images [n, h, w, c] about their middle.

    Frequencies that the rotated grid of pixels cannot hold are filtered out while images are
    enlarged four times; the result is sampled from there bilinearly.

    Attributes:
        phases: Filter of enlarging, by which of its taps one output sees.
        y: Row of the enlarged image that each pixel [h, w] comes from.
        x: Column, likewise.
        known: Mask of what the rotated images know.
        taps: Filter of upright pixels that leaves out the same frequencies.
        also_known: Mask of what that filter does not reach over the border for.
    """

    phases: Any
    y: Any
    x: Any
    known: Any
    taps: Any
    also_known: Any

    def move(self, img: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
        """Rotates images."""
        return _rotate(img, *map(jnp.asarray, (self.phases, self.y, self.x)))

    def match(self, img: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
        """Leaves out of images that were drawn rotated what rotating others leaves out of them.

        These have lost the corners of their spectrum, so those must lose them too.
        """
        return _convolve(img, jnp.asarray(self.taps))

    @property
    def mask(self) -> Any:
        """Returns where `move` and `match` can be compared."""
        return self.known * self.also_known


def rotation_matrix(angle: float) -> Float64[np.ndarray, "2 2"]:
    """Returns the matrix that turns positions counter-clockwise on the screen, by radians."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, sin], [-sin, cos]])


def design_whole_translation(shift_px: Float64[np.ndarray, "2"], size: Size) -> Translation:
    """Designs a shift by whole pixels.

    Args:
        shift_px: `[x, y]` in pixels; rounded.
        size: Height and width of the images.
    """
    height, width = size
    x, y = (int(np.rint(s)) for s in shift_px)
    known = np.outer(_inside(height, y, y), _inside(width, x, x))
    return _as_float32(Translation(np.eye(height, k=-y), np.eye(width, k=-x), known))


def design_translation(shift_px: Float64[np.ndarray, "2"], size: Size) -> Translation:
    """Designs a shift by any distance, with a Lanczos filter of three lobes.

        y(n) = sum_k h_k x(n - i - k),   h_k ~ sinc(k - f) sinc((k - f) / 3),   k = -2..3

    for a shift of i + f pixels, along both axes. Known is where all six pixels were inside.

    Args:
        shift_px: `[x, y]` in pixels.
        size: Height and width of the images.
    """
    height, width = size
    x, y = float(shift_px[0]), float(shift_px[1])
    i, j = int(np.floor(y)), int(np.floor(x))
    known = np.outer(_inside(height, i + 3, i - 2), _inside(width, j + 3, j - 2))
    return _as_float32(Translation(_shift_matrix(height, y), _shift_matrix(width, x), known))


def design_rotation(angle: float, size: Size) -> Rotation:
    """Designs a turn.

    Args:
        angle: In radians, counter-clockwise on the screen.
        size: Height and width of the images.
    """
    height, width = size
    y, x = _sources(height, width, angle)
    # What the nearest source sees of zeros beyond the border is not known.
    border = 2 * _REACH + 1
    known = [
        (np.rint(at) >= border) & (np.rint(at) < _UP * side + 2 * _REACH - border)
        for at, side in ((y, height), (x, width))
    ]
    reach = _EXTENT - 1
    rotation = Rotation(
        phases=_phases(bandlimit_filter(rotation_matrix(angle), up=_UP)),
        y=y,
        x=x,
        known=known[0] & known[1],
        taps=bandlimit_filter(rotation_matrix(-angle), up=1),
        also_known=np.outer(_inside(height, reach, -reach), _inside(width, reach, -reach)),
    )
    return _as_float32(rotation)


def bandlimit_filter(matrix: Float64[np.ndarray, "2 2"], *, up: int) -> Float64[np.ndarray, "k k"]:
    """Designs the filter of what both a grid of pixels and its image under a matrix can hold.

    The two ideal filters, a sinc each, are convolved, and so are their Lanczos windows; their
    product is the filter.

    Args:
        matrix: What takes pixels' positions to the other grid.
        up: Taps per pixel.

    Returns:
        Taps [12 up - 1, 12 up - 1]; each of the `up`^2 sets of them that one output sees sums to
        1 / `up`^2.
    """
    taps = _convolved(_sinc, matrix, up) * _convolved(_lanczos, matrix, up)
    # The middle of a grid of 128 up - 1 points.
    skip = (_SUPPORT - _EXTENT) * up
    taps = taps[skip : len(taps) - skip, skip : len(taps) - skip]
    # A row and a column of zeros complete the phases.
    phases = np.pad(taps, (0, 1)).reshape(2 * _EXTENT, up, 2 * _EXTENT, up)
    phases = phases / phases.sum(axis=(0, 2), keepdims=True) / up**2
    return phases.reshape(2 * _EXTENT * up, -1)[:-1, :-1]


def _sinc(x: np.ndarray) -> np.ndarray:
    return np.sinc(x)


def _lanczos(x: np.ndarray) -> np.ndarray:
    """Returns the window, the sinc's own middle lobe."""
    return np.sinc(x / _LOBES) * (np.abs(x) < _LOBES)


def _convolved(kernel, matrix: np.ndarray, up: int) -> np.ndarray:
    """Convolves a separable kernel on the pixels' grid with itself on the other grid."""
    x, y = _grid(up)
    other_x = matrix[0, 0] * x + matrix[0, 1] * y
    other_y = matrix[1, 0] * x + matrix[1, 1] * y
    other = np.fft.ifftshift(kernel(other_x) * kernel(other_y))
    product = _upright_spectrum(kernel, up) * np.fft.rfft2(other)
    return np.fft.fftshift(np.fft.irfft2(product, other.shape))


@functools.cache
def _upright_spectrum(kernel, up: int) -> np.ndarray:
    """Returns the spectrum of the kernel on the pixels' grid, which is the same for all angles."""
    x, y = _grid(up)
    return np.fft.rfft2(np.fft.ifftshift(kernel(x) * kernel(y)))


@functools.cache
def _grid(up: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns x [1, p] and y [p, 1] of the grid that filters are designed on, in pixels."""
    reach = _SUPPORT * up - 1
    points = np.arange(-reach, reach + 1) / up
    return points[None, :], points[:, None]


def _inside(length: int, first: int, last: int) -> np.ndarray:
    """Returns 1 from `first` to `length + last`, both cut to what there is, and 0 elsewhere."""
    index = np.arange(length)
    return ((index >= first) & (index < length + min(last, 0))).astype(np.float64)


def _as_float32(motion: Any) -> Any:
    """Rounds what was designed in float64."""
    return jax.tree.map(lambda x: np.asarray(x, np.float32), motion)


def _shift_matrix(length: int, shift: float) -> np.ndarray:
    """Returns the matrix [length, length] that moves a line of pixels, zeros outside."""
    whole = int(np.floor(shift))
    k = np.arange(1 - _LOBES, _LOBES + 1)
    distance = k - (shift - whole)
    taps = np.sinc(distance) * np.sinc(distance / _LOBES)
    matrix = np.zeros((length, length))
    for offset, tap in zip(k, taps / taps.sum()):
        matrix += tap * np.eye(length, k=-(whole + int(offset)))
    return matrix


def _phases(taps: np.ndarray) -> np.ndarray:
    """Orders the taps of enlarging by which of them one output sees: [13, 13, 1, 16].

    Output 4 q + r sees every fourth tap of the whole filter, and an image of 4 w + 48 points is
    what a full convolution makes: two zeros before the taps put their first 4 w + 46 points where
    the original's are.
    """
    before, after = 2, 3
    padded = np.pad(taps, (before, after)) * _UP**2
    side = len(padded) // _UP
    split = padded.reshape(side, _UP, side, _UP).transpose(0, 2, 1, 3).reshape(side, side, 1, -1)
    # Convolutions of networks are correlations.
    return split[::-1, ::-1]


def _sources(height: int, width: int, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns where in the enlarged image each rotated pixel comes from: y and x, [h, w]."""
    back = rotation_matrix(-angle)
    # From the middle of the image, in pixels.
    x = np.arange(width)[None, :] + 0.5 - width / 2
    y = np.arange(height)[:, None] + 0.5 - height / 2
    at_x = back[0, 0] * x + back[0, 1] * y
    at_y = back[1, 0] * x + back[1, 1] * y
    # Enlarged points are half of one of them away from where pixels have their middle.
    middle_x, middle_y = ((_UP * side + 2 * _REACH) / 2 for side in (width, height))
    return _UP * at_y + middle_y, _UP * at_x + middle_x


def _rotate(
    img: Float[Array, "n h w c"], phases: Array, y: Float[Array, "h w"], x: Float[Array, "h w"]
) -> Float[Array, "n h w c"]:
    """Enlarges images with a filter and samples them."""
    height, width = img.shape[1:3]
    reach = len(phases) - 1
    rows, columns = height + reach, width + reach

    def rotate_one(image: Array) -> Array:
        """Rotates [h, w, c]; one at a time, as enlarged ones are 16 times as large."""
        planes = jnp.moveaxis(image, -1, 0)[..., None]
        found = _correlate(planes, phases, reach)  # [c, h + 12, w + 12, 16]
        found = found.reshape(-1, rows, columns, _UP, _UP).transpose(0, 1, 3, 2, 4)
        found = found.reshape(-1, _UP * rows, _UP * columns)
        found = found[:, : _UP * height + 2 * _REACH, : _UP * width + 2 * _REACH]
        return jnp.moveaxis(_sample(found, y, x), 0, -1)

    return jax.lax.map(rotate_one, img)


def _sample(
    planes: Float[Array, "c p q"], y: Float[Array, "h w"], x: Float[Array, "h w"]
) -> Float[Array, "c h w"]:
    """Interpolates between the four nearest points, zeros beyond the border."""
    height, width = planes.shape[1:]
    top, left = jnp.floor(y), jnp.floor(x)
    total = jnp.zeros((len(planes), *y.shape))
    for dy in (0, 1):
        for dx in (0, 1):
            row, column = top + dy, left + dx
            weight = (1 - jnp.abs(y - row)) * (1 - jnp.abs(x - column))
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            row = jnp.clip(row, 0, height - 1).astype(int)
            column = jnp.clip(column, 0, width - 1).astype(int)
            total += planes[:, row, column] * jnp.where(inside, weight, 0)
    return total


def _convolve(img: Float[Array, "n h w c"], taps: Float[Array, "k k"]) -> Float[Array, "n h w c"]:
    """Filters every channel, zeros outside."""
    n, height, width, c = img.shape
    planes = jnp.moveaxis(img, -1, 1).reshape(n * c, height, width, 1)
    found = _correlate(planes, taps[::-1, ::-1, None, None], len(taps) // 2)
    return jnp.moveaxis(found.reshape(n, c, height, width), 1, -1)


def _correlate(planes: Array, kernel: Array, padding: int) -> Array:
    """Correlates [n, h, w, 1] with [k, k, 1, o] over zeros of that width around it."""
    return jax.lax.conv_general_dilated(
        *(planes, kernel, (1, 1), [(padding, padding)] * 2),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=jax.lax.Precision.HIGHEST,
    )
