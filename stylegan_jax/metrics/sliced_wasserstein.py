"""Sliced Wasserstein distance between two sets of images (ProGAN's own metric).

Images are split into a Laplacian pyramid, small random patches are cut from each level, and the two
clouds of patches are compared along random directions, where the Wasserstein distance is the mean
gap between sorted values. Low means alike: the finest level speaks of detail, 16 px of layout.

    reals = real_descriptors(real_images, key, num_images=1024)         # once per run
    floor = swd_floor(real_images, key, num_images=1024)                # once per run
    score = evaluate_swd(reals, fake_batches, key)                      # at each snapshot

Both sides always hold the same number of images, since the distance of finite sets falls with their
size: scores are comparable only at equal `num_images`, and only beside the floor they come with.

Source: Karras et al. 2018 (ProGAN), section 5.
"""

import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

BINOMIAL_TAPS = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
MIN_RESOLUTION = 16
PATCH_SIZE = 7
NUM_PATCHES = 128  # per image and level
NUM_REPEATS = 4
NUM_DIRECTIONS = 128  # per repeat
SCALE = 1e3  # published numbers are distances times a thousand

# Streams of randomness drawn from the one key of a caller.
_ROLE_ORDER, _ROLE_PATCHES, _ROLE_FAKES, _ROLE_DIRECTIONS, _ROLE_REDRAW, _ROLE_HALVES = range(6)

_CHUNK_PIXELS = 2**22  # pixels per compiled call: bounds device memory at 1024 px
_MAX_CHUNK_IMAGES = 64
_ROWS_PER_BLOCK = 2**16
_DIRECTIONS_PER_BLOCK = 32
_MIN_STD = 1e-3  # grey levels; far below one step of an 8-bit image


@runtime_checkable
class ImageSource(Protocol):
    """An array [n, h, w, c], a memory map, or a data source that reads one image at a time."""

    def __len__(self) -> int:
        """Returns the number of images."""
        ...

    def __getitem__(self, index: int) -> np.ndarray:
        """Returns one uint8 image [h, w, c]."""
        ...


def num_levels(height: int, width: int) -> int:
    """Returns how many pyramid levels an image has, the last one 16 px on its shorter side.

    Args:
        height: Image height in pixels.
        width: Image width in pixels.

    Returns:
        1 at 16 px, 2 at 32 px, ... 7 at 1024 px.

    Raises:
        ValueError: The shorter side is not 16, 32, 64, ..., or the longer one cannot be halved as
            often.
    """
    short, long = sorted((height, width))
    halvings = max(short // MIN_RESOLUTION, 1).bit_length() - 1
    if short != MIN_RESOLUTION << halvings or long % (1 << halvings):
        raise ValueError(
            f"Sliced Wasserstein distance got {height}x{width} images; it wants a shorter side of "
            f"16, 32, 64, ... 1024 pixels and a longer side that halves down with it. "
            f"Resize or crop both sets."
        )
    return halvings + 1


def laplacian_pyramid(images: jax.Array | np.ndarray) -> list[jax.Array]:
    """Splits images into band-pass levels, from full resolution down to 16 px.

    level_i = g_i - up(g_{i+1}) with g_{i+1} = down(g_i); the last level is the low-pass g itself.

    Args:
        images: uint8 or float images [n, h, w, c] in grey levels, 0 to 255.

    Returns:
        float32 levels [n, h / 2^i, w / 2^i, c] in grey levels, finest first.

    Raises:
        ValueError: The size does not halve down to 16 px.

    Source: Burt & Adelson 1983; mirror borders as in ProGAN.
    Checked: tests/metrics/test_sliced_wasserstein.py vs scipy.ndimage, and by reconstruction.
    """
    return _laplacian_pyramid(images, num_levels(*images.shape[1:3]))


@functools.partial(jax.jit, static_argnums=1)
def _laplacian_pyramid(images, levels):
    """Compiled body of laplacian_pyramid."""
    lowpass = jnp.asarray(images, jnp.float32)
    pyramid = []
    for _ in range(levels - 1):
        coarser = _pyramid_down(lowpass)
        pyramid.append(lowpass - _pyramid_up(coarser))
        lowpass = coarser
    return [*pyramid, lowpass]


def _blur(x):
    """Filters height and width with the binomial taps, borders mirrored without repeating them."""
    for axis in (1, 2):
        size = x.shape[axis]
        padding = [(0, 0)] * 4
        padding[axis] = (2, 2)
        padded = jnp.pad(x, padding, mode="reflect")
        x = jnp.zeros_like(x)
        for i, tap in enumerate(BINOMIAL_TAPS):
            x += tap * jax.lax.slice_in_dim(padded, i, i + size, axis=axis)
    return x


def _pyramid_down(x):
    """Halves the resolution: [n, h, w, c] -> [n, h/2, w/2, c]."""
    return _blur(x)[:, ::2, ::2]


def _pyramid_up(x):
    """Doubles the resolution: [n, h, w, c] -> [n, 2h, 2w, c]."""
    spread = jax.lax.pad(x, jnp.float32(0), [(0, 0, 0), (0, 1, 1), (0, 1, 1), (0, 0, 0)])
    return 4 * _blur(spread)  # zero insertion leaves a quarter of the energy


def patch_descriptors(
    batches: Iterable[np.ndarray],
    key: jax.Array,
    *,
    num_images: int,
    num_patches: int = NUM_PATCHES,
) -> dict[int, np.ndarray]:
    """Cuts random patches from each pyramid level of a stream of images and normalises them.

    Only the patches are kept, so the images themselves may stream: 1024 images of 3 channels take
    77 MB per level, 16,384 take 1.2 GB. Each channel of a level is brought to zero mean and unit
    variance over all patches of the set, so overall colour and contrast are not compared.

    Args:
        batches: uint8 batches [n, h, w, c] of any, also varying, n.
        key: Random key. Positions depend on it and on the index of the image in the stream alone,
            never on how the stream is cut into batches.
        num_images: Images to take; the rest of the stream is left unread.
        num_patches: Patches per image and level.

    Returns:
        float32 arrays [num_images * num_patches, 49 * c], by the shorter side of the level in
        pixels, finest first. `np.savez` keeps them if they are dear to compute.

    Raises:
        ValueError: Not uint8, sizes or channels change on the way, fewer images than asked, or a
            size that does not halve down to 16 px.
    """
    descriptors: dict[int, np.ndarray] = {}
    image_shape: tuple[int, ...] = ()
    for start, images in _chunks(batches, num_images):
        if not descriptors:
            image_shape = images.shape[1:]
            descriptors = _allocate(image_shape, num_images, num_patches)
        if images.shape[1:] != image_shape:
            raise ValueError(
                f"Image {start} of the set has shape {images.shape[1:]}, those before have "
                f"{image_shape}; all must agree. Resize or convert the odd ones."
            )
        levels = _cut_patches(images, start, key, num_patches)
        stop = min(start + len(images), num_images)
        for rows, level in zip(descriptors.values(), levels, strict=True):
            filled = rows[start * num_patches : stop * num_patches]
            filled[...] = np.asarray(level)[: len(filled)]
    for rows in descriptors.values():
        _normalize(rows, rows.shape[1] // PATCH_SIZE**2)
    return descriptors


def _chunks(batches: Iterable[np.ndarray], num_images: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yields (index of the first image, images), equal in size so that one program serves all."""
    if num_images < 1:
        raise ValueError(f"num_images is {num_images}; it must be at least 1.")
    start = 0
    for batch in batches:
        images = np.asarray(batch)
        _check_images(images)
        size = np.clip(_CHUNK_PIXELS // (images.shape[1] * images.shape[2]), 1, _MAX_CHUNK_IMAGES)
        images = images[: num_images - start]
        for offset in range(0, len(images), size):
            chunk = images[offset : offset + size]
            fill = [(0, size - len(chunk)), (0, 0), (0, 0), (0, 0)]
            yield start + offset, np.pad(chunk, fill, mode="edge")
        start += len(images)
        if start == num_images:
            return
    raise ValueError(
        f"The stream of images ended after {start}, num_images={num_images} were asked for. "
        f"Supply more or lower num_images on both sides."
    )


def _check_images(images: np.ndarray) -> None:
    """Refuses anything but a batch of 8-bit images."""
    if images.dtype != np.uint8 or images.ndim != 4:
        raise ValueError(
            f"Sliced Wasserstein distance got {images.dtype} of shape {images.shape}; it wants "
            f"uint8 images [n, h, w, c]. Convert network output from [-1, 1] to 0..255 first."
        )


def _allocate(image_shape, num_images, num_patches):
    """Returns one empty descriptor array per level."""
    height, width, channels = image_shape
    shape = (num_images * num_patches, PATCH_SIZE**2 * channels)
    short = min(height, width)
    return {short >> i: np.empty(shape, np.float32) for i in range(num_levels(height, width))}


@functools.partial(jax.jit, static_argnums=3)
def _cut_patches(images, start, key, num_patches):
    """Returns [n * num_patches, 49 * c] for each pyramid level of [n, h, w, c]."""
    n, _, _, channels = images.shape
    image_keys = jax.vmap(jax.random.fold_in, (None, 0))(key, start + jnp.arange(n))
    cut = functools.partial(_cut_from_image, num_patches=num_patches)
    patches = [
        jax.vmap(cut)(level, jax.vmap(jax.random.fold_in, (0, None))(image_keys, i))
        for i, level in enumerate(laplacian_pyramid(images))
    ]
    return [p.reshape(n * num_patches, PATCH_SIZE**2 * channels) for p in patches]


def _cut_from_image(image, key, num_patches):
    """Cuts patches at uniform positions that lie wholly inside: [h, w, c] -> [p, 7, 7, c]."""
    height, width, channels = image.shape
    limits = jnp.array([height - PATCH_SIZE + 1, width - PATCH_SIZE + 1])
    corners = jax.random.randint(key, (num_patches, 2), 0, limits)
    size = (PATCH_SIZE, PATCH_SIZE, channels)
    return jax.vmap(lambda yx: jax.lax.dynamic_slice(image, (yx[0], yx[1], 0), size))(corners)


def _normalize(rows: np.ndarray, channels: int) -> None:
    """Brings each channel to zero mean and unit variance over all rows, in place."""
    pixels = rows.reshape(-1, channels)
    block = _ROWS_PER_BLOCK * PATCH_SIZE**2
    blocks = [pixels[i : i + block] for i in range(0, len(pixels), block)]
    mean = np.sum([b.sum(axis=0, dtype=np.float64) for b in blocks], axis=0) / len(pixels)
    for b in blocks:
        b -= mean.astype(np.float32)
    squares = [np.einsum("nc,nc->c", b, b, dtype=np.float64) for b in blocks]
    variance = np.sum(squares, axis=0) / len(pixels)
    # A channel without any content, such as a constant alpha, stays at zero instead of NaN.
    scale = 1 / np.maximum(np.sqrt(variance), _MIN_STD)
    for b in blocks:
        b *= scale.astype(np.float32)


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
        level_key = jax.random.fold_in(key, level)
        directions = _directions(level_key, rows_a.shape[1], num_repeats * num_directions)
        result[f"swd_{level}"] = _mean_sorted_gap(rows_a, descriptors_b[level], directions) * SCALE
    result["swd"] = float(np.mean(list(result.values())))
    return result


def _check_comparable(descriptors_a, descriptors_b):
    """Refuses sets whose sorted projections cannot be paired."""
    shapes_a = {level: rows.shape for level, rows in descriptors_a.items()}
    shapes_b = {level: rows.shape for level, rows in descriptors_b.items()}
    if shapes_a != shapes_b or not shapes_a:
        raise ValueError(
            f"The two sets of descriptors have (patches, 49 * channels) by level {shapes_a} and "
            f"{shapes_b}; sorting pairs them one to one, so they must be equal. Use the same "
            f"resolution, channels, num_images and num_patches for both."
        )


def _directions(key, dimensions, count):
    """Returns uniform unit vectors [dimensions, count]."""
    directions = np.array(jax.random.normal(key, (dimensions, count), jnp.float32))
    return directions / np.linalg.norm(directions, axis=0)


def _mean_sorted_gap(rows_a, rows_b, directions):
    """Averages |sort(A u) - sort(B u)|, a few directions at a time to bound memory."""
    rows_a, rows_b = jnp.asarray(rows_a), jnp.asarray(rows_b)
    total = 0.0
    for i in range(0, directions.shape[1], _DIRECTIONS_PER_BLOCK):
        block = directions[:, i : i + _DIRECTIONS_PER_BLOCK]
        # NumPy sorts contiguous float32 rows with vector instructions, far ahead of XLA on CPU.
        gap = np.sort(_project(rows_a, block), axis=1)
        gap -= np.sort(_project(rows_b, block), axis=1)
        total += float(np.abs(gap, out=gap).mean(axis=1, dtype=np.float64).sum())
    return total / directions.shape[1]


@jax.jit
def _project(rows, directions):
    """Returns one row of projections per direction; TPUs would otherwise round to bfloat16."""
    return jnp.einsum("nd,du->un", rows, directions, precision=jax.lax.Precision.HIGHEST)


def real_descriptors(
    reals: ImageSource,
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
    return _drawn_descriptors(reals, np.arange(len(reals)), key, num_images, mirror, num_patches)


def _drawn_descriptors(reals, allowed, key, num_images, mirror, num_patches):
    """Returns descriptors of `num_images` draws from the reals whose indices are allowed."""
    if len(allowed) == 0:
        raise ValueError("The set of reals is empty; at least one image is needed.")
    order = _draw_order(len(allowed) * (2 if mirror else 1), num_images, key)
    indices, mirrored = allowed[order % len(allowed)], order >= len(allowed)
    batches = _gather(reals, indices, mirrored)
    patch_key = jax.random.fold_in(key, _ROLE_PATCHES)
    return patch_descriptors(batches, patch_key, num_images=num_images, num_patches=num_patches)


def _draw_order(size: int, count: int, key: jax.Array) -> np.ndarray:
    """Returns `count` indices below `size`: shuffled rounds, each index once per round."""
    rng = np.random.default_rng(_seed(jax.random.fold_in(key, _ROLE_ORDER)))
    rounds = [rng.permutation(size) for _ in range(-(-count // size))]
    return np.concatenate(rounds)[:count]


def _seed(key: jax.Array) -> int:
    """Draws a NumPy seed from a JAX key: host-side orders need no device program."""
    return int(jax.random.bits(key))


def _gather(reals, indices, mirrored):
    """Yields batches of the reals at the given indices, some of them mirrored left to right."""
    for i in range(0, len(indices), _MAX_CHUNK_IMAGES):
        chosen = zip(
            indices[i : i + _MAX_CHUNK_IMAGES], mirrored[i : i + _MAX_CHUNK_IMAGES], strict=True
        )
        images = [np.asarray(reals[j])[:, ::-1] if flip else reals[j] for j, flip in chosen]
        shapes = sorted({np.shape(image) for image in images})
        if len(shapes) > 1:
            raise ValueError(
                f"The reals have different shapes, among them {shapes[0]} and {shapes[1]}; all "
                f"must agree. Resize or convert the odd ones."
            )
        yield np.stack(images)


def swd_floor(
    reals: ImageSource,
    key: jax.Array,
    *,
    num_images: int,
    mirror: bool = False,
    num_patches: int = NUM_PATCHES,
    num_splits: int = 4,
) -> dict[str, float]:
    """Scores the reals against themselves: how low a generator's score can honestly go.

    Two references, both made of `num_images` draws a side like every score:

    - `swd_floor`: the reals drawn twice by the same rule, with other orders and patches. With fewer
      reals than `num_images` the images are the same on both sides, so this is what a generator
      scores that has memorised the training set. Lower is luck.
    - `swd_split`: two disjoint random halves of the reals, averaged over several ways to split.
      Images differ, and there are only half as many on each side, so this also holds the accident
      of which images were collected.

    A perfect generator that draws new images from the true distribution lands between the two on
    average. A score near `swd_floor` but far below `swd_split` suggests copies, not skill. With
    many more reals than `num_images` the two meet.

    Args:
        reals: As in real_descriptors.
        key: The key given to real_descriptors and evaluate_swd: the first draw and the directions
            are then the same as theirs.
        num_images: As for the score.
        mirror: As for the score. Halves are split first: no image meets its own mirror image.
        num_patches: As for the score.
        num_splits: Ways to split; each costs as much as two evaluations.

    Returns:
        `swd_floor_<level>`, `swd_floor`, `swd_split_<level>` and `swd_split`.

    Raises:
        ValueError: Fewer than two reals, no splits, or as in patch_descriptors.
    """
    if len(reals) < 2:
        raise ValueError(f"Got {len(reals)} reals; two disjoint halves need at least 2.")
    if num_splits < 1:
        raise ValueError(f"num_splits is {num_splits}; it must be at least 1.")
    directions_key = jax.random.fold_in(key, _ROLE_DIRECTIONS)
    redraw_key = jax.random.fold_in(key, _ROLE_REDRAW)

    def distances(indices_a, indices_b):
        first, second = (
            _drawn_descriptors(reals, indices, side_key, num_images, mirror, num_patches)
            for indices, side_key in ((indices_a, key), (indices_b, redraw_key))
        )
        return sliced_wasserstein(first, second, directions_key)

    everything = np.arange(len(reals))
    floor = distances(everything, everything)
    rng = np.random.default_rng(_seed(jax.random.fold_in(key, _ROLE_HALVES)))
    splits = [distances(*np.array_split(rng.permutation(everything), 2)) for _ in range(num_splits)]
    mean_split = {name: float(np.mean([s[name] for s in splits])) for name in floor}
    return {
        name.replace("swd", f"swd_{kind}"): value
        for kind, result in (("floor", floor), ("split", mean_split))
        for name, value in result.items()
    }


def evaluate_swd(
    reals: Mapping[int, np.ndarray],
    fakes: Iterable[np.ndarray],
    key: jax.Array,
    *,
    num_patches: int = NUM_PATCHES,
) -> dict[str, float]:
    """Scores a stream of generated images against kept descriptors of the reals.

    Takes as many fakes as the reals' descriptors hold images. With the same key throughout a run,
    patches and directions repeat, so that scores differ by the generator alone.

    Args:
        reals: Result of real_descriptors.
        fakes: uint8 batches [n, h, w, c]; what is left over stays unread.
        key: Random key; the same as for real_descriptors and swd_floor.
        num_patches: As for the reals.

    Returns:
        `swd_<level>` and `swd`, as in sliced_wasserstein.

    Raises:
        ValueError: Too few fakes, or resolution or channels unlike the reals'.
    """
    rows = len(next(iter(reals.values())))
    if rows % num_patches:
        raise ValueError(
            f"The reals' descriptors hold {rows} patches, not a multiple of "
            f"num_patches={num_patches}; pass the num_patches that they were made with."
        )
    fake_descriptors = patch_descriptors(
        fakes,
        jax.random.fold_in(key, _ROLE_FAKES),
        num_images=rows // num_patches,
        num_patches=num_patches,
    )
    return sliced_wasserstein(reals, fake_descriptors, jax.random.fold_in(key, _ROLE_DIRECTIONS))
