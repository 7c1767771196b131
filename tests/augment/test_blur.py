"""The blur of D's images; other values are in tests/parity."""

import jax
import numpy as np
from scipy import ndimage

from stylegan_jax.augment.blur import blur


def test_it_is_one_program_for_every_width(rng):
    images = rng.uniform(-1, 1, (2, 9, 7, 3)).astype(np.float32)
    run = jax.jit(lambda x, sigma: blur(x, sigma, max_radius=8))
    for sigma, radius in ((1.5, 4), (0.4, 1)):
        taps = 2.0 ** -((np.arange(-radius, radius + 1) / sigma) ** 2)
        taps /= taps.sum()
        wanted = ndimage.correlate1d(images, taps, axis=1, mode="constant")
        wanted = ndimage.correlate1d(wanted, taps, axis=2, mode="constant")
        np.testing.assert_allclose(run(images, sigma), wanted, atol=1e-6)
    for sigma in (0.3, 0.0):
        np.testing.assert_array_equal(run(images, sigma), images)
    assert run._cache_size() == 1
