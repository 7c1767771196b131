import jax.numpy as jnp
import numpy as np
import pytest

from stylegan_jax.ops.pyramid import average_pixels, fade_to, repeat_pixels


def test_repeated_pixels_are_squares(rng):
    x = rng.normal(size=(2, 3, 2, 4)).astype(np.float32)
    np.testing.assert_array_equal(
        repeat_pixels(jnp.asarray(x), 3), np.kron(x, np.ones((1, 3, 3, 1)))
    )


def test_averages_are_means_of_squares(rng):
    x = rng.normal(size=(2, 4, 6, 3)).astype(np.float32)
    got = average_pixels(jnp.asarray(x), 2)
    for i in range(2):
        for j in range(3):
            want = x[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean(axis=(1, 2))
            np.testing.assert_allclose(got[:, i, j], want, rtol=1e-5, atol=1e-6)
    again = average_pixels(repeat_pixels(jnp.asarray(x), 4), 4)
    np.testing.assert_allclose(again, x, rtol=1e-6)


def test_averaging_needs_a_divisor():
    with pytest.raises(ValueError, match="6x6.*4"):
        average_pixels(jnp.ones((1, 6, 6, 1)), 4)


def test_a_fade_ends_exactly_at_both_images(rng):
    x, coarse = (jnp.asarray(rng.normal(size=5), jnp.float32) for _ in range(2))
    np.testing.assert_array_equal(fade_to(x, coarse, 0.0), x)
    np.testing.assert_allclose(fade_to(x, coarse, 1.0), coarse, rtol=1e-6)
    np.testing.assert_allclose(fade_to(x, coarse, 0.25), 0.75 * x + 0.25 * coarse, rtol=1e-5)
