"""Zips: their labels, and what is said of damaged ones."""

import zipfile

import pytest

from stylegan_jax.data.archives import (
    ArchiveError,
    ZipArchive,
    open_archive,
)
from tests.data import foreign

N, PX = 7, 16
IMAGES = foreign.drawings(N, PX)
NAMES = [f"{index:05d}.png" for index in range(N)]


def zipped(path):
    foreign.write_zip(path / "images.zip", IMAGES, NAMES)
    return path / "images.zip"


def test_zip_cut_in_half(tmp_path):
    file = zipped(tmp_path)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(ArchiveError, match="not a whole zip file.*fetch it again"):
        open_archive(file)


def test_zip_with_a_flipped_bit(tmp_path):
    content = bytearray(zipped(tmp_path).read_bytes())
    content[100] ^= 1
    (tmp_path / "images.zip").write_bytes(content)
    with pytest.raises(ArchiveError, match="00000.png.*cannot be read.*CRC"):
        ZipArchive(tmp_path / "images.zip").read(0)


@pytest.mark.parametrize(
    ("offset", "value", "message"), [(6, 1, "encrypted"), (8, 97, "not supported")]
)
def test_zip_that_cannot_be_unpacked(tmp_path, offset, value, message):
    content = bytearray(zipped(tmp_path).read_bytes())
    central = content.index(b"PK\1\2")
    content[offset] = content[central + offset + 2] = value
    (tmp_path / "images.zip").write_bytes(content)
    archive = ZipArchive(tmp_path / "images.zip")
    for read in (archive.read, archive.read_format):
        with pytest.raises(ArchiveError, match=f"00000.png: cannot be read.*{message}"):
            read(0)


def test_zip_with_damaged_compression(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.png", bytes(1000))
    content = bytearray((tmp_path / "a.zip").read_bytes())
    content[35:40] = b"\xff" * 5
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(ArchiveError, match="a.png: cannot be read"):
        ZipArchive(tmp_path / "a.zip").read(0)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_last_of_two_zip_members_of_a_name_counts(tmp_path):
    foreign.write_zip(tmp_path / "a.zip", IMAGES[:3], ["a.png", "b.png", "a.png"])
    archive = open_archive(tmp_path / "a.zip")
    assert archive.names == ["a.png", "b.png"]
    foreign.assert_holds(archive, IMAGES[[2, 1]])


@pytest.mark.parametrize(
    ("label", "message"),
    [(2**33, "number the classes from 0"), ([float("nan")], "NaN"), ([1e60], "too large")],
)
def test_labels_out_of_range(tmp_path, label, message):
    foreign.write_zip(tmp_path / "a.zip", IMAGES[:1], NAMES[:1], [label])
    with pytest.raises(ArchiveError, match=message):
        _ = open_archive(tmp_path / "a.zip").labels
