"""Inception scores with known answers."""

import numpy as np
import pytest

from stylegan_jax.metrics import class_probabilities, inception_score


def test_sure_of_every_class_alike():
    """One-hot rows of k classes in equal parts score k, with no logarithm of 0."""
    rows = np.eye(7, dtype=np.float32)[np.arange(70) % 7]
    np.testing.assert_allclose(inception_score(rows, num_splits=5), (7, 0), atol=1e-12)


def test_unsure_or_of_one_class():
    for rows in (np.full((20, 5), 0.2), np.eye(5)[np.zeros(20, int)]):
        np.testing.assert_allclose(inception_score(rows), (1, 0), atol=1e-12)


def test_parts_of_uneven_size():
    """11 rows in 2 parts: 5 and 6. One class only, then two of them in halves."""
    rows = np.eye(3)[[0] * 5 + [1, 2] * 3]
    np.testing.assert_allclose(inception_score(rows, num_splits=2), (1.5, 0.5), atol=1e-12)


def test_order_within_a_part_is_nothing(rng):
    rows = class_probabilities(rng.normal(0, 2, (50, 9)))
    one, other = (inception_score(r, num_splits=1) for r in (rows, rows[rng.permutation(50)]))
    np.testing.assert_allclose(one, other, rtol=1e-12)


def test_fewer_classes_and_less_certainty_score_less(rng):
    logits = 4 * np.eye(10)[rng.integers(10, size=500)] + rng.normal(size=(500, 10))
    colder = [inception_score(class_probabilities(s * logits)).mean for s in (2, 1, 0.5, 0)]
    fewer = [
        inception_score(class_probabilities(2 * logits[np.arange(500) % n])).mean
        for n in (500, 8, 3, 1)
    ]
    assert sorted(colder)[::-1] == colder and sorted(fewer)[::-1] == fewer


def test_softmax_of_large_logits():
    got = class_probabilities(np.array([[1e4, 0, -1e4], [1e4, 1e4, 1e4]], np.float32))
    np.testing.assert_allclose(got, [[1, 0, 0], [1 / 3] * 3], rtol=1e-15)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_low_precision_is_summed_in_float64(rng, dtype):
    rows = class_probabilities(rng.normal(size=(40, 1008)))
    exact = inception_score(rows, num_splits=4)
    np.testing.assert_allclose(inception_score(rows.astype(dtype), num_splits=4), exact, rtol=2e-3)


def test_errors_say_what_to_do(rng):
    with pytest.raises(ValueError, match="num_splits=10"):
        inception_score(np.full((9, 2), 0.5))
    with pytest.raises(ValueError, match="num_splits=0"):
        inception_score(np.full((9, 2), 0.5), num_splits=0)
    for logits in (rng.normal(size=(20, 3)), np.full((20, 3), 0.5)):
        with pytest.raises(ValueError, match="Pass logits through class_probabilities"):
            inception_score(logits)
