"""Colours of each number of channels."""

import jax
import jax.numpy as jnp
import numpy as np

from stylegan_jax.augment.ada_colour import colour_matrices, recolour
from stylegan_jax.augment.ada_draws import percentile_draws
from stylegan_jax.augment.ada_pipe import PIPES, Pipe


def matrix(q, has_hue=True, **numbers):
    pipe = Pipe(**numbers)
    draws = percentile_draws(q, pipe, jnp.zeros((1, 1, 1, 1)))
    return np.asarray(colour_matrices(draws, 1.0, pipe, has_hue=has_hue)[0])


def test_each_transformation():
    n = float(jax.scipy.special.erfinv(0.5))
    np.testing.assert_allclose(matrix(0.75, brightness=1)[:3, 3], 0.2 * n, rtol=1e-6)
    np.testing.assert_allclose(np.diag(matrix(0.75, contrast=1))[:3], 2 ** (0.5 * n), rtol=1e-6)
    # Light becomes dark, and differences between colours stay.
    flipped = matrix(0.75, lumaflip=1)[:3, :3] @ [0.5, 0.2, -0.1]
    np.testing.assert_allclose(flipped, np.asarray([0.5, 0.2, -0.1]) - 0.4, atol=1e-6)
    np.testing.assert_array_equal(matrix(0.25, lumaflip=1), np.eye(4))
    # A third of a turn makes red green.
    np.testing.assert_allclose(matrix(5 / 6, hue=1)[:3, 0], [0, 1, 0], atol=1e-6)
    np.testing.assert_allclose(matrix(1 / 6, hue=1)[:3, 0], [0, 0, 1], atol=1e-6)
    grey = matrix(0.75, saturation=1)[:3, :3] @ [0.3, 0.3, 0.3]
    np.testing.assert_allclose(grey, 0.3, rtol=1e-5)
    red = matrix(0.75, saturation=1)[:3, 0]
    np.testing.assert_allclose(red[0] - red[1], 2**n, rtol=1e-5)


def test_grey_has_no_hue():
    np.testing.assert_array_equal(matrix(0.75, has_hue=False, hue=1, saturation=1), np.eye(4))


def test_channels_beside_colours_stay(rng):
    pipe = PIPES["color"]
    images = jnp.asarray(rng.uniform(-1, 1, (2, 3, 4, 5)), jnp.float32)
    draws = percentile_draws(0.7, pipe, images)
    C = colour_matrices(draws, 1.0, pipe, has_hue=True)
    grey = colour_matrices(draws, 1.0, pipe, has_hue=False)
    rgb = recolour(images[..., :3], C)
    np.testing.assert_allclose(
        rgb[0, 0, 0], np.asarray(C[0, :3, :3]) @ images[0, 0, 0, :3] + C[0, :3, 3], rtol=1e-5
    )
    one = recolour(images[..., :1], grey)
    # As equal red, green and blue would be, and averaged.
    wanted = recolour(jnp.repeat(images[..., :1], 3, axis=-1), grey).mean(axis=-1, keepdims=True)
    np.testing.assert_allclose(one, wanted, atol=1e-6)
    for channels, colours in ((2, one), (4, rgb), (5, rgb)):
        got = recolour(images[..., :channels], C if channels > 2 else grey)
        wanted = np.concatenate([colours, images[..., colours.shape[-1] : channels]], axis=-1)
        np.testing.assert_array_equal(got, wanted)
