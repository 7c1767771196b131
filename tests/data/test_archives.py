"""Every layout gives back the pixels, names and labels that were written, or says what is wrong."""

import concurrent.futures
import json
import os
import pickle
import struct
import zipfile
import zlib

import numpy as np
import pytest

from stylegan_jax.data.archives import (
    ArchiveError,
    FolderArchive,
    LmdbArchive,
    SubsetArchive,
    ZipArchive,
    open_archive,
)
from stylegan_jax.data.codecs import decode, encode
from stylegan_jax.data.labels import class_labels
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


@pytest.mark.parametrize("suffix", ["png", "qoi", "bmp", "webp"])
def test_folder_of_other_formats(tmp_path, suffix):
    options = {"lossless": True} if suffix == "webp" else {}
    for name, pixels in zip("abc", IMAGES):
        (tmp_path / f"{name}.{suffix}").write_bytes(foreign.encode_as(suffix, pixels, **options))
    foreign.assert_holds(open_archive(tmp_path), IMAGES[:3])


def test_labels_of_folders_and_zips(tmp_path):
    names = [f"{'ab'[index % 2]}/{index}.png" for index in range(N)]
    foreign.write_folder(tmp_path / "classes", IMAGES, names)
    archive = open_archive(tmp_path / "classes")
    assert archive.labels.class_names == ("a", "b")
    assert archive.labels.values.tolist() == [0, 0, 0, 0, 1, 1, 1]

    foreign.write_zip(tmp_path / "set.zip", IMAGES, NAMES, [2, 0, 1, 2, 2, 0, 1])
    archive = open_archive(tmp_path / "set.zip")
    assert archive.labels.values.tolist() == [2, 0, 1, 2, 2, 0, 1] and archive.labels.c_dim == 3


def test_no_damage_of_a_png_changes_its_pixels(rng):
    pixels = rng.integers(20, size=(8, 8, 3), dtype=np.uint8)
    content = encode(pixels)
    found = 0
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << rng.integers(8)
        try:
            np.testing.assert_array_equal(decode(bytes(damaged)), pixels)
        except ValueError:
            found += 1
    assert found >= len(content) - 8  # two checksums, where pixels are as they were


# Column, row and their steps of each pass.
WHOLE = [(0, 0, 1, 1)]
ADAM7 = [
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)),
    *((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
]


def png_chunk(kind, content):
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


@pytest.mark.parametrize("passes", [WHOLE, ADAM7], ids=["plain", "interlaced"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_png_in_many_chunks_with_others_around(rng, passes, dtype):
    pixels = rng.integers(np.iinfo(dtype).max, size=(13, 11, 3), dtype=dtype)
    rows = b""
    for column, row, columns, lines in passes:
        for line in pixels[row::lines, column::columns]:
            rows += b"\0" + line.astype(pixels.dtype.newbyteorder(">")).tobytes()
    packed = zlib.compress(rows)
    header = struct.pack(">IIBBBBB", 11, 13, pixels.itemsize * 8, 2, 0, 0, passes is ADAM7)
    chunks = [png_chunk(b"IHDR", header), png_chunk(b"tEXt", b"a\0b")]
    chunks += [png_chunk(b"IDAT", packed[i : i + 50]) for i in range(0, len(packed), 50)]
    chunks += [png_chunk(b"tEXt", b"c\0d"), png_chunk(b"IEND", b""), b"more"]
    np.testing.assert_array_equal(decode(b"\x89PNG\r\n\x1a\n" + b"".join(chunks)), pixels)


def test_truncated_png_is_named_damaged(tmp_path):
    file = folder(tmp_path) / NAMES[2]
    file.write_bytes(file.read_bytes()[:-20])
    archive = open_archive(file.parent)
    with pytest.raises(ValueError, match="damaged"):
        archive.read_pixels(2)
    np.testing.assert_array_equal(archive.read_pixels(3), IMAGES[3])


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


def test_labels_that_contradict_each_other(tmp_path):
    path = folder(tmp_path)
    pairs = [[name, 0] for name in NAMES] + [[NAMES[2], 1]]
    (path / "dataset.json").write_text(json.dumps({"labels": pairs}))
    with pytest.raises(ArchiveError, match="dataset.json: 00002.png comes twice"):
        _ = open_archive(path).labels


@pytest.mark.parametrize(
    ("label", "message"),
    [(2**33, "number the classes from 0"), ([float("nan")], "NaN"), ([1e60], "too large")],
)
def test_labels_out_of_range(tmp_path, label, message):
    foreign.write_zip(tmp_path / "a.zip", IMAGES[:1], NAMES[:1], [label])
    with pytest.raises(ArchiveError, match=message):
        _ = open_archive(tmp_path / "a.zip").labels


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


def _png16(channels_code, channels, *, transparent=False):
    """A PNG of 16 bits: its content and pixels."""
    pixels = np.random.default_rng(0).integers(2**16, size=(8, 8, channels)).astype(np.uint16)
    chunks = {b"IHDR": struct.pack(">IIBBBBB", 8, 8, 16, channels_code, 0, 0, 0)}
    if transparent:
        chunks[b"tRNS"] = struct.pack(f">{channels}H", *pixels[0, 0])
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    chunks |= {b"IDAT": zlib.compress(rows), b"IEND": b""}
    content = b"\x89PNG\r\n\x1a\n"
    for kind, data in chunks.items():
        content += struct.pack(">I", len(data)) + kind + data
        content += struct.pack(">I", zlib.crc32(kind + data))
    return content, pixels


@pytest.mark.parametrize(("code", "channels"), [(0, 1), (2, 3)])
def test_transparent_colour_takes_no_bits_away(code, channels):
    content, pixels = _png16(code, channels, transparent=True)
    np.testing.assert_array_equal(decode(content), pixels)


def test_grey_with_alpha_is_refused_in_16_bits_too():
    with pytest.raises(ValueError, match="colour mode LA"):
        decode(_png16(4, 2)[0])


# LMDB


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


def test_subset(tmp_path):
    whole = open_archive(folder(tmp_path))
    part = SubsetArchive(whole, [5, 0, 2], labels=class_labels([1, 0, 1], ["a", "b"]))
    assert part.names == [NAMES[5], NAMES[0], NAMES[2]] and part.where(0) == whole.where(5)
    foreign.assert_holds(pickle.loads(pickle.dumps(part)), IMAGES[[5, 0, 2]])
    assert part.labels.values.tolist() == [1, 0, 1]
    assert SubsetArchive(whole, [0]).labels.kind == "none"
    assert part.identity() != SubsetArchive(whole, [0, 5, 2]).identity()


# What fits no layout


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
