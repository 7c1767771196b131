import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stylegan_jax.ops.conv import conv2d, conv2d_resample, depth_to_space, space_to_depth
from stylegan_jax.ops.fir import upfirdn2d

TAPS = (0.125, 0.375, 0.375, 0.125)
ASYMMETRIC = (0.5, 0.2, 0.1, 0.15, 0.05)


def filter_and_convolve(x, weight, taps, up, down, padding, flip_filter):
    """The definition in separate steps, with the filter as a 2-D one."""
    n = len(taps)
    pads = [padding + (n + up - 1) // 2, padding + (n - up) // 2]
    if down > 1:
        pads = [padding + (n - down + 1) // 2, padding + (n - down) // 2]
    x = upfirdn2d(
        x, np.outer(taps, taps), up=up, padding=pads * 2, gain=up**2, flip_filter=flip_filter
    )
    return conv2d(x, weight, stride=down)


@pytest.mark.parametrize("taps", [TAPS, ASYMMETRIC])
@pytest.mark.parametrize(("up", "down"), [(2, 1), (1, 2), (3, 1), (1, 3)])
@pytest.mark.parametrize("flip_filter", [False, True])
def test_phases_equal_separate_steps(rng, taps, up, down, flip_filter):
    """Folding filter and kernel changes rounding only: values, gradients, gradient's gradient."""
    x = jnp.asarray(rng.normal(size=(2, 8, 7, 3)), jnp.float32)
    weight = jnp.asarray(rng.normal(size=(3, 3, 3, 4)), jnp.float32)
    statics = dict(taps=taps, up=up, down=down, padding=1, flip_filter=flip_filter)

    def results(op, x, weight):
        def loss(x, weight):
            return jnp.sum(jnp.sin(op(x, weight, **statics)))

        def penalty(x, weight):
            return jnp.sum(jax.grad(loss)(x, weight) ** 2)

        grads = jax.grad(loss, (0, 1))(x, weight)
        return op(x, weight, **statics), grads, jax.grad(penalty, (0, 1))(x, weight)

    got = jax.jit(lambda x, w: results(conv2d_resample, x, w))(x, weight)
    want = jax.jit(lambda x, w: results(filter_and_convolve, x, w))(x, weight)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want)):
        assert a.shape == b.shape
        # float32, sums of some hundred products; the second derivative goes through two of them.
        np.testing.assert_allclose(a, b, atol=2e-5 * float(jnp.max(jnp.abs(b))))


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_depth_and_space(rng, factor):
    x = jnp.asarray(rng.normal(size=(2, 6, 12, 5)), jnp.float32)
    packed = space_to_depth(x, factor)
    assert packed.shape == (2, 6 // factor, 12 // factor, 5 * factor**2)
    np.testing.assert_array_equal(depth_to_space(packed, factor), x)
    # Channel order: phase_y, phase_x, c.
    np.testing.assert_array_equal(packed[:, 0, 0, -5:], x[:, factor - 1, factor - 1])


def test_channels_must_fit():
    with pytest.raises(ValueError, match="4 channels"):
        conv2d_resample(jnp.ones((1, 8, 8, 4)), jnp.ones((3, 3, 3, 2)), TAPS, up=2)
