import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stylegan_jax.ops import packing
from stylegan_jax.ops.conv import conv2d_resample
from stylegan_jax.ops.fir import downsample2d, upsample2d
from stylegan_jax.ops.modulated_conv import modulated_conv2d
from stylegan_jax.ops.packing import depth_to_space, space_to_depth

TAPS = (0.125, 0.375, 0.375, 0.125)
ASYMMETRIC = (0.5, 0.2, 0.1, 0.15, 0.05)
# The inputs' side is 8: packed sides stay whole for each.
PACKINGS = [
    ((1, 1), (2, 2)),
    ((2, 2), (1, 1)),
    ((1, 2), (2, 2)),
    ((2, 2), (1, 2)),
    ((2, 4), (2, 2)),
]


@pytest.mark.parametrize("factors", [(1, 1), (2, 2), (3, 2), (1, 4)])
def test_depth_and_space(rng, factors):
    x = jnp.asarray(rng.normal(size=(2, 6, 12, 5)), jnp.float32)
    py, px = factors
    packed = space_to_depth(x, factors)
    assert packed.shape == (2, 6 // py, 12 // px, 5 * py * px)
    np.testing.assert_array_equal(depth_to_space(packed, factors), x)
    # Channel order: phase_y, phase_x, c.
    np.testing.assert_array_equal(packed[:, 0, 0, -5:], x[:, py - 1, px - 1])


def check_equal(got, want):
    """Equal but for float32 rounding, for arrays of any scale."""
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, atol=5e-6 * float(jnp.max(jnp.abs(b))))


@pytest.mark.parametrize("packed", PACKINGS)
@pytest.mark.parametrize(
    ("kernel", "up", "down", "taps"),
    [(3, 1, 1, None), (1, 1, 1, None), (3, 2, 1, TAPS), (3, 1, 2, ASYMMETRIC), (1, 1, 2, TAPS)],
)
def test_packed_convolutions_equal_unpacked_ones(rng, packed, kernel, up, down, taps):
    """Values, gradients and gradients of gradients."""
    x = jnp.asarray(rng.normal(size=(2, 8, 8, 3)), jnp.float32)
    weight = jnp.asarray(rng.normal(size=(kernel, kernel, 3, 4)), jnp.float32)
    statics = dict(up=up, down=down, padding=kernel // 2)

    def plain(x, weight):
        return conv2d_resample(x, weight, taps, **statics)

    def through_packed(x, weight):
        y = conv2d_resample(space_to_depth(x, packed[0]), weight, taps, packing=packed, **statics)
        return depth_to_space(y, packed[1])

    def results(op):
        def loss(x, weight):
            return jnp.sum(jnp.sin(op(x, weight)))

        def penalty(x, weight):
            return jnp.sum(jax.grad(loss)(x, weight) ** 2)

        def derive(x, weight):
            grads = jax.grad(loss, (0, 1))(x, weight)
            return op(x, weight), grads, jax.grad(penalty, (0, 1))(x, weight)

        return jax.jit(derive)(x, weight)

    check_equal(results(through_packed), results(plain))


@pytest.mark.parametrize("packed", PACKINGS)
@pytest.mark.parametrize("resample", [upsample2d, downsample2d])
def test_packed_images_are_resampled_alike(rng, resample, packed):
    x = jnp.asarray(rng.normal(size=(2, 8, 8, 3)), jnp.float32)
    for flip_filter, taps in ((False, ASYMMETRIC), (True, (*ASYMMETRIC, 0.3, 0.7, -0.2, 0.4))):
        statics = dict(flip_filter=flip_filter, gain=1.5)

        @jax.jit
        def run(x, taps=taps, statics=statics):
            got = resample(space_to_depth(x, packed[0]), taps, packing=packed, **statics)
            return depth_to_space(got, packed[1]), resample(x, taps, **statics)

        check_equal(*run(x))


def test_styles_and_noise_reach_every_phase(rng):
    x = jnp.asarray(rng.normal(size=(2, 4, 4, 3)), jnp.float32)
    weight = jnp.asarray(rng.normal(size=(3, 3, 3, 5)), jnp.float32)
    styles = jnp.asarray(rng.normal(size=(2, 3)), jnp.float32)
    noise = jnp.asarray(rng.normal(size=(2, 8, 8, 1)), jnp.float32)
    statics = dict(noise=noise, up=2, padding=1, taps=TAPS)

    @jax.jit
    def run(x):
        want = modulated_conv2d(x, weight, styles, **statics)
        packed = space_to_depth(x, (1, 2))
        got = modulated_conv2d(packed, weight, styles, packing=((1, 2), (4, 2)), **statics)
        return depth_to_space(got, (4, 2)), want

    check_equal(*run(x))


def test_repack_and_tile():
    x = jnp.arange(2 * 8 * 8 * 3.0).reshape(2, 8, 8, 3)
    by_eight = packing.repack(space_to_depth(x, (1, 2)), (1, 2), (2, 4))
    np.testing.assert_array_equal(by_eight, space_to_depth(x, (2, 4)))
    bias = jnp.asarray([1.0, 2.0, 3.0])
    np.testing.assert_array_equal(
        space_to_depth(x + bias, (2, 2)),
        space_to_depth(x, (2, 2)) + packing.tile_channels(bias, (2, 2)),
    )


def test_packed_maps_need_separable_taps_and_one_group():
    x, weight = jnp.ones((1, 4, 4, 16)), jnp.ones((3, 3, 4, 2))
    with pytest.raises(ValueError, match="separable"):
        conv2d_resample(x, weight, np.outer(TAPS, TAPS), up=2, packing=((2, 2), (2, 2)))
    with pytest.raises(ValueError, match="16 channels, packed by"):
        conv2d_resample(x, weight, TAPS, up=2, packing=((4, 2), (2, 2)))
