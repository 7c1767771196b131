"""The whole pipe: what it is differentiated to, what it is given, what it refuses."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stylegan_jax.augment.ada import augment
from stylegan_jax.augment.ada_draws import Draws, draw
from stylegan_jax.augment.ada_pipe import PIPES, Pipe
from stylegan_jax.ops.packing import space_to_depth

SIZE = (12, 8)
WHOLE = PIPES["bgcfnc"]


@pytest.fixture(scope="module")
def images():
    return jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (3, *SIZE, 3)), jnp.float32)


@functools.lru_cache
def draws_of(pipe, n=3, channels=3):
    return draw(jax.random.key(5), n, pipe, SIZE, channels)


# The way that compiles fastest; the other one is in the tests of gradients.
run = jax.jit(functools.partial(augment, resampling="gather"), static_argnames=("pipe", "packing"))


def test_gradients_of_gradients(images):
    """As R1 takes them; the map is affine: central differences are exact but for rounding."""

    pipe = Pipe(rotate90=1, scale=1, rotate=1, saturation=1, cutout=1)

    def penalty(x, p):
        def score(x):
            return jnp.sum(jnp.square(augment(x, draws_of(pipe), p, pipe)))

        return jnp.sum(jnp.square(jax.grad(score)(x)))

    # Not across the gradient, where rounding would be all that is left.
    direction = images * np.random.default_rng(1).uniform(0, 2, images.shape).astype(np.float32)
    both = jax.jit(jax.value_and_grad(penalty))
    for p in (0.4, 1.0):
        slope = jnp.vdot(both(images, p)[1], direction)
        after, before = (both(images + step * direction, p)[0] for step in (1, -1))
        assert float(slope) == pytest.approx(float(after - before) / 2, rel=1e-3)
    assert both._cache_size() == 1  # whatever p is


def test_forward_derivatives(images):
    """The derivative along an image is what an affine map makes of it."""
    pipe = Pipe(rotate=1, xint=1, saturation=1)
    both = jax.jit(
        lambda x, v: jax.jvp(lambda x: augment(x, draws_of(pipe), 0.8, pipe), (x,), (v,))
    )
    y, along = both(images, images)
    np.testing.assert_allclose(along, y - both(0 * images, images)[0], atol=2e-5)


def test_no_strength_nearly_changes_nothing():
    """What is smooth comes back; what is not loses its highest frequencies to two filters."""
    y, x = np.meshgrid(np.linspace(0, 1, SIZE[0]), np.linspace(0, 1, SIZE[1]), indexing="ij")
    smooth = jnp.asarray(np.cos(np.pi * np.stack([x, y, x * y], axis=-1))[None], jnp.float32)
    images = jnp.tile(smooth, (3, 1, 1, 1))
    np.testing.assert_allclose(run(images, draws_of(WHOLE), 0.0, pipe=WHOLE), images, atol=0.02)
    # What does not move pixels is exact.
    pipe = Pipe(hue=1, imgfilter=1, noise=1, cutout=1)
    np.testing.assert_allclose(run(images, draws_of(pipe), 0.0, pipe=pipe), images, atol=1e-6)


def test_images_do_not_depend_on_their_neighbours(images):
    pipe = PIPES["bg"]
    draws = draws_of(pipe)
    alone = jax.tree.map(lambda a: a[1:2], (images, draws))
    whole = run(images, draws, 1.0, pipe=pipe)
    np.testing.assert_allclose(run(*alone, 1.0, pipe=pipe)[0], whole[1], atol=1e-6)


def test_packed_images(images):
    pipe = Pipe(scale=1, hue=1, cutout=1)
    wanted = run(images, draws_of(pipe), 1.0, pipe=pipe)
    for packing in ((1, 2), (2, 4)):
        packed = space_to_depth(images, packing)
        got = run(packed, draws_of(pipe), 1.0, pipe=pipe, packing=packing)
        np.testing.assert_allclose(got, space_to_depth(wanted, packing), atol=1e-6)


@pytest.mark.parametrize("channels", [1, 2, 4, 5])
def test_channels(images, channels):
    """All are moved and cut alike; colours are the first three, or the first of one or two."""
    pipe = Pipe(rotate90=1, contrast=1, cutout=1)
    draws = draws_of(pipe)
    x = jnp.tile(images[..., :1], (1, 1, 1, channels))
    got = np.asarray(run(x, draws, 1.0, pipe=pipe))
    moved = run(x, draws, 1.0, pipe=Pipe(rotate90=1, cutout=1))
    num_colours = 3 if channels >= 3 else 1
    factor = np.exp2(0.5 * draws.values["contrast"])[:, None, None, None]
    np.testing.assert_allclose(got[..., :num_colours], moved[..., :num_colours] * factor, atol=1e-5)
    np.testing.assert_allclose(got[..., num_colours:], moved[..., num_colours:], atol=1e-6)


def test_half_precision_is_computed_in_float32(images):
    pipe = PIPES["color"]
    half = images.astype(jnp.bfloat16)
    got = run(half, draws_of(pipe), 1.0, pipe=pipe)
    wanted = run(half.astype(jnp.float32), draws_of(pipe), 1.0, pipe=pipe)
    assert got.dtype == jnp.bfloat16
    np.testing.assert_array_equal(got, wanted.astype(jnp.bfloat16))


def test_draws_of_something_else(images):
    with pytest.raises(ValueError, match="draws lack rotate_post, rotate_pre: make them"):
        augment(images, draws_of(PIPES["color"]), 1.0, Pipe(rotate=1.0))
    with pytest.raises(ValueError, match="draws of 3 images, and 2 images came"):
        augment(images[:2], draws_of(PIPES["color"]), 1.0, PIPES["color"])
    noise = draws_of(PIPES["noise"])
    with pytest.raises(
        ValueError, match=r"noise of shape \(3, 12, 8, 3\) for images of shape \(3, 8"
    ):
        augment(images.transpose(0, 2, 1, 3), noise, 1.0, PIPES["noise"])
    with pytest.raises(ValueError, match="noise of shape None"):
        augment(images, Draws(noise.values, noise.gates, None), 1.0, PIPES["noise"])
