"""Recipes and records: channels, types and encodings."""

import numpy as np
import pytest

from stylegan_jax.data.archives import FolderArchive
from stylegan_jax.data.codecs import decode, encode
from stylegan_jax.data.preparation.records import (
    Recipe,
    convert_image,
    encode_record,
    make_recipe,
)
from stylegan_jax.data.preparation.transforms import Transform
from tests.data.arrays import RESOLUTION, ArrayArchive


def test_channels_that_are_none():
    with pytest.raises(ValueError, match="channels=17: give 1"):
        make_recipe(ArrayArchive(), Transform((RESOLUTION, RESOLUTION)), channels=17)


def test_why_no_image_can_be_read(tmp_path):
    np.save(tmp_path / "a.npy", np.full((8, 8), np.nan))
    with pytest.raises(ValueError, match="none of the 1 images .* first is a.npy: .* float64"):
        make_recipe(FolderArchive(tmp_path), Transform((RESOLUTION, RESOLUTION)))


@pytest.mark.parametrize(("given", "wanted"), [(3, 6), (6, 3), (6, 5), (5, 16)])
def test_channels_of_which_nobody_knows_the_meaning_are_not_converted(given, wanted):
    archive = ArrayArchive(2, channels=given)
    with pytest.raises(ValueError, match=f"{given} channel.* do not become {wanted}"):
        make_recipe(archive, Transform((RESOLUTION, RESOLUTION)), channels=wanted)
    recipe = Recipe(Transform((8, 8)), wanted)
    with pytest.raises(ValueError, match="Leave channels at"):
        convert_image(np.zeros((8, 8, given), np.uint8), recipe)


def test_many_channels_are_stored_as_pixels():
    archive = ArrayArchive(2, channels=6)
    assert make_recipe(archive, Transform((8, 8))).encoding == "raw"
    assert make_recipe(archive, Transform((8, 8)), channels=6).channels == 6
    for encoding in ("png", "qoi"):
        with pytest.raises(ValueError, match=f"encoding='{encoding}' holds .*6 channel.*'raw'"):
            make_recipe(archive, Transform((8, 8)), encoding=encoding)


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
        ([[7]], 2, [7, 255]),
        ([[100, 51]], 1, [224]),
        ([[100, 51]], 3, [224, 224, 224]),
        ([[100, 51]], 4, [100, 100, 100, 51]),
        ([[9, 9, 9, 51]], 2, [9, 51]),
        ([[9, 9, 9]], 2, [9, 255]),
        ([[1, 2, 3, 4, 5]], 5, [1, 2, 3, 4, 5]),
    ],
)
def test_channels_are_converted(given, wanted, expected):
    image = np.array([given], np.uint8)
    converted = convert_image(image, Recipe(Transform((1, 1)), wanted))
    np.testing.assert_array_equal(converted[0, 0], expected)


def test_colours_do_not_become_grey():
    with pytest.raises(ValueError, match="colours, which 1 channel"):
        convert_image(np.array([[[1, 2, 3]]], np.uint8), Recipe(Transform((1, 1)), 1))
    with pytest.raises(ValueError, match="colours.*take channels=4"):
        convert_image(np.array([[[1, 2, 3, 4]]], np.uint8), Recipe(Transform((1, 1)), 2))


def test_bits_are_converted_after_all_else():
    image = np.array([[[0], [65535]], [[128], [129]]], np.uint16)
    converted = convert_image(image, Recipe(Transform((2, 2)), 3))
    assert converted.dtype == np.uint8
    # 128 / 257 rounds down, 129 / 257 up.
    np.testing.assert_array_equal(converted[..., 0], [[0, 255], [0, 1]])
    back = convert_image(
        np.array([[[0], [255]], [[1], [2]]], np.uint8), Recipe(Transform((2, 2)), 1, "uint16")
    )
    np.testing.assert_array_equal(back[..., 0], [[0, 65535], [257, 514]])
    assert back.dtype == np.uint16
    # Of the mean, not of each pixel: (0 + 200 + 200 + 200) / 4 = 150.
    mean = np.array([[[0], [200]], [[200], [200]]], np.uint16)
    assert convert_image(mean, Recipe(Transform((1, 1), filter="box"), 1)).tolist() == [[[1]]]


def test_bits_that_are_none():
    with pytest.raises(ValueError, match="bits=10: give 8 or 16"):
        make_recipe(ArrayArchive(), Transform((RESOLUTION, RESOLUTION)), bits=10)


def test_black_of_other_bits_is_not_kept():
    black = np.zeros((8, 8, 3), np.uint16)
    stored = encode_record(encode(black), black, black.astype(np.uint8), "source")
    assert decode(stored.getvalue()).dtype == np.uint8


def test_unknown_encoding_and_what_qoi_cannot_hold():
    with pytest.raises(ValueError, match="encoding='jpeg': choose one of source, png, qoi, raw"):
        make_recipe(ArrayArchive(1), Transform((RESOLUTION, RESOLUTION)), encoding="jpeg")
    with pytest.raises(ValueError, match="1 channel.*take 'png' or 'raw'"):
        make_recipe(
            ArrayArchive(1, channels=1), Transform((RESOLUTION, RESOLUTION)), encoding="qoi"
        )
