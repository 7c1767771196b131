"""Linear separability with known answers."""

import sys

import numpy as np
import pytest

from stylegan_jax.metrics import separability
from stylegan_jax.metrics.separability import (
    answers,
    classifier_probabilities,
    conditional_entropy,
    joint_distribution,
    most_confident,
    mutual_information,
    separability_score,
)


def binary_entropy(p):
    return -p * np.log2(p) - (1 - p) * np.log2(1 - p)


def test_entropies_of_known_channels():
    """Independent, equal, opposite, and a binary symmetric channel that errs once in ten."""
    for joint, bits, shared in (
        ([[0.25, 0.25], [0.25, 0.25]], 1, 0),
        ([[0.3, 0], [0, 0.7]], 0, binary_entropy(0.3)),
        ([[0, 0.5], [0.5, 0]], 0, 1),
        ([[0.45, 0.05], [0.05, 0.45]], binary_entropy(0.1), 1 - binary_entropy(0.1)),
        ([[1, 0], [0, 0]], 0, 0),
        ([[0.5, 0.5], [0, 0]], 1, 0),  # all on one side of the plane
    ):
        joint = np.array(joint, np.float64)
        np.testing.assert_allclose(conditional_entropy(joint), bits, atol=1e-12)
        np.testing.assert_allclose(mutual_information(joint), shared, atol=1e-12)


def test_joint_is_of_predictions_then_targets():
    joint = joint_distribution(np.array([0, 0, 1, 1, 1]), np.array([0, 1, 1, 1, 0]))
    np.testing.assert_array_equal(joint, [[0.2, 0.2], [0.2, 0.4]])
    for bad in ([0, 2], [0, -1]):
        with pytest.raises(ValueError, match="0 or 1"):
            joint_distribution(np.array(bad), np.array([0, 1]))


def test_what_a_logit_answers():
    logits = np.array([0.0, 2.0, -2.0, 400.0, -400.0])
    first = 1 / (1 + np.exp(-2 * logits[:3]))
    got = classifier_probabilities(logits)
    np.testing.assert_allclose(got[:3], np.stack([first, 1 - first], 1), rtol=1e-12)
    np.testing.assert_array_equal(got[3:], [[1, 0], [0, 1]])
    np.testing.assert_array_equal(answers(logits), got.argmax(axis=1))


def test_the_most_confident():
    """Beyond where probabilities are 1 in float64, and equal ones in order."""
    logits = np.array([1.0, -400.0, 300.0, -1.0, 1.0, 0.0])
    np.testing.assert_array_equal(most_confident(logits, 4), [1, 2, 0, 3])


def test_attributes_that_planes_tell(rng):
    """A plane, a plane whose targets are noise, a ring, and one answer for all."""
    z = rng.normal(size=(600, 6))
    radius = np.linalg.norm(z[:, :2], axis=1)
    logits = np.stack(
        [z @ rng.normal(size=6), rng.normal(size=600), radius - np.median(radius), 1 + radius], 1
    )
    found = separability(z, logits)
    plane, noise, ring, one = found.entropies
    assert plane < 0.05 and one == 0
    assert noise > 0.8 and ring > 0.8
    np.testing.assert_allclose(found.score, 2 ** (plane + noise + ring), rtol=1e-12)
    assert separability_score(found.entropies) == found.score
    # The same images in another order, where no two are equally sure.
    order = rng.permutation(600)
    other = separability(z[order], logits[order])
    np.testing.assert_allclose(other.entropies, found.entropies, atol=1e-6)


def test_bent_latents_are_less_separable(rng):
    """Of the plane's own coordinates, and of ones in which it is a wave."""
    w = rng.normal(size=(600, 3))
    logits = w[:, :1]
    scores = []
    for bend in (0, 2, 6):
        z = w.copy()
        z[:, 0] += bend * np.sin(3 * w[:, 0])
        scores.append(separability(z, logits).score)
    assert sorted(scores) == scores and scores[0] < 1.05 and scores[-1] > 1.1


def test_half_is_kept_unless_it_is_said(rng):
    """The unsure half of these answers is noise."""
    z = rng.normal(size=(400, 2))
    logits = np.where(np.arange(400) < 200, 10 * np.sign(z[:, 0]), 0.1 * rng.normal(size=400))
    sure, all_of_them = (
        separability(z, logits[:, None], num_keep=keep).entropies[0] for keep in (None, 400)
    )
    assert sure < 0.1 < 0.4 < all_of_them


def test_errors_say_what_to_do(rng, monkeypatch):
    z = rng.normal(size=(10, 3))
    with pytest.raises(ValueError, match="10 latents, 9 rows of logits"):
        separability(z, z[:9])
    for keep in (1, 11):
        with pytest.raises(ValueError, match=f"of which {keep} are kept"):
            separability(z, z, num_keep=keep)
    monkeypatch.setitem(sys.modules, "sklearn.svm", None)
    with pytest.raises(ImportError, match=r"pip install 'stylegan_jax\[separability\]'"):
        separability(z, z)
