"""The two sides of the sliced Wasserstein distance: patches of reals, and fakes against them.

Both sides always hold the same number of images, since the distance of finite sets falls with their
size: scores are comparable only at equal `num_images`, and only beside the floor they come with.

A channel's contrast is not compared, but one that never varies in the reals, such as an opaque
alpha, has none: what fakes show there is measured by that of the others.
"""

import enum
from collections.abc import Iterable, Mapping

import jax
import numpy as np

from stylegan_jax.metrics.patches import NUM_PATCHES, constant_channels, patch_descriptors
from stylegan_jax.metrics.reals import Images, draw_reals, seed_from_key
from stylegan_jax.metrics.sliced_wasserstein import sliced_wasserstein


class Stream(enum.IntEnum):
    """What is random, each a stream of its own drawn from the one key of a caller."""

    ORDER = 0  # of the reals
    PATCHES = 1  # of the reals
    FAKES = 2  # patches of the fakes
    DIRECTIONS = 3
    REDRAW = 4  # key of the reals' second draw, see swd_floor
    HALVES = 5  # splits of the reals, likewise


def stream_key(key: jax.Array, stream: Stream) -> jax.Array:
    """Returns the key of one of the streams of `key`."""
    return jax.random.fold_in(key, int(stream))


def real_descriptors(
    reals: Images,
    key: jax.Array,
    *,
    num_images: int,
    mirror: bool = False,
    num_patches: int = NUM_PATCHES,
) -> dict[int, np.ndarray]:
    """Draws `num_images` reals and returns their descriptors, to be kept for a whole run.

    A set that is large enough gives distinct images in random order. A smaller one is gone through
    again and again in new orders, so that each image appears equally often up to one, every time
    with patches at new positions. With `mirror`, images and their mirror images form the set.

    Args:
        reals: uint8 images [n, h, w, c], or anything with a length whose items are [h, w, c].
        key: Random key of order and patches.
        num_images: Images to draw, equal to the number of fakes to be judged.
        mirror: Set it if training mirrors its images, so that fakes are judged by what was shown.
        num_patches: Patches per image and level.

    Returns:
        Descriptors as from patch_descriptors.

    Raises:
        ValueError: There are no reals, or as in patch_descriptors.
    """
    everything = np.arange(len(reals))
    return drawn_descriptors(reals, everything, key, num_images, mirror, num_patches)


def drawn_descriptors(
    reals: Images,
    allowed: np.ndarray,
    key: jax.Array,
    num_images: int,
    mirror: bool,
    num_patches: int,
    constant: Mapping[int, np.ndarray] | None = None,
) -> dict[int, np.ndarray]:
    """Returns descriptors of `num_images` draws from the reals whose indices are allowed."""
    seed = seed_from_key(stream_key(key, Stream.ORDER))
    batches = draw_reals(reals, allowed, seed, num_images=num_images, mirror=mirror)
    patch_key = stream_key(key, Stream.PATCHES)
    return patch_descriptors(
        batches, patch_key, num_images=num_images, num_patches=num_patches, constant=constant
    )


def evaluate_swd(
    reals: Mapping[int, np.ndarray],
    fakes: Iterable[np.ndarray | jax.Array],
    key: jax.Array,
    *,
    num_patches: int = NUM_PATCHES,
) -> dict[str, float]:
    """Scores a stream of generated images against kept descriptors of the reals.

    Takes as many fakes as the reals' descriptors hold images. With the same key throughout a run,
    patches and directions repeat, so that scores differ by the generator alone.

    Args:
        reals: Result of real_descriptors.
        fakes: uint8 batches [n, h, w, c], on the host or split over devices; what is left over
            stays unread.
        key: Random key; the same as for real_descriptors and swd_floor.
        num_patches: As for the reals.

    Returns:
        `swd_<level>` and `swd`, as in sliced_wasserstein.

    Raises:
        ValueError: Too few fakes, or resolution or channels unlike the reals'.
    """
    # The reals' descriptors tell how many fakes are wanted.
    rows = len(next(iter(reals.values())))
    if rows % num_patches:
        raise ValueError(
            f"The reals' descriptors hold {rows} patches, not a multiple of "
            f"num_patches={num_patches}; pass the num_patches that they were made with."
        )

    # Positions of the fakes' patches are others than those of the reals', directions the same.
    fake_descriptors = patch_descriptors(
        fakes,
        stream_key(key, Stream.FAKES),
        num_images=rows // num_patches,
        num_patches=num_patches,
        constant=constant_channels(reals),
    )
    return sliced_wasserstein(reals, fake_descriptors, stream_key(key, Stream.DIRECTIONS))
