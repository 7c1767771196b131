"""Kernel distances with known answers."""

import numpy as np
import pytest

from stylegan_jax.metrics import kernel_distance, kernel_distance_of_subsets


def test_it_is_the_double_sum(rng):
    """Of the definition, pair by pair."""
    x, y = rng.normal(size=(9, 4)), rng.normal(0.5, 1, (12, 4))

    def kernel(a, b):
        return (float(np.dot(a, b)) / 4 + 1) ** 3

    rows, columns = np.array([[1, 5, 8], [0, 2, 3]]), np.array([[11, 0, 4], [5, 6, 7]])
    values = []
    for r, c in zip(rows, columns):
        pairs = [(i, j) for i in range(3) for j in range(3)]
        xx, yy = (
            np.mean([kernel(a[s[i]], a[s[j]]) for i, j in pairs if i != j])
            for a, s in ((x, r), (y, c))
        )
        values.append(xx + yy - 2 * np.mean([kernel(x[r[i]], y[c[j]]) for i, j in pairs]))
    got = kernel_distance_of_subsets(x, y, rows, columns)
    np.testing.assert_allclose(got, [np.mean(values), np.std(values)], rtol=1e-12)


def test_no_bias(rng):
    """Two sets of one distribution are at zero on average, also small ones."""
    values = []
    for _ in range(200):
        x, y = rng.normal(size=(2, 20, 6))
        values.append(kernel_distance(x, y, 0, num_subsets=1).mean)
    assert abs(np.mean(values)) < 3 * np.std(values) / 200**0.5
    assert np.std(values) > 0.01


def test_a_shift_in_one_dimension(rng):
    """E of (xy + 1)^3 over normal x, y: cubic and lower moments, worked out by hand.

    With means a and b and unit variance: E(xy+1)^3 = m3(a) m3(b) + 3 m2(a) m2(b) + 3 ab + 1, where
    m2(a) = a^2 + 1 and m3(a) = a^3 + 3a. So MMD^2 between means 0 and b is m3(b)^2 + 3 b^4 + 3 b^2.
    """
    b = 0.5
    x, y = rng.normal(size=(40_000, 1)), rng.normal(b, 1, (40_000, 1))
    m3 = b**3 + 3 * b
    got = kernel_distance(x, y, 1, num_subsets=100, max_subset_size=400)
    standard_error = got.std / 100**0.5
    assert abs(got.mean - (m3**2 + 3 * b**4 + 3 * b**2)) < 4 * standard_error < 1


def test_damage_is_further_away(rng):
    reals = rng.normal(size=(400, 5))

    def distance(fakes):
        return kernel_distance(reals, fakes, 0, num_subsets=10, max_subset_size=200).mean

    noisy = [distance(reals + s * rng.normal(size=reals.shape)) for s in (0, 0.5, 1, 2)]
    fewer = [distance(reals[np.arange(400) % n]) for n in (400, 40, 8, 1)]
    assert sorted(noisy) == noisy and sorted(fewer) == fewer


def test_order_and_seed(rng):
    """With all images in the only subset, order is nothing; otherwise the seed is all."""
    x, y = rng.normal(size=(2, 30, 4)).astype(np.float32)
    shuffled = x[rng.permutation(30)], y[rng.permutation(30)]
    one, other = (kernel_distance(*sets, 0, num_subsets=1) for sets in ((x, y), shuffled))
    np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-15)
    some = [kernel_distance(x, y, seed, num_subsets=3, max_subset_size=9) for seed in (0, 0, 1)]
    assert some[0] == some[1] != some[2]


def test_a_large_offset(rng):
    """float64: k is 1e18 here, and float32 would leave nothing of the difference."""
    x, y = rng.normal(1e3, 1, (2, 50, 1)).astype(np.float32)
    got = kernel_distance(x, y, 0, num_subsets=1).mean
    # (xy + 1)^3 on integers of arbitrary size is exact.
    a, b = ([int(v * 2**40) for v in side.ravel()] for side in (x.astype(float), y.astype(float)))
    one = 2**80

    def total(p, q):
        return sum((i * j + one) ** 3 for i in p for j in q)

    within = sum(total(s, s) - sum((i * i + one) ** 3 for i in s) for s in (a, b))
    exact = (within / (50 * 49) - 2 * (total(a, b) / 2500)) / one**3
    np.testing.assert_allclose(got, exact, rtol=0, atol=1e-13 * 1e18)


def test_errors_say_what_to_do():
    with pytest.raises(ValueError, match="1 reals and 5 fakes.*two images is the least"):
        kernel_distance(np.ones((1, 2)), np.ones((5, 2)), 0)
    with pytest.raises(ValueError, match="in 0 subsets"):
        kernel_distance(np.ones((5, 2)), np.ones((5, 2)), 0, num_subsets=0)
    with pytest.raises(ValueError, match="at most 1"):
        kernel_distance(np.ones((5, 2)), np.ones((5, 2)), 0, max_subset_size=1)
