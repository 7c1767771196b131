"""Branches, gaps, thinning, running means and hours."""

import math

import numpy as np
import pytest

from stylegan_jax.tools.report.curves import (
    MAX_POINTS,
    Curve,
    elapsed_hours,
    make_curves,
    smooth,
    split_branches,
    thin,
)


def lines(*kimg):
    return [{"kimg": k, "a": float(i)} for i, k in enumerate(kimg)]


@pytest.mark.parametrize(
    ("given", "kept", "given_up"),
    [
        ((1, 2, 2, 3), [0, 1, 2, 3], []),  # a score beside a tick
        ((1, 2, 3, 2, 3, 4), [0, 3, 4, 5], [1, 2]),  # 2 is trained again
        ((1, 2, 3, 2.5, 1.5, 2), [0, 4, 5], [2, 1, 3]),  # twice
        ((3, 1), [1], [0]),
        ((), [], []),
    ],
)
def test_branches(given, kept, given_up):
    found = split_branches(lines(*given))
    assert [[int(line["a"]) for line in part] for part in found] == [kept, given_up]


def test_lines_without_a_place_are_left_out():
    broken = [{"a": 1.0}, {"kimg": "x", "a": 1.0}, {"kimg": math.nan, "a": 1.0}, {"kimg": True}]
    assert split_branches(broken) == ([], [])


def test_curves_have_gaps_where_values_are_not_finite():
    records = [
        {"kimg": 1, "a": 1, "text": "x", "none": None, "flag": True},
        {"kimg": 2, "a": math.inf},
        {"kimg": 3, "b": 5.0},
        {"kimg": 4, "a": math.nan},
        {"kimg": 5, "a": -2.0},
    ]
    curves = make_curves(records)
    assert curves.keys() == {"a", "b"} and curves["a"].num_bad == 2
    np.testing.assert_array_equal(curves["a"].kimg, [1, 2, 4, 5])
    np.testing.assert_array_equal(curves["a"].values, [1, np.nan, np.nan, -2])


def test_thinning_keeps_extremes_ends_and_gaps(rng):
    n = 100_000
    values = rng.normal(size=n)
    values[12_345], values[54_321], values[70_000] = 99, -99, np.nan
    curve = Curve(np.arange(n) / 10, values, 1)
    thinned = thin(curve)
    assert len(thinned.kimg) <= MAX_POINTS and thinned.num_bad == 1
    assert {0.0, 1234.5, 5432.1, 7000.0, (n - 1) / 10} <= set(thinned.kimg)
    assert np.nanmax(thinned.values) == 99 and np.nanmin(thinned.values) == -99
    # Points are those of the curve, in its order.
    index = np.round(thinned.kimg * 10).astype(int)
    np.testing.assert_array_equal(thinned.values, values[index])
    assert (np.diff(index) > 0).all()
    assert thin(Curve(curve.kimg[:MAX_POINTS], values[:MAX_POINTS])).kimg.size == MAX_POINTS
    all_bad = thin(Curve(curve.kimg, np.full(n, np.nan), n))
    assert 0 < len(all_bad.kimg) <= MAX_POINTS and np.isnan(all_bad.values).all()


def test_running_mean(rng):
    n = 6000
    line = np.linspace(0, 10, n)
    noisy = line + rng.normal(size=n)
    noisy[3000], noisy[100] = 1e6, np.nan
    calm = smooth(Curve(np.arange(n, dtype=float), noisy))
    # A window of 101 values: a standard error of about a tenth, and no trace of the spike.
    np.testing.assert_allclose(calm.values, line[calm.kimg.astype(int)], atol=0.6)
    assert len(calm.kimg) == 300 and calm.kimg[0] == 0 and calm.kimg[-1] == n - 1
    exact = smooth(Curve(np.arange(n, dtype=float), line))
    np.testing.assert_allclose(
        exact.values[20:-20], line[exact.kimg.astype(int)][20:-20], atol=1e-3
    )
    assert smooth(Curve(np.arange(9.0), np.arange(9.0))) is None
    assert smooth(Curve(np.arange(500.0), np.ones(500))) is None
    assert smooth(Curve(np.arange(500.0), np.full(500, np.nan))) is None


def test_hours():
    tick = "Timing/sec_per_kimg"
    records = [{"kimg": 1.0, tick: 3600.0}, {"kimg": 1.0, "swd": 3.0}, {"kimg": 3.0, tick: 1800.0}]
    kimg, hours = elapsed_hours([*records, {"kimg": 4.0, tick: math.nan}])
    np.testing.assert_allclose(kimg, [0, 1, 3])
    np.testing.assert_allclose(hours, [0, 1, 2])
    # What was given up begins where it begins, and goes back in between.
    again = [{"kimg": k, tick: 3600.0} for k in (11.0, 12.0, 11.0, 12.0)]
    assert elapsed_hours(again, 11.0)[1][-1] == 2.0
    assert elapsed_hours([])[1].tolist() == [0.0]
