"""LSUN's databases: bytes as stored, shared within a process, and cut off."""

import pickle

import numpy as np
import pytest

from stylegan_jax.data.archives import (
    ArchiveError,
    LmdbArchive,
    open_archive,
)
from stylegan_jax.data.codecs import decode
from tests.data import foreign

N, PX = 7, 16
IMAGES = foreign.drawings(N, PX)


def lsun(path):
    foreign.write_lmdb(path / "cat_lmdb", IMAGES)
    return path / "cat_lmdb"


def test_lmdb_gives_the_stored_bytes(tmp_path):
    values = foreign.write_lmdb(tmp_path / "cat", IMAGES, lossless=False)
    archive = LmdbArchive(tmp_path / "cat")
    assert archive.names == [key.decode() for key in foreign.lsun_keys(N)]
    assert list(archive.sizes) == [len(value) for value in values]
    for index, value in enumerate(values):
        assert archive.read(index) == value
        np.testing.assert_array_equal(archive.read_pixels(index), decode(value))


def test_lmdb_is_shared_within_a_process_and_closed(tmp_path):
    path = lsun(tmp_path)
    first, second = LmdbArchive(path), LmdbArchive(path / ".." / "cat_lmdb")
    assert first._open() is second._open()
    copies = [pickle.loads(pickle.dumps(first)) for _ in range(3)]
    del first, second
    foreign.assert_holds(copies[0], IMAGES)


def test_lmdb_cut_off(tmp_path):
    path = lsun(tmp_path)
    content = (path / "data.mdb").read_bytes()
    for size in (len(content) - 1, len(content) // 2, 5000, 100, 0):
        (path / "data.mdb").write_bytes(content[:size])
        with pytest.raises(ArchiveError, match="cut off|not a whole LMDB"):
            open_archive(path)


def test_database_that_must_not_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    foreign.write_lmdb(tmp_path / "x", IMAGES)

    def refuse(path, **kwargs):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("stylegan_jax.data.archives.lmdb.open_regular", refuse)
    with pytest.raises(ArchiveError, match=r"data.mdb: cannot be read .Permission denied.\.$"):
        open_archive(tmp_path / "x")
