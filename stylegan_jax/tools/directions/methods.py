"""Two ways to directions that need no labels: how styles vary, and what the layers make of them."""

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from stylegan_jax.inference.generator import Generator

METHODS = ("pca", "sefa")


@dataclasses.dataclass(frozen=True)
class Directions:
    """Directions of styles, the strongest first.

    Attributes:
        vectors: float32 `[k, w_dim]`, of unit length; the largest entry of each is positive.
        share: float64 `[k]`, the part of the whole that each explains: of the variance of styles
            (PCA), or of the sum of squares of the layers' weights (SeFa).
        scale: float64 `[k]`, the standard deviation of styles along each: what strengths count.
    """

    vectors: np.ndarray
    share: np.ndarray
    scale: np.ndarray


def principal_directions(w: np.ndarray, num: int) -> Directions:
    """Finds the axes along which styles vary most.

    Source: Haerkoenen et al. 2020 (GANSpace), section 2: PCA of many w.

    Args:
        w: float `[n, w_dim]`, many styles.
        num: Directions, at most `w_dim`.
    """
    # Variances around the mean (over n - 1), in float64: thousands of terms.
    centred = w - w.mean(axis=0, dtype=np.float64)
    covariance = centred.T @ centred / (len(w) - 1)
    return _strongest(covariance, w, num)


def factorise(weights: Sequence[np.ndarray], w: np.ndarray, num: int) -> Directions:
    """Finds the directions of styles that the layers amplify most.

    These are the eigenvectors of A^T A with the largest eigenvalues, A being the matrices of all
    layers under each other: |A d| is largest for them.

    Source: Shen & Zhou 2021 (SeFa), eqs. 5-7.

    Args:
        weights: A^T of each layer, float `[w_dim, out]`.
        w: float `[n, w_dim]`, styles, from which `scale` comes.
        num: Directions, at most `w_dim`.
    """
    stacked = np.concatenate(weights, axis=1).astype(np.float64)  # A^T
    return _strongest(stacked @ stacked.T, w, num)


def _strongest(matrix: np.ndarray, w: np.ndarray, num: int) -> Directions:
    """Returns the eigenvectors of a symmetric matrix with the largest eigenvalues."""
    if not 1 <= num <= len(matrix):
        raise ValueError(
            f"num_directions={num}: styles have {len(matrix)} numbers; give 1 to that."
        )
    values, vectors = np.linalg.eigh(matrix)  # in rising order
    vectors = vectors.T[::-1][:num]
    # Either sign is an eigenvector: the same one every time.
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=1)[:, None], axis=1)
    vectors = vectors * np.sign(largest)
    scale = (w.astype(np.float64) @ vectors.T).std(axis=0)
    return Directions(vectors.astype(np.float32), values[::-1][:num] / values.sum(), scale)


def layer_weights(generator: Generator, layers: Sequence[int]) -> list[np.ndarray]:
    """Returns A^T of the layers that read some of the styles.

    Layer i is what reads style i: an affine layer in each convolution's block, and for the last
    style of a StyleGAN2 that of ToRGB; ToRGB layers that share a style with a convolution do not
    count. In a StyleGAN3 it is the input, then every layer. A network whose layers read no styles
    has one, the dense layer that reads the latent.

    Args:
        generator: Any network.
        layers: Numbers of styles, from 0.

    Returns:
        float32 `[w_dim, out]` each.
    """
    blocks: Mapping[str, Any] = generator.params["synthesis"]
    if generator.has_styles:
        found = [np.asarray(layer["affine"]["weight"]) for layer in _styled_layers(blocks)]
    else:
        found = [np.asarray(blocks[_by_number(blocks, "b")[0]]["fc"]["weight"])]
    assert len(found) == generator.num_ws
    return [found[i] for i in layers]


def _styled_layers(blocks: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yields the layers that read styles, in the order of these."""
    # StyleGAN3: the input and all layers, by number.
    if numbered := _by_number(blocks, "L"):
        yield blocks["input"]
        for name in numbered:
            yield blocks[name]
        return

    names = _by_number(blocks, "b")
    for block in names:
        # In the order of their names: conv0 and conv1, or epilogue0 and epilogue1. The input of
        # the first block shares its style with what follows.
        for name in sorted(blocks[block]):
            layer = blocks[block][name]
            is_last_rgb = name == "torgb" and block == names[-1]
            shares = name == "input" or (name == "torgb" and not is_last_rgb)
            if isinstance(layer, Mapping) and "affine" in layer and not shares:
                yield layer


def _by_number(blocks: Mapping[str, Any], letter: str) -> list[str]:
    """Lists blocks such as `b16`, or layers such as `L3_52_512`, by the number in their name."""
    numbers = {n: int(m[1]) for n in blocks if (m := re.match(rf"{letter}(\d+)(_\w+)?$", n))}
    return sorted(numbers, key=lambda name: numbers[name])
