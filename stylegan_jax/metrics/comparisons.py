"""What each metric does with the features of fakes and reals, and which network gives them.

The mathematics stands in a file of its own: `frechet`, `kernel`, `inception_score`,
`precision_recall`.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from stylegan_jax.metrics.frechet import Moments, frechet_distance
from stylegan_jax.metrics.inception_score import NUM_SPLITS, class_probabilities, inception_score
from stylegan_jax.metrics.kernel import kernel_distance
from stylegan_jax.metrics.names import MetricName
from stylegan_jax.metrics.precision_recall import precision_recall

# As the official code limits them.
_MOST_REALS_KERNEL = 1_000_000
_MOST_REALS_MANIFOLD = 200_000


class Rows:
    """The features of all images, in order."""

    dtype: Any = np.float32

    def __init__(self, width: int):
        """Begins with none.

        Args:
            width: Numbers per image.
        """
        self._parts = [np.empty((0, width), self.dtype)]

    @property
    def num(self) -> int:
        """Returns the number of images so far."""
        return sum(map(len, self._parts))

    @property
    def array(self) -> np.ndarray:
        """Returns them, [n, d]."""
        self._parts = [np.concatenate(self._parts)]
        return self._parts[0]

    def add(self, features: np.ndarray) -> None:
        """Adds features [n, d].

        Raises:
            ValueError: Some are not finite.
        """
        rows = features.astype(self.dtype)
        bad = int(np.sum(~np.isfinite(rows).all(axis=1)))
        if bad:
            raise ValueError(
                f"{bad} of {len(rows)} images have features that are not finite: the images, or "
                "the weights of the feature network, are damaged."
            )
        self._parts.append(rows)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Returns what `from_arrays` makes it of."""
        return {"rows": self.array}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "Rows":
        """Makes one of what was kept."""
        rows = cls(arrays["rows"].shape[1])
        rows.add(arrays["rows"])
        return rows


class HalfRows(Rows):
    """As `Rows`, in float16."""

    dtype = np.float16


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What a metric does with features.

    Attributes:
        output: Which output of the network it reads.
        collector: What it keeps of them.
        compare: Maps `(name, reals, fakes, seed)` to values; reals None where it reads none.
        most_reals: Reals at most where the name says `_full`; None: all. Otherwise as many as
            fakes.
        has_reals: Whether it reads any.
        has_floor: Whether the reals' halves are held against each other, too.
        least: Images of a side, and of each half of the reals, that it takes at least.
        row_bytes: Memory that an image takes.
    """

    output: str
    collector: type[Moments] | type[Rows]
    compare: Callable[[MetricName, Any, Any, int], dict[str, float]]
    most_reals: int | None = None
    has_reals: bool = True
    has_floor: bool = False
    least: Callable[[MetricName], int] = lambda name: 2
    row_bytes: int = 0


def _frechet(name: MetricName, reals: Moments, fakes: Moments, seed: int) -> dict[str, float]:
    """Frechet distance; covariances are divided by n, as StyleGAN2-ADA's."""
    del seed
    # |mu_a - mu_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2))
    sides = (reals.mean, reals.covariance(), fakes.mean, fakes.covariance())
    return {name.text: frechet_distance(*sides)}


def _kernel(name: MetricName, reals: Rows, fakes: Rows, seed: int) -> dict[str, float]:
    """Kernel distance."""
    mean, std = kernel_distance(reals.array, fakes.array, seed)
    return {name.text: mean, f"{name.text}_std": std}


def _inception_score(name: MetricName, reals: None, fakes: Rows, seed: int) -> dict[str, float]:
    """Mean and deviation over splits."""
    del reals, seed
    mean, std = inception_score(class_probabilities(fakes.array))
    return {f"{name.text}_mean": mean, f"{name.text}_std": std}


def _precision_recall(name: MetricName, reals: Rows, fakes: Rows, seed: int) -> dict[str, float]:
    """Shares of each side within the other's manifold."""
    del seed
    neighbours = _least_of_manifold(name) - 1
    precision, recall = precision_recall(reals.array, fakes.array, neighbours=neighbours)
    return {f"{name.text}_precision": precision, f"{name.text}_recall": recall}


def _least_of_manifold(name: MetricName) -> int:
    """An image, and as many others as make its radius."""
    return int(name.options["neighbours"]) + 1


def _frechet_symmetric(
    name: MetricName, reals: Moments, fakes: Moments, seed: int
) -> dict[str, float]:
    """Frechet distance by eigenvalues: in a tenth of the time, where no published number binds."""
    del seed
    sides = (reals.mean, reals.covariance(), fakes.mean, fakes.covariance())
    return {name.text: frechet_distance(*sides, by_eigenvalues=True)}


# Family -> network, and what is done with its features.
COMPARISONS: dict[str, tuple[str, Comparison]] = {
    "fid": ("inception", Comparison("features", Moments, _frechet)),
    "kid": (
        "inception",
        Comparison("features", Rows, _kernel, _MOST_REALS_KERNEL, row_bytes=2048 * 4),
    ),
    "is": (
        "inception",
        Comparison(
            *("logits_unbiased", Rows, _inception_score),
            has_reals=False,
            least=lambda name: NUM_SPLITS,
            row_bytes=1008 * 4,
        ),
    ),
    # Halves, as the original keeps them: ties among distances are part of its numbers.
    "pr": (
        "vgg16",
        Comparison(
            *("features", HalfRows, _precision_recall, _MOST_REALS_MANIFOLD),
            least=_least_of_manifold,
            row_bytes=4096 * 2,
        ),
    ),
    "lite0_fd": (
        "efficientnet_lite0",
        Comparison("features", Moments, _frechet_symmetric, has_floor=True),
    ),
    "lite0_kd": (
        "efficientnet_lite0",
        Comparison(
            *("features", Rows, _kernel, _MOST_REALS_KERNEL),
            has_floor=True,
            row_bytes=1280 * 4,
        ),
    ),
}
