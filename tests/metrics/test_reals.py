"""Draws from the reals: evenly, in an order of the seed, mirrored, from some of them only."""

import jax
import numpy as np
import pytest

from stylegan_jax.metrics import draw_reals
from stylegan_jax.metrics.reals import seed_from_key

# Ten images of one row of two pixels: its number, then 100.
REALS = np.full((10, 1, 2, 1), 100, np.uint8)
REALS[:, 0, 0, 0] = np.arange(10)


def draws(*args, reals=REALS, **kwargs):
    """What was drawn: numbers, and whether each image is mirrored."""
    images = np.concatenate(list(draw_reals(reals, *args, **kwargs)))
    mirrored = images[:, 0, 0, 0] == 100
    return np.where(mirrored, images[:, 0, 1, 0], images[:, 0, 0, 0]), mirrored


def test_each_appears_equally_often_in_orders_of_the_seed():
    numbers, mirrored = draws(np.arange(10), 3, num_images=85)
    assert set(np.bincount(numbers)) == {8, 9} and not mirrored.any()
    assert sorted(numbers[:10]) == sorted(numbers[10:20]) == list(range(10))
    assert list(numbers[:10]) != list(numbers[10:20])
    np.testing.assert_array_equal(draws(np.arange(10), 3, num_images=85)[0], numbers)
    assert list(draws(np.arange(10), 4, num_images=85)[0]) != list(numbers)


def test_mirror_images_count_as_others():
    numbers, mirrored = draws(np.arange(10), 3, num_images=20, mirror=True)
    assert sorted(numbers[mirrored]) == sorted(numbers[~mirrored]) == list(range(10))


def test_only_allowed_ones_are_read():
    read = []

    class Watched:
        def __len__(self):
            return 10

        def __getitem__(self, index):
            read.append(int(index))
            return REALS[index]

    numbers, _ = draws(np.array([7, 2]), 0, reals=Watched(), num_images=5)
    assert set(read) == set(numbers) == {2, 7} and len(read) == 5


def test_errors_say_what_to_do():
    with pytest.raises(ValueError, match="reals is empty"):
        draw_reals(REALS, np.arange(0), 0, num_images=1)
    with pytest.raises(ValueError, match="different shapes"):
        list(draw_reals([REALS[0], REALS[1, :, :1]], np.arange(2), 0, num_images=2))


def test_seeds_differ_with_keys():
    first, again, other = (seed_from_key(jax.random.key(i)) for i in (0, 0, 1))
    assert first == again != other
