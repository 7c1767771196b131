"""Many styles of a network: their mean, their spread, and the axes along which they vary."""

import numpy as np
from tqdm import tqdm

from stylegan_jax.inference.generator import Generator

# Styles of all layers that are in memory at once.
_PART = 1024


def sample_w(generator: Generator, num: int, *, class_idx: int | str | None = None) -> np.ndarray:
    """Maps the latents of seeds 0 to `num` - 1.

    Args:
        generator: Any network.
        num: How many.
        class_idx: Class of all, by number or name; None draws one per seed.

    Returns:
        float32 `[num, w_dim]`: what all layers of an image read.
    """
    parts = []
    for start in tqdm(range(0, num, _PART), desc="mapping", unit=" parts", disable=None):
        seeds = range(start, min(start + _PART, num))
        parts.append(generator.styles(seeds, class_idx=class_idx)[:, 0])
    return np.concatenate(parts)


def mean_w(generator: Generator) -> np.ndarray:
    """Returns the mean style, float32 `[w_dim]`; zeros, the mean of latents, without styles."""
    if not generator.has_styles or generator.w_avg is None:
        return np.zeros(generator.w_dim, np.float32)
    return generator.w_avg
