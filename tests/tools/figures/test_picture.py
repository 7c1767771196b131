"""Crops, deviations, and pictures with labels."""

import numpy as np
import pytest

from stylegan_jax.run.images import show_channels
from stylegan_jax.tools.figures.picture import Figure, crop, deviation_map, render


def test_deviation_map():
    images = np.zeros((2, 2, 3, 3), np.uint8)
    images[1, 0, 0] = 10  # grey 0 and 10: std 5, drawn at 20
    images[1, 0, 1] = 255  # std 127.5: white
    images[1, 1, 0, 0] = 30  # one colour of three: as grey 10
    images[1, 1, 1, 0] = 1  # std 1/6, drawn at 0.67, rounded
    images[:, 1, 2] = 200  # does not change: black
    want = np.array([[20, 255, 0], [20, 1, 0]], np.uint8)
    np.testing.assert_array_equal(deviation_map(images), np.repeat(want[..., None], 3, axis=-1))
    np.testing.assert_array_equal(deviation_map(images[..., :1])[0, 0], [20])
    opaque = np.concatenate([images, np.full_like(images[..., :1], 255)], axis=-1)
    np.testing.assert_array_equal(deviation_map(opaque)[0, 0], [20, 20, 20, 255])
    # Alpha is no colour; of many channels those count that show.
    np.testing.assert_array_equal(deviation_map(opaque[..., 2:])[0, 1], [255, 255])
    many = np.concatenate([images, np.roll(images, 1, axis=1)], axis=-1)
    np.testing.assert_array_equal(deviation_map(many)[..., 0], want)


def test_crop():
    y, x = np.mgrid[:1024, :1024]
    cut = crop(np.stack([y, x], axis=-1)[None])
    assert cut.shape == (1, 256, 256, 2)
    assert cut[0, 0, 0].tolist() == [180, 650] and cut[0, -1, -1].tolist() == [435, 905]
    for side in (4, 8, 512):
        assert crop(np.zeros((3, side, side, 1))).shape == (3, side // 4, side // 4, 1)


@pytest.mark.parametrize(("side", "zoom"), [(16, 8), (100, 2), (256, 1)])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6])
def test_render_enlarges_until_labels_fit(rng, side, zoom, channels):
    cells = rng.integers(0, 256, (2, 3, side, side, channels), dtype=np.uint8)
    picture = render(Figure(cells, ["seed 1", "seed 2"], ["a", "b", "c"]))
    assert picture.dtype == np.uint8
    height, width = 2 * side * zoom, 3 * side * zoom
    assert picture.shape[0] > height and picture.shape[1] > width
    grid = picture[-height:, -width:][::zoom, ::zoom]
    np.testing.assert_array_equal(grid[side:, side : 2 * side], show_channels(cells[1, 1]))
    wide = render(Figure(cells, ["1", "2"], ["a", "b", "w" * 40]))
    assert wide.shape[1] > 3 * 40 * 8
