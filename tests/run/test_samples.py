"""The sample grid and the strip of resolutions."""

import jax
import numpy as np
import pytest
from etils import epath
from PIL import Image

from stylegan_jax.run import samples
from stylegan_jax.run.images import save_png, to_uint8
from stylegan_jax.run.samples import SampleGrid, choose_grid, chunks, write_growth_row
from stylegan_jax.training.settings import SettingsError
from stylegan_jax.training.sharding import make_mesh
from tests.run.small import LEVEL, SIDE, make_config, make_painter, make_state, numbered, paint

KEY = jax.random.key(3)


def colours(picture):
    """The colour of each image of a grid: [rows, cols, 3]."""
    cells = picture[::SIDE, ::SIDE]
    np.testing.assert_array_equal(cells.repeat(SIDE, axis=0).repeat(SIDE, axis=1), picture)
    return cells


def make_grid(monkeypatch, cols, rows):
    monkeypatch.setattr(samples, "make_sampler", make_painter)
    networks, state = make_state()
    config = make_config()
    config.io.grid_cols, config.io.grid_rows = cols, rows
    return SampleGrid(config, numbered(), networks, make_mesh(), KEY), state


@pytest.mark.parametrize("chunk", [2, 32])
def test_fakes_have_fixed_latents_and_the_labels_of_the_reals(monkeypatch, chunk):
    """Whatever a call of the sampler takes, and whether or not devices share the images evenly."""
    monkeypatch.setattr(samples, "_CHUNK", chunk)
    grid, state = make_grid(monkeypatch, cols=3, rows=2)
    reals = colours(grid.reals())
    classes = reals[..., 0] % 2
    np.testing.assert_array_equal(classes, [[0, 0, 0], [1, 1, 1]])  # one per row

    z = jax.random.normal(KEY, (6, make_state()[0].z_dim))
    c = np.eye(2)[classes.reshape(-1)]
    expected = to_uint8(paint(z, c, np.zeros(6))).reshape(2, 3, 3)
    np.testing.assert_array_equal(colours(grid.fakes(state, LEVEL)), expected)
    np.testing.assert_array_equal(colours(grid.first_row(state, LEVEL)), expected[:1])


def test_a_grid_without_settings_fills_a_screen(monkeypatch):
    grid, _ = make_grid(monkeypatch, cols=0, rows=0)
    assert grid.reals().shape == (32 * SIDE, 32 * SIDE, 3)


@pytest.mark.parametrize(
    ("cols", "rows", "resolution", "possible"),
    [
        (1024, 1024, 32, "128 x 128"),
        (0, 1024, 1024, "7 x 18"),
        (1024, 0, 1024, "11 x 4"),
        (1024, 1024, 4, "128 x 128"),
    ],
)
def test_a_grid_that_no_picture_holds_is_refused(cols, rows, resolution, possible):
    config = make_config()
    config.io.grid_cols, config.io.grid_rows = cols, rows
    config.data.resolution = resolution
    with pytest.raises(SettingsError, match=f"io.grid_cols={cols}, .*: give {possible} or fewer"):
        choose_grid(config)


def test_chunks_cover_everything_once():
    assert list(chunks(7, 3)) == [slice(0, 3), slice(3, 6), slice(6, 7)]
    assert list(chunks(0, 3)) == []


@pytest.mark.parametrize("channels", [1, 3])
def test_the_strip_has_a_row_per_resolution_that_has_grown(tmp_path, channels):
    """A resolution that was begun anew replaces its row, and higher ones are gone."""
    workdir = epath.Path(tmp_path)

    def row(value):
        return np.full((16, 48, channels), value, np.uint8)

    (workdir / "samples").mkdir()
    for side, value in ((8, 10), (16, 20), (32, 30), (16, 40)):
        write_growth_row(workdir, side, row(value))
        names = {path.name for path in (workdir / "samples").iterdir()}
        assert f"grown_{side:04d}.png" in names
    with Image.open(workdir / "growth.png") as picture:
        strip = np.asarray(picture).reshape(picture.height, picture.width, channels)
    # Two rows of 16 px, twice as large: names would not fit beside them otherwise.
    right = strip[:, -96:]
    assert strip.shape[0] == 64 and strip.shape[1] > 96
    assert np.all(right[:32] == 10) and np.all(right[32:] == 40)


def test_the_strip_goes_on_from_rows_with_alpha(tmp_path):
    """As older releases wrote them."""
    workdir = epath.Path(tmp_path)
    save_png(workdir / "samples" / "grown_0008.png", np.full((32, 96, 4), 255, np.uint8))
    write_growth_row(workdir, 16, np.zeros((32, 96, 3), np.uint8))
    with Image.open(workdir / "growth.png") as picture:
        strip = np.asarray(picture)
    assert strip.shape[::2] == (64, 3)
    assert np.all(strip[:32, -96:] == 255) and not strip[32:, -96:].any()
