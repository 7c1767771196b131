"""How far samples are from the training images, beside images that were held out.

A generator that copies its training set draws images that have a twin there; one that has learned
what the images have in common draws images as far from it as unseen ones are. No network is needed:
the distance is that of pixels, small shifts allowed.

    distance(a, b) = min over shifts s of rms(a - shift(b, s))        in grey levels

Large images are compared at 64 px: their layout says whether they are copies, not their grain.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from stylegan_jax.metrics.features import gather_features
from stylegan_jax.metrics.names import MetricName
from stylegan_jax.metrics.reals import Images

# Images are compared at no more pixels a side than this.
_MAX_SIDE = 64
# Shifts by up to so many pixels, along both axes.
MAX_SHIFT = 1
# Images that are read or compared, and references whose shifted copies are, at once: bounds memory.
_BLOCK = 256


@functools.partial(jax.jit, static_argnames="max_shift")
def _block_distances(
    images: Float[Array, "n h w c"], references: Float[Array, "m h w c"], max_shift: int
) -> Float[Array, "n m"]:
    """Squared distances, summed over pixels, of every image to every reference."""
    height, width = references.shape[1:3]
    edges = ((0, 0), (max_shift, max_shift), (max_shift, max_shift), (0, 0))
    padded = jnp.pad(references, edges, mode="edge")
    flat = images.reshape(len(images), -1)  # [n, d]
    energy = jnp.sum(jnp.square(flat), axis=1)[:, None]
    best = jnp.full((len(images), len(references)), jnp.inf)
    for dy in range(2 * max_shift + 1):
        for dx in range(2 * max_shift + 1):
            shifted = padded[:, dy : dy + height, dx : dx + width].reshape(len(references), -1)
            # |a - b|^2 = |a|^2 + |b|^2 - 2 a b
            products = jnp.matmul(flat, shifted.T, precision=jax.lax.Precision.HIGHEST)
            squared = energy + jnp.sum(jnp.square(shifted), axis=1)[None] - 2 * products
            best = jnp.minimum(best, squared)
    return best


def nearest(
    images: np.ndarray, references: np.ndarray, *, max_shift: int = MAX_SHIFT
) -> tuple[Float[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """Finds the nearest reference of every image.

    Args:
        images: uint8 or float [n, h, w, c] in grey levels.
        references: As many pixels and channels, [m, h, w, c].
        max_shift: Pixels by which a reference may be moved along each axis; its border is repeated.

    Returns:
        `(distances, indices)`: root of the mean squared difference in grey levels, and which
        reference it is.

    Raises:
        ValueError: Sizes differ, or there is no reference.

    Checked: tests/metrics/test_memory.py, by known answers and against a NumPy loop.
    """
    if images.shape[1:] != references.shape[1:] or len(references) == 0:
        raise ValueError(
            f"Images of shape {images.shape[1:]} and {len(references)} references of shape "
            f"{references.shape[1:]}: give at least one reference, of the images' size."
        )
    best = np.full(len(images), np.inf, np.float32)
    index = np.zeros(len(images), np.int64)
    for start in range(0, len(references), _BLOCK):
        # Grey levels around zero: products of large numbers would cancel badly.
        block = jnp.asarray(references[start : start + _BLOCK], jnp.float32) - 128
        for first in range(0, len(images), _BLOCK):
            part = slice(first, first + _BLOCK)
            left = jnp.asarray(images[part], jnp.float32) - 128
            squared = np.asarray(_block_distances(left, block, max_shift))  # [n, m]
            # Of equals the first one stays.
            found = squared.argmin(axis=1)
            lowest = squared[np.arange(len(found)), found]
            index[part] = np.where(lowest < best[part], start + found, index[part])
            best[part] = np.minimum(lowest, best[part])
    mean = np.maximum(best, 0) / np.prod(images.shape[1:])
    return np.sqrt(mean), index


def shrink_for_comparison(images: Any) -> Any:
    """Averages squares of pixels, until no side is longer than 64.

    Args:
        images: [n, h, w, c], NumPy or JAX, also spread over devices.

    Returns:
        float32 [n, p, q, c], of the same kind and in the same places.
    """
    n, height, width, channels = images.shape
    factor = 1
    while max(height, width) // factor > _MAX_SIDE and not (height | width) // factor % 2:
        factor *= 2
    shape = (n, height // factor, factor, width // factor, factor, channels)
    return images.astype(np.float32).reshape(shape).mean(axis=(2, 4))


class MemoryScore:
    """Whether a run's samples are copies of its reals.

    `evaluate(draw)` is what is logged, and `describe` a line about it.
    """

    def __init__(self, reals: Images, unseen: Images, *, num_images: int, name: str = "memory"):
        """Remembers what is compared; nothing is computed before the first score.

        Args:
            reals: The training set.
            unseen: Images of the same kind that it does not hold.
            num_images: Fakes to look at.
            name: What values are called.

        Raises:
            ValueError: The two sets have images of different sizes, or one of them has none.
        """
        if not len(reals) or not len(unseen):
            raise ValueError(
                f"Distance to training images got {len(reals)} of them and {len(unseen)} unseen "
                "ones; it wants at least one of both."
            )
        shape, other = np.shape(reals[0]), np.shape(unseen[0])
        if shape != other:
            raise ValueError(
                f"Training images have the shape {shape}, unseen ones {other}; both must have one "
                "size and as many channels."
            )
        self._reals = reals
        self._small_shape = shrink_for_comparison(np.empty((1, *shape), np.uint8)).shape[1:]
        self._unseen = unseen
        self._num_images = num_images
        self._name = name
        # Small copies of both sets, and how far the unseen images are from the reals.
        self._references = np.empty(0)
        self._held_out = np.empty(0)
        self._floor = np.empty(0)

    def host_bytes(self, num_images: int) -> int:
        """Returns the memory of the host that scoring so many images takes, at most."""
        image = int(np.prod(self._small_shape)) * 4  # float32
        # Fakes once in batches and once as one array; the others stay for the whole run.
        return (len(self._reals) + len(self._unseen) + 2 * num_images) * image

    def evaluate(
        self, draw: Callable[[int], Iterable[jax.Array]], key: jax.Array
    ) -> dict[str, float]:
        """Compares the fakes that `draw(num_images)` yields with the reals.

        Args:
            draw: What draws the fakes.
            key: Of metrics that draw; this one does not.

        Returns:
            `memory`, or the name that was given: the median distance of unseen images to their
            nearest real over that of the fakes: 1 where they are as new as unseen ones, above 1
            where they are nearer.
            `memory_fakes_*` and `memory_unseen_*`: 5th percentile and median in grey levels;
            `memory_copies`: share of the fakes nearer than nineteen of twenty unseen images;
            `memory_new`: share of the fakes that are nearer to an unseen image than to any real.
            A generator that learned what the images have in common reaches the share that unseen
            images are of both sets; one that copies reaches 0.
        """
        del key
        # The reals' side stays the same throughout a run.
        if not len(self._references):
            self._references = read_small(self._reals)
            self._held_out = read_small(self._unseen)
            self._floor, _ = nearest(self._held_out, self._references)
        # Images shrink where they are, and are brought together small.
        batches = [gather_features(shrink_for_comparison(b)) for b in draw(self._num_images)]
        fakes = np.concatenate(batches)[: self._num_images]
        distances, _ = nearest(fakes, self._references)
        to_unseen, _ = nearest(fakes, self._held_out)

        found: dict[str, float] = {}
        for kind, values in (("fakes", distances), ("unseen", self._floor)):
            found[f"memory_{kind}_p05"] = float(np.percentile(values, 5))
            found[f"memory_{kind}_p50"] = float(np.median(values))
        found["memory_copies"] = float(np.mean(distances < found["memory_unseen_p05"]))
        found["memory_new"] = float(np.mean(to_unseen < distances))
        # Half a grey level is rounding: copies must not divide by zero.
        found["memory"] = found["memory_unseen_p50"] / max(found["memory_fakes_p50"], 0.5)
        return {self._name + key.removeprefix("memory"): value for key, value in found.items()}

    def describe(self, values: Mapping[str, float]) -> str:
        """Says how far fakes and unseen images are from the nearest real, and how many copies."""
        own = {key.removeprefix(f"{self._name}_"): value for key, value in values.items()}
        return (
            f"{self._name}: samples are {own['fakes_p50']:.1f} grey levels from their nearest "
            f"training image, unseen images {own['unseen_p50']:.1f}; "
            f"{own['copies']:.0%} look like copies, {own['new']:.0%} are most like an unseen one"
        )

    def protocol(self, name: MetricName) -> dict[str, Any]:
        """Says what, beside the fakes, made the values."""
        del name
        return {
            "reals": len(self._reals),
            "unseen": len(self._unseen),
            "compared_at": "x".join(map(str, self._small_shape[:2])),
        }


def read_small(images: Images) -> Float[np.ndarray, "n p q c"]:
    """Reads all images of a set, shrunk; a large set never lies in memory at full size."""
    small = np.empty(0, np.float32)
    for start, shrunk in read_small_blocks(images):
        # Filled in place: parts that are joined at the end lie in memory twice.
        if not start:
            small = np.empty((len(images), *shrunk.shape[1:]), np.float32)
        small[start : start + len(shrunk)] = shrunk
    return small


def read_small_blocks(images: Images) -> Iterator[tuple[int, Float[np.ndarray, "n p q c"]]]:
    """Reads a set in blocks: the index of the first image, and the block's images, shrunk."""
    for start in range(0, len(images), _BLOCK):
        part = [np.asarray(images[i]) for i in range(start, min(start + _BLOCK, len(images)))]
        yield start, shrink_for_comparison(np.stack(part))
