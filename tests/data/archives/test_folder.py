"""Folders of images: formats, links, labels, and what is said of files that do not fit."""

import json
import os
import shutil

import numpy as np
import pytest

from stylegan_jax.data.archives import (
    ArchiveError,
    FolderArchive,
    open_archive,
)
from stylegan_jax.run.images import save_tiff
from tests.data import foreign

N, PX = 7, 16
IMAGES = foreign.drawings(N, PX)
NAMES = [f"{index:05d}.png" for index in range(N)]


def folder(path):
    foreign.write_folder(path / "images", IMAGES, NAMES)
    return path / "images"


@pytest.mark.parametrize("suffix", ["png", "qoi", "bmp", "webp"])
def test_folder_of_other_formats(tmp_path, suffix):
    options = {"lossless": True} if suffix == "webp" else {}
    for name, pixels in zip("abc", IMAGES):
        (tmp_path / f"{name}.{suffix}").write_bytes(foreign.encode_as(suffix, pixels, **options))
    foreign.assert_holds(open_archive(tmp_path), IMAGES[:3])


def write_kinds(path, kind):
    """Three images of 6 channels as files of a kind; returns their pixels."""
    path.mkdir()
    images = np.random.default_rng(0).integers(256, size=(3, 8, 8, 6), dtype=np.uint8)
    for name, pixels in zip("abc", images):
        if kind == "tif":
            save_tiff(path / f"{name}.tif", pixels)
        elif kind == "npy":
            np.save(path / f"{name}.npy", pixels)
        else:
            np.savez_compressed(path / f"{name}.npz", pixels)
    return images


@pytest.mark.parametrize("kind", ["tif", "npy", "npz"])
def test_many_channels_in_folders_and_zips(tmp_path, kind):
    images = write_kinds(tmp_path / "x", kind)
    foreign.assert_holds(open_archive(tmp_path / "x"), images)
    shutil.make_archive(tmp_path / "x", "zip", tmp_path / "x")
    foreign.assert_holds(open_archive(tmp_path / "x.zip"), images)


def test_arrays_beside_pictures_are_left_out(tmp_path):
    path = folder(tmp_path)
    np.save(path / "0.npy", np.zeros((8, 8)))
    shutil.make_archive(path, "zip", path)
    for archive in (open_archive(path), open_archive(f"{path}.zip")):
        assert archive.names == NAMES
        assert archive.notes == [
            "1 file(s) are left out, as they are no images: 1 of .npy, the first is 0.npy."
        ]


def test_labels_of_folders_and_zips(tmp_path):
    names = [f"{'ab'[index % 2]}/{index}.png" for index in range(N)]
    foreign.write_folder(tmp_path / "classes", IMAGES, names)
    archive = open_archive(tmp_path / "classes")
    assert archive.labels.class_names == ("a", "b")
    assert archive.labels.values.tolist() == [0, 0, 0, 0, 1, 1, 1]

    foreign.write_zip(tmp_path / "set.zip", IMAGES, NAMES, [2, 0, 1, 2, 2, 0, 1])
    archive = open_archive(tmp_path / "set.zip")
    assert archive.labels.values.tolist() == [2, 0, 1, 2, 2, 0, 1] and archive.labels.c_dim == 3


def test_truncated_png_is_named_damaged(tmp_path):
    file = folder(tmp_path) / NAMES[2]
    file.write_bytes(file.read_bytes()[:-20])
    archive = open_archive(file.parent)
    with pytest.raises(ValueError, match="damaged"):
        archive.read_pixels(2)
    np.testing.assert_array_equal(archive.read_pixels(3), IMAGES[3])


def test_labels_that_contradict_each_other(tmp_path):
    path = folder(tmp_path)
    pairs = [[name, 0] for name in NAMES] + [[NAMES[2], 1]]
    (path / "dataset.json").write_text(json.dumps({"labels": pairs}))
    with pytest.raises(ArchiveError, match="dataset.json: 00002.png comes twice"):
        _ = open_archive(path).labels


def test_links_that_lead_back_are_not_followed(tmp_path):
    foreign.write_folder(tmp_path / "a", IMAGES[:2], ["0.png", "in/1.png"])
    (tmp_path / "a/in/loop").symlink_to(tmp_path / "a")
    (tmp_path / "a/in/above").symlink_to(tmp_path)
    foreign.write_folder(tmp_path / "b", IMAGES[2:3], ["2.png"])
    (tmp_path / "a/link").symlink_to(tmp_path / "b")
    names = open_archive(tmp_path / "a").names
    assert names == ["0.png", "in/1.png", "in/above/b/2.png", "link/2.png"]


def test_folder_that_cannot_be_listed(tmp_path, monkeypatch):
    foreign.write_folder(tmp_path, IMAGES[:2], ["0.png", "in/1.png"])
    scandir = os.scandir

    def refuse(path):
        if os.fspath(path).endswith("in"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(ArchiveError, match="in cannot be listed .Permission denied"):
        FolderArchive(tmp_path)


def test_link_to_nowhere_is_one_bad_image(tmp_path):
    path = folder(tmp_path)
    (path / NAMES[1]).unlink()
    (path / NAMES[1]).symlink_to("nowhere.png")
    archive = open_archive(path)
    assert len(archive) == N
    for read in (archive.read, archive.read_format):
        with pytest.raises(ArchiveError, match="00001.png: cannot be read"):
            read(1)
