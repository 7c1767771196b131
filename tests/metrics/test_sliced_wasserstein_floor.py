"""The reals against themselves."""

import jax
import numpy as np
import pytest

from stylegan_jax.metrics import (
    evaluate_swd,
    real_descriptors,
    swd_floor,
)
from tests.metrics.images import make_images

KEY = jax.random.key(0)


def test_floor_brackets_a_perfect_generator():
    """New images of the same kind score between copies and disjoint halves; damage scores above."""
    results = []
    for seed in range(3):
        key, reals = jax.random.key(seed), make_images(40, size=16, seed=seed)
        floor = swd_floor(reals, key, num_images=80, num_splits=2)
        kept = real_descriptors(reals, key, num_images=80)
        for noise in (0, 128):
            fakes = make_images(80, size=16, seed=100 + seed, noise=noise)
            floor[f"noise {noise}"] = evaluate_swd(kept, [fakes], key)["swd"]
        floor["copies"] = evaluate_swd(kept, [reals, reals], key)["swd"]
        results.append(floor)
    mean = {name: np.mean([result[name] for result in results]) for name in results[0]}
    assert mean["swd_floor"] < mean["noise 0"] < mean["swd_split"] < mean["noise 128"]
    # 40 images' worth of patches twice over: a few per cent of scatter.
    np.testing.assert_allclose(mean["copies"], mean["swd_floor"], rtol=0.15)


def test_floor_names_and_determinism():
    """Both references are given for every level, the same for the same key."""
    floor = swd_floor(make_images(5), KEY, num_images=6, num_splits=2)
    assert set(floor) == {f"swd_{k}{s}" for k in ("floor", "split") for s in ("", "_32", "_16")}
    assert floor == swd_floor(make_images(5), KEY, num_images=6, num_splits=2)


def test_errors_say_what_to_do():
    images = make_images(4)
    with pytest.raises(ValueError, match="at least 2"):
        swd_floor(images[:1], KEY, num_images=4)
    with pytest.raises(ValueError, match="num_splits is 0"):
        swd_floor(images, KEY, num_images=4, num_splits=0)
