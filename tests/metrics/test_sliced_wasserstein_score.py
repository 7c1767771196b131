"""The sliced Wasserstein distance as a score of a run."""

import jax
import pytest

from stylegan_jax.metrics import (
    SwdScore,
    evaluate_swd,
    real_descriptors,
    swd_floor,
)
from tests.metrics.images import make_images

KEY = jax.random.key(0)


def test_the_score_of_a_run_is_these_three():
    """Reals, their floor and the fakes' score, all of one key; the reals are read once."""
    reals, fakes = make_images(5, size=16), make_images(8, size=16, seed=1)
    asked = []

    def draw(num_images):
        asked.append(num_images)
        yield fakes

    score = SwdScore(reals, num_images=6, mirror=True)
    values = score.evaluate(draw, KEY)
    sides = dict(num_images=6, mirror=True)
    floor = swd_floor(reals, KEY, num_splits=1, **sides)
    assert values == evaluate_swd(real_descriptors(reals, KEY, **sides), [fakes], KEY) | floor
    reals[...] = 0
    assert score.evaluate(draw, KEY) == values and asked == [6, 6]
    line = score.describe({"swd": 45.12, "swd_floor": 6.61})
    assert line == "swd 45.1 (reals against reals 6.6)"


def test_a_score_without_levels_is_refused_at_once():
    with pytest.raises(ValueError, match="got 8x8 images.*at least 16 px"):
        SwdScore(make_images(2, size=8), num_images=4, mirror=False)
