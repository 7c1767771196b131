"""Precision and recall with known answers, and against a NumPy loop."""

import sys

import numpy as np
import pytest
from scipy.spatial import distance as scipy_distance

from stylegan_jax.metrics import Manifold, precision_recall

SMALL = dict(tile_rows=16, tile_columns=16)


def loop(reals, fakes, neighbours=3):
    """The definition, from all distances at once."""
    shares = []
    for centres, probes in ((reals, fakes), (fakes, reals)):
        own = np.sort(scipy_distance.cdist(centres, centres), axis=1)
        radii = own[:, neighbours]
        shares.append((scipy_distance.cdist(probes, centres) <= radii).any(axis=1).mean())
    return shares


@pytest.mark.parametrize("tiles", [(16, 16), (7, 50), (100, 3)])
def test_it_is_what_all_distances_say(rng, tiles):
    """In tiles that divide nothing evenly, and of one tile."""
    reals, fakes = rng.normal(size=(45, 4)), rng.normal(0.7, 0.8, (37, 4))
    tiles = dict(zip(("tile_rows", "tile_columns"), tiles))
    got = precision_recall(reals, fakes, half_precision=False, **tiles)
    np.testing.assert_allclose(got, loop(reals, fakes))


def test_tiles_have_one_program_each(rng):
    """Also the last ones, which are filled up."""
    module = sys.modules[precision_recall.__module__]
    programs = module._merge_nearest, module._merge_within
    before = [program._cache_size() for program in programs]
    reals, fakes = rng.normal(size=(50, 6)), rng.normal(size=(31, 6))
    precision_recall(reals, fakes, tile_rows=13, tile_columns=9)
    assert [program._cache_size() for program in programs] == [n + 1 for n in before]


def test_known_answers(rng):
    """Equal sets, sets far apart, a set inside of another."""
    ring = rng.normal(size=(40, 4))
    ring /= np.linalg.norm(ring, axis=1, keepdims=True)
    assert precision_recall(ring, ring, **SMALL) == (1, 1)
    assert precision_recall(ring, ring + 100, **SMALL) == (0, 0)
    two = np.concatenate([ring, ring + 100])
    precision, recall = precision_recall(two, ring, **SMALL)
    assert precision == 1 and recall == 0.5
    assert precision_recall(ring, two, **SMALL) == (0.5, 1)


def test_fewer_modes_lower_recall_and_noise_precision(rng):
    centres = 20 * rng.normal(size=(8, 4))
    reals, fakes = (np.repeat(centres, 12, axis=0) + rng.normal(size=(96, 4)) for _ in range(2))
    recalls = [precision_recall(reals, fakes[: 12 * n], **SMALL)[1] for n in (8, 4, 2, 1)]
    assert sorted(recalls)[::-1] == recalls and recalls[0] > 0.6 and recalls[-1] < 0.2
    noise = rng.normal(size=fakes.shape)
    precisions = [precision_recall(reals, fakes + s * noise, **SMALL)[0] for s in (0, 1, 4)]
    assert sorted(precisions)[::-1] == precisions and precisions[-1] < 0.2


def test_order_is_nothing_and_the_reals_are_kept(rng):
    reals, fakes = rng.normal(size=(2, 40, 4))
    want = precision_recall(reals, fakes, **SMALL)
    shuffled = reals[rng.permutation(40)], fakes[rng.permutation(40)]
    assert precision_recall(*shuffled, **SMALL) == want
    kept = Manifold.of(reals, **SMALL)
    assert kept.features.dtype == kept.radii.dtype == np.float16
    assert precision_recall(kept, fakes, **SMALL) == want


def test_equal_points_are_at_zero(rng):
    """A collapsed generator: balls of radius 0 still hold their centres."""
    points = np.repeat(rng.normal(50, 1, (4, 512)), 4, axis=0)
    for half in (False, True):
        balls = Manifold.of(points, half_precision=half, **SMALL)
        np.testing.assert_array_equal(balls.radii, 0)
        assert balls.contains(points, **SMALL).all()
        assert not balls.contains(points + 1, **SMALL).any()


def test_half_precision_makes_ties():
    """4097 and 4096 are one number in float16, and so are distances of such a size."""
    line = np.zeros((16, 4))
    line[1:, 0] = 2048
    probes = np.array([[4097.0, 0, 0, 0]])
    for half, dtype in ((True, np.float16), (False, np.float32)):
        balls = Manifold.of(line, neighbours=1, half_precision=half, **SMALL)
        assert balls.features.dtype == balls.radii.dtype == dtype
        assert balls.radii[0] == 2048 and not balls.radii[1:].any()
        assert not balls.contains(probes, **SMALL).any()
        alone = Manifold(balls.features[:1], balls.radii[:1] * 2, 1)
        assert alone.contains(probes, **SMALL).all() == half


def test_a_large_offset(rng):
    """Taken off before distances: |a|^2 + |b|^2 - 2 a b would cancel to nothing."""
    reals, fakes = rng.integers(-8, 9, (2, 40, 4)).astype(np.float64)
    want = precision_recall(reals, fakes, half_precision=False, **SMALL)
    got = precision_recall(reals + 1e6, fakes + 1e6, half_precision=False, **SMALL)
    assert got == want and 0 < want.precision < 1


def test_errors_say_what_to_do():
    ones = np.ones((5, 2))
    with pytest.raises(ValueError, match="neighbours=3 of 3 images"):
        precision_recall(ones, ones[:3])
    with pytest.raises(ValueError, match="neighbours=0"):
        Manifold.of(ones, neighbours=0)
    with pytest.raises(ValueError, match="reach 7e.04, float16 only 65504"):
        Manifold.of(7e4 * ones)
    with pytest.raises(ValueError, match="4 radii are beyond the largest float16"):
        Manifold.of(np.array([[6e4], [-6e4], [-6e4], [6e4]]), neighbours=2)
    kept = Manifold.of(ones, neighbours=2)
    for options in ({}, {"neighbours": 2, "half_precision": False}):
        with pytest.raises(ValueError, match="manifold is of 2 neighbours in float16"):
            precision_recall(kept, ones, **options)
