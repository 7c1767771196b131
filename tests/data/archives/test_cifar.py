"""CIFAR-10's pickles, read without running anything of them."""

import os
import pickle
import tarfile

import numpy as np
import pytest

from stylegan_jax.data.archives import ArchiveError, CifarArchive, open_archive
from tests.data import foreign

CIFAR_LABELS = [3, 0, 9, 9, 1, 2, 5, 7, 8, 4, 6, 0]


@pytest.fixture
def cifar(tmp_path):
    images = foreign.drawings(12, 32)
    return images, foreign.cifar_batches(images, CIFAR_LABELS), tmp_path / "cifar-10-python.tar.gz"


def test_cifar10(cifar):
    images, files, path = cifar
    foreign.write_cifar10(path, files)
    archive = open_archive(path)
    assert archive.labels.class_names == tuple(foreign.CIFAR_CLASSES)
    assert archive.labels.values.tolist() == CIFAR_LABELS[:10]
    assert archive.names[:3] == ["data_batch_1/00000", "data_batch_1/00001", "data_batch_2/00000"]
    assert len(pickle.dumps(archive)) < 3072
    for copy in (archive, pickle.loads(pickle.dumps(archive))):
        foreign.assert_holds(copy, images[:10])

    test = CifarArchive(path, test=True)
    assert test.labels.values.tolist() == CIFAR_LABELS[10:]
    foreign.assert_holds(test, images[10:])


def test_cifar10_unpacked(cifar):
    images, files, path = cifar
    for name, content in files.items():
        (path.parent / name).write_bytes(content)
    foreign.assert_holds(open_archive(path.parent), images[:10])


def test_cifar10_pickle_as_python_reads_it(cifar):
    # The fixture's own writer against the real unpickler: what is tested is of the true form.
    images, files, _ = cifar
    content = files["data_batch_1"].replace(b"numpy.core", b"numpy._core")
    parsed = pickle.loads(content, encoding="bytes")
    assert parsed[b"labels"] == CIFAR_LABELS[:2]
    chw = parsed[b"data"].reshape(2, 3, 32, 32)
    np.testing.assert_array_equal(chw.transpose(0, 2, 3, 1), images[:2])


class Attack:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: {b"data": x, b"labels": []}])
def test_cifar10_with_a_malicious_pickle(cifar, protocol, wrap):
    _, files, path = cifar
    trace = path.parent / "executed"
    files["data_batch_3"] = pickle.dumps(wrap(Attack(trace)), protocol)
    foreign.write_cifar10(path, files)
    with pytest.raises(ArchiveError, match="data_batch_3: .*asks for (posix.mkdir|_codecs)"):
        open_archive(path)
    assert not trace.exists()
    pickle.loads(files["data_batch_3"])
    assert trace.exists()


@pytest.mark.parametrize(
    "opcodes",
    [
        b"cnumpy\nload\n(S'x'\ntR.",
        b"cnumpy.core.multiarray\n_reconstruct.__globals__\n.",
        b"cbuiltins\ngetattr\n.",
        b"c__builtin__\neval\n(S'1'\ntR.",
        b"(S'ls'\nios\nsystem\n.",
        b"Pid\n.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
    ],
)
def test_cifar10_with_other_pickles(cifar, opcodes):
    _, files, path = cifar
    files["batches.meta"] = opcodes
    foreign.write_cifar10(path, files)
    with pytest.raises(ArchiveError, match="batches.meta: not a batch"):
        open_archive(path)


def test_cifar10_damaged(cifar, rng):
    _, files, path = cifar
    foreign.write_cifar10(path, files)
    content = path.read_bytes()
    for at in rng.integers(12, len(content), 20):  # after gzip's header, whose time may be any
        damaged = bytearray(content)
        damaged[at] ^= 4
        path.write_bytes(damaged)
        with pytest.raises(ArchiveError, match="cifar-10-python.tar.gz"):
            open_archive(path)
    path.write_bytes(content[:-200])
    with pytest.raises(ArchiveError, match="cannot be read"):
        open_archive(path)
    del files["data_batch_4"]
    foreign.write_cifar10(path, files)
    with pytest.raises(ArchiveError, match="lacks data_batch_4"):
        open_archive(path)


def test_cifar10_with_wrong_arrays(cifar):
    _, files, path = cifar
    for data in (np.zeros((2, 3071), np.uint8), np.zeros((1, 3072), np.uint8), b"text", []):
        files["data_batch_1"] = foreign.python2_pickle({b"data": data, b"labels": [0, 0]})
        foreign.write_cifar10(path, files)
        with pytest.raises(ArchiveError, match="the batches are not CIFAR-10's"):
            open_archive(path)


def write_tar(path, names, mode="w"):
    with tarfile.open(path, mode) as tar:
        for name in names:
            tar.addfile(tarfile.TarInfo(name))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["a/0.png", "a/1.png"],
            "Found 2 file.s., 2 of .png, the first is a/0.png. Unpack it, and give",
        ),
        (["x/data.mdb"], "Unpack it, and give one of the folders in it"),
        (["cifar-100-python/train", "y/test", "y/meta"], "It is CIFAR-100, which is not read"),
        (["y/data_batch_1.bin"], "CIFAR-10's binary version. Fetch cifar-10-python.tar.gz"),
        (["y/data_batch_1"], "not all of it. Fetch cifar-10-python.tar.gz again"),
        (["readme"], "the first is readme.$"),
    ],
)
@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tgz"])
def test_tar_of_something_else_says_what_is_there(tmp_path, names, message, suffix):
    path = tmp_path / f"x{suffix}"
    write_tar(path, names, "w" if suffix == ".tar" else "w:gz")
    with pytest.raises(ArchiveError, match=f"not CIFAR-10's python archive, .*{message}"):
        open_archive(path)


def test_tar_that_must_not_be_read(cifar, monkeypatch):
    _, files, path = cifar
    foreign.write_cifar10(path, files)

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied", "a.tar")

    monkeypatch.setattr(tarfile, "open", refuse)
    with pytest.raises(ArchiveError, match=r"tar.gz: cannot be read .Permission denied.\.$"):
        open_archive(path)
