import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stylegan_jax.ops.fir_axis import filter_axis

TAPS = (0.5, 0.2, 0.1, 0.0, 0.15)
WAYS = ("matrix", "shifts", "depthwise")
# up, down, pad, size: with and without resampling, beyond the image, and cropped.
CASES = [(1, 1, 2, 9), (2, 1, 3, 19), (1, 2, 1, 4), (3, 2, 4, 14), (3, 1, -4, 8)]


def by_definition(x, up, down, pad, size):
    """`y[q] = sum_k taps[k] u[q * down + k - pad]` of a vector, term by term."""
    y = np.zeros(size)
    for q in range(size):
        for k, tap in enumerate(TAPS):
            pixel, rest = divmod(q * down + k - pad, up)
            if rest == 0 and 0 <= pixel < len(x):
                y[q] += tap * x[pixel]
    return y


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("way", WAYS)
def test_every_way_is_the_definition(rng, way, case):
    """Values along both axes; the transpose; and twice the transpose of itself as a Hessian."""
    up, down, pad, size = case
    x, v = (jnp.asarray(rng.normal(size=(2, 8, 8, 3)), jnp.float32) for _ in range(2))

    def along(axis, x):
        return filter_axis(x, TAPS, axis=axis, up=up, down=down, pad=pad, size=size, way=way)

    @jax.jit
    def run(x, v):
        y, pull = jax.vjp(functools.partial(along, 1), x)
        transposed = pull(jnp.cos(y))[0]
        hessian_v = jax.jvp(jax.grad(lambda x: jnp.sum(along(1, x) ** 2)), (x,), (v,))[1]
        normal_v = 2 * pull(along(1, v))[0]
        return y, along(2, x.swapaxes(1, 2)), transposed, hessian_v, normal_v

    y, y_along_x, transposed, hessian_v, normal_v = run(x, v)
    # float32 sums of five products.
    want = np.apply_along_axis(by_definition, 1, np.asarray(x), up, down, pad, size)
    np.testing.assert_allclose(y, want, atol=1e-5)
    np.testing.assert_allclose(y_along_x, np.swapaxes(want, 1, 2), atol=1e-5)
    # <cos(y), op(x)> = <op^T(cos(y)), x>
    np.testing.assert_allclose(jnp.vdot(jnp.cos(y), y), jnp.vdot(transposed, x), rtol=1e-4)
    # The Hessian of |op(x)|^2 is 2 op^T op.
    np.testing.assert_allclose(hessian_v, normal_v, atol=1e-5)


@pytest.mark.parametrize("way", WAYS)
def test_mapped_and_bfloat16(rng, way):
    x = jnp.asarray(rng.normal(size=(2, 1, 8, 4, 3)), jnp.bfloat16)

    def op(x):
        return filter_axis(x, TAPS, axis=1, up=2, down=1, pad=2, size=16, way=way)

    mapped = jax.jit(jax.vmap(op))(x)
    assert mapped.dtype == jnp.bfloat16 and mapped.shape == (2, 1, 16, 4, 3)
    want = np.apply_along_axis(by_definition, 1, np.asarray(x[1], np.float32), 2, 1, 2, 16)
    # bfloat16 has 8 bits, for taps, products and sums.
    np.testing.assert_allclose(np.asarray(mapped[1], np.float32), want, atol=0.05)
