"""Frechet distance between two sets of features, as if each were a normal distribution.

    d^2 = |mu_a - mu_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2))

With the pooled features of Inception it is the FID. Means and covariances are all it needs, so
features stream: `Moments` takes them batch by batch and keeps [d] and [d, d].

    moments = Moments(2048)
    moments.add(features)                                               # for each batch
    fid = moments_distance(real_moments, moments)

Published numbers differ in how a covariance is divided: by N in the PyTorch code of StyleGAN2-ADA
and StyleGAN3 (`ddof=0`), by N - 1 in all TensorFlow code (`ddof=1`).

Source: Heusel et al. 2017 (TTUR), section 2; Dowson and Landau 1982.
"""

import warnings
from collections.abc import Mapping

import numpy as np
import scipy.linalg
from jaxtyping import Float, Float64, Int

from stylegan_jax.metrics.checks import check_features, check_pair

# Added to both diagonals where the root of the product is not finite.
_RIDGE = 1e-6
# Rows that are summed at a time: joining blocks costs as much as so many rows of them.
_BLOCK_ROWS = 256


class Moments:
    """Number, mean and covariance of a stream of features, in float64 on the host.

    What is kept is the mean and the sum of squares about it, not about zero: a large common offset
    costs no digits, and features by the million none either. Rows are summed in blocks of their
    own: the same ones give the same bits, in whatever batches they come.
    """

    def __init__(self, width: int):
        """Starts with nothing.

        Args:
            width: Numbers per image, d.
        """
        self._num = 0
        self._mean = np.zeros(width)
        self._scatter = np.zeros((width, width))  # sum of (x - mean)(x - mean)^T
        # Rows that are no whole block yet.
        self._waiting = np.zeros((0, width))

    @property
    def num(self) -> int:
        """Returns the number of rows so far."""
        return self._num + len(self._waiting)

    @property
    def mean(self) -> Float64[np.ndarray, " d"]:
        """Returns the mean."""
        self._settle()
        return self._mean

    @classmethod
    def of(cls, features: np.ndarray) -> "Moments":
        """Returns the moments of one array [n, d]."""
        check_features(features, "features")
        moments = cls(features.shape[1])
        moments.add(features)
        return moments

    def add(self, features: np.ndarray) -> None:
        """Takes in one batch.

        Args:
            features: [n, d], any precision.

        Raises:
            ValueError: Rows that are not finite, or of another width.
        """
        check_features(features, "features")
        self._check_width(features.shape[1])
        self._waiting = np.concatenate([self._waiting, features.astype(np.float64)])
        while len(self._waiting) >= _BLOCK_ROWS:
            self._add_block(self._waiting[:_BLOCK_ROWS])
            self._waiting = self._waiting[_BLOCK_ROWS:]

    def merge(self, other: "Moments") -> None:
        """Takes in what another one has seen, such as another process's part."""
        self._check_width(len(other.mean))
        self._settle()
        if other.num:
            step = self._move_mean(other.num, other.mean)
            self._scatter += other._scatter + np.outer(step, step)

    def covariance(self, *, ddof: int = 0) -> Float64[np.ndarray, "d d"]:
        """Returns the covariance.

        Args:
            ddof: 0 divides by N, 1 by N - 1.

        Raises:
            ValueError: No more rows than `ddof`.
        """
        if self.num <= ddof:
            raise ValueError(
                f"A covariance with ddof={ddof} of {self.num} image(s): at least {ddof + 1} "
                "wanted. Give more images."
            )
        self._settle()
        return self._scatter / (self.num - ddof)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Returns all of it as arrays, to be kept in a file."""
        self._settle()
        return {"num": np.asarray(self.num), "mean": self.mean, "scatter": self._scatter.copy()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "Moments":
        """Returns what `to_arrays` was called on; further features can be added.

        Raises:
            ValueError: The arrays are others, or not finite.
        """
        shapes = {name: np.shape(array) for name, array in arrays.items()}
        width = np.size(arrays.get("mean", 0))
        wanted = {"num": (), "mean": (width,), "scatter": (width, width)}
        if shapes != wanted or not all(np.isfinite(array).all() for array in arrays.values()):
            raise ValueError(
                f"Arrays of shapes {shapes} are not moments: num (), mean (d,) and scatter (d, d), "
                "all finite, are what `Moments.to_arrays` makes. Delete the file they came from."
            )
        moments = cls(width)
        moments._num = int(arrays["num"])
        moments._mean = np.array(arrays["mean"], np.float64)
        moments._scatter = np.array(arrays["scatter"], np.float64)
        return moments

    def _check_width(self, width: int) -> None:
        if width != len(self._mean):
            raise ValueError(
                f"Features have {width} columns, those before {len(self._mean)}; all must come "
                "from one layer of one network."
            )

    def _settle(self) -> None:
        """Sums the rows that wait."""
        if len(self._waiting):
            self._add_block(self._waiting)
            self._waiting = self._waiting[:0]

    def _add_block(self, rows: Float64[np.ndarray, "n d"]) -> None:
        """Sums a block about its own mean, and the means of what was before and of the block."""
        mean = rows.mean(axis=0)
        step = self._move_mean(len(rows), mean)
        about = np.concatenate([rows - mean, step[None]])
        self._scatter += about.T @ about

    def _move_mean(self, num: int, mean: np.ndarray) -> np.ndarray:
        """Joins the means of two sets; returns s, by which s s^T is the scatter of the two.

        Source: Chan et al. 1979 (Updating formulae and a pairwise algorithm).
        """
        total = self._num + num
        gap = mean - self._mean
        step = gap * np.sqrt(self._num * num / total)
        self._mean = self._mean + gap * (num / total)
        self._num = total
        return step


def frechet_distance(
    mean_a: Float[np.ndarray, " d"],
    cov_a: Float[np.ndarray, "d d"],
    mean_b: Float[np.ndarray, " e"],
    cov_b: Float[np.ndarray, "e e"],
    *,
    by_eigenvalues: bool = False,
) -> float:
    """Returns the squared Frechet distance of two normal distributions.

    The root is that of the plain product, which is not symmetric, and its real part is taken, as in
    all code whose numbers are published. With fewer images than features the product is singular
    and the root of it still found; where it is not finite, 1e-6 is added to both diagonals.

    Args:
        mean_a: Mean of the reals.
        cov_a: Their covariance.
        mean_b: Mean of the fakes.
        cov_b: Their covariance.
        by_eigenvalues: tr (S_a S_b)^(1/2) as the sum of the roots of the eigenvalues: the same
            number without the matrix.

    Returns:
        The distance; equal distributions give 0 up to rounding, which may be below zero.

    Raises:
        ValueError: Widths differ, or numbers are not finite.
    """
    if mean_a.shape != mean_b.shape:
        raise ValueError(
            f"One distribution has {len(mean_a)} dimensions, the other {len(mean_b)}; both must "
            "come from one layer of one network."
        )
    if not all(np.isfinite(x).all() for x in (mean_a, cov_a, mean_b, cov_b)):
        raise ValueError(
            "Means or covariances are not finite. Features have overflowed: make them anew."
        )
    cov_a, cov_b = cov_a.astype(np.float64), cov_b.astype(np.float64)
    gap = mean_a.astype(np.float64) - mean_b
    if by_eigenvalues:
        root = _root_by_eigenvalues(cov_a, cov_b)
    else:
        root = _trace_of_root(cov_b @ cov_a)
        if not np.isfinite(root):
            ridge = _RIDGE * np.eye(len(cov_a))
            root = _trace_of_root((cov_b + ridge) @ (cov_a + ridge))
    return float(gap @ gap + np.trace(cov_a) + np.trace(cov_b) - 2 * root)


def _trace_of_root(product: np.ndarray) -> float:
    """Returns the real part of the trace of a matrix's square root."""
    with warnings.catch_warnings():
        # Fewer images than features: the matrix is singular, as it is for everyone else.
        warnings.simplefilter("ignore", scipy.linalg.LinAlgWarning)
        return float(np.trace(np.real(scipy.linalg.sqrtm(product))))


def _root_by_eigenvalues(cov_a: np.ndarray, cov_b: np.ndarray) -> float:
    """Returns the same from eigenvalues of symmetric matrices alone.

    S_a S_b and A^T S_b A, where S_a = A A^T, have the same ones.
    """
    values, vectors = scipy.linalg.eigh(cov_a)
    # At least zero but for rounding.
    half = vectors * np.sqrt(np.maximum(values, 0))
    found = scipy.linalg.eigvalsh(half.T @ cov_b @ half)
    return float(np.sum(np.sqrt(np.maximum(found, 0))))


def moments_distance(reals: Moments, fakes: Moments, *, ddof: int = 0) -> float:
    """Returns the Frechet distance of two streams; see frechet_distance and Moments."""
    return frechet_distance(
        reals.mean, reals.covariance(ddof=ddof), fakes.mean, fakes.covariance(ddof=ddof)
    )


def infinity_sizes(num_fakes: int, *, num_points: int = 15) -> Int[np.ndarray, " p"]:
    """Returns the sizes of the subsets that `frechet_infinity` looks at, in rising order."""
    smallest = min(5000, max(num_fakes / 10, 2))
    return np.linspace(smallest, num_fakes, num_points).astype(np.int32)


def frechet_infinity(
    reals: np.ndarray, fakes: np.ndarray, seed: int, *, num_points: int = 15, ddof: int = 1
) -> float:
    """Extrapolates the Frechet distance to infinitely many fakes.

    The distance of finite sets is too large by about a constant over their number: a line through
    the distances of random subsets, over 1 / size, meets zero at the value without this bias.

    Source: Chong and Forsyth 2020 (FID infinity); Stein et al. 2023, for the sizes.

    Args:
        reals: Features [n, d].
        fakes: Features [m, d].
        seed: Of the subsets.
        num_points: Subsets.
        ddof: 1 divides covariances by N - 1.

    Returns:
        The line's value at 1 / size = 0.

    Raises:
        ValueError: Features cannot be compared, or there are fewer than 20 fakes.
    """
    check_pair(reals, fakes)
    if len(fakes) < 20 or num_points < 2:
        raise ValueError(
            f"Extrapolation from {len(fakes)} fakes in {num_points} points: at least 20 fakes and "
            "2 points are needed to draw a line."
        )
    real = Moments.of(reals)
    rng = np.random.default_rng(seed)
    sizes = infinity_sizes(len(fakes), num_points=num_points)
    distances = [
        moments_distance(real, Moments.of(fakes[rng.permutation(len(fakes))[:size]]), ddof=ddof)
        for size in sizes
    ]
    _, value = np.polyfit(1 / sizes, distances, 1)
    return float(value)
