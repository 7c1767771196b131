"""Crops, filters and letterboxes against hand-written expectations."""

import fractions

import numpy as np
import pytest
from PIL import Image

from stylegan_jax.data.preparation.transforms import (
    CROPS,
    FILTERS,
    TooSmallError,
    Transform,
    resize,
)
from tests.data import foreign


@pytest.fixture
def picture():
    """A drawing as a wide uint8 image [40, 64, 3]."""
    return foreign.drawings(1, 64)[0][11:51]


def box_mean(pixels, height, width):
    """The mean of the pixels with their centres in each area, in float64: a loop over the result.

    A centre on the border of two areas belongs to the upper or left one, as in Pillow.
    """
    tall, wide = pixels.shape[0] / height, pixels.shape[1] / width
    y, x = np.arange(pixels.shape[0]) + 0.5, np.arange(pixels.shape[1]) + 0.5
    result = np.zeros((height, width, pixels.shape[2]))
    for row in range(height):
        for column in range(width):
            rows = pixels[(row * tall < y) & (y <= (row + 1) * tall)]
            area = rows[:, (column * wide < x) & (x <= (column + 1) * wide)]
            result[row, column] = area.astype(np.float64).mean((0, 1))
    return result


def lanczos_weights(size, target):
    """Each row: the weights of `size` pixels for one of `target`, as the Lanczos-3 filter has."""
    scale = size / target
    centers = (np.arange(target)[:, None] + 0.5) * scale
    x = (np.arange(size) + 0.5 - centers) / scale
    weights = np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)
    return weights / weights.sum(1, keepdims=True)


@pytest.mark.parametrize("crop", CROPS)
@pytest.mark.parametrize("filter", FILTERS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_nothing_to_do_changes_no_byte(rng, crop, filter, dtype):
    for channels in (1, 3, 4):
        # The wide picture is 12 of 16 rows high, between bars of 2.
        bar = 2 if crop == "center-crop-wide" else 0
        shape = (16 - 2 * bar, 16, channels)
        pixels = rng.integers(np.iinfo(dtype).max, size=shape, dtype=dtype)
        result = Transform((16, 16), crop, filter)(pixels)
        np.testing.assert_array_equal(result[bar : 16 - bar], pixels)
        assert result.shape[0] == 16 and result.dtype == dtype


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((40, 64), np.s_[:, 12:52]),
        ((64, 40), np.s_[12:52, :]),
        ((40, 45), np.s_[:, 2:42]),  # the odd column of the margin lies at the right
    ],
)
def test_center_crop_takes_the_middle(rng, shape, expected):
    pixels = rng.integers(256, size=(*shape, 3), dtype=np.uint8)
    np.testing.assert_array_equal(Transform((40, 40), "center-crop")(pixels), pixels[expected])
    half = Transform((20, 20), "center-crop", "box")(pixels)
    assert np.abs(half - box_mean(pixels[expected], 20, 20)).max() <= 1


def draw_16_bits(rng, shape):
    """Noise [h, w, 3] away from the ends of the range, where values that overshoot are clipped."""
    return rng.integers(2**14, 3 * 2**14, size=(*shape, 3), dtype=np.uint16)


def lanczos(pixels, height, width):
    """The Lanczos-3 mean in float64."""
    rows = lanczos_weights(pixels.shape[0], height)
    columns = lanczos_weights(pixels.shape[1], width)
    return np.einsum("yh,xw,hwc->yxc", rows, columns, pixels.astype(np.float64), optimize=True)


def part_of(pixels, size):
    """The central part of a size's proportions: of one side all pixels, of the other those nearest.

    Found by trial of every number of pixels; of two that are as near the even one.
    """
    height, width = pixels.shape[:2]
    rows = fractions.Fraction(width * size[0], size[1])
    columns = fractions.Fraction(height * size[1], size[0])
    taken = [
        min(range(1, side + 1), key=lambda n: (abs(n - exact), n % 2))
        for side, exact in ((height, rows), (width, columns))
    ]
    top, left = (height - taken[0]) // 2, (width - taken[1]) // 2
    return pixels[top : top + taken[0], left : left + taken[1]]


# 48 x 32 of a square, of a wide and of a tall image; of parts that are no whole number of pixels.
@pytest.mark.parametrize("size", [(48, 32), (32, 48), (24, 16), (4, 7), (5, 5), (17, 50)])
@pytest.mark.parametrize("shape", [(64, 64), (61, 97), (97, 61), (50, 149)])
def test_center_crop_of_any_proportions(rng, size, shape):
    pixels = draw_16_bits(rng, shape)
    result = Transform(size, "center-crop")(pixels)
    assert result.shape == (*size, 3)
    assert np.abs(result - lanczos(part_of(pixels, size), *size)).max() <= 0.52


def test_the_part_of_a_center_crop_is_rounded_to_the_nearest_pixel(rng):
    # 64 * 32 / 48 = 42.7 columns: 43, with 10 before them and 11 behind.
    pixels = rng.integers(256, size=(64, 64, 3), dtype=np.uint8)
    result = Transform((48, 32), "center-crop")(pixels)
    np.testing.assert_array_equal(result, resize(pixels[:, 10:53], 48, 32, filter="lanczos"))


@pytest.mark.parametrize("size", [(48, 32), (32, 48), (4, 7), (40, 40)])
@pytest.mark.parametrize("shape", [(64, 64), (61, 97)])
def test_fit_takes_the_whole_image(rng, size, shape):
    pixels = draw_16_bits(rng, shape)
    result = Transform(size, "fit")(pixels)
    assert np.abs(result - lanczos(pixels, *size)).max() <= 0.52


@pytest.mark.parametrize(
    ("shape", "size", "picture"),
    [
        ((64, 64), (48, 32), np.s_[8:40, :]),  # 32 x 32
        ((64, 64), (32, 48), np.s_[:, 8:40]),
        ((96, 40), (48, 32), np.s_[:, 6:26]),  # 48 x 20
        ((50, 149), (48, 96), np.s_[8:40, :]),  # 32.2 x 96: the odd row of the bars lies below
        ((300, 4), (48, 32), np.s_[:, 15:16]),  # 0.6 columns: one
    ],
)
def test_pad_to_any_proportions(rng, shape, size, picture):
    pixels = draw_16_bits(rng, shape)
    result = Transform(size, "pad")(pixels)
    shown = result[picture]
    assert np.abs(shown - lanczos(pixels, *shown.shape[:2])).max() <= 0.52
    result[picture] = 0
    assert result.shape == (*size, 3) and (result == 0).all()


def test_the_same_proportions_need_no_crop(rng):
    pixels = rng.integers(256, size=(96, 64, 3), dtype=np.uint8)
    results = [Transform((48, 32), crop)(pixels) for crop in ("none", "center-crop", "fit", "pad")]
    assert all(np.array_equal(result, results[0]) for result in results)
    for shape in ((96, 65), (64, 96), (64, 64)):
        with pytest.raises(ValueError, match=f"{shape[0]}x{shape[1]} pixels.*, other proportions "):
            Transform((48, 32))(np.zeros((*shape, 3), np.uint8))


def test_the_cars_crop_makes_squares_only():
    with pytest.raises(ValueError, match=r"makes squares, not 48x64 pixels \(height x width\)"):
        Transform((48, 64), "center-crop-wide")


@pytest.mark.parametrize("target", [20, 16, 15, 13])
@pytest.mark.parametrize("channels", [1, 3])
def test_box_of_8_bits_is_within_one(rng, target, channels):
    pixels = rng.integers(256, size=(40, 40, channels), dtype=np.uint8)
    result = Transform((target, target), filter="box")(pixels)
    # Pillow rounds after the rows and again after the columns: 0.5 + 0.5.
    assert np.abs(result - box_mean(pixels, target, target)).max() <= 1.01


@pytest.mark.parametrize("target", [20, 16, 15, 13])
@pytest.mark.parametrize("channels", [1, 3])
def test_box_of_16_bits_is_rounded_once(rng, target, channels):
    pixels = rng.integers(65536, size=(40, 40, channels), dtype=np.uint16)
    result = Transform((target, target), filter="box")(pixels)
    assert result.dtype == np.uint16
    # 0.5, and the float32 between rows and columns: 65535 / 2^24 twice.
    assert np.abs(result - box_mean(pixels, target, target)).max() <= 0.51


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.uint8, 1.6), (np.uint16, 0.52)])
def test_lanczos_is_the_windowed_sinc(rng, dtype, tolerance):
    top = np.iinfo(dtype).max
    # Away from the ends of the range, where values that overshoot are clipped.
    pixels = rng.integers(top // 4, 3 * top // 4, size=(40, 40, 3), dtype=dtype)
    weights = lanczos_weights(40, 16)
    expected = np.einsum("yh,xw,hwc->yxc", weights, weights, pixels.astype(np.float64))
    assert np.abs(Transform((16, 16))(pixels) - expected).max() <= tolerance


def test_lanczos_overshoot_is_clipped():
    step = np.zeros((32, 32, 1), np.uint16)
    step[:, 16:] = 65535
    result = Transform((12, 12))(step)
    assert result.min() == 0 and result.max() == 65535 and (np.diff(result[..., 0]) >= 0).sum() > 0
    assert result[:, :4].max() < 6000 and result[:, -4:].min() > 59000


@pytest.mark.parametrize("filter", FILTERS)
def test_8_bits_are_pillows(picture, filter):
    result = Transform((20, 20), "center-crop", filter)(picture)
    image = Image.fromarray(picture[:, 12:52]).resize((20, 20), FILTERS[filter])
    np.testing.assert_array_equal(result, np.asarray(image))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_what_is_transparent_does_not_bleed(dtype):
    top = np.iinfo(dtype).max
    pixels = np.zeros((8, 8, 4), dtype)
    pixels[..., 1] = top  # green, and transparent
    pixels[::2, :, :] = (top, 0, 0, top)  # every other row red, and opaque
    result = Transform((4, 4), filter="box")(pixels)
    assert (result == np.array([top, 0, 0, round(top / 2)], dtype)).all()
    pixels[..., 3] = 0
    assert (Transform((4, 4))(pixels) == 0).all()


def test_grey_with_alpha_is_as_rgba_of_the_same_colours(rng):
    grey = rng.integers(256, size=(16, 16, 2), dtype=np.uint8)
    result = Transform((6, 6))(grey)
    np.testing.assert_array_equal(result, Transform((6, 6))(grey[..., [0, 0, 0, 1]])[..., 2:])


def test_many_channels_are_each_as_grey(rng):
    pixels = rng.integers(256, size=(16, 16, 6), dtype=np.uint8)
    result = Transform((8, 8), filter="box")(pixels)
    assert np.abs(result - box_mean(pixels, 8, 8)).max() <= 0.51


def test_rgba_that_is_opaque_is_as_rgb(rng):
    rgb = rng.integers(256, size=(32, 32, 3), dtype=np.uint8)
    rgba = np.concatenate([rgb, np.full((32, 32, 1), 255, np.uint8)], axis=2)
    result = Transform((12, 12))(rgba)
    assert (result[..., 3] == 255).all()
    assert np.abs(result[..., :3].astype(int) - Transform((12, 12))(rgb)).max() <= 2


def test_center_crop_wide_letterboxes(rng):
    # As wide as the result: round(64 * 60 / 64) = 60 rows, all of them, become 48.
    pixels = rng.integers(1, 256, size=(60, 64, 3), dtype=np.uint8)
    result = Transform((64, 64), "center-crop-wide", "box")(pixels)
    assert (result[:8] == 0).all() and (result[56:] == 0).all()
    assert np.abs(result[8:56] - box_mean(pixels, 48, 64)).max() <= 1.01

    # Wider: round(64 * 96 / 96) = 64 of 96 rows in the middle, 16 to 80.
    pixels = rng.integers(1, 256, size=(96, 96, 3), dtype=np.uint8)
    result = Transform((64, 64), "center-crop-wide", "box")(pixels)
    assert (result[:8] == 0).all() and (result[56:] == 0).all()
    assert np.abs(result[8:56] - box_mean(pixels[16:80], 48, 64)).max() <= 1.01


def test_lsun_car_size():
    result = Transform((512, 512), "center-crop-wide")(np.full((512, 640, 3), 255, np.uint8))
    assert result.shape == (512, 512, 3)
    rows = np.flatnonzero(result.any(axis=(1, 2)))
    assert rows[0] == 64 and rows[-1] == 447 and (result[64:448] == 255).all()


def test_pad_keeps_the_whole_picture(picture):
    result = Transform((32, 32), "pad", "box")(picture)
    assert np.abs(result[6:26] - box_mean(picture, 20, 32)).max() <= 1.01
    assert (result[:6] == 0).all() and (result[26:] == 0).all()
    tall = Transform((32, 32), "pad", "box")(np.ascontiguousarray(picture.swapaxes(0, 1)))
    assert (tall[:, :6] == 0).all() and tall[:, 6:26].any() and (tall[:, 26:] == 0).all()


def test_bars_of_rgba_are_opaque_black():
    beside = Transform((8, 12), "pad")(np.full((8, 8, 4), 77, np.uint16))
    assert (beside[:, [0, 1, 10, 11]] == (0, 0, 0, 65535)).all() and (beside[:, 2:10] == 77).all()
    result = Transform((8, 8), "pad")(np.full((4, 8, 4), 77, np.uint8))
    assert (result[:2] == (0, 0, 0, 255)).all() and (result[2:6] == 77).all()
    result = Transform((8, 8), "pad")(np.full((4, 8, 2), 77, np.uint8))
    assert (result[:2] == (0, 255)).all() and (result[2:6] == 77).all()
    assert not Transform((8, 8), "pad")(np.full((4, 8, 6), 77, np.uint8))[:2].any()


@pytest.mark.parametrize(
    ("crop", "shape", "enough"),
    [
        ("none", (31, 31), (32, 32)),
        ("center-crop", (31, 100), (32, 100)),
        ("center-crop", (100, 31), (100, 32)),
        ("center-crop-wide", (100, 31), (100, 32)),
        ("center-crop-wide", (23, 32), (24, 32)),
        ("center-crop-wide", (30, 44), (33, 44)),  # 32 * 30 / 44 = 22 rows, 24 are needed
        ("pad", (31, 20), (32, 20)),
        ("fit", (31, 100), (32, 100)),
        ("fit", (100, 31), (100, 32)),
    ],
)
def test_small_images_are_refused(crop, shape, enough):
    pixels = np.ones((*shape, 3), np.uint8)
    with pytest.raises(TooSmallError, match=f"{shape[0]}x{shape[1]} pixels.*, too small.*{crop}"):
        Transform((32, 32), crop)(pixels)
    assert Transform((32, 32), crop)(np.ones((*enough, 3), np.uint8)).shape == (32, 32, 3)


@pytest.mark.parametrize(
    ("crop", "shape", "enough"),
    [
        ("none", (45, 30), (48, 32)),
        ("center-crop", (47, 100), (48, 100)),
        ("center-crop", (100, 31), (100, 32)),
        ("fit", (47, 100), (48, 100)),
        ("fit", (100, 31), (100, 32)),
        ("pad", (47, 31), (47, 32)),
    ],
)
def test_images_that_are_small_in_one_direction(crop, shape, enough):
    with pytest.raises(TooSmallError, match=f"^{shape[0]}x{shape[1]} pixels .height x width.* for"):
        Transform((48, 32), crop)(np.ones((*shape, 3), np.uint8))
    assert Transform((48, 32), crop)(np.ones((*enough, 3), np.uint8)).shape == (48, 32, 3)


def test_facts_of_squares_are_those_of_the_first_releases():
    facts = {"resolution": 8, "crop": "pad", "filter": "box"}
    assert Transform((8, 8), "pad", "box").facts() == facts
    assert Transform((8, 12)).facts()["resolution"] == "8x12"


def test_other_refusals():
    with pytest.raises(
        ValueError, match=r"40x64 pixels .height x width., not square: choose crop=center-crop"
    ):
        Transform((8, 8))(np.zeros((40, 64, 3), np.uint8))
    for pixels in (np.zeros((8, 8, 3)), np.zeros((8, 8), np.uint8), np.zeros((8, 8, 17), np.uint8)):
        with pytest.raises(ValueError, match="wanted uint8 or uint16"):
            resize(pixels, 4, 4, filter="box")
    for options in ({"crop": "square"}, {"filter": "nearest"}, {"size": (0, 8)}):
        with pytest.raises(ValueError, match="choose one of|give 1"):
            Transform(**{"size": (8, 8), **options})
