"""Noise and the rectangle."""

import jax.numpy as jnp
import numpy as np

from stylegan_jax.augment.ada_corruption import add_noise, cut_out
from stylegan_jax.augment.ada_draws import Draws
from stylegan_jax.augment.ada_pipe import Pipe


def test_noise(rng):
    noise = rng.normal(size=(2, 3, 4, 2)).astype(np.float32)
    draws = Draws({"noise": jnp.asarray([-2.0, 1.0])}, {"noise": jnp.asarray([0.1, 0.9])}, noise)
    got = add_noise(jnp.ones(noise.shape), draws, 0.5, Pipe(noise=1.0))
    np.testing.assert_allclose(got[0], 1 + 0.2 * noise[0], rtol=1e-5)
    np.testing.assert_array_equal(got[1], 1)


def test_rectangles_of_images_that_are_not_square():
    """Half as wide and as high as the image, about a centre that is given as x and y."""
    centres = jnp.asarray([[0.25, 0.5], [1.0, 0.0], [0.5, 0.5]])
    draws = Draws({"cutout": centres}, {"cutout": jnp.asarray([0.1, 0.1, 0.9])}, None)
    got = cut_out(jnp.ones((3, 4, 8, 2)), draws, 0.5, Pipe(cutout=1.0))
    wanted = np.ones((3, 4, 8, 2))
    wanted[0, 1:3, :4] = 0
    wanted[1, :1, 6:] = 0
    np.testing.assert_array_equal(got, wanted)
