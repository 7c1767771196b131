"""Sliced Wasserstein distance between two sets of images (ProGAN's own metric): the equation.

Images are split into a Laplacian pyramid (laplacian_pyramid.py), small random patches are cut from
each level (patches.py), and the two clouds of patches are compared along random directions, where
the Wasserstein distance is the mean gap between sorted values. Low means alike: the finest level
speaks of detail, 16 px of layout.

    reals = real_descriptors(real_images, key, num_images=1024)         # once per run
    floor = swd_floor(real_images, key, num_images=1024)                # once per run
    score = evaluate_swd(reals, fake_batches, key)                      # at each snapshot

The first and the last line are in sliced_wasserstein_sides.py, the floor in
sliced_wasserstein_floor.py; `SwdScore` (sliced_wasserstein_score.py) is the three as a run keeps
them.

Source: Karras et al. 2018 (ProGAN), section 5.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

NUM_REPEATS = 4
NUM_DIRECTIONS = 128  # per repeat
SCALE = 1e3  # published numbers are distances times a thousand

_DIRECTIONS_PER_BLOCK = 32


def sliced_wasserstein(
    descriptors_a: Mapping[int, np.ndarray],
    descriptors_b: Mapping[int, np.ndarray],
    key: jax.Array,
    *,
    num_repeats: int = NUM_REPEATS,
    num_directions: int = NUM_DIRECTIONS,
) -> dict[str, float]:
    """Compares two sets of descriptors along random directions.

    SWD = 1000 * mean over unit vectors u of mean |sort(A u) - sort(B u)|.

    Args:
        descriptors_a: Result of patch_descriptors, or any arrays [rows, d] by level.
        descriptors_b: The other set, of the same levels and shapes.
        key: Random key of the directions; use one key for all scores that are to be compared.
        num_repeats: Groups of directions; only the product with num_directions matters.
        num_directions: Unit vectors per group.

    Returns:
        `swd_<level>` for each level in pixels, and their average `swd`; dimensionless, times 1000.

    Raises:
        ValueError: Levels, numbers of patches or channels differ.
    """
    _check_comparable(descriptors_a, descriptors_b)
    result = {}
    for level, rows_a in descriptors_a.items():
        # Directions depend on the level's size, so that images of other resolutions share them.
        level_key = jax.random.fold_in(key, level)
        directions = _directions(level_key, rows_a.shape[1], num_repeats * num_directions)
        result[f"swd_{level}"] = _mean_sorted_gap(rows_a, descriptors_b[level], directions) * SCALE
    result["swd"] = float(np.mean(list(result.values())))
    return result


def _check_comparable(
    descriptors_a: Mapping[int, np.ndarray], descriptors_b: Mapping[int, np.ndarray]
) -> None:
    """Refuses sets whose sorted projections cannot be paired."""
    shapes_a = {level: rows.shape for level, rows in descriptors_a.items()}
    shapes_b = {level: rows.shape for level, rows in descriptors_b.items()}
    if shapes_a != shapes_b or not shapes_a:
        raise ValueError(
            f"The two sets of descriptors have (patches, 49 * channels) by level {shapes_a} and "
            f"{shapes_b}; sorting pairs them one to one, so they must be equal. Use the same "
            f"resolution, channels, num_images and num_patches for both."
        )


def _directions(key: Key[Array, ""], dimensions: int, count: int) -> np.ndarray:
    """Returns uniform unit vectors [dimensions, count]."""
    # A normal vector points everywhere alike; its length is all that is taken away.
    directions = np.array(jax.random.normal(key, (dimensions, count), jnp.float32))
    return directions / np.linalg.norm(directions, axis=0)


def _mean_sorted_gap(rows_a: np.ndarray, rows_b: np.ndarray, directions: np.ndarray) -> float:
    """Averages |sort(A u) - sort(B u)|, a few directions at a time to bound memory."""
    total = 0.0
    for i in range(0, directions.shape[1], _DIRECTIONS_PER_BLOCK):
        block = directions[:, i : i + _DIRECTIONS_PER_BLOCK]
        # In one dimension the cheapest transport pairs the smallest with the smallest, and so on.
        # NumPy projects and sorts on the host with vector instructions, far ahead of XLA on CPU,
        # and adds in the same order however many devices there are.
        gap = np.sort(block.T @ rows_a.T, axis=1)  # [u, n]
        gap -= np.sort(block.T @ rows_b.T, axis=1)
        total += float(np.abs(gap, out=gap).mean(axis=1, dtype=np.float64).sum())
    return total / directions.shape[1]
