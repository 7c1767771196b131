"""Descriptors of a set of images: small random patches from each level of their pyramids.

    descriptors = patch_descriptors(batches, key, num_images=1024)      # {32: [n, d], 16: [n, d]}

Source: Karras et al. 2018 (ProGAN), section 5.
"""

import functools
import math
from collections.abc import Iterable, Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Key, UInt8

from stylegan_jax.metrics.features import gather_features
from stylegan_jax.metrics.laplacian_pyramid import laplacian_pyramid, num_levels

PATCH_SIZE = 7
NUM_PATCHES = 128  # per image and level

_TURN_PIXELS = 2**22  # of images that a device works on at a time: bounds memory at 1024 px
_MAX_CALL_IMAGES = 64
_ROWS_PER_BLOCK = 2**16
_MIN_STD = 1e-3  # grey levels; far below one step of an 8-bit image


def patch_descriptors(
    batches: Iterable[np.ndarray | jax.Array],
    key: jax.Array,
    *,
    num_images: int,
    num_patches: int = NUM_PATCHES,
    constant: Mapping[int, np.ndarray] | None = None,
) -> dict[int, np.ndarray]:
    """Cuts random patches from each pyramid level of a stream of images and normalises them.

    Only the patches are kept, so the images themselves may stream: 1024 images of 3 channels take
    77 MB per level, 16,384 take 1.2 GB. Each channel of a level is brought to zero mean and unit
    variance over all patches of the set, so overall colour and contrast are not compared.

    Args:
        batches: uint8 batches [n, h, w, c] of any, also varying, n. Those on devices are worked on
            where they are, however they are split, and only their patches are brought together.
        key: Random key. Positions depend on it and on the index of the image in the stream alone,
            never on how the stream is cut into batches or lies on devices.
        num_images: Images to take; the rest of the stream is left unread.
        num_patches: Patches per image and level.
        constant: What `constant_channels` says of the set that this one is compared with. These
            channels get the mean scale of the others, so that what they hold counts as it is seen:
            brought to unit variance, noise of half a grey level would count as much as all that
            the images show.

    Returns:
        float32 arrays [num_images * num_patches, 49 * c], by the shorter side of the level in
        pixels, finest first. `np.savez` keeps them if they are dear to compute.

    Raises:
        ValueError: Not uint8, sizes or channels change on the way, fewer images than asked, or a
            size that does not halve down to 16 px.
    """
    descriptors: dict[int, np.ndarray] = {}
    image_shape: tuple[int, ...] = ()
    for start, images in _calls(batches, num_images):
        # The first images tell how large the whole becomes; all others must be like them.
        if not descriptors:
            image_shape = images.shape[1:]
            descriptors = _allocate(image_shape, num_images, num_patches)
        if images.shape[1:] != image_shape:
            raise ValueError(
                f"Image {start} of the set has shape {images.shape[1:]}, those before have "
                f"{image_shape}; all must agree. Resize or convert the odd ones."
            )

        # Patches of each level; those of images beyond the last one wanted are dropped.
        levels = _cut_patches(images, start, key, num_patches, *_parts_and_turn(images))
        stop = min(start + len(images), num_images)
        for rows, level in zip(descriptors.values(), levels, strict=True):
            filled = rows[start * num_patches : stop * num_patches]
            filled[...] = gather_features(level)[: len(filled)]

    for level, rows in descriptors.items():
        channels = rows.shape[1] // PATCH_SIZE**2
        silent = (constant or {}).get(level)
        # Sets of other channels than the reals' are refused where the two are compared.
        if silent is not None and len(silent) != channels:
            silent = None
        _normalize(rows, channels, silent)
    return descriptors


def constant_channels(descriptors: Mapping[int, np.ndarray]) -> dict[int, np.ndarray]:
    """Tells which channels never vary in a set, such as the alpha of opaque images.

    Args:
        descriptors: Result of patch_descriptors.

    Returns:
        bool [c] by level.
    """
    result = {}
    for level, rows in descriptors.items():
        pixels = rows.reshape(-1, rows.shape[1] // PATCH_SIZE**2)
        # Others have unit variance, and so values of 1 and above; these only rounding errors.
        largest = np.maximum(pixels.max(axis=0), -pixels.min(axis=0))
        result[level] = largest < 0.5
    return result


def _calls(
    batches: Iterable[np.ndarray | jax.Array], num_images: int
) -> Iterator[tuple[int, np.ndarray | jax.Array]]:
    """Yields (index of the first image, images of one compiled call)."""
    if num_images < 1:
        raise ValueError(f"num_images is {num_images}; it must be at least 1.")
    start = 0
    for batch in batches:
        images = batch if isinstance(batch, jax.Array) else np.asarray(batch)
        _check_images(images)
        if isinstance(images, jax.Array):
            # On devices already, and perhaps on those of other processes: taken as it stands.
            yield start, images
        else:
            yield from _equal_parts(images[: num_images - start], start)
        start += len(images)
        if start >= num_images:
            return
    raise ValueError(
        f"The stream of images ended after {start}, num_images={num_images} were asked for. "
        f"Supply more or lower num_images on both sides."
    )


def _equal_parts(images: np.ndarray, start: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yields (index, images) in parts of one size, the last one filled up: one program for all."""
    pixels = images.shape[1] * images.shape[2]
    size = int(np.clip(_TURN_PIXELS // pixels, 1, _MAX_CALL_IMAGES))
    for offset in range(0, len(images), size):
        part = images[offset : offset + size]
        fill = [(0, size - len(part)), (0, 0), (0, 0), (0, 0)]
        yield start + offset, np.pad(part, fill, mode="edge")


def _check_images(images: np.ndarray | jax.Array) -> None:
    """Refuses anything but a batch of 8-bit images."""
    if images.dtype != np.uint8 or images.ndim != 4:
        raise ValueError(
            f"Sliced Wasserstein distance got {images.dtype} of shape {images.shape}; it wants "
            f"uint8 images [n, h, w, c]. Convert network output from [-1, 1] to 0..255 first."
        )


def _allocate(
    image_shape: tuple[int, ...], num_images: int, num_patches: int
) -> dict[int, np.ndarray]:
    """Returns one empty descriptor array per level."""
    height, width, channels = image_shape
    shape = (num_images * num_patches, PATCH_SIZE**2 * channels)
    short = min(height, width)
    return {short >> i: np.empty(shape, np.float32) for i in range(num_levels(height, width))}


def _parts_and_turn(images: np.ndarray | jax.Array) -> tuple[int, int]:
    """Returns in how many parts images lie on devices, and how many a device takes at a time."""
    n, height, width, _ = images.shape
    if not isinstance(images, jax.Array):
        return 1, n
    part = images.sharding.shard_shape(images.shape)[0]
    # A divisor of the part: the largest power of two that memory allows.
    most = max(_TURN_PIXELS // (height * width), 1)
    return n // part, math.gcd(part, 2 ** int(math.log2(most)))


@functools.partial(jax.jit, static_argnums=(3, 4, 5))
def _cut_patches(
    images: UInt8[Array, "n h w c"],
    start: int | Array,
    key: Key[Array, ""],
    num_patches: int,
    num_parts: int,
    turn: int,
) -> list[Array]:
    """Returns [n * num_patches, 49 * c] for each pyramid level of [n, h, w, c].

    Each device has one of `num_parts` equal parts, and goes through it in turns of `turn` images.
    """
    n, _, _, channels = images.shape
    cut_from_image = functools.partial(_cut_from_image, num_patches=num_patches)

    def by_turns(x: Array) -> Array:
        """Orders [n, ...] as [turns, parts, images of a turn, ...]."""
        return jnp.moveaxis(x.reshape(num_parts, -1, turn, *x.shape[1:]), 1, 0)

    def cut(inputs: tuple[Array, Array]) -> list[Array]:
        """Cuts from the images of one turn, [parts, images, ...], by their index in the stream."""
        images, index = (x.reshape(-1, *x.shape[2:]) for x in inputs)
        # A key for each image from its index, and for each level from its number.
        image_keys = jax.vmap(jax.random.fold_in, (None, 0))(key, index)
        patches = []
        for i, level in enumerate(laplacian_pyramid(images)):
            level_keys = jax.vmap(jax.random.fold_in, (0, None))(image_keys, i)
            patches.append(jax.vmap(cut_from_image)(level, level_keys))
        return [p.reshape(num_parts, turn, *p.shape[1:]) for p in patches]

    patches = lax.map(cut, (by_turns(images), by_turns(start + jnp.arange(n))))
    # [turns, parts, images, p, 7, 7, c] -> the order of the stream
    ordered = [jnp.moveaxis(p, 0, 1) for p in patches]
    return [p.reshape(n * num_patches, PATCH_SIZE**2 * channels) for p in ordered]


def _cut_from_image(
    image: Float[Array, "h w c"], key: Key[Array, ""], num_patches: int
) -> Float[Array, "p 7 7 c"]:
    """Cuts patches at uniform positions that lie wholly inside: [h, w, c] -> [p, 7, 7, c]."""
    height, width, channels = image.shape
    limits = jnp.array([height - PATCH_SIZE + 1, width - PATCH_SIZE + 1])
    corners = jax.random.randint(key, (num_patches, 2), 0, limits)
    size = (PATCH_SIZE, PATCH_SIZE, channels)
    return jax.vmap(lambda yx: lax.dynamic_slice(image, (yx[0], yx[1], 0), size))(corners)


def _normalize(rows: np.ndarray, channels: int, silent: np.ndarray | None) -> None:
    """Brings each channel to zero mean and unit variance over all rows, in place.

    Silent ones, bool [c], are divided by what the others' deviations are on average (rms).
    """
    pixels = rows.reshape(-1, channels)
    # In blocks, since a set takes gigabytes; sums in float64, since it has 1e8 of them.
    block = _ROWS_PER_BLOCK * PATCH_SIZE**2
    blocks = [pixels[i : i + block] for i in range(0, len(pixels), block)]
    mean = np.sum([b.sum(axis=0, dtype=np.float64) for b in blocks], axis=0) / len(pixels)
    for b in blocks:
        b -= mean.astype(np.float32)
    squares = [np.einsum("nc,nc->c", b, b, dtype=np.float64) for b in blocks]
    variance = np.sum(squares, axis=0) / len(pixels)
    # A channel without any content, such as a constant alpha, stays at zero instead of NaN.
    scale = 1 / np.maximum(np.sqrt(variance), _MIN_STD)
    if silent is not None and silent.any():
        others = variance[~silent]
        # Not below a grey level, the unit where there is nothing to compare with.
        scale[silent] = 1 / np.sqrt(max(others.mean() if len(others) else 1.0, 1.0))
    for b in blocks:
        b *= scale.astype(np.float32)
