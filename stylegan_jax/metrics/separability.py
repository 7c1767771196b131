"""Linear separability: whether attributes of images are halves of the latent space.

    score = exp2( sum_i H(Y_i | X_i) )

Y_i says which images a classifier takes to have attribute i, X_i on which side of a plane their
latents lie, the best one for that attribute. 1 is the lowest: each attribute has its plane.

    result = separability(z, logits)["score"]; separability(w, logits)  # the same images

Planes are scikit-learn's; `pip install 'stylegan_jax[separability]'` brings it.

Source: Karras et al. 2019 (StyleGAN), section 4.2 and appendix C.
"""

import dataclasses

import numpy as np
from jaxtyping import Float, Float64, Int, Shaped

from stylegan_jax.metrics.checks import check_features


@dataclasses.dataclass(frozen=True)
class Separability:
    """How separable attributes are.

    Attributes:
        score: 2 to the sum of the entropies; 1 for attributes that planes separate wholly, 2^k for
            k of even halves that they tell nothing about.
        entropies: float64 [attributes], H(Y | X) in bits.
    """

    score: float
    entropies: np.ndarray


def separability(
    latents: np.ndarray, logits: np.ndarray, *, num_keep: int | None = None
) -> Separability:
    """Fits a plane per attribute, and measures what it leaves open.

    Args:
        latents: [n, d], z or the last layer's w of each image.
        logits: [n, attributes], what classifiers say of the images; above 0 for one answer, below
            for the other.
        num_keep: Images of each attribute, those that its classifier is most sure of; the papers'
            100,000 of 200,000, and half of what is given otherwise.

    Raises:
        ValueError: Numbers are not finite, or rows do not belong together.
        ImportError: scikit-learn is missing.
    """
    check_features(latents, "latents")
    check_features(logits, "logits")
    num_keep = len(latents) // 2 if num_keep is None else num_keep
    if len(latents) != len(logits) or not 2 <= num_keep <= len(latents):
        raise ValueError(
            f"{len(latents)} latents, {len(logits)} rows of logits, of which {num_keep} are kept: "
            "one row for each image, and from 2 to all of them kept."
        )
    entropies = np.array([_entropy_of(latents, column, num_keep) for column in logits.T])
    return Separability(separability_score(entropies), entropies)


def _entropy_of(latents: np.ndarray, logits: np.ndarray, num_keep: int) -> float:
    """Returns H(Y | X) of one attribute in bits."""
    kept = most_confident(logits, num_keep)
    targets = answers(logits[kept])
    # One answer for all: nothing is open, and there is no plane to fit.
    if targets.min() == targets.max():
        return 0.0
    return conditional_entropy(joint_distribution(_sides(latents[kept], targets), targets))


def _sides(latents: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Returns on which side of the plane that fits the targets best each latent lies."""
    try:
        from sklearn.svm import LinearSVC
    except ImportError as error:
        raise ImportError(
            "Linear separability fits its planes with scikit-learn, which is not installed: "
            "pip install 'stylegan_jax[separability]'"
        ) from error
    # Its defaults of now solve the problem of its defaults of 2019, which took the dual.
    return np.asarray(LinearSVC().fit(latents, targets).predict(latents))


def separability_score(entropies: np.ndarray) -> float:
    """Returns 2 to the sum of conditional entropies in bits."""
    return float(2 ** np.sum(entropies))


def classifier_probabilities(logits: Float[np.ndarray, "*n"]) -> Float64[np.ndarray, "*n 2"]:
    """Returns softmax(l, -l): the two answers of a classifier with one logit."""
    first = 0.5 * (1 + np.tanh(logits.astype(np.float64)))
    return np.stack([first, 1 - first], axis=-1)


def answers(logits: Float[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """Returns the likelier answer: 0 for logits of 0 and above, 1 below."""
    return (logits < 0).astype(np.int64)


def most_confident(logits: Float[np.ndarray, " n"], num_keep: int) -> Int[np.ndarray, " k"]:
    """Returns the indices of the images that a classifier is most sure of, surest first.

    The likelier answer's probability grows with |logit|, which does not saturate as it does; equal
    ones stay in order.
    """
    return np.argsort(-np.abs(logits), kind="stable")[:num_keep]


def joint_distribution(
    predictions: Shaped[np.ndarray, " n"], targets: Shaped[np.ndarray, " n"]
) -> Float64[np.ndarray, "2 2"]:
    """Returns p(prediction, target) of pairs of 0 and 1.

    Raises:
        ValueError: Other values.
    """
    codes = 2 * predictions.astype(np.int64) + targets.astype(np.int64)
    if not (np.isin(predictions, (0, 1)).all() and np.isin(targets, (0, 1)).all()):
        raise ValueError("Predictions and targets are 0 or 1; there are others among them.")
    return np.bincount(codes, minlength=4).reshape(2, 2) / len(codes)


def mutual_information(joint: Float64[np.ndarray, "2 2"]) -> float:
    """Returns I(X; Y) in bits."""
    independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0)
    # p log p goes to 0 with p.
    ratio = np.divide(joint, independent, out=np.ones_like(joint), where=joint > 0)
    return float(np.sum(joint * np.log2(ratio)))


def conditional_entropy(joint: Float64[np.ndarray, "2 2"]) -> float:
    """Returns H(Y | X) = H(Y) - I(X; Y) in bits, Y the second axis; never below 0."""
    target = joint.sum(axis=0)
    entropy = -np.sum(target * np.log2(np.where(target > 0, target, 1)))
    return max(0.0, float(entropy) - mutual_information(joint))
