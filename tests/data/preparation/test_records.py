"""Recipes and records: channels, types and encodings."""

import numpy as np
import pytest

from stylegan_jax.data.preparation.records import (
    Recipe,
    convert_image,
    make_recipe,
)
from stylegan_jax.data.preparation.transforms import Transform
from tests.data.arrays import RESOLUTION, ArrayArchive


def test_channels_that_are_none():
    with pytest.raises(ValueError, match="channels=2: give 1"):
        make_recipe(ArrayArchive(), Transform(RESOLUTION), channels=2)


@pytest.mark.parametrize(
    ("given", "wanted", "expected"),
    [
        ([[7]], 3, [7, 7, 7]),
        ([[7]], 4, [7, 7, 7, 255]),
        ([[1, 2, 3]], 4, [1, 2, 3, 255]),
        ([[9, 9, 9]], 1, [9]),
        ([[9, 9, 9, 255]], 1, [9]),
        ([[10, 20, 30, 0]], 3, [255, 255, 255]),
        ([[10, 20, 30, 255]], 3, [10, 20, 30]),
        ([[100, 0, 255, 51]], 3, [224, 204, 255]),
    ],
)
def test_channels_are_converted(given, wanted, expected):
    image = np.array([given], np.uint8)
    converted = convert_image(image, Recipe(Transform(1), wanted))
    np.testing.assert_array_equal(converted[0, 0], expected)


def test_colours_do_not_become_grey():
    with pytest.raises(ValueError, match="colours, which 1 channel"):
        convert_image(np.array([[[1, 2, 3]]], np.uint8), Recipe(Transform(1), 1))
    with pytest.raises(ValueError, match="uint16 pixels, but the first image has uint8"):
        convert_image(np.zeros((1, 1, 3), np.uint16), Recipe(Transform(1), 3))


def test_unknown_encoding_and_what_qoi_cannot_hold():
    with pytest.raises(ValueError, match="encoding='jpeg': choose one of source, png, qoi, raw"):
        make_recipe(ArrayArchive(1), Transform(RESOLUTION), encoding="jpeg")
    with pytest.raises(ValueError, match="1 channel.*take 'png' or 'raw'"):
        make_recipe(ArrayArchive(1, channels=1), Transform(RESOLUTION), encoding="qoi")
