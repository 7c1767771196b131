"""Inception score: whether a classifier is sure of each image, and of different classes in all.

    IS = exp( mean_x KL( p(y | x) || p(y) ) )

between 1 and the number of classes, computed in ten parts of the images. No real image is looked
at. Published numbers are of the 1008 classes of the network of December 2015, whose logits are
taken without the bias of their last layer.

Source: Salimans et al. 2016 (Improved techniques for training GANs), section 4.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64

from stylegan_jax.metrics.checks import check_features

NUM_SPLITS = 10

# How far a row of probabilities may be from a sum of 1: half precision rounds by that much.
_SUM_TOLERANCE = 1e-2


class InceptionScore(NamedTuple):
    """Mean over the parts, and their standard deviation (divided by N)."""

    mean: float
    std: float


def class_probabilities(logits: Float[np.ndarray, "n k"]) -> Float64[np.ndarray, "n k"]:
    """Returns softmax(logits) in float64."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    exponentials = np.exp(shifted)
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def inception_score(probabilities: np.ndarray, *, num_splits: int = NUM_SPLITS) -> InceptionScore:
    """Scores the classes of a set of images.

    Args:
        probabilities: [n, classes], rows that sum to 1; of logits, see class_probabilities. Their
            order matters only by which images share a part.
        num_splits: Parts; part i is the rows from i n // splits to (i + 1) n // splits.

    Returns:
        Mean and standard deviation over the parts.

    Raises:
        ValueError: Rows are no probabilities, or there are fewer images than parts.
    """
    check_features(probabilities, "class probabilities")
    sums = probabilities.sum(axis=1, dtype=np.float64)
    if probabilities.min() < 0 or np.abs(sums - 1).max() > _SUM_TOLERANCE:
        raise ValueError(
            f"Rows of class probabilities hold {probabilities.min():.3g} to "
            f"{probabilities.max():.3g} and do not sum to 1. Pass logits through "
            "class_probabilities first."
        )
    n = len(probabilities)
    if not 1 <= num_splits <= n:
        raise ValueError(
            f"Inception score of {n} images in num_splits={num_splits} parts; each part needs an "
            "image. Give more images or fewer parts."
        )
    bounds = [i * n // num_splits for i in range(num_splits + 1)]
    parts = [probabilities[a:b].astype(np.float64) for a, b in zip(bounds, bounds[1:])]
    scores = [np.exp(_mean_divergence(part)) for part in parts]
    return InceptionScore(float(np.mean(scores)), float(np.std(scores)))


def _mean_divergence(p: Float64[np.ndarray, "n k"]) -> float:
    """Averages KL(p(y | x) || p(y)) in nats over images."""
    marginal = p.mean(axis=0)
    # p log p goes to 0 with p; a class of probability 0 in every image has marginal 0 too.
    ratio = np.divide(p, marginal, out=np.ones_like(p), where=p > 0)
    return float(np.sum(p * np.log(ratio), axis=1).mean())
