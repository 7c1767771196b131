"""Published data sets: found where their publishers' tools put them, and checked for gaps."""

import numpy as np
import pytest

from stylegan_jax.data.archives import ArchiveError
from stylegan_jax.data.builders import DATASET_SPECS, afhq, celebahq, cifar10, ffhq, lsun
from stylegan_jax.data.preparation.transforms import CROPS
from tests.data import foreign

N = 6
SMALL, LARGE = foreign.drawings(N, 16), foreign.drawings(N, 32)
# Thousand-folders in small: two images each.
NUMBERED = [f"{index // 2 * 2:05d}/{index:05d}.png" for index in range(N)]
FETCHED = {name: spec for name, spec in DATASET_SPECS.items() if name != "openmoji"}


@pytest.fixture
def ffhq_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(ffhq, "COUNT", N)
    foreign.write_folder(tmp_path / "images1024x1024", LARGE, NUMBERED)
    foreign.write_folder(tmp_path / "thumbnails128x128", SMALL, NUMBERED)
    (tmp_path / "ffhq-dataset-v2.json").write_text("{}")
    return tmp_path


def test_registry_is_complete():
    assert set(FETCHED) == {"ffhq", "ffhq_u", "lsun", "celebahq", "afhqv2", "cifar10"}
    for name, spec in FETCHED.items():
        assert spec.name == name
        for variant in spec.variants or ("",):
            assert spec.default_crop(variant) in CROPS
            assert spec.resolve_variant(variant) == variant
        assert spec.homepage.startswith("https://") and spec.homepage.count("//") == 1
        assert spec.citation.startswith("@") and "https://" in spec.fetch
        assert 4 <= spec.resolutions[0] < spec.resolutions[1] <= 1024


@pytest.mark.parametrize("name", list(FETCHED))
def test_missing_files_are_explained(tmp_path, name):
    spec = DATASET_SPECS[name]
    variant = spec.variants[0] if spec.variants else ""
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(ArchiveError) as error:
            spec.open(path, variant, 64)
        assert str(path) in str(error.value) and spec.fetch in str(error.value)


def test_variants_are_checked():
    with pytest.raises(ValueError, match="lsun has no variant 'elephant'; choose one of bedroom,"):
        DATASET_SPECS["lsun"].resolve_variant("elephant")
    with pytest.raises(ValueError, match="lsun has no variant ''; choose"):
        DATASET_SPECS["lsun"].resolve_variant("")
    with pytest.raises(ValueError, match="ffhq has no variants, got 'x': write ffhq"):
        DATASET_SPECS["ffhq"].resolve_variant("x")


# FFHQ


@pytest.mark.parametrize("name", ["ffhq", "ffhq_u"])
def test_ffhq_takes_thumbnails_where_they_suffice(ffhq_folder, name):
    spec = DATASET_SPECS[name]
    for resolution, expected in [(128, SMALL), (64, SMALL), (256, LARGE), (None, LARGE)]:
        archive = spec.open(ffhq_folder, "", resolution)
        assert archive.name == name and list(archive.names) == NUMBERED
        assert archive.labels.kind == "none"
        np.testing.assert_array_equal(archive.read_pixels(3), expected[3])
    archive = spec.open(ffhq_folder / "images1024x1024", "", 64)
    np.testing.assert_array_equal(archive.read_pixels(0), LARGE[0])


def test_ffhq_that_is_incomplete(ffhq_folder):
    for number in (1, 4):
        (ffhq_folder / "images1024x1024" / NUMBERED[number]).unlink()
    spec = DATASET_SPECS["ffhq"]
    message = "lacks 2 of 6 images: 00001, 00004. Run the download again.*allow_partial"
    with pytest.raises(ArchiveError, match=message):
        spec.open(ffhq_folder, "", 1024)
    assert len(spec.open(ffhq_folder, "", 1024, allow_partial=True)) == 4
    assert len(spec.open(ffhq_folder, "", 128)) == N


def test_ffhq_with_strangers(ffhq_folder):
    folder = ffhq_folder / "images1024x1024"
    foreign.write_folder(folder, SMALL[:3], ["cover.png", "00000/00006.png", "x/00003.png"])
    with pytest.raises(ArchiveError, match="3 image.s. that do not belong to it or come twice"):
        DATASET_SPECS["ffhq"].open(ffhq_folder, "", 1024, allow_partial=True)


def test_ffhq_of_which_parts_are_there(tmp_path, monkeypatch):
    monkeypatch.setattr(ffhq, "COUNT", N)
    foreign.write_folder(tmp_path / "in-the-wild-images", LARGE, NUMBERED)
    with pytest.raises(ArchiveError, match="in-the-wild-images only, which are not aligned"):
        DATASET_SPECS["ffhq"].open(tmp_path, "", 64)
    foreign.write_folder(tmp_path / "thumbnails128x128", SMALL, NUMBERED)
    assert len(DATASET_SPECS["ffhq"].open(tmp_path, "", 64)) == N
    with pytest.raises(ArchiveError, match="thumbnails128x128 but not images1024x1024"):
        DATASET_SPECS["ffhq"].open(tmp_path, "", 256)


def test_ffhq_as_zip_and_tfrecords(tmp_path, monkeypatch):
    monkeypatch.setattr(ffhq, "COUNT", N)
    names = [f"00000/img{index:08d}.png" for index in range(N)]
    foreign.write_zip(tmp_path / "ffhq.zip", LARGE, names)
    foreign.write_tfrecords(tmp_path / "ffhq", "ffhq", LARGE)
    for path, expected in [(tmp_path / "ffhq.zip", LARGE), (tmp_path / "ffhq", SMALL)]:
        archive = DATASET_SPECS["ffhq"].open(path, "", 16)
        assert len(archive) == N and archive.read_pixels(0).shape == expected[0].shape
    monkeypatch.setattr(ffhq, "COUNT", N + 1)
    with pytest.raises(ArchiveError, match="ffhq has 6 of 7 images"):
        DATASET_SPECS["ffhq"].open(tmp_path / "ffhq.zip", "", 16)


# LSUN


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
        archive = spec.open(path, variant, 256)
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
        DATASET_SPECS["lsun"].open(tmp_path / "cat", "bedroom", 256)
    with pytest.raises(ArchiveError, match="none of the folders bedroom_train_lmdb, .*found cat"):
        DATASET_SPECS["lsun"].open(tmp_path, "bedroom", 256)
    foreign.write_lmdb(tmp_path / "anything", SMALL)
    assert len(DATASET_SPECS["lsun"].open(tmp_path / "anything", "bedroom", 256)) == N


# CelebA-HQ, AFHQv2, CIFAR-10


def test_celebahq(tmp_path, monkeypatch):
    monkeypatch.setattr(celebahq, "COUNT", N)
    foreign.write_folder(tmp_path / "mask" / "CelebA-HQ-img", LARGE, [f"{i}.jpg" for i in range(N)])
    foreign.write_folder(tmp_path / "plain", LARGE, NUMBERED)
    foreign.write_tfrecords(tmp_path / "tf", "celebahq", LARGE)
    for folder in ("mask", "plain", "tf"):
        archive = DATASET_SPECS["celebahq"].open(tmp_path / folder, "", 32)
        assert archive.name == "celebahq" and len(archive) == N
    monkeypatch.setattr(celebahq, "COUNT", N + 1)
    with pytest.raises(ArchiveError, match="has 6 of 7 images.*allow_partial"):
        DATASET_SPECS["celebahq"].open(tmp_path / "plain", "", 32)
    monkeypatch.setattr(celebahq, "COUNT", N - 1)
    with pytest.raises(ArchiveError, match="has 6 images, but only 5 were published"):
        DATASET_SPECS["celebahq"].open(tmp_path / "plain", "", 32, allow_partial=True)
    np.save(tmp_path / "imgHQ00000.npy", LARGE[0])
    (tmp_path / "npy").mkdir()
    (tmp_path / "imgHQ00000.npy").rename(tmp_path / "npy" / "imgHQ00000.npy")
    with pytest.raises(ArchiveError, match="1 of .npy(.|\n)*NumPy files .* will not"):
        DATASET_SPECS["celebahq"].open(tmp_path / "npy", "", 32)


def test_afhqv2(tmp_path, monkeypatch):
    names = ["train/cat/a.png", "train/dog/b.png", "train/wild/c.png", "test/cat/d.png"]
    foreign.write_folder(tmp_path, SMALL[:5], [*names, "cover.png"])
    monkeypatch.setattr(afhq, "COUNTS", {"all": 4, "cat": 1, "dog": 1, "wild": 2})
    spec = DATASET_SPECS["afhqv2"]
    archive = spec.open(tmp_path, "all", 16)
    assert archive.names == sorted(names) and archive.labels.class_names == ("cat", "dog", "wild")
    assert archive.labels.values.tolist() == [0, 0, 1, 2]
    np.testing.assert_array_equal(archive.read_pixels(0), SMALL[3])

    for path in (tmp_path, tmp_path / "train"):
        archive = spec.open(path, "dog", 16)
        assert archive.name == "afhqv2_dog" and archive.labels.kind == "none"
        np.testing.assert_array_equal(archive.read_pixels(0), SMALL[1])
    with pytest.raises(ArchiveError, match="afhqv2_wild has 1 of 2 images"):
        spec.open(tmp_path, "wild", 16)
    with pytest.raises(ArchiveError, match="no images in train/cat"):
        spec.open(tmp_path / "train", "all", 16)


def test_cifar10(tmp_path, monkeypatch):
    images = foreign.drawings(12, 32)
    files = foreign.cifar_batches(images, [i % 10 for i in range(12)])
    foreign.write_cifar10(tmp_path / "cifar-10-python.tar.gz", files)
    unpacked = tmp_path / "unpacked" / "cifar-10-batches-py"
    unpacked.mkdir(parents=True)
    for name, content in files.items():
        (unpacked / name).write_bytes(content)
    monkeypatch.setattr(cifar10, "COUNT", 10)
    for path in (tmp_path, tmp_path / "cifar-10-python.tar.gz", tmp_path / "unpacked", unpacked):
        archive = DATASET_SPECS["cifar10"].open(path, "", 32)
        assert archive.labels.values.tolist() == list(range(10))
        np.testing.assert_array_equal(archive.read_pixels(9), images[9])
