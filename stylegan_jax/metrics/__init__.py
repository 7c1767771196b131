"""Quality metrics: sets of images in, dictionaries of floats out."""

from stylegan_jax.metrics.features import gather_features
from stylegan_jax.metrics.laplacian_pyramid import laplacian_pyramid, num_levels
from stylegan_jax.metrics.memory import (
    MemoryScore,
    nearest,
    read_small_blocks,
    shrink_for_comparison,
)
from stylegan_jax.metrics.patches import patch_descriptors
from stylegan_jax.metrics.reals import Images, draw_reals
from stylegan_jax.metrics.sliced_wasserstein import (
    SwdScore,
    evaluate_swd,
    real_descriptors,
    sliced_wasserstein,
    swd_floor,
)

__all__ = [
    "Images",
    "MemoryScore",
    "SwdScore",
    "draw_reals",
    "evaluate_swd",
    "gather_features",
    "laplacian_pyramid",
    "nearest",
    "num_levels",
    "patch_descriptors",
    "read_small_blocks",
    "real_descriptors",
    "shrink_for_comparison",
    "sliced_wasserstein",
    "swd_floor",
]
