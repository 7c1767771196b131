"""What is said of paths that fit no layout."""

import pytest

from stylegan_jax.data.archives import (
    ArchiveError,
    FolderArchive,
    open_archive,
)
from tests.data import foreign

N, PX = 7, 16
IMAGES = foreign.drawings(N, PX)
NAMES = [f"{index:05d}.png" for index in range(N)]


def zipped(path):
    foreign.write_zip(path / "images.zip", IMAGES, NAMES)
    return path / "images.zip"


def lsun(path):
    foreign.write_lmdb(path / "cat_lmdb", IMAGES)
    return path / "cat_lmdb"


def test_missing_path(tmp_path):
    with pytest.raises(ArchiveError, match="There is no .*nothing. Wanted a prepared data set"):
        open_archive(tmp_path / "nothing")


def test_folder_without_images(tmp_path):
    with pytest.raises(ArchiveError, match="holds no image files.*It is empty"):
        open_archive(tmp_path)
    zipped(tmp_path)
    (tmp_path / "readme.txt").touch()
    with pytest.raises(ArchiveError, match="1 of .zip, 1 of .txt, the first is images.zip. Unpack"):
        open_archive(tmp_path)


def test_folder_of_databases(tmp_path):
    lsun(tmp_path)
    with pytest.raises(ArchiveError, match="cat_lmdb/data.mdb. Give one of the folders in it"):
        open_archive(tmp_path)


def test_files_of_no_known_layout(tmp_path):
    for name, message in [("a.rar", "no known layout. Wanted"), ("a.png", "Give the folder")]:
        (tmp_path / name).write_bytes(b"x")
        with pytest.raises(ArchiveError, match=message):
            open_archive(tmp_path / name)
    assert isinstance(open_archive(tmp_path), FolderArchive)
