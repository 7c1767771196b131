"""How low a sliced Wasserstein distance can honestly go: that of the reals against themselves."""

import jax
import numpy as np

from stylegan_jax.metrics.patches import NUM_PATCHES, constant_channels
from stylegan_jax.metrics.reals import Images, seed_from_key
from stylegan_jax.metrics.sliced_wasserstein import sliced_wasserstein
from stylegan_jax.metrics.sliced_wasserstein_sides import Stream, drawn_descriptors, stream_key


def check_halves(num_reals: int) -> None:
    """Refuses so few reals that one half of them cannot be compared with the other."""
    if num_reals < 2:
        raise ValueError(
            f"Sliced Wasserstein distance got {num_reals} real image(s); it compares one half of "
            "them with the other, which needs at least 2."
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
    check_halves(len(reals))
    if num_splits < 1:
        raise ValueError(f"num_splits is {num_splits}; it must be at least 1.")
    directions_key = stream_key(key, Stream.DIRECTIONS)
    redraw_key = stream_key(key, Stream.REDRAW)

    def distances(indices_a: np.ndarray, indices_b: np.ndarray) -> dict[str, float]:
        settings = (num_images, mirror, num_patches)
        first = drawn_descriptors(reals, indices_a, key, *settings)
        # The first draw stands for the reals, the second for the fakes.
        constant = constant_channels(first)
        second = drawn_descriptors(reals, indices_b, redraw_key, *settings, constant)
        return sliced_wasserstein(first, second, directions_key)

    # The same images on both sides, then disjoint halves of them, split at random each time.
    everything = np.arange(len(reals))
    floor = distances(everything, everything)
    rng = np.random.default_rng(seed_from_key(stream_key(key, Stream.HALVES)))
    splits = [distances(*np.array_split(rng.permutation(everything), 2)) for _ in range(num_splits)]
    # Accidents of a split are averaged out, level by level.
    mean_split = {name: float(np.mean([s[name] for s in splits])) for name in floor}
    return {
        name.replace("swd", f"swd_{kind}"): value
        for kind, result in (("floor", floor), ("split", mean_split))
        for name, value in result.items()
    }
