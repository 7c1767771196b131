"""Sets of images for the metrics' tests."""

import numpy as np
from scipy import ndimage


def make_images(n, size=32, channels=3, seed=0, blur=1.5, noise=0.0):
    """Returns smooth random images, optionally blurred more or made noisy."""
    rng = np.random.default_rng(seed)
    x = ndimage.gaussian_filter(rng.normal(size=(n, size, size, channels)), (0, 1.5, 1.5, 0))
    extra = max(blur**2 - 1.5**2, 0) ** 0.5
    x = 128 + 300 * ndimage.gaussian_filter(x, (0, extra, extra, 0))
    return np.clip(x + noise * rng.normal(size=x.shape), 0, 255).astype(np.uint8)
