"""Tracks against SciPy's splines and by hand."""

import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from stylegan_jax.tools.interpolation import make_track, slerp


@pytest.mark.parametrize("loop", [True, False])
@pytest.mark.parametrize("num_keys", [2, 3, 4, 7])
def test_splines_are_scipy_s(rng, num_keys, loop):
    keys = rng.normal(size=(num_keys, 2, 3))
    ends = np.concatenate([keys, keys[:1]]) if loop else keys
    want = CubicSpline(range(len(ends)), ends, bc_type="periodic" if loop else "natural")
    track = make_track(keys, "spline", loop=loop)
    for time in np.linspace(0, len(ends) - 1, 23)[:-1]:
        # Sums of float64 in another order.
        np.testing.assert_allclose(track(time), want(time), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["spline", "linear", "slerp"])
def test_keys_are_passed(rng, kind):
    keys = rng.normal(size=(4, 2, 3))
    for loop in (True, False):
        track = make_track(keys, kind, loop=loop)
        for time, key in enumerate(keys):
            np.testing.assert_allclose(track(time), key, rtol=0, atol=1e-12)
        # After the last key the first, or nothing more.
        middle = make_track(keys, "linear", loop=loop)(3.0)
        np.testing.assert_array_equal(middle, keys[3])
    one = make_track(keys[:1], kind, loop=True)
    np.testing.assert_allclose(one(0.5), keys[0], rtol=0, atol=1e-12)


def test_slerp():
    x, y = np.eye(2)
    # 30 degrees of 90; lengths 1 and 3.
    got = slerp(x, 3 * y, 1 / 3)
    want = (1 + 2 / 3) * np.array([np.cos(np.pi / 6), np.sin(np.pi / 6)])
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-15)
    # One direction, opposite ones, no direction: a line.
    for other in (2 * x, -x, 0 * x):
        np.testing.assert_allclose(slerp(x, other, 0.25), 0.75 * x + 0.25 * other, atol=1e-15)


def test_unknown_kinds():
    with pytest.raises(ValueError, match="interpolation='cubic': choose one of spline"):
        make_track(np.zeros((2, 1)), "cubic", loop=True)
