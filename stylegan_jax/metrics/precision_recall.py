"""Precision and recall of a generator: how far two sets of features cover each other.

A set stands for the union of balls about its points, each as large as the distance to the k-th
nearest of its own. Precision is the share of fakes inside the reals' balls, quality; recall that of
reals inside the fakes', variety.

    reals = Manifold.of(real_features)                                  # once
    precision, recall = precision_recall(reals, fake_features)

Both need all pairs of images, 50,000 x 200,000 in the papers: tiles of pairs are computed on the
device, and nothing but a tile is ever there.

Numbers are halves in the original: features, distances and radii are rounded to float16, which
makes ties. `half_precision=False` leaves float32.

Source: Kynkaanniemi et al. 2019 (Improved precision and recall), sections 2 and 3.
"""

import dataclasses
import functools
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from stylegan_jax.metrics.checks import check_features, check_pair

NEIGHBOURS = 3
TILE = 10_000

# Squared distances below this share of |a|^2 + |b|^2 are rounding: equal rows are at zero.
_ROUNDING = 4e-6


class PrecisionRecall(NamedTuple):
    """Shares from 0 to 1."""

    precision: float
    recall: float


@dataclasses.dataclass(frozen=True)
class Manifold:
    """The balls of a set, on the host; a set's are computed once and used for every other set.

    Attributes:
        features: [n, d], their centres; float16 in half precision, float32 otherwise.
        radii: [n], of the same precision.
        neighbours: Which neighbour they reach to.
    """

    features: np.ndarray
    radii: np.ndarray
    neighbours: int

    @classmethod
    def of(
        cls,
        features: np.ndarray,
        *,
        neighbours: int = NEIGHBOURS,
        tile_rows: int = TILE,
        tile_columns: int = TILE,
        half_precision: bool = True,
    ) -> "Manifold":
        """Computes the balls of a set.

        Args:
            features: [n, d], any precision.
            neighbours: A radius is the distance to this one of the other points, 1 for the nearest.
            tile_rows: Points whose distances are on the device at once,
            tile_columns: and to how many: 4 * rows * columns bytes, and the points themselves.
            half_precision: Round features, distances and radii to float16.

        Raises:
            ValueError: Features are not finite, no more of them than `neighbours`, or too far
                apart for float16.
        """
        check_features(features, "features")
        if not 1 <= neighbours < len(features):
            raise ValueError(
                f"neighbours={neighbours} of {len(features)} images: each must have that many "
                "others. Give more images."
            )
        rows = _rounded(features, half_precision)
        tile = (min(tile_rows, len(rows)), min(tile_columns, len(rows)))
        centre = _centre(rows)
        radii = []
        for block in _blocks(rows, centre, tile[0]):
            # Itself is the nearest, at 0, so the k-th neighbour is the one after k of them.
            nearest = jnp.full((tile[0], neighbours + 1), jnp.inf, jnp.float32)
            for column, inside in _blocks_inside(rows, centre, tile[1]):
                nearest = _merge_nearest(nearest, block, column, inside, half_precision)
            radii.append(np.asarray(nearest[:, -1]))
        radii = np.concatenate(radii)[: len(rows)]
        if not np.isfinite(radii).all():
            raise ValueError(
                f"{int((~np.isfinite(radii)).sum())} radii are beyond the largest float16, 65504. "
                "These features are too far apart for it: set half_precision=False."
            )
        return cls(rows, radii.astype(rows.dtype), neighbours)

    def contains(
        self, features: np.ndarray, *, tile_rows: int = TILE, tile_columns: int = TILE
    ) -> Bool[np.ndarray, " m"]:
        """Tells which points are inside of a ball, or on its surface.

        Args:
            features: [m, d]; rounded as those of the set.
            tile_rows: As in `of`,
            tile_columns: likewise.

        Raises:
            ValueError: Features cannot be compared with the set's.
        """
        check_pair(self.features, features)
        half_precision = self.features.dtype == np.float16
        probes = _rounded(features, half_precision)
        tile = (min(tile_rows, len(probes)), min(tile_columns, len(self.features)))
        centre = _centre(self.features)
        found = []
        for block in _blocks(probes, centre, tile[0]):
            within = jnp.zeros(tile[0], bool)
            columns = _blocks(self.features, centre, tile[1])
            for column, radii in zip(columns, _padded(self.radii, tile[1], fill=-1)):
                within = _merge_within(within, block, column, radii, half_precision)
            found.append(np.asarray(within))
        return np.concatenate(found)[: len(probes)]


def precision_recall(
    reals: np.ndarray | Manifold,
    fakes: np.ndarray,
    *,
    neighbours: int = NEIGHBOURS,
    tile_rows: int = TILE,
    tile_columns: int = TILE,
    half_precision: bool = True,
) -> PrecisionRecall:
    """Compares two sets of features both ways.

    Args:
        reals: Features [n, d], or their manifold, made with the same options.
        fakes: Features [m, d].
        neighbours: See Manifold.of, as all below.
        tile_rows: Points on the device at once,
        tile_columns: and those that they are compared with.
        half_precision: As in the original.

    Raises:
        ValueError: Features cannot be compared, one set has no more than `neighbours`, or the
            reals' manifold was made with other options.
    """
    if isinstance(reals, Manifold):
        precision = np.float16 if half_precision else np.float32
        if (reals.features.dtype, reals.neighbours) != (precision, neighbours):
            raise ValueError(
                f"The reals' manifold is of {reals.neighbours} neighbours in "
                f"{reals.features.dtype}; neighbours={neighbours} and half_precision="
                f"{half_precision} were asked for. Make it anew, or ask for the same."
            )
    check_pair(reals.features if isinstance(reals, Manifold) else reals, fakes)
    tiles = {"tile_rows": tile_rows, "tile_columns": tile_columns}
    real_balls, fake_balls = (
        balls
        if isinstance(balls, Manifold)
        else Manifold.of(balls, neighbours=neighbours, half_precision=half_precision, **tiles)
        for balls in (reals, fakes)
    )
    precision = real_balls.contains(fake_balls.features, **tiles).mean()
    recall = fake_balls.contains(real_balls.features, **tiles).mean()
    return PrecisionRecall(float(precision), float(recall))


def _rounded(features: np.ndarray, half_precision: bool) -> np.ndarray:
    """Rounds features to what distances are computed of."""
    if not half_precision:
        return features.astype(np.float32)
    if np.abs(features).max() > np.finfo(np.float16).max:
        raise ValueError(
            f"Features reach {np.abs(features).max():.3g}, float16 only 65504: set "
            "half_precision=False."
        )
    return features.astype(np.float16)


def _centre(features: np.ndarray) -> np.ndarray:
    """Returns what is taken off before distances: they stay, and fewer digits cancel in them."""
    return features.mean(axis=0, dtype=np.float64).astype(np.float32)


def _padded(values: np.ndarray, size: int, fill: float = 0) -> Iterator[np.ndarray]:
    """Yields blocks of one size, the last one filled up: one program for all."""
    for start in range(0, len(values), size):
        block = values[start : start + size]
        widths = [(0, size - len(block))] + [(0, 0)] * (values.ndim - 1)
        yield np.pad(block, widths, constant_values=fill)


def _blocks(features: np.ndarray, centre: np.ndarray, size: int) -> Iterator[jax.Array]:
    """Yields blocks of rows as float32 on the device."""
    for block in _padded(features, size):
        yield jnp.asarray(block.astype(np.float32) - centre)


def _blocks_inside(
    features: np.ndarray, centre: np.ndarray, size: int
) -> Iterator[tuple[jax.Array, jax.Array]]:
    """Yields such blocks, and which of their rows are there."""
    for start, block in enumerate(_blocks(features, centre, size)):
        yield block, start * size + jnp.arange(size) < len(features)


def _distances(
    a: Float[Array, "n d"], b: Float[Array, "m d"], half_precision: bool
) -> Float[Array, "n m"]:
    """Returns all Euclidean distances, rounded to float16 where it is asked for."""
    # |a - b|^2 = |a|^2 + |b|^2 - 2 a b
    squares = jnp.sum(jnp.square(a), axis=1)[:, None] + jnp.sum(jnp.square(b), axis=1)
    products = jnp.matmul(a, b.T, precision=jax.lax.Precision.HIGHEST)
    squared = squares - 2 * products
    distances = jnp.sqrt(jnp.where(squared > _ROUNDING * squares, squared, 0))
    return distances.astype(jnp.float16).astype(jnp.float32) if half_precision else distances


@functools.partial(jax.jit, static_argnames="half_precision")
def _merge_nearest(
    nearest: Float[Array, "n k"],
    rows: Float[Array, "n d"],
    columns: Float[Array, "m d"],
    inside: Bool[Array, " m"],
    half_precision: bool,
) -> Float[Array, "n k"]:
    """Takes one tile's distances into the smallest so far, in rising order."""
    distances = jnp.where(inside, _distances(rows, columns, half_precision), jnp.inf)
    both = jnp.concatenate([nearest, distances], axis=1)
    return -jax.lax.top_k(-both, nearest.shape[1])[0]


@functools.partial(jax.jit, static_argnames="half_precision")
def _merge_within(
    within: Bool[Array, " n"],
    rows: Float[Array, "n d"],
    columns: Float[Array, "m d"],
    radii: Array,
    half_precision: bool,
) -> Bool[Array, " n"]:
    """Adds the points that are inside of one tile's balls; those with radius -1 hold none."""
    inside = _distances(rows, columns, half_precision) <= radii.astype(jnp.float32)
    return within | inside.any(axis=1)
