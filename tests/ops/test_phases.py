import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stylegan_jax.ops import phases
from stylegan_jax.ops.fir import plan_resampling, resample

TAPS = (0.5, 0.2, 0.1, 0.0, 0.15, 0.3)


@pytest.mark.parametrize(
    ("up", "down", "padding"), [((1, 2), (2, 2), 5), ((2, 1), (4, 1), [3, 7, -1, 6])]
)
def test_axes_have_their_own_factors(rng, up, down, padding):
    """Values, and slopes that differ from pixel to pixel; numbers of phases differ by axis."""
    x = jnp.asarray(rng.normal(size=(2, 9, 8, 3)), jnp.float32)
    zoom = plan_resampling((9, 8), TAPS, up=up, padding=padding)
    shrink = plan_resampling(zoom.size, rng.normal(size=(3, 4)), down=down)

    def code(y):
        return jnp.where(y > 0.1, jnp.int8(2), jnp.int8(1))

    def weigh(y, code):
        return y * code

    @jax.jit
    def run(x, v):
        y, codes = phases.value_and_codes(x, zoom, shrink, jnp.tanh, code)
        tangent = phases.weighed(v, codes, zoom, shrink, weigh)
        turned = (shrink.transposed(zoom.size), zoom.transposed((9, 8)))
        return y, tangent, phases.weighed(y, codes, *turned, weigh)

    v = x[::-1]
    y, tangent, cotangent = run(x, v)
    middle = jnp.tanh(resample(x, zoom, "shifts"))
    np.testing.assert_allclose(y, resample(middle, shrink, "shifts"), atol=1e-5)
    want = resample(resample(v, zoom, "shifts") * code(middle), shrink, "shifts")
    np.testing.assert_allclose(tangent, want, atol=2e-5)
    # <y, op(v)> = <op^T(y), v>
    np.testing.assert_allclose(jnp.vdot(y, tangent), jnp.vdot(cotangent, v), rtol=1e-4, atol=1e-3)


def test_activations_are_merged_with_the_sums_that_they_read():
    """Parts that were compiled apart would each compute the sum of taps."""
    zoom = plan_resampling((9, 8), TAPS, up=2, padding=5)
    shrink = plan_resampling(zoom.size, TAPS, down=2)

    def act(y):
        return jnp.clip(jnp.where(y > 0, y, 0.2 * y), -1, 1)

    def code(y):
        return jnp.where(y > 0, jnp.int8(2), jnp.int8(1))

    def run(x):
        return phases.value_and_codes(x, zoom, shrink, act, code)

    text = jax.jit(run).lower(jnp.zeros((2, 9, 8, 3))).compile().as_text()
    called = set(re.findall(r" call\(.*to_apply=%?([a-z_]+)", text))
    assert any(name.startswith("whole") for name in called)
    assert not [name for name in called if "where" in name or "clip" in name]
