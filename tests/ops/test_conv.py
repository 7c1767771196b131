import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stylegan_jax.ops.conv import conv2d, conv2d_resample
from stylegan_jax.ops.fir import upfirdn2d
from stylegan_jax.ops.formulation import FORMULATIONS

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
@pytest.mark.parametrize(("name", "flip_filter"), [("cpu", False), ("cpu", True), ("plain", True)])
def test_formulations_equal_separate_steps(rng, taps, up, down, name, flip_filter):
    """How it is computed changes rounding only: values, gradients, gradient's gradient."""
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

    op = functools.partial(conv2d_resample, formulation=FORMULATIONS[name])
    got = jax.jit(lambda x, w: results(op, x, w))(x, weight)
    want = jax.jit(lambda x, w: results(filter_and_convolve, x, w))(x, weight)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want)):
        assert a.shape == b.shape
        # float32, sums of some hundred products; the second derivative goes through two of them.
        np.testing.assert_allclose(a, b, atol=2e-5 * float(jnp.max(jnp.abs(b))))


def test_channels_must_fit():
    with pytest.raises(ValueError, match="4 channels"):
        conv2d_resample(jnp.ones((1, 8, 8, 4)), jnp.ones((3, 3, 3, 2)), TAPS, up=2)
