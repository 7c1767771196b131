"""Sliced Wasserstein distance: known answers and SciPy references."""

import jax
import numpy as np
from scipy import stats

from stylegan_jax.metrics import (
    patch_descriptors,
    sliced_wasserstein,
)
from tests.metrics.images import make_images

KEY = jax.random.key(0)


def test_identical_sets_have_no_distance():
    """A set is at zero from itself, at every level."""
    a = patch_descriptors([make_images(10)], KEY, num_images=10)
    assert sliced_wasserstein(a, a, KEY) == {"swd_32": 0.0, "swd_16": 0.0, "swd": 0.0}


def test_distance_equals_scipy():
    """Along each direction it is SciPy's 1-D Wasserstein distance, averaged and times 1000."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(300, 5)), rng.normal(0.3, 2, size=(300, 5))
    a, b = a.astype(np.float32), b.astype(np.float32)
    actual = sliced_wasserstein({16: a}, {16: b}, KEY, num_repeats=2, num_directions=25)
    u = np.array(jax.random.normal(jax.random.fold_in(KEY, 16), (5, 50)))
    u /= np.linalg.norm(u, axis=0)
    expected = np.mean([stats.wasserstein_distance(a @ v, b @ v) for v in u.T])
    np.testing.assert_allclose(actual["swd"], 1000 * expected, rtol=1e-5)


def test_shift_of_a_gaussian():
    """In one dimension a shift by s costs s; in d dimensions s times the mean of |u_1|."""
    rng = np.random.default_rng(0)
    line = rng.normal(size=(500, 1)).astype(np.float32)
    np.testing.assert_allclose(
        sliced_wasserstein({16: line}, {16: line + 0.25}, KEY)["swd"], 250, rtol=1e-4
    )
    space = rng.normal(size=(500, 3)).astype(np.float32)
    shifted = space + np.float32([0.25, 0, 0])
    result = sliced_wasserstein({16: space}, {16: shifted}, KEY, num_directions=2000)
    # E|u_1| is 1/2 on the sphere; 8000 directions have a standard error of 0.65 %.
    np.testing.assert_allclose(result["swd"], 125, rtol=0.02)
