"""Kernel distance between two sets of features: the squared maximum mean discrepancy.

    k(x, y) = (x . y / d + 1)^3
    MMD^2   = mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean_{ij} k(x_i, y_j)

averaged over random subsets. With the pooled features of Inception it is the KID, which papers
print times a thousand. Unlike the Frechet distance it has no bias that falls with the number of
images, so it also serves small sets; it may be slightly below zero.

Source: Binkowski et al. 2018 (Demystifying MMD GANs), section 4 and appendix D.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from stylegan_jax.metrics.checks import check_pair


class KernelDistance(NamedTuple):
    """Mean over subsets, and the standard deviation of a single subset's value (divided by N)."""

    mean: float
    std: float


def kernel_distance(
    reals: np.ndarray,
    fakes: np.ndarray,
    seed: int,
    *,
    num_subsets: int = 100,
    max_subset_size: int = 1000,
) -> KernelDistance:
    """Compares random subsets of two sets, all of one size, drawn without replacement.

    Args:
        reals: Features [n, d], any precision; float64 is what is computed in.
        fakes: Features [m, d].
        seed: Of the subsets.
        num_subsets: Subsets of each set.
        max_subset_size: Images of each; all of the smaller set where it has fewer.

    Returns:
        Mean and standard deviation over the subsets.

    Raises:
        ValueError: Features cannot be compared, or subsets would have fewer than two images.
    """
    check_pair(reals, fakes)
    size = min(len(reals), len(fakes), max_subset_size)
    if size < 2 or num_subsets < 1:
        raise ValueError(
            f"Kernel distance of {len(reals)} reals and {len(fakes)} fakes in {num_subsets} "
            f"subsets of at most {max_subset_size}: one subset of two images is the least."
        )
    rng = np.random.default_rng(seed)
    chosen = [
        (rng.permutation(len(reals))[:size], rng.permutation(len(fakes))[:size])
        for _ in range(num_subsets)
    ]
    return kernel_distance_of_subsets(reals, fakes, *map(np.stack, zip(*chosen)))


def kernel_distance_of_subsets(
    reals: np.ndarray,
    fakes: np.ndarray,
    real_subsets: Int[np.ndarray, "s m"],
    fake_subsets: Int[np.ndarray, "s m"],
) -> KernelDistance:
    """Compares given subsets.

    Args:
        reals: Features [n, d].
        fakes: Features [n, d].
        real_subsets: Indices of the reals of each subset, all different.
        fake_subsets: Likewise of the fakes.

    Returns:
        Mean and standard deviation over the subsets.
    """
    pairs = zip(real_subsets, fake_subsets, strict=True)
    values = [_mmd2(reals[r].astype(np.float64), fakes[f].astype(np.float64)) for r, f in pairs]
    return KernelDistance(float(np.mean(values)), float(np.std(values)))


def _mmd2(x: Float[np.ndarray, "m d"], y: Float[np.ndarray, "m d"]) -> float:
    """Returns the unbiased estimate for one pair of subsets."""
    m = len(x)
    within = _kernel(x, x) + _kernel(y, y)
    # An image's kernel with itself says nothing about its set, so the diagonal is left out.
    pairs = (within.sum() - np.trace(within)) / (m * (m - 1))
    return pairs - 2 * _kernel(x, y).mean()


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Returns the cubic kernel of all pairs, [m, m]."""
    base = x @ y.T / x.shape[1] + 1
    # Products, as NumPy's power takes fifteen times as long.
    return base * base * base
