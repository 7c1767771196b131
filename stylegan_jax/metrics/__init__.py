"""Quality metrics: sets of images in, dictionaries of floats out."""

from stylegan_jax.metrics.sliced_wasserstein import (
    evaluate_swd,
    laplacian_pyramid,
    num_levels,
    patch_descriptors,
    real_descriptors,
    sliced_wasserstein,
    swd_floor,
)

__all__ = [
    "evaluate_swd",
    "laplacian_pyramid",
    "num_levels",
    "patch_descriptors",
    "real_descriptors",
    "sliced_wasserstein",
    "swd_floor",
]
