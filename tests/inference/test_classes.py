"""Classes by number and name."""

import numpy as np
import pytest

from stylegan_jax.inference.classes import check_labels, find_class, one_hot

NAMES = ["Artist", "firefighter", "pilot", "artist"]


def test_classes_by_number_and_name():
    assert [find_class(x, 4, NAMES) for x in (2, "2", "pilot", "Pilot")] == [2] * 4
    # Of names that are alike but for capitals, the one that is spelt so.
    assert [find_class(x, 4, NAMES) for x in ("Artist", "artist")] == [0, 3]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("fire fighter", "class=fire fighter: .* 0 to 3, or by name: firefighter"),
        ("ARTIST", "by name: Artist"),
        (4, "class=4: this network knows 0 to 3, or by name: Artist, firefighter, pilot"),
        (-1, "class=-1: this network knows 0 to 3"),
    ],
)
def test_unknown_classes(wanted, message):
    with pytest.raises(ValueError, match=message):
        find_class(wanted, 4, NAMES)


def test_a_network_without_names_or_labels():
    with pytest.raises(ValueError, match="class=9: this network knows 0 to 3\\.$"):
        find_class(9, 4, [])
    with pytest.raises(ValueError, match="class=0: this network knows none"):
        find_class(0, 0, [])


def test_label_vectors():
    np.testing.assert_array_equal(one_hot(np.array([2, 0]), 3), [[0, 0, 1], [1, 0, 0]])
    assert one_hot(np.array([0, 0]), 0).shape == (2, 0)
    assert check_labels(None, 5, 0).shape == (5, 0)
    one = np.float32([0, 1, 0.5])
    np.testing.assert_array_equal(check_labels(one, 2, 3), [one, one])
