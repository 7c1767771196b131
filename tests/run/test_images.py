"""Image grids and PNG files."""

import os

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from stylegan_jax.data.codecs import decode
from stylegan_jax.run.images import (
    describe_hidden,
    grid_indices,
    grid_size,
    label_grid,
    lay_out,
    make_grid,
    picture_text,
    save_png,
    save_tiff,
    show_channels,
    to_uint8,
)


def test_to_uint8_rounds_and_clips():
    """Values map by rint((x + 1) * 127.5); NaN is black; uint8 passes through."""
    x = np.array([-2, -1, -0.5, 0, 1 / 255, 1, 7, np.nan, np.inf], np.float32)
    expected = [0, 0, 64, 128, 128, 255, 255, 0, 255]
    np.testing.assert_array_equal(to_uint8(x), expected)
    assert to_uint8(x).dtype == np.uint8
    every = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(to_uint8(every.astype(np.float32) / 127.5 - 1), every)
    np.testing.assert_array_equal(to_uint8(every), every)


def test_to_uint8_takes_device_arrays():
    """JAX arrays work, bfloat16 included; integers are refused."""
    np.testing.assert_array_equal(to_uint8(jnp.array([-1, 0, 1], jnp.bfloat16)), [0, 128, 255])
    with pytest.raises(ValueError, match="int32"):
        to_uint8(np.arange(3, dtype=np.int32))


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1024, 1024), (7, 4)),
        ((512, 512), (15, 8)),
        ((256, 256), (30, 16)),
        ((32, 32), (32, 32)),
        ((512, 1024), (7, 8)),
    ],
)
def test_grid_size_of_the_papers(size, expected):
    """clip(7680 // W, 7, 32) x clip(4320 // H, 4, 32)."""
    assert grid_size(size) == expected


def test_grid_size_bounds():
    """Other canvases and caps on the number of images; small sets get squarer grids."""
    progan = {"canvas_px": (1920, 1080), "min_cells": (3, 2)}
    assert grid_size((1024, 1024), **progan) == (3, 2)
    assert grid_size((32, 32), max_cells=(8, 4)) == (8, 4)
    assert grid_size((32, 32), num_images=259) == (16, 16)
    assert grid_size((32, 32), num_images=5000) == (32, 32)
    for n in range(1, 1100):
        for size in ((32, 32), (256, 128), (1024, 1024)):
            cols, rows = grid_size(size, num_images=n)
            assert 1 <= cols * rows <= n and cols >= 1
    with pytest.raises(ValueError, match="num_images is 0"):
        grid_size((32, 32), num_images=0)


def test_grid_indices_without_labels():
    """A shuffle of the dataset, repeated where it is too small."""
    indices = grid_indices(50, 5, 4)
    assert len(set(indices.tolist())) == 20
    np.testing.assert_array_equal(indices, grid_indices(50, 5, 4))
    assert sorted(grid_indices(3, 3, 2)) == [0, 0, 1, 1, 2, 2]
    with pytest.raises(ValueError, match="empty"):
        grid_indices(0, 2, 2)


@pytest.mark.parametrize("one_hot", [False, True])
def test_grid_indices_one_class_per_row(one_hot):
    """Rows take the classes in order and come back to the first with other images."""
    classes = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], 12))
    labels = np.eye(3)[::-1][classes] if one_hot else classes * 10
    indices = grid_indices(36, 6, 4, labels=labels).reshape(4, 6)
    np.testing.assert_array_equal(classes[indices], [[0] * 6, [1] * 6, [2] * 6, [0] * 6])
    assert len(set(indices.ravel().tolist())) == 24
    with pytest.raises(ValueError, match="3 labels for 4 images"):
        grid_indices(4, 2, 2, labels=np.arange(3))


@pytest.mark.parametrize("channels", [1, 3])
def test_make_grid_places_images(channels):
    """Image i lies at row i // cols, column i % cols; empty cells are black."""
    images = np.random.default_rng(0).integers(1, 256, (5, 4, 6, channels), np.uint8)
    grid = make_grid(images, 3)
    assert grid.shape == (8, 18, channels) and grid.dtype == np.uint8
    for i, image in enumerate(images):
        y, x = divmod(i, 3)
        np.testing.assert_array_equal(grid[4 * y : 4 * y + 4, 6 * x : 6 * x + 6], image)
    assert not grid[4:, 12:].any()


def test_lay_out_keeps_all_channels():
    images = np.random.default_rng(0).integers(256, size=(3, 4, 6, 7), dtype=np.uint8)
    grid = lay_out(images, 2)
    assert grid.shape == (8, 12, 7)
    np.testing.assert_array_equal(grid[4:, :6], images[2])


@pytest.mark.parametrize(("channels", "shown"), [(1, 1), (3, 3), (5, 3), (16, 3)])
def test_channels_without_alpha_show_as_they_are(channels, shown):
    """Of more than 4 the first three; a grid shows the same."""
    images = np.random.default_rng(0).integers(256, size=(2, 4, 4, channels), dtype=np.uint8)
    np.testing.assert_array_equal(show_channels(images), images[..., :shown])
    np.testing.assert_array_equal(make_grid(images, 1), lay_out(images[..., :shown], 1))


@pytest.mark.parametrize("channels", [2, 4])
def test_alpha_lies_on_a_checkerboard(channels):
    """Opaque colours stay, nothing of transparent ones shows, and half of each is the mean."""
    image = np.full((16, 32, channels), 100, np.uint8)
    image[..., -1] = 255
    np.testing.assert_array_equal(show_channels(image), image[..., :-1])
    image[..., -1] = 0
    board = show_channels(image)
    assert board.shape == (16, 32, channels - 1)
    # Squares of two pixels, eight of them up.
    np.testing.assert_array_equal(board[::2, ::2], board[1::2, 1::2])
    assert board[0, 0, 0] == 204 and board[0, 2, 0] == board[2, 0, 0] == 238
    image[..., -1] = 128
    expected = np.rint(100 * 128 / 255 + board * (127 / 255))
    assert np.abs(show_channels(image) - expected).max() <= 1
    # Each image of a batch has its own, whatever its size.
    stacked = np.stack([image, image])
    np.testing.assert_array_equal(show_channels(stacked)[1], show_channels(image))
    assert show_channels(image[:1, :1]).shape == (1, 1, channels - 1)


def test_what_is_hidden_is_noted(tmp_path):
    assert describe_hidden(4) == "" and picture_text(4) == {}
    assert describe_hidden(6) == "channels 1 to 3 of 6 shown as red, green and blue"
    save_png(tmp_path / "a.png", np.zeros((2, 2, 3), np.uint8), text=picture_text(6))
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.info["Comment"] == describe_hidden(6)


@pytest.mark.parametrize("channels", [5, 16])
def test_save_tiff_keeps_all_channels(tmp_path, channels):
    image = np.random.default_rng(0).integers(256, size=(5, 7, channels), dtype=np.uint8)
    save_tiff(tmp_path / "x" / "a.tif", image, text="what it is")
    np.testing.assert_array_equal(decode((tmp_path / "x" / "a.tif").read_bytes()), image)
    with Image.open(tmp_path / "x" / "a.tif") as picture:
        assert picture.getexif()[270] == "what it is"


def test_make_grid_converts_and_checks():
    """Network output is converted; wrong shapes are refused."""
    assert np.all(make_grid(jnp.ones((2, 4, 4, 3)), 2) == 255)
    for images, cols in ((np.zeros((4, 4, 3)), 2), (np.zeros((0, 4, 4, 3)), 2)):
        with pytest.raises(ValueError, match="at least one image"):
            make_grid(images, cols)
    with pytest.raises(ValueError, match="cols=0"):
        make_grid(np.zeros((1, 4, 4, 3)), 0)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_save_png_round_trip(tmp_path, channels):
    """What is written is read back, in a folder made for it, with nothing left beside it."""
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, channels), np.uint8)
    path = tmp_path / "samples" / "fakes_000000.png"
    save_png(path, picture)
    save_png(path, picture)
    with Image.open(path) as image:
        np.testing.assert_array_equal(np.asarray(image).reshape(picture.shape), picture)
    assert os.listdir(path.parent) == [path.name]


def test_save_png_failure_keeps_the_old_file(tmp_path, monkeypatch):
    """A write that breaks off leaves the earlier picture and no rubbish."""
    path = tmp_path / "a.png"
    save_png(path, np.zeros((2, 2), np.uint8))
    before = path.read_bytes()

    def break_off(self, file, **kwargs):
        file.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", break_off)
    with pytest.raises(OSError, match="disk full"):
        save_png(path, np.ones((2, 2, 3), np.uint8))
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["a.png"]


def test_save_png_refuses_other_pictures(tmp_path):
    """Five channels or floats cannot be a PNG."""
    with pytest.raises(ValueError, match="1 to 4 channels"):
        save_png(tmp_path / "a.png", np.zeros((2, 2, 5), np.uint8))
    with pytest.raises(ValueError, match="float64"):
        save_png(tmp_path / "a.png", np.zeros((2, 2, 3)))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_label_grid_adds_margins(channels):
    """The grid is unchanged, the margins are white with dark text beside each row and column."""
    grid = np.full((60, 120, channels), 100, np.uint8)
    labelled = label_grid(grid, ["psi=1", "psi=0.5"], ["a", "b", "c"])
    top, left = labelled.shape[0] - 60, labelled.shape[1] - 120
    assert top > 0 and left > 0 and labelled.shape[2] == channels
    np.testing.assert_array_equal(labelled[top:, left:], grid)
    for i in range(2):
        assert labelled[top + 30 * i : top + 30 * i + 30, :left, 0].min() < 64
    for i in range(3):
        assert labelled[:top, left + 40 * i : left + 40 * i + 40, 0].min() < 64
    assert np.all(labelled[:top, :left] == 255)
    np.testing.assert_array_equal(label_grid(grid), grid)
    # A second line above columns makes room for itself, and is drawn.
    higher = label_grid(grid, ["psi=1", "psi=0.5"], ["a\nb", "b", "c"])
    assert higher.shape[0] == labelled.shape[0] + 12


def test_label_grid_needs_matching_labels():
    """Labels that do not divide the picture are a mistake."""
    with pytest.raises(ValueError, match="one label per row"):
        label_grid(np.zeros((10, 10, 3), np.uint8), ["a", "b", "c"])
