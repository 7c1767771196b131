"""Angles between features."""

import jax.numpy as jnp
import numpy as np

from stylegan_jax.losses.guidance import spherical_distance


def test_angles():
    a = jnp.asarray([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]])
    b = jnp.asarray([[0.0, 5.0], [0.0, -1.0], [1.0, 0.0]])
    wanted = np.square(np.pi * np.asarray([1 / 2, 1, 1 / 4]))
    np.testing.assert_allclose(spherical_distance(a, b), wanted, rtol=1e-6)
