"""Every layout gives back the pixels, names and labels that were written."""

import concurrent.futures
import pickle

import numpy as np
import pytest

from stylegan_jax.data.archives import (
    open_archive,
)
from tests.data import foreign

N, PX = 7, 16
IMAGES = foreign.drawings(N, PX)
NAMES = [f"{index:05d}.png" for index in range(N)]


def folder(path):
    foreign.write_folder(path / "images", IMAGES, NAMES)
    return path / "images"


def zipped(path):
    foreign.write_zip(path / "images.zip", IMAGES, NAMES)
    return path / "images.zip"


def lsun(path):
    foreign.write_lmdb(path / "cat_lmdb", IMAGES)
    return path / "cat_lmdb"


def tfrecords(path):
    foreign.write_tfrecords(path / "demo", "demo", IMAGES)
    return path / "demo"


LAYOUTS = pytest.mark.parametrize("write", [folder, zipped, lsun, tfrecords])


@LAYOUTS
def test_pixels_survive_in_order(tmp_path, write):
    archive = open_archive(write(tmp_path))
    foreign.assert_holds(archive, IMAGES)
    assert archive.labels.kind == "none" and len(archive.labels) == N


@LAYOUTS
def test_copies_and_threads_read_the_same(tmp_path, write):
    archive = open_archive(write(tmp_path))
    archive.read_pixels(0)
    copy = pickle.loads(pickle.dumps(archive))
    assert copy.identity() == archive.identity()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for index, pixels in zip(list(range(N)) * 20, pool.map(copy.read_pixels, [*range(N)] * 20)):
            np.testing.assert_array_equal(pixels, IMAGES[index])
    foreign.assert_holds(archive, IMAGES)


@LAYOUTS
def test_identity_tells_data_sets_apart(tmp_path, write, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = open_archive(write(tmp_path / "a"))
    monkeypatch.setitem(globals(), "IMAGES", IMAGES[::-1])
    assert open_archive(write(tmp_path / "b")).identity() != first.identity()
