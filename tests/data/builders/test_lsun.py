"""LSUN: categories, their folders and crops."""

import numpy as np
import pytest

from stylegan_jax.data.archives import ArchiveError
from stylegan_jax.data.builders import DATASET_SPECS, lsun
from tests.data import foreign

N = 6
SMALL, LARGE = foreign.drawings(N, 16), foreign.drawings(N, 32)


@pytest.mark.parametrize(
    ("variant", "folder"),
    [
        ("church_outdoor", "church_outdoor_train_lmdb"),
        ("church", "church_outdoor_train_lmdb"),
        ("cat", "cat"),
        ("cat", "cat_lmdb"),
        ("tv_monitor", "tv-monitor"),
    ],
)
def test_lsun_folders(tmp_path, variant, folder):
    foreign.write_lmdb(tmp_path / folder, SMALL)
    spec = DATASET_SPECS["lsun"]
    for path in (tmp_path, tmp_path / folder):
        archive = spec.open(path, variant, (256, 256))
        assert archive.name == f"lsun_{spec.resolve_variant(variant)}" and len(archive) == N
        np.testing.assert_array_equal(archive.read_pixels(2), SMALL[2])


def test_lsun_categories_and_crops():
    spec = DATASET_SPECS["lsun"]
    assert len(lsun.SCENES) == 10 and len(lsun.OBJECTS) == 20 and len(set(spec.variants)) == 30
    assert [v for v in spec.variants if spec.default_crop(v) != "center-crop"] == ["car"]
    assert spec.default_crop("car") == "center-crop-wide"


def test_lsun_of_another_category(tmp_path):
    foreign.write_lmdb(tmp_path / "cat", SMALL)
    with pytest.raises(ArchiveError, match="cat is LSUN's cat, not bedroom"):
        DATASET_SPECS["lsun"].open(tmp_path / "cat", "bedroom", (256, 256))
    with pytest.raises(ArchiveError, match="none of the folders bedroom_train_lmdb, .*found cat"):
        DATASET_SPECS["lsun"].open(tmp_path, "bedroom", (256, 256))
    foreign.write_lmdb(tmp_path / "anything", SMALL)
    assert len(DATASET_SPECS["lsun"].open(tmp_path / "anything", "bedroom", (256, 256))) == N
