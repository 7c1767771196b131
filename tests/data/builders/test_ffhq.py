"""FFHQ: found where its tools put it, and checked for gaps."""

import numpy as np
import pytest

from stylegan_jax.data.archives import ArchiveError
from stylegan_jax.data.builders import DATASET_SPECS, ffhq
from tests.data import foreign

N = 6
SMALL, LARGE = foreign.drawings(N, 16), foreign.drawings(N, 32)
# Thousand-folders in small: two images each.
NUMBERED = [f"{index // 2 * 2:05d}/{index:05d}.png" for index in range(N)]


@pytest.fixture
def ffhq_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(ffhq, "COUNT", N)
    foreign.write_folder(tmp_path / "images1024x1024", LARGE, NUMBERED)
    foreign.write_folder(tmp_path / "thumbnails128x128", SMALL, NUMBERED)
    (tmp_path / "ffhq-dataset-v2.json").write_text("{}")
    return tmp_path


@pytest.mark.parametrize("name", ["ffhq", "ffhq_u"])
def test_ffhq_takes_thumbnails_where_they_suffice(ffhq_folder, name):
    spec = DATASET_SPECS[name]
    for size, expected in [
        ((128, 128), SMALL),
        ((64, 64), SMALL),
        ((128, 112), SMALL),
        ((112, 192), LARGE),  # of 128 rows and columns none has 192
        ((256, 256), LARGE),
        (None, LARGE),
    ]:
        archive = spec.open(ffhq_folder, "", size)
        assert archive.name == name and list(archive.names) == NUMBERED
        assert archive.labels.kind == "none"
        np.testing.assert_array_equal(archive.read_pixels(3), expected[3])
    archive = spec.open(ffhq_folder / "images1024x1024", "", (64, 64))
    np.testing.assert_array_equal(archive.read_pixels(0), LARGE[0])


def test_ffhq_that_is_incomplete(ffhq_folder):
    for number in (1, 4):
        (ffhq_folder / "images1024x1024" / NUMBERED[number]).unlink()
    spec = DATASET_SPECS["ffhq"]
    message = "lacks 2 of 6 images: 00001, 00004. Run the download again.*allow_partial"
    with pytest.raises(ArchiveError, match=message):
        spec.open(ffhq_folder, "", (1024, 1024))
    assert len(spec.open(ffhq_folder, "", (1024, 1024), allow_partial=True)) == 4
    assert len(spec.open(ffhq_folder, "", (128, 128))) == N


def test_ffhq_with_strangers(ffhq_folder):
    folder = ffhq_folder / "images1024x1024"
    foreign.write_folder(folder, SMALL[:3], ["cover.png", "00000/00006.png", "x/00003.png"])
    with pytest.raises(ArchiveError, match="3 image.s. that do not belong to it or come twice"):
        DATASET_SPECS["ffhq"].open(ffhq_folder, "", (1024, 1024), allow_partial=True)


def test_ffhq_of_which_parts_are_there(tmp_path, monkeypatch):
    monkeypatch.setattr(ffhq, "COUNT", N)
    foreign.write_folder(tmp_path / "in-the-wild-images", LARGE, NUMBERED)
    with pytest.raises(ArchiveError, match="in-the-wild-images only, which are not aligned"):
        DATASET_SPECS["ffhq"].open(tmp_path, "", (64, 64))
    foreign.write_folder(tmp_path / "thumbnails128x128", SMALL, NUMBERED)
    assert len(DATASET_SPECS["ffhq"].open(tmp_path, "", (64, 64))) == N
    with pytest.raises(ArchiveError, match="thumbnails128x128 but not images1024x1024"):
        DATASET_SPECS["ffhq"].open(tmp_path, "", (256, 256))


def test_ffhq_as_zip_and_tfrecords(tmp_path, monkeypatch):
    monkeypatch.setattr(ffhq, "COUNT", N)
    names = [f"00000/img{index:08d}.png" for index in range(N)]
    foreign.write_zip(tmp_path / "ffhq.zip", LARGE, names)
    foreign.write_tfrecords(tmp_path / "ffhq", "ffhq", LARGE)
    for path, expected in [(tmp_path / "ffhq.zip", LARGE), (tmp_path / "ffhq", SMALL)]:
        archive = DATASET_SPECS["ffhq"].open(path, "", (16, 16))
        assert len(archive) == N and archive.read_pixels(0).shape == expected[0].shape
    monkeypatch.setattr(ffhq, "COUNT", N + 1)
    with pytest.raises(ArchiveError, match="ffhq has 6 of 7 images"):
        DATASET_SPECS["ffhq"].open(tmp_path / "ffhq.zip", "", (16, 16))
