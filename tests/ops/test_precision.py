import jax
import jax.numpy as jnp
import numpy as np

from stylegan_jax.ops.precision import spread, wide


def test_wide_never_narrows():
    assert wide(jnp.ones(2, jnp.bfloat16)).dtype == jnp.float32
    assert wide(jnp.ones(2, jnp.float32)).dtype == jnp.float32


def test_what_pixels_share_has_a_float32_gradient():
    """bfloat16 holds no odd integer above 256."""
    like = jnp.ones((1, 101, 101, 2), jnp.bfloat16)

    def total(x):
        y = spread(x, like)
        assert y.shape == like.shape and y.dtype == like.dtype
        return jnp.sum(y.astype(jnp.float32))

    np.testing.assert_array_equal(jax.jit(jax.grad(total))(jnp.ones(2)), [10201, 10201])
