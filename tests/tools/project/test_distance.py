"""Distances with known answers, and against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stylegan_jax.tools.project.distance import noise_correlation, pyramid_distance


def shrink(x):
    n, h, w, c = x.shape
    return x.reshape(n, h // 2, 2, w // 2, 2, c).mean(axis=(2, 4))


@pytest.mark.parametrize("size", [(4, 4), (12, 8), (48, 32), (20, 14)])
def test_levels_against_numpy(rng, size):
    a, b = rng.normal(size=(2, 3, *size, 2)).astype(np.float32)
    want, low, high = 0, a, b
    while min(low.shape[1:3]) >= 8 and low.shape[1] % 2 == low.shape[2] % 2 == 0:
        pair = []
        for x in (low, high):
            repeated = shrink(x).repeat(2, axis=1).repeat(2, axis=2)
            pair.append((x - repeated, shrink(x)))
        want += np.abs(pair[0][0] - pair[1][0]).mean(axis=(1, 2, 3))
        low, high = pair[0][1], pair[1][1]
    want += np.abs(low - high).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(pyramid_distance(jnp.asarray(a), jnp.asarray(b)), want, rtol=1e-5)


def test_equal_images_and_opposite_ones(rng):
    x = jnp.float32(rng.normal(size=(2, 32, 16, 3)))
    np.testing.assert_array_equal(pyramid_distance(x, x), [0, 0])
    # Black and white differ at the coarsest level alone.
    white = jnp.ones((1, 16, 16, 1))
    np.testing.assert_allclose(pyramid_distance(white, -white), [2])
    assert np.all(np.isfinite(jax.grad(lambda y: pyramid_distance(y, x).sum())(x)))


def test_noise_correlation(rng):
    # One level of 8 px: rows of +1, -1, ... have mean(n * roll_x) = -1, mean(n * roll_y) = 1.
    stripes = jnp.tile(jnp.float32([1, -1]), 4)[None, None, :, None] * jnp.ones((1, 8, 8, 1))
    np.testing.assert_allclose(noise_correlation(stripes), 2, rtol=1e-6)
    # At 16 px their means of 2 x 2 are zero; a constant has 2 at each of three levels.
    wide = jnp.tile(jnp.float32([1, -1]), 8)[None, None, :, None] * jnp.ones((1, 16, 16, 1))
    np.testing.assert_allclose(noise_correlation(wide), 2, rtol=1e-6)
    np.testing.assert_allclose(noise_correlation(jnp.ones((1, 48, 32, 1))), 6, rtol=1e-6)
    # Of noise nothing is left: mean products of n values have a variance of 1 / n.
    noise = jnp.float32(rng.normal(size=(1, 64, 64, 1)))
    assert noise_correlation(noise) < 0.05
