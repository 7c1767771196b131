"""MS-SSIM against SciPy's filters, and known answers."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from stylegan_jax.metrics import mean_ms_ssim, ms_ssim
from stylegan_jax.metrics.ms_ssim import WEIGHTS

# The smallest there are, one side odd on the way down: one program for all tests.
SIZE = (176, 179)


def images(rng, n=1, blur=2.0):
    x = ndimage.gaussian_filter(rng.normal(size=(n, *SIZE, 2)), (0, blur, blur, 0))
    return np.clip(128 + 150 * blur * x, 0, 255).astype(np.uint8)


def filtered(x):
    """Gaussian windows of 11 px and deviation 1.5 that lie wholly inside."""
    for axis in (0, 1):
        x = ndimage.gaussian_filter1d(x, 1.5, axis=axis, radius=5)
    return x[5:-5, 5:-5]


def reference(a, b):
    """Wang et al. 2003, scale by scale in float64."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    result = 1.0
    for i, weight in enumerate(WEIGHTS):
        mean_a, mean_b = filtered(a), filtered(b)
        var_a, var_b = filtered(a * a) - mean_a**2, filtered(b * b) - mean_b**2
        covariance = filtered(a * b) - mean_a * mean_b
        contrast = (2 * covariance + c2) / (var_a + var_b + c2)
        luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
        mean = np.mean(contrast * luminance if i == 4 else contrast)
        result *= max(mean, 0) ** weight
        box = np.ones((2, 2, 1)) / 4
        a, b = (ndimage.convolve(x, box, mode="reflect")[::2, ::2] for x in (a, b))
    return result


def test_it_is_what_scipy_says(rng):
    """Of pairs that are alike, that differ in brightness, and that have nothing in common."""
    a = images(rng)[0]
    noisy = np.clip(a + rng.normal(0, 25, a.shape), 0, 255).astype(np.uint8)
    darker = (a * 0.6).astype(np.uint8)
    for b in (noisy, darker, images(rng)[0]):
        want = reference(a, b)
        np.testing.assert_allclose(mean_ms_ssim([np.stack([a, b])]), want, rtol=1e-5, atol=1e-7)
    assert reference(a, noisy) > 0.5 > reference(a, images(rng)[0])


def test_known_answers(rng):
    a = images(rng)
    assert mean_ms_ssim([np.concatenate([a, a])]) == pytest.approx(1, abs=1e-6)
    assert mean_ms_ssim([np.concatenate([a, 255 - a])]) == 0  # contrasts are opposed
    black, white = (np.full_like(a, v) for v in (0, 255))
    c1 = (0.01 * 255) ** 2
    want = (c1 / (255**2 + c1)) ** WEIGHTS[-1]
    got = mean_ms_ssim([np.concatenate([black, white])])
    np.testing.assert_allclose(got, want, rtol=1e-3)


def test_less_variety_is_more_alike(rng):
    """More noise on the second image of each pair: less alike."""
    a = images(rng)[0]
    noise = rng.normal(size=a.shape)
    scores = []
    for amount in (0, 10, 40, 160):
        b = np.clip(a + amount * noise, 0, 255).astype(np.uint8)
        scores.append(mean_ms_ssim([np.stack([a, b])]))
    assert sorted(scores)[::-1] == scores and scores[0] > 0.999 and scores[-1] < 0.6


def test_pairs_of_batches(rng):
    """The odd one of a batch is left out."""
    a, b, c = images(rng, 3, blur=4)
    first, second = mean_ms_ssim([np.stack([a, b])]), mean_ms_ssim([np.stack([b, c])])
    both = mean_ms_ssim([np.stack([a, b, c]), np.stack([b, c]), a[None]])
    np.testing.assert_allclose(both, (first + second) / 2, rtol=1e-6)


def test_errors_say_what_to_do():
    for size in ((175, 300), (300, 175), (32, 32)):
        img = jnp.zeros((2, *size, 3))
        with pytest.raises(ValueError, match=f"{size[0]}x{size[1]}.*below 176 px"):
            ms_ssim(img, img)
    with pytest.raises(ValueError, match="No batch holds two images"):
        mean_ms_ssim([np.zeros((1, *SIZE, 3), np.uint8)])
