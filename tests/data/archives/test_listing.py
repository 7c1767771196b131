"""Files: which are read, whatever lies in a folder, and what is said of others."""

import os
import socket
import threading

import pytest

from stylegan_jax.data.archives import ArchiveError, FolderArchive, open_archive
from stylegan_jax.data.archives import folder as folder_module
from stylegan_jax.data.archives.listing import (
    advise_on_files,
    advise_on_head,
    open_regular,
    read_regular,
)
from tests.data import foreign

IMAGES = foreign.drawings(3, 8)


@pytest.fixture(autouse=True)
def no_waiting():
    """Fails, and goes on, where a pipe is waited for."""
    timer = threading.Timer(20, os._exit, [1])
    timer.start()
    yield
    timer.cancel()


def make_odd(path, kind):
    """Something that is no regular file."""
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "process":
        path.symlink_to("/proc/self/maps")
    else:
        (path.parent / "s").unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))


ODD = pytest.mark.parametrize("kind", ["pipe", "device", "process", "socket"])


@ODD
def test_what_is_no_regular_file_is_one_bad_image(tmp_path, kind, monkeypatch):
    # A socket's path must not be long.
    monkeypatch.chdir(tmp_path)
    foreign.write_folder(tmp_path, IMAGES, ["0.png", "1.png", "2.png"])
    make_odd(tmp_path.__class__("x.png"), kind)
    archive = FolderArchive(tmp_path)
    assert archive.names == ["0.png", "1.png", "2.png", "x.png"]
    with pytest.raises(ArchiveError, match="x.png: cannot be read"):
        archive.read(3)
    if kind != "process":
        with pytest.raises(ArchiveError, match="x.png: cannot be read"):
            archive.read_format(3)


@pytest.mark.parametrize(
    "name", ["a.zip", "a.tar", "a.tfrecords", "data.mdb", "folder/data.mdb", "folder/a.tfrecords"]
)
def test_a_pipe_in_the_place_of_a_data_set(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    os.mkfifo(path)
    for given in {path, path if path.parent == tmp_path else path.parent}:
        with pytest.raises(ArchiveError, match="neither a file nor|not a file|holds no data|none"):
            open_archive(given)


@pytest.mark.parametrize("kind", ["pipe", "folder", "too large"])
def test_a_label_file_that_is_none(tmp_path, kind, monkeypatch):
    foreign.write_folder(tmp_path, IMAGES, ["0.png", "1.png", "2.png"])
    file = tmp_path / "dataset.json"
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    else:
        monkeypatch.setattr(folder_module, "MAX_LABEL_BYTES", 10)
        file.write_text('{"labels": null}')
    with pytest.raises(ArchiveError, match="dataset.json: cannot be read"):
        _ = FolderArchive(tmp_path).labels


def test_files_are_of_bounded_size(tmp_path):
    file = tmp_path / "x.png"
    file.write_bytes(b"12345")
    assert read_regular(file, limit=5) == b"12345"
    with pytest.raises(OSError, match="5 bytes, more than the 4"):
        read_regular(file, limit=4)
    # A hole of a terabyte takes no room on the disk.
    with file.open("wb") as opened:
        opened.truncate(2**40)
    archive = FolderArchive(tmp_path)
    for read in (archive.read, archive.read_format):
        with pytest.raises(ArchiveError, match="1099511627776 bytes, more than"):
            read(0)
    with pytest.raises(OSError, match="more than"):
        open_regular(file)


def test_files_of_other_types_are_named(tmp_path):
    foreign.write_folder(tmp_path, IMAGES, ["0.png", "1.png", "2.png"])
    assert FolderArchive(tmp_path).notes == []
    for name in ("a.gif", "b.GIF", "notes", ".hidden", "dataset.json"):
        (tmp_path / name).write_text("x")
    for suffix in ("jfif", "JPE"):
        content = foreign.encode_as("jpg", IMAGES[0])
        (tmp_path / f"photo.{suffix}").write_bytes(content)
    archive = FolderArchive(tmp_path)
    assert archive.names[3:] == ["photo.JPE", "photo.jfif"]
    assert archive.read_pixels(4).shape == (8, 8, 3)
    assert archive.notes == [
        "3 file(s) are left out, as they are no images: 2 of .gif, 1 of no suffix, the first is "
        "a.gif."
    ]


@pytest.mark.parametrize(
    ("files", "packed", "message"),
    [
        (["a/1.PNG"], True, "Unpack it, and give the folder of images."),
        (["a/data.mdb"], True, "Unpack it, and give one of the folders in it."),
        (["a/data.mdb"], False, "Give one of the folders in it."),
        (["a.ZIP"], False, "Unpack these, or give one of them."),
        (["a.rar"], True, "Unpack it, and what is in it."),
        (["readme"], True, ""),
    ],
)
def test_advice_on_files(files, packed, message):
    assert advise_on_files(files, packed=packed) == message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!DOCTYPE html>", "It is a web page: fetch the file itself."),
        (b"\n <html>", "It is a web page: fetch the file itself."),
        (b"version https://git-lfs.github.com/spec/v1", "It is a pointer of Git LFS"),
        (b"Rar!\x1a\7\0", "It is a RAR archive: unpack it"),
        (b"7z\xbc\xaf\x27\x1c", "It is a 7z archive"),
        (b"\x1f\x8b\x08", "It is a gzip file"),
        (bytes(257) + b"ustar", "It is a tar: unpack it"),
    ],
)
@pytest.mark.parametrize("name", ["a.zip", "a.tfrecords", "a.bin", "a.tar"])
def test_files_say_what_they_are(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content.ljust(300))
    if name == "a.tar" and message.startswith(("It is a tar", "It is a gzip")):
        message = "cannot be read .*Fetch it again"
    with pytest.raises(ArchiveError, match=message):
        open_archive(tmp_path / name)


@pytest.mark.parametrize("name", ["a.zip", "a.tfrecords", "a.bin", "a.tar"])
def test_an_empty_file_says_so(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(ArchiveError, match="is empty"):
        open_archive(tmp_path / name)


def test_a_file_that_begins_as_it_should_needs_no_advice(tmp_path):
    (tmp_path / "x").write_bytes(b"\x1f\x8b\x08")
    assert advise_on_head(tmp_path / "x", wanted=(b"\x1f\x8b",)) == ""
    assert advise_on_head(tmp_path / "nowhere") == ""
