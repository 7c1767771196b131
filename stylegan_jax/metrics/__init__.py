"""Quality metrics: sets of images or of their features in, floats out."""

from stylegan_jax.metrics.equivariance import Move, decibels, plan_move, squared_errors
from stylegan_jax.metrics.features import gather_features
from stylegan_jax.metrics.frechet import (
    Moments,
    frechet_distance,
    frechet_infinity,
    moments_distance,
)
from stylegan_jax.metrics.inception_score import (
    InceptionScore,
    class_probabilities,
    inception_score,
)
from stylegan_jax.metrics.kernel import (
    KernelDistance,
    kernel_distance,
    kernel_distance_of_subsets,
)
from stylegan_jax.metrics.laplacian_pyramid import laplacian_pyramid, num_levels
from stylegan_jax.metrics.memory import (
    MemoryScore,
    nearest,
    read_small_blocks,
    shrink_for_comparison,
)
from stylegan_jax.metrics.ms_ssim import mean_ms_ssim, ms_ssim
from stylegan_jax.metrics.patches import patch_descriptors
from stylegan_jax.metrics.path_length import (
    PathSettings,
    path_distances,
    sample_distances,
    trimmed_mean,
)
from stylegan_jax.metrics.precision_recall import Manifold, PrecisionRecall, precision_recall
from stylegan_jax.metrics.reals import Images, draw_reals
from stylegan_jax.metrics.separability import Separability, separability
from stylegan_jax.metrics.sliced_wasserstein import sliced_wasserstein
from stylegan_jax.metrics.sliced_wasserstein_floor import swd_floor
from stylegan_jax.metrics.sliced_wasserstein_score import SwdScore
from stylegan_jax.metrics.sliced_wasserstein_sides import evaluate_swd, real_descriptors
from stylegan_jax.metrics.spectrum import Profiles, average_spectrum, make_profiles

__all__ = [
    "Images",
    "InceptionScore",
    "KernelDistance",
    "Manifold",
    "MemoryScore",
    "Moments",
    "Move",
    "PathSettings",
    "PrecisionRecall",
    "Profiles",
    "Separability",
    "SwdScore",
    "average_spectrum",
    "class_probabilities",
    "decibels",
    "draw_reals",
    "evaluate_swd",
    "frechet_distance",
    "frechet_infinity",
    "gather_features",
    "inception_score",
    "kernel_distance",
    "kernel_distance_of_subsets",
    "laplacian_pyramid",
    "make_profiles",
    "mean_ms_ssim",
    "moments_distance",
    "ms_ssim",
    "nearest",
    "num_levels",
    "patch_descriptors",
    "path_distances",
    "plan_move",
    "precision_recall",
    "read_small_blocks",
    "real_descriptors",
    "sample_distances",
    "separability",
    "shrink_for_comparison",
    "sliced_wasserstein",
    "squared_errors",
    "swd_floor",
    "trimmed_mean",
]
