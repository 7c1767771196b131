"""The contact sheet of augmentations."""

import numpy as np
import pytest
from absl import app

from stylegan_jax.tools.figures.__main__ import needs_network
from stylegan_jax.tools.figures.augmentations import augmentations
from tests.data.foreign import write_folder


@pytest.fixture
def folder(rng, tmp_path):
    images = rng.integers(0, 256, (5, 12, 8, 3), dtype=np.uint8)
    write_folder(tmp_path / "images", images, [f"{i}.png" for i in range(5)])
    return images, str(tmp_path / "images")


def test_rows(folder):
    images, path = folder
    figure = augmentations(data=path, size="12x8", pipe="filter", num_images=3)
    bands = [f"imgfilter {band}" for band in range(4)]
    assert figure.row_labels == ["images", *bands, "p = 0.2", "p = 0.5", "p = 0.8"]
    assert figure.col_labels == ["image 0", "image 2", "image 4"]
    np.testing.assert_array_equal(figure.cells[0], images[::2])
    # Each band changes every image, in its own way.
    assert all(np.any(row[i] != images[2 * i]) for row in figure.cells[1:5] for i in range(3))
    assert len({row.tobytes() for row in figure.cells}) >= 6


def test_what_is_refused(folder):
    with pytest.raises(ValueError, match="num_images=0: give at least one"):
        augmentations(data=folder[1], size="12x8", num_images=0)
    with pytest.raises(ValueError, match="no augmentation pipe 'all'"):
        augmentations(data=folder[1], size="12x8", pipe="all")


def test_checkpoints_are_for_networks():
    """One figure needs none, the others do."""
    assert needs_network("noise", "run") and not needs_network("augmentations", None)
    with pytest.raises(app.UsageError, match="A network draws --figure=noise"):
        needs_network("noise", None)
    with pytest.raises(app.UsageError, match="augmentations has no option --checkpoint"):
        needs_network("augmentations", "run")
