"""What is random: one key, explicit arrays, each for itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erfinv

from stylegan_jax.augment.ada_draws import draw, draw_names, percentile_draws
from stylegan_jax.augment.ada_pipe import PIPES, Pipe

KEY = jax.random.key(3)


def test_what_a_pipe_leaves_out_changes_nothing_else():
    whole = draw(KEY, 3, PIPES["bgcfnc"], (4, 6), 2)
    assert set(whole.values) == set(whole.gates) == set(draw_names(PIPES["bgcfnc"]))
    assert whole.noise.shape == (3, 4, 6, 2)
    assert {len(leaf) for leaf in jax.tree.leaves(whole)} == {3}
    part = draw(KEY, 3, Pipe(rotate=0.3, imgfilter=1.0), (4, 6), 2)
    assert set(part.values) == {"rotate_pre", "rotate_post", "imgfilter"} and part.noise is None
    for name in part.values:
        np.testing.assert_array_equal(part.values[name], whole.values[name])
        np.testing.assert_array_equal(part.gates[name], whole.gates[name])
    # No two draws are the same numbers.
    scalars = [x for x in (*whole.values.values(), *whole.gates.values()) if x.shape == (3,)]
    assert len({float(x[0]) for x in scalars}) == len(scalars)


def test_distributions():
    draws = draw(KEY, 4000, PIPES["bgcfn"], (1, 1), 1)
    assert np.std(draws.values["scale"]) == pytest.approx(1, abs=0.05)
    assert np.mean(draws.values["hue"]) == pytest.approx(0.5, abs=0.03)
    assert np.min(draws.values["hue"]) >= 0 > np.min(draws.values["contrast"])
    assert np.mean(draws.opened("noise", 0.3)) == pytest.approx(0.3, abs=0.03)
    assert not np.any(draws.opened("noise", 0.0)) and np.all(draws.opened("noise", 1.0))


def test_percentiles():
    noise = jnp.ones((2, 4, 4, 1))
    draws = percentile_draws(0.8, PIPES["bgcfnc"], noise)
    np.testing.assert_allclose(draws.values["xint"], np.full((2, 2), 0.8))
    np.testing.assert_allclose(draws.values["xfrac"], np.full((2, 2), erfinv(0.6)), rtol=1e-5)
    np.testing.assert_allclose(draws.values["imgfilter"], np.full((2, 4), erfinv(0.6)), rtol=1e-5)
    np.testing.assert_allclose(draws.values["noise"], [erfinv(0.8)] * 2, rtol=1e-5)
    np.testing.assert_array_equal(draws.values["rotate_post"], [0.5, 0.5])
    assert all(np.all(draws.opened(name, 0.0)) for name in draws.gates)
    assert draws.noise is noise
    assert percentile_draws(0.8, PIPES["bg"], noise).noise is None
