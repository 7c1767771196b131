import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stylegan_jax.ops.bias_act import ACTIVATIONS, bias_act


def test_by_hand():
    x = jnp.asarray([[-2.0, 0.5, 4.0]])
    got = bias_act(x, jnp.asarray([1.0, 0.5, 1.0]), act="lrelu", clamp=3.0)
    np.testing.assert_allclose(got, [[-0.2 * np.sqrt(2), np.sqrt(2), 3.0]], rtol=1e-6)


@pytest.mark.parametrize("act", sorted(ACTIVATIONS))
def test_dtype_and_jit(act):
    x = jnp.linspace(-2, 2, 8, dtype=jnp.bfloat16)
    y = jax.jit(lambda x: bias_act(x, jnp.ones(8), act=act))(x)
    assert y.dtype == jnp.bfloat16 and bool(jnp.all(jnp.isfinite(y)))


@pytest.mark.parametrize("clamp", [None, 256.0])
def test_the_gradient_of_a_bias_sums_in_float32(clamp):
    """bfloat16 holds no integer above 256 that is not even."""
    x = jnp.ones((1, 101, 101, 2), jnp.bfloat16)

    def total(b):
        return jnp.sum(bias_act(x, b, act="lrelu", gain=1.0, clamp=clamp).astype(jnp.float32))

    grads = jax.jit(jax.grad(total))(jnp.asarray([1.0, -2.0]))
    np.testing.assert_allclose(grads, [10201, 10201 * 0.2], rtol=1e-6)


def test_a_clamped_slope_is_zero():
    def slope(x):
        return jax.grad(lambda x: bias_act(x, act="lrelu", clamp=1.0))(x)

    slopes = [slope(x) for x in (3.0, 0.5, -0.5, -30.0)]
    np.testing.assert_allclose(slopes, [0, np.sqrt(2), 0.2 * np.sqrt(2), 0], rtol=1e-6)


def test_bad_input():
    with pytest.raises(ValueError, match="lrelu"):
        bias_act(jnp.ones(3), act="leaky")
    with pytest.raises(ValueError, match="Bias of 2"):
        bias_act(jnp.ones((1, 3)), jnp.ones(2))
