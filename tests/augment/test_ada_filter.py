"""Frequency bands."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from stylegan_jax.augment.ada_draws import Draws, percentile_draws
from stylegan_jax.augment.ada_filter import band_filters, filter_bank, filter_images
from stylegan_jax.augment.ada_pipe import Pipe

PIPE = Pipe(imgfilter=1.0)


def test_bands_sum_to_an_impulse():
    bank = filter_bank()
    impulse = np.zeros(43)
    impulse[21] = 1
    np.testing.assert_allclose(bank.sum(axis=0), impulse, atol=1e-7)
    np.testing.assert_array_equal(bank, bank[:, ::-1])
    # Octaves: the power of each lies where it should.
    spectrum = np.abs(np.fft.rfft(bank, 512, axis=1))
    peaks = np.argmax(spectrum, axis=1) / 256  # of half the sampling rate
    assert peaks[0] == 0 and 0.1 < peaks[1] < 0.25 < peaks[2] < 0.5 < peaks[3]


def test_gains_keep_the_power():
    n = 2.0
    draws = Draws(
        {"imgfilter": jnp.asarray([[n, 0, 0, 0], [0, 0, 0, n]])},
        {"imgfilter": jnp.asarray([[0.0, 2, 2, 2], [2, 2, 2, 0.0]])},
        None,
    )
    got = band_filters(draws, 1.0, PIPE)
    for image, band, power in ((0, 0, 10 / 13), (1, 3, 1 / 13)):
        t = np.ones(4)
        t[band] = 4
        gains = t / np.sqrt(1 - power + power * 16)
        np.testing.assert_allclose(got[image], gains @ filter_bank(), rtol=1e-4, atol=1e-6)


def test_filters_act_as_those_of_scipy(rng):
    """Each image has its own; small ones are reflected more than once."""
    draws = percentile_draws(0.8, PIPE, jnp.zeros((2, 1, 1, 1)))
    draws.values["imgfilter"] = draws.values["imgfilter"] * jnp.asarray([[1.0], [-1.0]])
    filters = band_filters(draws, 1.0, PIPE)
    images = jnp.asarray(rng.uniform(-1, 1, (2, 12, 30, 2)), jnp.float32)
    got = jax.jit(filter_images)(images, filters)
    for image, taps, result in zip(*map(np.asarray, (images, filters, got))):
        wanted = ndimage.correlate1d(image, taps, axis=0, mode="mirror")
        wanted = ndimage.correlate1d(wanted, taps, axis=1, mode="mirror")
        np.testing.assert_allclose(result, wanted, atol=1e-5)
