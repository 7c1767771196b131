"""Samples above the training images that they are nearest to: are they copies?"""

from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from stylegan_jax.inference.generator import Generator
from stylegan_jax.metrics import Images, nearest, read_small_blocks, shrink_for_comparison
from stylegan_jax.run.fakes import GreyLevels
from stylegan_jax.tools.figures.picture import Figure, check_cells
from stylegan_jax.tools.training_images import open_training_images


def _nearest_of_set(fakes: np.ndarray, images: Images) -> tuple[np.ndarray, np.ndarray]:
    """Finds the nearest image of a set that need not fit in memory, as `nearest` does."""
    best = np.full(len(fakes), np.inf)
    index = np.zeros(len(fakes), np.int64)
    with tqdm(total=len(images), desc="comparing", unit=" images", disable=None) as bar:
        for start, block in read_small_blocks(images):
            distances, found = nearest(fakes, block)
            index = np.where(distances < best, start + found, index)
            best = np.minimum(distances, best)
            bar.update(len(block))
    return best, index


def nearest_images(
    generator: Generator,
    *,
    seeds: Sequence[int] = range(12),
    truncation_psi: float = 1.0,
    class_idx: int | str | None = None,
    data: str | None = None,
    data_dir: str | None = None,
) -> Figure:
    """Draws samples, and below each the nearest image that was shown and the nearest that was not.

    The distance is that of `metrics/memory.py`, in grey levels, and stands above each column. The
    third row is there where the run named unseen images (`metrics.memory_unseen`).

    Args:
        generator: A network whose training images can be opened.
        seeds: One column each.
        truncation_psi: Factor on the distance to the mean style.
        class_idx: Class of every image, by number or name; None draws one per seed.
        data: As in `open_training_images`.
        data_dir: As in `open_training_images`.

    Raises:
        ValueError: What `open_training_images` refuses, or more cells than a picture holds.
    """
    images = open_training_images(generator, data, data_dir)
    sources = {"nearest that was shown": images.shown}
    if images.unseen is not None:
        sources["nearest that was not"] = images.unseen

    check_cells(1 + len(sources), len(seeds), generator.shape.size)
    fakes = generator.sample(seeds, truncation_psi=truncation_psi, class_idx=class_idx)
    rows = [fakes]
    distances = []
    for source in sources.values():
        levels: Images = GreyLevels(source)
        found, index = _nearest_of_set(shrink_for_comparison(fakes), levels)
        rows.append(np.stack([levels[i] for i in index]))
        distances.append(found)

    # Above each sample how far it is from what stands below it, in grey levels.
    columns = []
    for column, seed in enumerate(seeds):
        numbers = ", ".join(f"{found[column]:.0f}" for found in distances)
        columns.append(f"seed {seed}\n{numbers}")
    return Figure(np.stack(rows), ["sample", *sources], columns)
