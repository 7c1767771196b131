"""Draws from the reals: which images of a training set a score looks at, in which order."""

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

import jax
import numpy as np

# Images that are read before any is worked on.
_BATCH_SIZE = 64


@runtime_checkable
class Images(Protocol):
    """An array [n, h, w, c], a memory map, or a data set that reads one image at a time."""

    def __len__(self) -> int:
        """Returns the number of images."""
        ...

    def __getitem__(self, index: int) -> np.ndarray:
        """Returns one uint8 image [h, w, c]."""
        ...


def draw_reals(
    reals: Images,
    allowed: np.ndarray,
    seed: int,
    *,
    num_images: int,
    mirror: bool = False,
) -> Iterator[np.ndarray]:
    """Returns `num_images` draws from some of the reals, in batches.

    A set that is large enough gives distinct images in random order. A smaller one is gone through
    again and again in new orders, so that each image appears equally often up to one.

    Args:
        reals: All reals.
        allowed: Indices of those to draw from, int [m].
        seed: The same one gives the same images in the same order.
        num_images: Draws.
        mirror: Count each image and its mirror image as two.

    Returns:
        Batches of uint8 images [n, h, w, c].

    Raises:
        ValueError: There is nothing to draw from; images differ in shape (on the way).
    """
    if len(allowed) == 0:
        raise ValueError("The set of reals is empty; at least one image is needed.")
    # Numbers below 2m: the upper half stands for the mirror images.
    order = _draw_order(len(allowed) * (2 if mirror else 1), num_images, seed)
    return _read_batches(reals, allowed[order % len(allowed)], order >= len(allowed))


def seed_from_key(key: jax.Array) -> int:
    """Draws a NumPy seed from a JAX key: host-side orders need no device program."""
    return int(jax.random.bits(key))


def _draw_order(size: int, count: int, seed: int) -> np.ndarray:
    """Returns `count` indices below `size`: shuffled rounds, each index once per round."""
    rng = np.random.default_rng(seed)
    # ceil(count / size) rounds, the last one cut short.
    rounds = [rng.permutation(size) for _ in range(-(-count // size))]
    return np.concatenate(rounds)[:count]


def _read_batches(
    reals: Images, indices: np.ndarray, mirrored: Sequence[bool] | np.ndarray
) -> Iterator[np.ndarray]:
    """Yields batches of the reals at the given indices, some of them mirrored left to right."""
    for i in range(0, len(indices), _BATCH_SIZE):
        part = slice(i, i + _BATCH_SIZE)
        chosen = zip(indices[part], mirrored[part], strict=True)
        # Only what is drawn is read, one image at a time.
        images = [np.asarray(reals[j])[:, ::-1] if flip else reals[j] for j, flip in chosen]
        shapes = sorted({np.shape(image) for image in images})
        if len(shapes) > 1:
            raise ValueError(
                f"The reals have different shapes, among them {shapes[0]} and {shapes[1]}; all "
                f"must agree. Resize or convert the odd ones."
            )
        yield np.stack(images)
