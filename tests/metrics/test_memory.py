"""Nearest training images by known answers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stylegan_jax.metrics import memory
from stylegan_jax.metrics.memory import MemoryScore, nearest, shrink_for_comparison

KEY = jax.random.key(0)


def shifted(image, dy, dx):
    """The image moved, its border repeated."""
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="edge")
    return padded[1 - dy : 1 - dy + image.shape[0], 1 - dx : 1 - dx + image.shape[1]]


def test_against_a_loop(rng):
    images = rng.integers(0, 256, (4, 6, 5, 3), dtype=np.uint8)
    references = rng.integers(0, 256, (7, 6, 5, 3), dtype=np.uint8)
    distances, index = nearest(images, references)
    for i, image in enumerate(images):
        want = [
            min(
                np.sqrt(np.mean((image.astype(float) - shifted(reference, dy, dx)) ** 2))
                for dy in (-1, 0, 1)
                for dx in (-1, 0, 1)
            )
            for reference in references
        ]
        assert index[i] == np.argmin(want)
        np.testing.assert_allclose(distances[i], min(want), rtol=1e-4)


def test_copies_are_found_however_they_are_moved(rng):
    references = rng.integers(0, 256, (300, 8, 8, 3), dtype=np.uint8)  # more than a block
    images = np.stack([references[3], shifted(references[280], 1, -1)])
    distances, index = nearest(images, references)
    assert index.tolist() == [3, 280]
    np.testing.assert_allclose(distances, 0, atol=0.1)  # float32 sums of squares of 128
    distances, _ = nearest(images[:1] // 2 + 10, references[3:4] // 2, max_shift=0)
    np.testing.assert_allclose(distances, 10, rtol=1e-4)


def test_large_images_are_compared_small(rng):
    images = rng.integers(0, 256, (2, 256, 128, 1), dtype=np.uint8)
    small = shrink_for_comparison(images)
    assert small.shape == (2, 64, 32, 1)
    np.testing.assert_allclose(small[1, 5, 7, 0], images[1, 20:24, 28:32].mean(), rtol=1e-6)
    assert shrink_for_comparison(images[:, :64, :64]).shape == (2, 64, 64, 1)


@pytest.mark.parametrize("channels", [2, 16])
def test_any_channels_are_compared(rng, channels):
    """A channel that never varies takes no part: it only counts in the mean."""
    images = rng.integers(0, 256, (4, 8, 8, channels), dtype=np.uint8)
    images[..., -1] = 255
    distances, _ = nearest(images[:2], images[2:])
    expected, _ = nearest(images[:2, ..., :-1], images[2:, ..., :-1])
    np.testing.assert_allclose(distances, expected * (1 - 1 / channels) ** 0.5, rtol=1e-4)


def test_a_generator_that_copies_and_one_that_does_not(rng):
    reals = rng.integers(0, 256, (20, 16, 16, 3), dtype=np.uint8)
    unseen = rng.integers(0, 256, (10, 16, 16, 3), dtype=np.uint8)
    new = rng.integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)
    score = MemoryScore(reals, unseen, num_images=10)
    copies = score.evaluate(lambda n: map(jnp.asarray, (reals[:6], reals[6:12])), KEY)
    assert copies["memory_copies"] == 1 and copies["memory"] > 50
    assert copies["memory_fakes_p50"] < 0.1 and copies["memory_new"] == 0
    # Three in ten are what was never shown.
    mixed = score.evaluate(lambda n: map(jnp.asarray, (reals[:7], unseen[:3])), KEY)
    assert mixed["memory_new"] == pytest.approx(0.3)
    honest = score.evaluate(lambda n: map(jnp.asarray, (new[:6], new[6:])), KEY)
    assert honest["memory_copies"] < 0.5 and 0.9 < honest["memory"] < 1.1
    assert honest["memory_unseen_p50"] == copies["memory_unseen_p50"]
    told = score.describe(honest | {"memory_copies": 0.0, "memory_new": 0.3})
    assert "0% look like copies, 30% are most like an unseen one" in told


def test_large_sets_are_read_in_parts(rng, monkeypatch):
    monkeypatch.setattr(memory, "_BLOCK", 3)
    images = rng.integers(0, 256, (7, 128, 128, 1), dtype=np.uint8)
    small = memory.read_small(images)
    np.testing.assert_array_equal(small, shrink_for_comparison(images))
    # In parts, too, they are compared; of equal references the first is the nearest.
    distances, index = nearest(small[[6, 2, 5, 0]], np.concatenate([small, small]))
    assert index.tolist() == [6, 2, 5, 0]
    np.testing.assert_allclose(distances, 0, atol=0.5)  # float32 sums of 4096 squares


def test_sets_that_cannot_be_compared(rng):
    with pytest.raises(ValueError, match="at least one reference"):
        nearest(np.zeros((1, 4, 4, 3)), np.zeros((0, 4, 4, 3)))
    with pytest.raises(ValueError, match="got 20 of them and 0 unseen"):
        MemoryScore(
            np.zeros((20, 4, 4, 3), np.uint8), np.zeros((0, 4, 4, 3), np.uint8), num_images=2
        )
