"""The Laplacian pyramid: SciPy's convolutions, reconstruction, sizes."""

import numpy as np
import pytest
from scipy import ndimage

from stylegan_jax.metrics import laplacian_pyramid, num_levels
from tests.metrics.images import make_images

BINOMIAL = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256


def scipy_pyramid(image, levels):
    """Pyramid of one [h, w, c] image in float64, straight from its definition."""

    def blur(x):
        return ndimage.convolve(x, BINOMIAL[:, :, None], mode="mirror")

    lowpass, pyramid = image.astype(np.float64), []
    for _ in range(levels - 1):
        coarser = blur(lowpass)[::2, ::2]
        spread = np.zeros_like(lowpass)
        spread[::2, ::2] = coarser
        pyramid.append(lowpass - 4 * blur(spread))
        lowpass = coarser
    return [*pyramid, lowpass]


@pytest.mark.parametrize("shape", [(16, 16, 3), (32, 32, 1), (64, 64, 4), (32, 48, 3)])
def test_pyramid_equals_scipy(shape):
    """Every level is that of a direct convolution with mirrored borders."""
    image = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    levels = num_levels(*shape[:2])
    expected = scipy_pyramid(image, levels)
    actual = laplacian_pyramid(image[None])
    assert len(actual) == levels
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a[0], b, atol=1e-4)  # float32 at 255 grey levels


def test_pyramid_reconstructs_the_image():
    """Adding the levels up from the coarsest gives the image back."""
    image = make_images(1, size=64)
    levels = [np.asarray(level[0], np.float64) for level in laplacian_pyramid(image)]
    x = levels.pop()
    for detail in reversed(levels):
        spread = np.zeros_like(detail)
        spread[::2, ::2] = x
        x = detail + 4 * ndimage.convolve(spread, BINOMIAL[:, :, None], mode="mirror")
    np.testing.assert_allclose(x, image[0], atol=1e-4)


def test_constant_image_has_no_detail():
    """Band-pass levels of a constant are zero up to the border, its low-pass is the constant."""
    detail, lowpass = laplacian_pyramid(np.full((1, 32, 32, 3), 77, np.uint8))
    assert np.all(np.asarray(detail) == 0) and np.all(np.asarray(lowpass) == 77)


@pytest.mark.parametrize(("size", "levels"), [(16, 1), (32, 2), (256, 5), (1024, 7)])
def test_num_levels(size, levels):
    """Levels go from the resolution down to 16."""
    assert num_levels(size, size) == levels


@pytest.mark.parametrize("shape", [(8, 8), (24, 24), (48, 48), (32, 33)])
def test_odd_sizes_are_refused(shape):
    """Sizes that do not halve down to 16 say what is wanted."""
    with pytest.raises(ValueError, match="shorter side of 16, 32"):
        laplacian_pyramid(np.zeros((1, *shape, 3), np.uint8))
