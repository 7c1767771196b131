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
    ("offset", "value", "message"),
    [
        (6, 1, r"encrypted.*\. Unpack it with its password, and give the folder.$"),
        (8, 97, r"not supported.*\. Unpack it with the program that packed it, and give"),
    ],
)
def test_zip_that_cannot_be_unpacked(tmp_path, offset, value, message):
    content = bytearray(zipped(tmp_path).read_bytes())
    central = content.index(b"PK\1\2")
    content[offset] = content[central + offset + 2] = value
    (tmp_path / "images.zip").write_bytes(content)
    archive = ZipArchive(tmp_path / "images.zip")
    encrypted = ["1 of 7 images are encrypted, the first is 00000.png."]
    assert archive.notes == (encrypted if offset == 6 else [])
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


def test_members_that_are_left_out_are_named(tmp_path):
    foreign.append_to_zip(zipped(tmp_path), {"b.gif": b"x", "x/c.pdf": b"x", "x/.d.gif": b"x"})
    assert ZipArchive(tmp_path / "images.zip").notes == [
        "2 file(s) are left out, as they are no images: 1 of .gif, 1 of .pdf, the first is b.gif."
    ]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "church/data.mdb",
            "Found 1 of .mdb, the first is church/data.mdb. Unpack it, and give one",
        ),
        ("images.zip", "Found 1 of .zip.*Unpack it, and what is in it"),
        ("notes.txt", "Found 1 of .txt, the first is notes.txt.$"),
    ],
)
def test_zip_without_images_says_what_is_there(tmp_path, name, message):
    foreign.append_to_zip(tmp_path / "a.zip", {name: b"x"})
    with pytest.raises(ArchiveError, match=f"holds no image files.*{message}"):
        open_archive(tmp_path / "a.zip")


def test_zip_that_must_not_be_read_is_not_to_be_fetched_again(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied", "a.zip")

    file = zipped(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(zipfile, "ZipFile", refuse)
        with pytest.raises(
            ArchiveError, match=r"images.zip: cannot be opened .Permission denied.\.$"
        ):
            open_archive(file)
    archive = open_archive(file)
    monkeypatch.setattr(zipfile.ZipFile, "read", refuse)
    with pytest.raises(ArchiveError, match=r"00000.png: cannot be read .Permission denied.\.$"):
        archive.read(0)


def test_zip_members_are_of_bounded_size(tmp_path, monkeypatch):
    archive = open_archive(zipped(tmp_path))
    monkeypatch.setattr("stylegan_jax.data.archives.zip.MAX_FILE_BYTES", 100)
    with pytest.raises(ArchiveError, match="00000.png: [0-9]+ bytes, more than the 100 that are"):
        archive.read(0)
