"""Samples above their nearest training images: sets that hold what is to be found."""

import numpy as np
import pytest
from ml_collections import ConfigDict

from stylegan_jax.metrics import memory
from stylegan_jax.run.restore import read_meta
from stylegan_jax.tools import training_images
from stylegan_jax.tools.figures.nearest import nearest_images
from tests.data.foreign import write_folder


@pytest.fixture
def shown(generator, tmp_path):
    """A folder of what the generator draws from seeds 5, 3 and 4, and their negatives."""
    images = generator.sample([5, 3, 4])
    names = [f"{i}.png" for i in range(6)]
    write_folder(tmp_path / "shown", np.concatenate([images, 255 - images]), names)
    return tmp_path / "shown"


def test_what_was_shown_is_found(generator, shown):
    figure = nearest_images(generator, seeds=[3, 4], data=str(shown))
    assert figure.row_labels == ["sample", "nearest that was shown"]
    assert figure.col_labels == ["seed 3\n0", "seed 4\n0"]
    # Samples of another batch size round differently: up to one level of 255.
    rows = figure.cells.astype(int)
    np.testing.assert_allclose(rows[1], rows[0], rtol=0, atol=1)


def test_unseen_images_have_a_row(generator, shown, tmp_path, monkeypatch):
    config = ConfigDict(read_meta(generator.origin.source)["config"])
    grey = np.full((2, 16, 16, 3), 127, np.uint8)
    config.data.dataset = str(shown)
    write_folder(tmp_path / "unseen", grey, ["0.png", "1.png"])
    config.metrics.memory_unseen = str(tmp_path / "unseen")
    monkeypatch.setattr(training_images, "read_meta", lambda path: {"config": config.to_dict()})
    figure = nearest_images(generator, seeds=[4], truncation_psi=0.5)
    assert figure.row_labels[2] == "nearest that was not"
    np.testing.assert_array_equal(figure.cells[2, 0], grey[0])
    sample = figure.cells[0, 0].astype(np.float64)
    far = np.sqrt(np.mean((sample - 127) ** 2))
    assert abs(float(figure.col_labels[0].split(", ")[1]) - far) <= 0.51


def test_large_sets_are_compared_in_blocks(generator, shown, monkeypatch):
    seeds = [5, 4]
    whole = nearest_images(generator, seeds=seeds, data=str(shown))
    monkeypatch.setattr(memory, "_BLOCK", 2)
    parts = nearest_images(generator, seeds=seeds, data=str(shown))
    np.testing.assert_array_equal(parts.cells, whole.cells)
    assert parts.col_labels == whole.col_labels


def test_a_figure_that_no_picture_holds(generator, shown, monkeypatch):
    monkeypatch.setattr(generator, "sample", None)
    with pytest.raises(ValueError, match="2 rows x 4097 columns"):
        nearest_images(generator, seeds=range(4097), data=str(shown))


def test_images_that_cannot_be_opened(generator, tmp_path):
    with pytest.raises(ValueError, match="no data set 'gone'"):
        nearest_images(generator, data="gone", data_dir=str(tmp_path))
