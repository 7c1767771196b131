"""The Laplacian pyramid: SciPy's convolutions, reconstruction, sizes."""

import itertools

import numpy as np
import pytest
from scipy import ndimage

from stylegan_jax.metrics import laplacian_pyramid, num_levels
from stylegan_jax.sizes import is_made
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


@pytest.mark.parametrize(
    ("size", "levels"),
    [
        *(((16, 16), 1), ((32, 32), 2), ((256, 256), 5), ((1024, 1024), 7)),
        *(((48, 32), 2), ((32, 48), 2), ((24, 16), 1), ((1024, 1792), 7)),
        # A shorter side that is no power of two: down to 28, 24 and 20.
        *(((28, 32), 1), ((96, 96), 3), ((160, 200), 4)),
    ],
)
def test_num_levels(size, levels):
    """Levels go from the shorter side down to 16 ... 31."""
    assert num_levels(*size) == levels


def test_every_size_that_networks_make_has_a_pyramid():
    for size in itertools.product(range(16, 200), repeat=2):
        if is_made(size):
            halvings = num_levels(*size) - 1
            assert 16 <= min(size) >> halvings < 32 and size[0] % 2**halvings == 0


@pytest.mark.parametrize("shape", [(8, 8), (15, 64), (33, 33), (32, 33)])
def test_other_sizes_are_refused(shape):
    """Sizes that do not halve down to 16 say what is wanted."""
    with pytest.raises(ValueError, match="until the shorter one has 16 to 31 px"):
        laplacian_pyramid(np.zeros((1, *shape, 3), np.uint8))
