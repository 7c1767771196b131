"""Average power spectra of images, and their profiles along rings and axes.

Frequencies are in cycles per pixel, -0.5 to 0.5 in both directions, whatever the size of images.
Every channel counts as brightness: alpha is to be left out before.
"""

import dataclasses
import functools
from collections.abc import Iterable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from stylegan_jax.sizes import Size

# Shape of the Kaiser window, and points of the spectrum per point of the image.
_BETA = 8.0
_INTERPOLATION = 4


def measure_levels(batches: Iterable[np.ndarray]) -> tuple[float, float]:
    """Returns mean and standard deviation of all grey levels.

    Raises:
        ValueError: All levels are equal: nothing can be divided by.
    """
    count = 0
    total = squares = 0.0
    for batch in batches:
        levels = batch.astype(np.float64)
        count += levels.size
        total += levels.sum()
        squares += (levels**2).sum()
    mean = total / count
    std = float(np.sqrt(max(squares / count - mean**2, 0)))
    if std < 1e-6:
        raise ValueError("All pixels of the training images are equal: they have no spectrum.")
    return mean, std


def average_spectrum(batches: Iterable[np.ndarray], *, mean: float, std: float) -> np.ndarray:
    """Averages the power spectra of images.

        |FFT(window * (x - mean) / std)|^2,  averaged over channels and images

    The window is Kaiser's (beta 8) in both directions, with a sum of squares of 1 in each: white
    noise of the standard deviation `std` has 1, or 0 dB, at all frequencies. Images are padded with
    zeros to four times their size, so that the spectrum has four points per cycle and image.

    Source: Karras et al. 2021 (StyleGAN3), appendix B.3 (average spectra).

    Args:
        batches: uint8 images `[n, h, w, c]`, all of one size, without alpha.
        mean: Grey level that is taken for zero.
        std: Grey levels that are taken for 1.

    Returns:
        float64 `[4 h, 4 w]`, the frequency 0 in the middle.
    """
    total: np.ndarray | None = None
    count = 0
    for batch in batches:
        images = jnp.asarray((batch.astype(np.float32) - mean) / std)
        found = np.asarray(_sum_spectra(images), np.float64)
        total = found if total is None else total + found
        count += len(batch)
    assert total is not None
    return np.fft.fftshift(total / count)


@jax.jit
def _sum_spectra(images: Float[Array, "n h w c"]) -> Float[Array, "p q"]:
    """Sums over images the mean power of the channels; one by one, as FFTs are large."""
    height, width = images.shape[1:3]
    window = np.outer(_window(height), _window(width)).astype(np.float32)
    padded = (_INTERPOLATION * height, _INTERPOLATION * width)

    def add(total: Array, image: Array) -> tuple[Array, None]:
        planes = jnp.moveaxis(image * window[..., None], -1, 0)
        power = jnp.abs(jnp.fft.fft2(planes, padded)) ** 2
        return total + power.mean(axis=0), None

    return jax.lax.scan(add, jnp.zeros(padded), images)[0]


def _window(length: int) -> np.ndarray:
    """Returns a Kaiser window with a sum of squares of 1."""
    window = np.kaiser(length, _BETA)
    return window / np.sqrt(np.sum(window**2))


@dataclasses.dataclass(frozen=True)
class Profiles:
    """Power of a spectrum by frequency.

    Attributes:
        frequency: float64 `[k]`, cycles per pixel, 0 to 0.5.
        radial: Mean over the ring of each frequency.
        horizontal: Along the axis of changes from left to right.
        vertical: Along the axis of changes from top to bottom.
        diagonal: At 45 degrees between them, in both directions, and averaged over the two.
    """

    frequency: np.ndarray
    radial: np.ndarray
    horizontal: np.ndarray
    vertical: np.ndarray
    diagonal: np.ndarray


def make_profiles(spectrum: np.ndarray) -> Profiles:
    """Cuts a spectrum `[p, q]`, frequency 0 in the middle, along rings, axes and diagonals.

    Frequencies are as dense as on the shorter side; between those of the longer one it is
    interpolated.
    """
    rows, cols = _frequencies(spectrum.shape[0]), _frequencies(spectrum.shape[1])
    steps = min(spectrum.shape) // 2
    frequency = np.arange(steps) / (2 * steps)

    # Rings as wide as the distance of two frequencies.
    radius = np.hypot(rows[:, None], cols[None, :])
    ring = np.rint(radius * 2 * steps).astype(int)
    inside = ring < steps
    sums = np.bincount(ring[inside], weights=spectrum[inside], minlength=steps)
    radial = sums / np.bincount(ring[inside], minlength=steps)

    middle = spectrum.shape[0] // 2, spectrum.shape[1] // 2
    horizontal = np.interp(frequency, cols[middle[1] :], spectrum[middle[0], middle[1] :])
    vertical = np.interp(frequency, rows[middle[0] :], spectrum[middle[0] :, middle[1]])
    both = [_cut(spectrum, angle, frequency) for angle in (np.pi / 4, -np.pi / 4)]
    return Profiles(frequency, radial, horizontal, vertical, np.mean(both, axis=0))


def _cut(spectrum: np.ndarray, angle: float, frequency: np.ndarray) -> np.ndarray:
    """Interpolates between the four nearest points on a line through the middle."""
    at = [
        (p // 2 + share * frequency * p).clip(0, p - 1)
        for p, share in zip(spectrum.shape, (np.sin(angle), np.cos(angle)))
    ]
    low = [np.minimum(np.floor(x).astype(int), p - 2) for x, p in zip(at, spectrum.shape)]
    total = np.zeros(len(frequency))
    for i in (0, 1):
        for j in (0, 1):
            weights = [1 - np.abs(x - (n + step)) for x, n, step in zip(at, low, (i, j))]
            total += weights[0] * weights[1] * spectrum[low[0] + i, low[1] + j]
    return total


@functools.cache
def _frequencies(length: int) -> np.ndarray:
    """Returns the frequencies of the points of a side, in rising order."""
    return np.fft.fftshift(np.fft.fftfreq(length))


def smooth(spectrum: np.ndarray, sigma: float) -> np.ndarray:
    """Blurs with a Gaussian of `sigma` points; what goes out on one side comes in on the other."""
    if sigma == 0:
        return spectrum
    # A Gaussian's Fourier transform is exp(-2 (pi sigma f)^2).
    rows, cols = (np.fft.fftfreq(length) for length in spectrum.shape)
    gain = np.exp(-2 * (np.pi * sigma) ** 2 * (rows[:, None] ** 2 + cols[None, :] ** 2))
    return np.fft.ifft2(np.fft.fft2(spectrum) * gain).real


def image_size(spectrum: np.ndarray) -> Size:
    """Returns the size of the images of a spectrum."""
    return spectrum.shape[0] // _INTERPOLATION, spectrum.shape[1] // _INTERPOLATION


def smoothing_points(cycles: float) -> float:
    """Returns by how many points to blur for a deviation in cycles per image."""
    return _INTERPOLATION * cycles
