"""Multi-scale structural similarity: how alike two images are, window by window, at five scales.

    ssim(x, y) = l cs,   l  = (2 mu_x mu_y + c1) / (mu_x^2 + mu_y^2 + c1)
                         cs = (2 sigma_xy + c2) / (sigma_x^2 + sigma_y^2 + c2)
    MS-SSIM    = mean(ssim_5)^w_5  prod_{i < 5} mean(cs_i)^w_i

Between pairs of one generator's images it measures variety: the lower the mean, the more there is.
It says nothing about quality. 1 is for equal images.

Source: Wang et al. 2003 (Multiscale structural similarity), eqs. 5-7; Odena et al. 2017 (AC-GAN),
section 4.2, and Karras et al. 2018 (ProGAN), section 6.1, for its use.
"""

from collections.abc import Iterable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from stylegan_jax.ops.fir import upfirdn2d

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the scales, finest first
FILTER_SIZE = 11
SIGMA = 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

# The coarsest scale must hold a window.
SMALLEST_PX = FILTER_SIZE * 2 ** (len(WEIGHTS) - 1)


def ms_ssim(a: Float[Array, "n h w c"], b: Float[Array, "n h w c"]) -> Float[Array, " n"]:
    """Compares pairs of images.

    Windows are Gaussian and lie wholly inside; means are over positions and channels. Where the
    contrasts of two images are opposed on average, the mean of cs is below zero, which has no root:
    it counts as zero.

    Args:
        a: Images in 0..255.
        b: As many others.

    Returns:
        0 to 1.

    Raises:
        ValueError: A side has less than 176 px.

    Checked: tests/metrics/test_ms_ssim.py, against SciPy's filters, scale by scale.
    """
    check_ms_ssim_size(*a.shape[1:3])
    result = jnp.ones(len(a))
    for i, weight in enumerate(WEIGHTS):
        if i:
            a, b = _halve(a), _halve(b)
        similarity, contrast = _similarity(a, b)
        mean = jnp.mean(similarity if i == len(WEIGHTS) - 1 else contrast, axis=(1, 2, 3))
        result *= jnp.maximum(mean, 0) ** weight
    return result


def check_ms_ssim_size(height: int, width: int) -> None:
    """Refuses images that have no five scales.

    Raises:
        ValueError: A side has less than 176 px.
    """
    if min(height, width) < SMALLEST_PX:
        raise ValueError(
            f"Images of {height}x{width}: MS-SSIM halves them four times and then needs windows "
            f"of {FILTER_SIZE} px, so no side may be below {SMALLEST_PX} px."
        )


def mean_ms_ssim(batches: Iterable[np.ndarray | jax.Array]) -> float:
    """Averages the similarity of pairs: the first image with the second, the third with the fourth.

    Args:
        batches: Images [n, h, w, c] in 0..255, in random order, such as a generator draws them. A
            batch's odd last one is left out.

    Raises:
        ValueError: There is no pair, or images are too small.
    """
    values = []
    for batch in batches:
        pairs = len(batch) // 2
        if pairs:
            values.append(np.asarray(_of_pairs(jnp.asarray(batch[: 2 * pairs]))))
    if not values:
        raise ValueError("No batch holds two images; MS-SSIM compares pairs within batches.")
    return float(np.concatenate(values).mean(dtype=np.float64))


@jax.jit
def _of_pairs(images: Array) -> Float[Array, " n"]:
    """Compares images of even and odd positions."""
    images = images.astype(jnp.float32)
    return ms_ssim(images[::2], images[1::2])


def _gaussian() -> np.ndarray:
    """Returns the window along one axis, of sum 1."""
    x = np.arange(FILTER_SIZE) - FILTER_SIZE // 2
    taps = np.exp(-0.5 * (x / SIGMA) ** 2)
    return taps / taps.sum()


def _similarity(
    a: Float[Array, "n h w c"], b: Float[Array, "n h w c"]
) -> tuple[Float[Array, "n p q c"], Float[Array, "n p q c"]]:
    """Returns ssim and its part cs for every window."""
    # Variances are differences of means of squares: fewer digits cancel about the middle grey.
    x, y = a - 127.5, b - 127.5
    moments = jnp.concatenate([x, y, x * x, y * y, x * y], axis=-1)
    window = np.outer(_gaussian(), _gaussian())
    mean_x, mean_y, xx, yy, xy = jnp.split(upfirdn2d(moments, window), 5, axis=-1)
    variances = (xx - mean_x**2) + (yy - mean_y**2)
    covariance = xy - mean_x * mean_y
    mean_x, mean_y = mean_x + 127.5, mean_y + 127.5
    luminance = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    contrast = (2 * covariance + _C2) / (variances + _C2)
    return luminance * contrast, contrast


def _halve(x: Float[Array, "n h w c"]) -> Float[Array, "n p q c"]:
    """Averages 2 x 2 pixels; of an odd side the last ones are averaged with themselves."""
    n, height, width, c = x.shape
    x = jnp.pad(x, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return x.reshape(n, (height + 1) // 2, 2, (width + 1) // 2, 2, c).mean(axis=(2, 4))
