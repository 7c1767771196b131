"""Grey levels on the device, and parts of batches."""

import jax.numpy as jnp
import numpy as np
import pytest

from stylegan_jax.inference.programs import in_parts, split_batch, to_grey_levels
from stylegan_jax.run.images import to_uint8


def test_grey_levels_are_those_of_the_host(rng):
    """All halves between levels, both sides of the range, random numbers, what is not finite."""
    halves = np.arange(-2, 514) / 255 - 1
    special = [np.nan, np.inf, -np.inf, 3e38]
    values = jnp.float32(np.concatenate([halves, rng.normal(size=1000), special]))
    np.testing.assert_array_equal(to_grey_levels(values), to_uint8(values))


@pytest.mark.parametrize(
    ("n", "want"), [(1, [1]), (2, [2]), (3, [4]), (4, [4]), (5, [4, 1]), (7, [4, 4]), (8, [4, 4])]
)
def test_few_sizes_serve_any_number(n, want):
    parts = list(split_batch(n, (4, 2, 1)))
    assert [len(part) for part in parts] == want
    joined = np.concatenate(parts)
    np.testing.assert_array_equal(joined[:n], np.arange(n))
    assert np.all(joined[n:] == n - 1)
    np.testing.assert_array_equal(in_parts(lambda i: 10 * i, n, (4, 2, 1)), 10 * np.arange(n))
