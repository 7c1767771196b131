"""Spectra with known answers."""

import numpy as np
import pytest
from scipy import ndimage

from stylegan_jax.metrics.spectrum import (
    average_spectrum,
    make_profiles,
    measure_levels,
    smooth,
)


def test_white_noise_is_flat_at_its_variance(rng):
    images = np.clip(rng.normal(128, 20, (400, 24, 16, 3)), 0, 255).round().astype(np.uint8)
    mean, std = measure_levels([images[:300], images[300:]])
    np.testing.assert_allclose((mean, std), (images.mean(), images.std()), rtol=1e-9)
    spectrum = average_spectrum([images[:300], images[300:]], mean=mean, std=std)
    assert spectrum.shape == (96, 64)
    # Each point averages 1200 draws of an exponential law of mean 1: 6 standard errors.
    np.testing.assert_allclose(spectrum, 1, rtol=0, atol=6 / np.sqrt(1200))
    profiles = make_profiles(spectrum)
    for curve in (profiles.radial, profiles.horizontal, profiles.vertical, profiles.diagonal):
        assert curve.shape == profiles.frequency.shape == (32,)
        np.testing.assert_allclose(curve, 1, rtol=0, atol=6 / np.sqrt(1200))
    # Levels in units twice as large: a quarter of the power.
    halved = average_spectrum([images], mean=mean, std=2 * std)
    np.testing.assert_allclose(halved, spectrum / 4, rtol=1e-4)


@pytest.mark.parametrize(("cycles_y", "cycles_x"), [(6, 0), (0, 4), (12, 4)])
def test_a_wave_is_a_peak(cycles_y, cycles_x):
    """Of 48 x 32 px: at its frequency and the opposite one."""
    y, x = np.mgrid[:48, :32]
    wave = np.cos(2 * np.pi * (cycles_y * y / 48 + cycles_x * x / 32))
    images = (128 + 100 * wave).round().astype(np.uint8)[None, ..., None]
    spectrum = average_spectrum([images], mean=128, std=100)
    middle = np.array([96, 64])
    offset = np.array([4 * cycles_y, 4 * cycles_x])
    peak = np.array(np.unravel_index(spectrum.argmax(), spectrum.shape))
    assert tuple(np.abs(peak - middle)) == tuple(offset)
    # |window * cos|^2 at its frequency: (sum of the window / 2)^2, per axis.
    windows = [np.kaiser(n, 8.0) for n in (48, 32)]
    power = np.prod([w.sum() ** 2 / np.sum(w**2) for w in windows]) / 4
    np.testing.assert_allclose(spectrum.max(), power, rtol=0.01)
    # The spectrum of what is real is symmetric; 12 cycles away there is nothing.
    np.testing.assert_allclose(spectrum[tuple(middle + offset)], spectrum[tuple(middle - offset)])
    far = middle + offset + [4 * 11, 4 * 11] if cycles_y < 12 else middle
    assert spectrum[tuple(far)] < 1e-4 * power

    profiles = make_profiles(spectrum)
    along = profiles.horizontal if cycles_x and not cycles_y else profiles.vertical
    if not (cycles_x and cycles_y):
        at = profiles.frequency[along.argmax()]
        assert abs(at - max(cycles_y / 48, cycles_x / 32)) <= 1 / 128
    ring = profiles.frequency[profiles.radial.argmax()]
    assert abs(ring - np.hypot(cycles_y / 48, cycles_x / 32)) <= 1.5 / 128


def test_slices_at_45_degrees():
    """Of a spectrum that is linear in both frequencies, whose lines are known; sides differ."""
    y, x = ((np.arange(n) - n // 2) / n for n in (48, 32))
    profiles = make_profiles(5 + y[:, None] + 3 * x[None, :])
    share = profiles.frequency / np.sqrt(2)
    # 5 + s + 3 s one way, 5 - s + 3 s the other.
    np.testing.assert_allclose(profiles.diagonal, 5 + 3 * share, rtol=1e-12)
    assert profiles.diagonal.shape == profiles.radial.shape


def test_images_of_one_colour():
    with pytest.raises(ValueError, match="All pixels of the training images are equal"):
        measure_levels([np.full((2, 8, 8, 3), 7, np.uint8)])


def test_smoothing_wraps(rng):
    spectrum = rng.random((48, 32))
    want = ndimage.gaussian_filter(spectrum, 3.0, mode="wrap", truncate=8)
    # SciPy samples the Gaussian, here its transform is: equal to rounding at 3 points.
    np.testing.assert_allclose(smooth(spectrum, 3.0), want, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(smooth(spectrum, 0), spectrum)
