"""One pass of images through a frozen network, on all devices: what every feature metric reads.

Each device works on the same number of images at a time, whatever the number of devices: the very
program that a single one runs, and the same features to the last bit.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding
from jaxtyping import Array, UInt8

from stylegan_jax.metrics.reals import Images

# Images that a device works on at a time.
IMAGES_PER_DEVICE = 8


class Extractor(NamedTuple):
    """A frozen network that maps images to features, ready to be called.

    Attributes:
        name: Of the network.
        extract: Maps uint8 images `[n, h, w, c]`, split over devices, to features by name,
            `{"features": [n, d], ...}`, split likewise.
        widths: Numbers per image of each output that is one vector.
        protocol: What is done to images, and which weights do it: name -> words.
        sharding: How images are split over the devices.
    """

    name: str
    extract: Callable[[UInt8[Array, "n h w c"]], Mapping[str, Array]]
    widths: Mapping[str, int]
    protocol: Mapping[str, str]
    sharding: NamedSharding


def gather_features(features: jax.Array) -> np.ndarray:
    """Returns features of all devices and processes as one array on this host.

    Images stay on the devices that made them; features are the only thing worth sending. Where
    several processes share the array, all of them must call this, and all get the same numbers.

    Args:
        features: [n, d], or any array; its first axis may be split over devices and processes.

    Returns:
        The whole array, in the order of its indices.
    """
    # A copy of it all lies on this process's devices: nothing has to be sent.
    if features.is_fully_addressable or features.is_fully_replicated:
        return np.asarray(features)
    # `tiled`: parts are joined along their axis, not stacked on a new one.
    return np.asarray(multihost_utils.process_allgather(features, tiled=True))


def batch_size_of(sharding: NamedSharding) -> int:
    """Returns the images that all devices together work on at a time."""
    devices = sharding.num_devices
    # Devices that share images count once.
    (per_device,) = sharding.shard_shape((devices,))
    return devices // per_device * IMAGES_PER_DEVICE


def split_rows(make: Callable[[int], Any], count: int, sharding: NamedSharding) -> Any:
    """Makes the rows of arrays where they will lie; every process those of its own devices.

    Args:
        make: Row number to a tree of NumPy arrays.
        count: Of rows.
        sharding: How rows are split.

    Returns:
        The tree, its arrays `[count, ...]`.
    """
    make = functools.cache(make)
    # Any row of this process tells the structure.
    owned = next(iter(sharding.addressable_devices_indices_map((count,)).values()))
    assert owned is not None
    leaves, structure = jax.tree.flatten(make(range(count)[owned[0]][0]))

    def place(number: int, like: np.ndarray) -> jax.Array:
        def read(index: Any) -> np.ndarray:
            return np.stack([jax.tree.leaves(make(i))[number] for i in range(count)[index[0]]])

        return jax.make_array_from_callback((count, *like.shape), sharding, read)

    return structure.unflatten([place(i, leaf) for i, leaf in enumerate(leaves)])


def device_batches(
    images: Images, positions: Sequence[int] | np.ndarray, sharding: NamedSharding
) -> Iterator[tuple[jax.Array, int]]:
    """Reads images on to the devices; every process reads what its own devices hold.

    Args:
        images: uint8 images of one shape.
        positions: Which ones, in order; -1 - i stands for the mirror image of i.
        sharding: How a batch is split.

    Yields:
        `(batch [n, h, w, c], count)`: of the last batch only the first `count` images are wanted;
        it is filled up with the last one.

    Raises:
        ValueError: Images differ in shape, or are no uint8.
    """
    positions = np.asarray(positions)
    size = batch_size_of(sharding)
    shape = np.shape(images[0]) if len(positions) else ()
    for start in range(0, len(positions), size):
        part = positions[start : start + size]
        filled = part[np.minimum(np.arange(size), len(part) - 1)]

        def read(index: Any, filled: np.ndarray = filled) -> np.ndarray:
            return np.stack([_read_image(images, int(p), shape) for p in filled[index[0]]])

        yield jax.make_array_from_callback((size, *shape), sharding, read), len(part)


def _read_image(images: Images, position: int, shape: tuple[int, ...]) -> np.ndarray:
    """Reads one image, or its mirror image."""
    index = position if position >= 0 else -1 - position
    image = np.asarray(images[index])
    if image.shape != shape or image.dtype != np.uint8:
        raise ValueError(
            f"Image {index} is {image.dtype} {list(image.shape)}, the first one uint8 "
            f"{list(shape)}: metrics compare images of one shape. Resize or convert it."
        )
    return image if position >= 0 else image[:, ::-1]


def choose_reals(num_reals: int, *, most: int | None, mirror: bool) -> np.ndarray:
    """Returns which reals a metric looks at, as positions for `device_batches`.

    Those of the official code: the images in their order, after them their mirror images where
    training mirrors, cut off after `most`.

    Args:
        num_reals: Images of the training set.
        most: Reals at most; None: all.
        mirror: Whether mirror images count as further images.
    """
    positions = np.arange(num_reals)
    if mirror:
        positions = np.concatenate([positions, -1 - positions])
    return positions[:most]


def feature_rows(
    batches: Iterator[tuple[jax.Array, int]], extractor: Extractor, output: str
) -> Iterator[np.ndarray]:
    """Yields one output of the network for a stream of batches, float32 [n, d] on the host."""
    for batch, count in batches:
        yield gather_features(extractor.extract(batch)[output])[:count]
