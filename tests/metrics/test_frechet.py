"""Frechet distances with known answers, and the moments that they are made of."""

import numpy as np
import pytest
import scipy.linalg

from stylegan_jax.metrics import Moments, frechet_distance, frechet_infinity, moments_distance
from stylegan_jax.metrics.frechet import infinity_sizes


def distance(a, b, ddof=0):
    return moments_distance(Moments.of(a), Moments.of(b), ddof=ddof)


def test_moments_are_those_of_numpy_however_features_stream(rng):
    features = rng.normal(2, 3, (101, 7)).astype(np.float32)
    whole = features.astype(np.float64)
    for cuts in ([], [1], [50], [1, 2, 3, 90]):
        moments = Moments(7)
        for batch in np.split(features, cuts):
            moments.add(batch)
        assert moments.num == 101
        np.testing.assert_allclose(moments.mean, whole.mean(0), rtol=1e-13)
        for ddof in (0, 1):
            want = np.cov(whole, rowvar=False, ddof=ddof)
            np.testing.assert_allclose(moments.covariance(ddof=ddof), want, rtol=0, atol=1e-13 * 9)


def test_moments_of_parts_merge_and_are_kept(rng):
    features = rng.normal(size=(40, 5))
    parts = [Moments.of(part) for part in np.split(features, [7, 30])]
    merged = Moments(5)
    merged.merge(Moments(5))
    for part in parts:
        merged.merge(Moments.from_arrays(part.to_arrays()))
    whole = Moments.of(features)
    assert merged.num == 40 and parts[0].num == 7
    np.testing.assert_allclose(merged.mean, whole.mean, atol=1e-15)
    np.testing.assert_allclose(merged.covariance(), whole.covariance(), atol=1e-15)
    # What is kept goes on, and the arrays are nobody's: a copy does not follow.
    kept = Moments.from_arrays(merged.to_arrays())
    arrays = {name: array.copy() for name, array in merged.to_arrays().items()}
    kept.add(features)
    assert kept.num == 80
    for name, array in merged.to_arrays().items():
        np.testing.assert_array_equal(array, arrays[name])


def test_a_large_offset_costs_no_digits(rng):
    """In float64 about the mean: sums of squares about zero would be off by some per cent."""
    features = rng.normal(size=(500, 4))
    moments = Moments(4)
    for batch in np.split(features + 1e8, 10):
        moments.add(batch)
    np.testing.assert_allclose(moments.covariance(), Moments.of(features).covariance(), atol=1e-7)
    shifted = (features + 1e8).T
    about_zero = shifted @ shifted.T / 500 - np.outer(shifted.mean(1), shifted.mean(1))
    assert np.abs(about_zero - Moments.of(features).covariance()).max() > 0.01


def test_equal_sets_are_at_zero(rng):
    features = rng.normal(size=(200, 6))
    assert abs(distance(features, features)) < 1e-9
    assert abs(distance(features, features[rng.permutation(200)])) < 1e-9


def test_closed_forms():
    """Gaussians that are shifted, scaled, and turned against each other."""
    zero, one = np.zeros(3), np.eye(3)
    far = np.array([3.0, 4.0, 0.0])
    wide, long = np.diag([4.0, 1, 1]), np.diag([1.0, 9, 1])
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    for by_eigenvalues in (False, True):

        def get(*args, by_eigenvalues=by_eigenvalues):
            return frechet_distance(*args, by_eigenvalues=by_eigenvalues)

        np.testing.assert_allclose(get(zero, one, far, one), 25, rtol=1e-12)
        np.testing.assert_allclose(get(zero, one, zero, 4 * one), 3 * (2 - 1) ** 2, rtol=1e-12)
        # Commuting covariances: sum of (sigma_a - sigma_b)^2.
        args = (zero, turn @ wide @ turn.T, far, turn @ long @ turn.T)
        np.testing.assert_allclose(get(*args), 25 + 1 + 4, rtol=1e-12)


@pytest.mark.parametrize(("n", "d"), [(10, 24), (100, 128)])
def test_fewer_images_than_features(rng, n, d):
    """The product is singular; its root's trace is the sum of the singular values of A B^T."""
    a, b = rng.normal(size=(n, d)), rng.normal(0.1, 1.2, (n, d))
    centred_a, centred_b = a - a.mean(0), b - b.mean(0)
    root = np.linalg.svd(centred_a @ centred_b.T / n, compute_uv=False).sum()
    spread = ((centred_a**2).sum() + (centred_b**2).sum()) / n
    exact = ((a.mean(0) - b.mean(0)) ** 2).sum() + spread - 2 * root
    # A root of rounding errors, for each eigenvalue that is 0.
    np.testing.assert_allclose(distance(a, b), exact, rtol=3e-7)
    assert abs(distance(a, a)) < 3e-5


def test_features_that_never_vary(rng):
    """A unit that is always 0 makes both covariances singular, for any number of images."""
    a, b = rng.normal(size=(300, 5)), rng.normal(0.5, 1, (300, 5))
    padded = [np.pad(x, ((0, 0), (0, 2))) for x in (a, b)]
    np.testing.assert_allclose(distance(*padded), distance(a, b), rtol=1e-6)


def test_a_root_that_is_not_finite(rng, monkeypatch):
    """Singular matrices may have none: a ridge makes them regular."""
    a, b = rng.normal(size=(300, 5)), rng.normal(0.5, 1, (300, 5))
    want = distance(a, b)
    padded = [np.pad(x, ((0, 0), (0, 2))) for x in (a, b)]
    sqrtm, asked = scipy.linalg.sqrtm, []

    def old_sqrtm(product):
        asked.append(np.linalg.matrix_rank(product, tol=1e-14))
        return np.full_like(product, np.nan) if asked[-1] < 7 else sqrtm(product)

    monkeypatch.setattr(scipy.linalg, "sqrtm", old_sqrtm)
    np.testing.assert_allclose(distance(*padded), want, atol=2e-5)
    assert asked == [5, 7]


def test_damage_is_further_away(rng):
    reals = rng.normal(size=(400, 5))
    noisy = [distance(reals, reals + s * rng.normal(size=reals.shape)) for s in (0.2, 0.5, 1)]
    fewer = [distance(reals, reals[np.arange(400) % n]) for n in (200, 40, 8, 1)]
    assert sorted(noisy) == noisy and sorted(fewer) == fewer and noisy[0] > 0 and fewer[0] > 0


def test_extrapolation_takes_the_bias_away(rng):
    """Fakes of the reals' own distribution: 0 but for a bias of about a constant over n."""
    reals, sets = rng.normal(size=(20_000, 12)), rng.normal(size=(10, 400, 12))
    biased = np.mean([distance(reals, fakes, ddof=1) for fakes in sets])
    extrapolated = [frechet_infinity(reals, fakes, 0) for fakes in sets]
    standard_error = np.std(extrapolated) / 10**0.5
    assert abs(np.mean(extrapolated)) < 3 * standard_error < 0.5 * biased
    fakes = sets[0]
    np.testing.assert_allclose(frechet_infinity(reals, fakes + 1, 0), 12, rtol=0.1)
    assert frechet_infinity(reals, fakes, 0) == frechet_infinity(reals, fakes, 0)
    assert list(infinity_sizes(50_000)[[0, -1]]) == [5000, 50_000]
    assert list(infinity_sizes(200, num_points=3)) == [20, 110, 200]


def test_errors_say_what_to_do():
    one, two = Moments.of(np.ones((1, 2))), Moments.of(np.ones((4, 3)))
    with pytest.raises(ValueError, match=r"ddof=1 of 1 image\(s\): at least 2"):
        one.covariance(ddof=1)
    with pytest.raises(ValueError, match=r"ddof=0 of 0 image\(s\)"):
        Moments(3).covariance()
    with pytest.raises(ValueError, match="3 columns, those before 2"):
        one.merge(two)
    with pytest.raises(ValueError, match="5 columns, those before 3"):
        two.add(np.ones((2, 5)))
    with pytest.raises(ValueError, match="2 dimensions, the other 3"):
        moments_distance(one, two)
    broken = np.full(3, np.nan)
    with pytest.raises(ValueError, match="Means or covariances are not finite"):
        frechet_distance(broken, np.eye(3), np.zeros(3), np.eye(3))
    good = one.to_arrays()
    three, nan = np.array(3), {"scatter": np.full((2, 2), np.nan)}
    for arrays in ({}, {"num": three}, {"mean": three}, good | {"mean": np.zeros(3)}, good | nan):
        with pytest.raises(ValueError, match="are not moments.*Delete"):
            Moments.from_arrays(arrays)
    with pytest.raises(ValueError, match="from 19 fakes in 15 points"):
        frechet_infinity(np.ones((30, 2)), np.ones((19, 2)), 0)
    with pytest.raises(ValueError, match="in 1 points"):
        frechet_infinity(np.ones((30, 2)), np.ones((30, 2)), 0, num_points=1)
