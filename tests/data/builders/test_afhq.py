"""AFHQv2: classes, and all of them."""

import numpy as np
import pytest

from stylegan_jax.data.archives import ArchiveError
from stylegan_jax.data.builders import DATASET_SPECS, afhq
from tests.data import foreign

N = 6
SMALL, LARGE = foreign.drawings(N, 16), foreign.drawings(N, 32)


def test_afhqv2(tmp_path, monkeypatch):
    names = ["train/cat/a.png", "train/dog/b.png", "train/wild/c.png", "test/cat/d.png"]
    foreign.write_folder(tmp_path, SMALL[:5], [*names, "cover.png"])
    monkeypatch.setattr(afhq, "COUNTS", {"all": 4, "cat": 1, "dog": 1, "wild": 2})
    spec = DATASET_SPECS["afhqv2"]
    archive = spec.open(tmp_path, "all", (16, 16))
    assert archive.names == sorted(names) and archive.labels.class_names == ("cat", "dog", "wild")
    assert archive.labels.values.tolist() == [0, 0, 1, 2]
    np.testing.assert_array_equal(archive.read_pixels(0), SMALL[3])

    for path in (tmp_path, tmp_path / "train"):
        archive = spec.open(path, "dog", (16, 16))
        assert archive.name == "afhqv2_dog" and archive.labels.kind == "none"
        np.testing.assert_array_equal(archive.read_pixels(0), SMALL[1])
    with pytest.raises(ArchiveError, match="afhqv2_wild has 1 of 2 images"):
        spec.open(tmp_path, "wild", (16, 16))
    with pytest.raises(ArchiveError, match="no images in train/cat"):
        spec.open(tmp_path / "train", "all", (16, 16))
