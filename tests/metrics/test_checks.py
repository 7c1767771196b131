"""Features that nothing can be computed of."""

import ml_dtypes
import numpy as np
import pytest

from stylegan_jax.metrics import (
    Manifold,
    Moments,
    frechet_infinity,
    inception_score,
    kernel_distance,
    precision_recall,
    separability,
)
from stylegan_jax.metrics.checks import check_features, check_pair

GOOD = np.ones((30, 4), np.float32)
COMPARISONS = {
    "kernel": lambda a, b: kernel_distance(a, b, 0),
    "precision_recall": precision_recall,
    "frechet_infinity": lambda a, b: frechet_infinity(a, b, 0),
    "manifold": lambda a, b: Manifold.of(a).contains(b),
}


def test_tables_of_numbers_of_any_precision():
    for dtype in (np.float16, np.float32, np.float64, ml_dtypes.bfloat16, np.uint8, np.int64):
        check_features(np.ones((2, 3), dtype), "features")


@pytest.mark.parametrize("bad", [np.ones(3), np.ones((0, 3)), np.ones((2, 0)), np.ones((2, 3, 1))])
def test_other_shapes(bad):
    with pytest.raises(ValueError, match=r"The features are float64 of shape .*\[n, d\]"):
        check_features(bad, "features")
    with pytest.raises(ValueError, match="are <U1"):
        check_features(np.full((2, 2), "a"), "features")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_counted(value):
    bad = GOOD.copy()
    bad[[3, 7], 1] = value
    bad[7, 2] = value
    for name, compare in COMPARISONS.items():
        with pytest.raises(ValueError, match="2 of 30 rows of the .*features are not finite"):
            compare(GOOD, bad) if name != "manifold" else compare(bad, GOOD)
    for take in (Moments.of, inception_score, Moments(4).add):
        with pytest.raises(ValueError, match="2 of 30 rows"):
            take(bad)
    with pytest.raises(ValueError, match="2 of 30 rows of the logits"):
        separability(GOOD, bad)
    with pytest.raises(ValueError, match="2 of 30 rows of the latents"):
        separability(bad, GOOD)


@pytest.mark.parametrize("name", COMPARISONS)
def test_sets_of_other_widths(name):
    with pytest.raises(ValueError, match="Real features have 4 columns, fake ones 3"):
        COMPARISONS[name](GOOD, GOOD[:, :3])
    with pytest.raises(ValueError, match="4 columns"):
        check_pair(GOOD, GOOD[:, :1])
