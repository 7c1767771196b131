"""Sliced Wasserstein distance between two sets of images (ProGAN's own metric).

Images are split into a Laplacian pyramid (laplacian_pyramid.py), small random patches are cut from
each level (patches.py), and the two clouds of patches are compared along random directions, where
the Wasserstein distance is the mean gap between sorted values. Low means alike: the finest level
speaks of detail, 16 px of layout. A channel's contrast is not compared, but one that never varies
in the reals, such as an opaque alpha, has none: what fakes show there is measured by that of the
others.

    reals = real_descriptors(real_images, key, num_images=1024)         # once per run
    floor = swd_floor(real_images, key, num_images=1024)                # once per run
    score = evaluate_swd(reals, fake_batches, key)                      # at each snapshot

`SwdScore` is these three lines as a run keeps them. Both sides always hold the same number of
images, since the distance of finite sets falls with their size: scores are comparable only at equal
`num_images`, and only beside the floor they come with.

Source: Karras et al. 2018 (ProGAN), section 5.
"""

from collections.abc import Callable, Iterable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from stylegan_jax.metrics.laplacian_pyramid import num_levels
from stylegan_jax.metrics.patches import (
    NUM_PATCHES,
    PATCH_SIZE,
    constant_channels,
    patch_descriptors,
)
from stylegan_jax.metrics.reals import Images, draw_reals, seed_from_key

NUM_REPEATS = 4
NUM_DIRECTIONS = 128  # per repeat
SCALE = 1e3  # published numbers are distances times a thousand

# Streams of randomness drawn from the one key of a caller.
_ROLE_ORDER, _ROLE_PATCHES, _ROLE_FAKES, _ROLE_DIRECTIONS, _ROLE_REDRAW, _ROLE_HALVES = range(6)

_DIRECTIONS_PER_BLOCK = 32
# Values of patches that lie on a device at once, beside the state of a run: 2.4 GB.
_VALUES_ON_DEVICE = 2**22 * 3 * PATCH_SIZE**2


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
    parts_a = _parts(rows_a)
    parts_b = _parts(rows_b)
    total = 0.0
    for i in range(0, directions.shape[1], _DIRECTIONS_PER_BLOCK):
        block = directions[:, i : i + _DIRECTIONS_PER_BLOCK]
        # In one dimension the cheapest transport pairs the smallest with the smallest, and so on.
        # NumPy sorts contiguous float32 rows with vector instructions, far ahead of XLA on CPU.
        gap = np.sort(_project_parts(parts_a, block), axis=1)  # [u, n]
        gap -= np.sort(_project_parts(parts_b, block), axis=1)
        total += float(np.abs(gap, out=gap).mean(axis=1, dtype=np.float64).sum())
    return total / directions.shape[1]


def _parts(rows: np.ndarray) -> list[np.ndarray | jax.Array]:
    """Splits patches into what a device takes at once; if that is all, they lie there already."""
    most = max(1, _VALUES_ON_DEVICE // rows.shape[1])
    if len(rows) <= most:
        return [jnp.asarray(rows)]
    return [rows[i : i + most] for i in range(0, len(rows), most)]


def _project_parts(parts: list[np.ndarray | jax.Array], directions: np.ndarray) -> np.ndarray:
    """Returns one row of projections per direction, of all parts side by side."""
    return np.concatenate([np.asarray(_project(part, directions)) for part in parts], axis=1)


@jax.jit
def _project(rows: Float[Array, "n d"], directions: Float[Array, "d u"]) -> Float[Array, "u n"]:
    """Returns one row of projections per direction."""
    # `HIGHEST`, since TPUs would otherwise round to bfloat16.
    return jnp.einsum("nd,du->un", rows, directions, precision=jax.lax.Precision.HIGHEST)


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
    return _drawn_descriptors(reals, np.arange(len(reals)), key, num_images, mirror, num_patches)


def _drawn_descriptors(
    reals: Images,
    allowed: np.ndarray,
    key: jax.Array,
    num_images: int,
    mirror: bool,
    num_patches: int,
    constant: Mapping[int, np.ndarray] | None = None,
) -> dict[int, np.ndarray]:
    """Returns descriptors of `num_images` draws from the reals whose indices are allowed."""
    seed = seed_from_key(jax.random.fold_in(key, _ROLE_ORDER))
    batches = draw_reals(reals, allowed, seed, num_images=num_images, mirror=mirror)
    patch_key = jax.random.fold_in(key, _ROLE_PATCHES)
    return patch_descriptors(
        batches, patch_key, num_images=num_images, num_patches=num_patches, constant=constant
    )


def swd_floor(
    reals: Images,
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
    _check_halves(len(reals))
    if num_splits < 1:
        raise ValueError(f"num_splits is {num_splits}; it must be at least 1.")
    directions_key = jax.random.fold_in(key, _ROLE_DIRECTIONS)
    redraw_key = jax.random.fold_in(key, _ROLE_REDRAW)

    def distances(indices_a: np.ndarray, indices_b: np.ndarray) -> dict[str, float]:
        settings = (num_images, mirror, num_patches)
        first = _drawn_descriptors(reals, indices_a, key, *settings)
        # The first draw stands for the reals, the second for the fakes.
        constant = constant_channels(first)
        second = _drawn_descriptors(reals, indices_b, redraw_key, *settings, constant)
        return sliced_wasserstein(first, second, directions_key)

    # The same images on both sides, then disjoint halves of them, split at random each time.
    everything = np.arange(len(reals))
    floor = distances(everything, everything)
    rng = np.random.default_rng(seed_from_key(jax.random.fold_in(key, _ROLE_HALVES)))
    splits = [distances(*np.array_split(rng.permutation(everything), 2)) for _ in range(num_splits)]
    # Accidents of a split are averaged out, level by level.
    mean_split = {name: float(np.mean([s[name] for s in splits])) for name in floor}
    return {
        name.replace("swd", f"swd_{kind}"): value
        for kind, result in (("floor", floor), ("split", mean_split))
        for name, value in result.items()
    }


def _check_halves(num_reals: int) -> None:
    """Refuses so few reals that one half of them cannot be compared with the other."""
    if num_reals < 2:
        raise ValueError(
            f"Sliced Wasserstein distance got {num_reals} real image(s); it compares one half of "
            "them with the other, which needs at least 2."
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
        jax.random.fold_in(key, _ROLE_FAKES),
        num_images=rows // num_patches,
        num_patches=num_patches,
        constant=constant_channels(reals),
    )
    return sliced_wasserstein(reals, fake_descriptors, jax.random.fold_in(key, _ROLE_DIRECTIONS))


class SwdScore:
    """The distance of a run's samples to its reals: the same images and directions every time.

    `evaluate(draw)` is what is logged, and `describe` a line about it.
    """

    def __init__(self, reals: Images, *, num_images: int, mirror: bool):
        """Remembers what is compared; nothing is computed before the first score.

        Args:
            reals: The training set.
            num_images: Fakes to judge, and draws from the reals.
            mirror: Whether training mirrors its images.

        Raises:
            ValueError: The metric is not defined for the reals' size, or for so few.
        """
        _check_halves(len(reals))
        self._reals = reals
        self._image_shape = np.shape(reals[0])
        num_levels(*self._image_shape[:2])
        self._num_images = num_images
        self._mirror = mirror
        self._descriptors: dict[int, np.ndarray] = {}
        self._floor: dict[str, float] = {}

    def host_bytes(self, num_images: int) -> int:
        """Returns the memory of the host that scoring so many images takes, at most."""
        height, width, channels = self._image_shape
        level = num_images * NUM_PATCHES * PATCH_SIZE**2 * channels * 4  # float32
        # Those of the reals, two more sets while these are compared with themselves, projections of
        # two levels, and what of them is on devices that share the host's memory.
        return level * (3 * num_levels(height, width) + 3)

    def evaluate(
        self, draw: Callable[[int], Iterable[jax.Array]], key: jax.Array
    ) -> dict[str, float]:
        """Scores the fakes that `draw(num_images)` yields.

        Args:
            draw: What draws the fakes.
            key: Random key of everything else; the same one every time.

        Returns:
            `swd`, `swd_<level>`, and the reals against themselves, see swd_floor.
        """
        # The reals' side stays the same throughout a run.
        if not self._descriptors:
            self._descriptors = real_descriptors(
                self._reals, key, num_images=self._num_images, mirror=self._mirror
            )
            self._floor = swd_floor(
                self._reals,
                key,
                num_images=self._num_images,
                mirror=self._mirror,
                num_splits=1,
            )
        return evaluate_swd(self._descriptors, draw(self._num_images), key) | self._floor

    @staticmethod
    def describe(values: Mapping[str, float]) -> str:
        """Says the score, and the reals' own beside it."""
        return f"swd {values['swd']:.1f} (reals against reals {values['swd_floor']:.1f})"
