"""Every layout gives back the pixels, names and labels that were written, or says what is wrong."""

import concurrent.futures
import gzip
import os
import pickle

import numpy as np
import pytest

from stylegan_jax.data.archives import (
    ArchiveError,
    CifarArchive,
    FolderArchive,
    LmdbArchive,
    SubsetArchive,
    TfrecordArchive,
    ZipArchive,
    open_archive,
)
from stylegan_jax.data.codecs import ImageFormat, decode
from stylegan_jax.data.labels import class_labels
from tests.data import foreign

N, PX = 7, 16
IMAGES = foreign.drawings(N, PX)
NAMES = [f"{index:05d}.png" for index in range(N)]
CIFAR_LABELS = [3, 0, 9, 9, 1, 2, 5, 7, 8, 4, 6, 0]


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


def assert_holds(archive, images):
    assert len(archive) == len(images) == len(archive.names) == len(archive.sizes)
    for index, expected in enumerate(images):
        np.testing.assert_array_equal(archive.read_pixels(index), expected)
        assert archive.read_format(index) == ImageFormat(*expected.shape)


LAYOUTS = pytest.mark.parametrize("write", [folder, zipped, lsun, tfrecords])


@LAYOUTS
def test_pixels_survive_in_order(tmp_path, write):
    archive = open_archive(write(tmp_path))
    assert_holds(archive, IMAGES)
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
    assert_holds(archive, IMAGES)


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
    assert_holds(open_archive(tmp_path), IMAGES[:3])


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


# TFRecords


def test_tfrecord_levels(tmp_path):
    path, levels = tfrecords(tmp_path), foreign.shrink_levels(IMAGES)
    assert sorted(levels) == [4, 8, 16]
    for asked, given in [(None, 16), (16, 16), (9, 16), (8, 8), (3, 4)]:
        assert_holds(open_archive(path, resolution=asked), levels[given])
    archive = open_archive(path / "demo-r03.tfrecords")
    assert archive.name == "demo"
    assert_holds(archive, levels[8])
    with pytest.raises(ArchiveError, match="4, 8, 16 pixels, not of 32: ask for 16 or less"):
        open_archive(path, resolution=32)


@pytest.mark.parametrize("channels", [1, 3])
def test_tfrecord_shape_packed_or_not(tmp_path, channels):
    pixels = IMAGES[0][..., :channels]
    data = pixels.transpose(2, 0, 1).tobytes()

    def field(number, content):
        assert len(content) < 2**14
        size = bytes([len(content) & 127 | 128, len(content) >> 7])
        return bytes([number << 3 | 2]) + size + content

    def example(shape_list):
        entries = [
            field(1, b"data") + field(2, field(1, field(1, data))),
            field(1, b"shape") + field(2, field(3, shape_list)),
        ]
        return field(1, b"".join(field(1, entry) for entry in entries))

    shape = bytes([channels, PX, PX])
    unpacked = b"".join(bytes([1 << 3, value]) for value in shape)
    records = [example(field(1, shape)), example(unpacked)]
    (tmp_path / "x.tfrecords").write_bytes(b"".join(map(foreign.frame_record, records)))
    archive = open_archive(tmp_path / "x.tfrecords")
    assert archive.name == "x"
    assert_holds(archive, [pixels, pixels])


def test_tfrecord_written_by_tensorflow(tmp_path):
    # tf.io.TFRecordWriter of TensorFlow 2.21.0; pixels [3, 4, 4] (CHW) that count by fives.
    record = bytes.fromhex(
        "520000000000000025eb07b70a500a100a05736861706512071a050a030304040a3c0a046461746112340a320a30"
        "00050a0f14191e23282d32373c41464b50555a5f64696e73787d82878c91969ba0a5aaafb4b9bec3c8cdd2d7dce1"
        "e6eb2341ff79"
    )
    pixels = (np.arange(48, dtype=np.uint8) * 5).reshape(3, 4, 4).transpose(1, 2, 0)
    (tmp_path / "x.tfrecords").write_bytes(record)
    assert_holds(open_archive(tmp_path / "x.tfrecords"), [pixels])
    assert foreign.frame_record(b"123456789")[-4:].hex() == "e5b08ac7"


def test_tfrecord_labels(tmp_path):
    one_hot = np.eye(4)[[2, 0, 1, 2, 2, 0, 1]]
    foreign.write_tfrecords(tmp_path / "a", "a", IMAGES, one_hot)
    labels = open_archive(tmp_path / "a").labels
    assert labels.kind == "classes" and labels.class_names == ("0", "1", "2", "3")
    assert labels.values.tolist() == [2, 0, 1, 2, 2, 0, 1]
    np.testing.assert_array_equal(labels.rows(range(N)), one_hot)
    assert open_archive(tmp_path / "a" / "a-r02.tfrecords").labels.kind == "classes"

    vectors = np.arange(N * 2, dtype=np.float32).reshape(N, 2)
    foreign.write_tfrecords(tmp_path / "b", "b", IMAGES, vectors)
    labels = open_archive(tmp_path / "b").labels
    assert labels.kind == "vectors" and labels.c_dim == 2
    np.testing.assert_array_equal(labels.values, vectors)


def test_tfrecord_labels_that_do_not_fit(tmp_path):
    foreign.write_tfrecords(tmp_path, "a", IMAGES, np.eye(N - 1))
    with pytest.raises(ArchiveError, match=r"a-rxx.labels has shape \(6, 6\).*each of the 7"):
        _ = open_archive(tmp_path).labels
    (tmp_path / "a-rxx.labels").write_bytes(pickle.dumps("no array"))
    with pytest.raises(ArchiveError, match="a-rxx.labels: not a NumPy array"):
        _ = open_archive(tmp_path).labels


def test_each_flipped_bit_of_a_tfrecord_is_found(tmp_path):
    record = foreign.frame_record(foreign.tf_example(IMAGES[0][:4, :4]))
    file = tmp_path / "x.tfrecords"
    for bit in range(0, 8 * len(record), 3):  # every third, for time
        damaged = bytearray(record * 2)
        damaged[len(record) + bit // 8] ^= 1 << bit % 8
        file.write_bytes(damaged)
        with pytest.raises(ArchiveError, match=r"x.tfrecords \(record 1\)"):
            archive = TfrecordArchive(file)
            archive.read(0)
            archive.read(1)


def test_each_cut_of_a_tfrecord_is_found(tmp_path):
    record = foreign.frame_record(foreign.tf_example(IMAGES[0][:4, :4]))
    file = tmp_path / "x.tfrecords"
    for size in range(1, len(record)):
        file.write_bytes(record + record[:size])
        with pytest.raises(ArchiveError, match=r"x.tfrecords \(record 1\).*cut off"):
            TfrecordArchive(file)
    file.write_bytes(b"")
    with pytest.raises(ArchiveError, match="is empty"):
        TfrecordArchive(file)


def test_tfrecord_of_something_else(tmp_path):
    file = tmp_path / "x.tfrecords"
    for data in (b"hello", b"", b"\x0a", foreign.tf_example(IMAGES[0])[:-3]):
        file.write_bytes(foreign.frame_record(data))
        with pytest.raises(ArchiveError, match=r"record 0\): not a ProGAN or StyleGAN record"):
            TfrecordArchive(file).read(0)
    examples = [foreign.tf_example(IMAGES[0]), foreign.tf_example(IMAGES[0][:8])]
    file.write_bytes(b"".join(map(foreign.frame_record, examples)))
    with pytest.raises(ArchiveError, match="record 1.*shape .8, 16, 3.*must be alike"):
        TfrecordArchive(file).read(1)


def test_two_sets_in_one_folder(tmp_path):
    foreign.write_tfrecords(tmp_path, "a", IMAGES)
    foreign.write_tfrecords(tmp_path, "b", IMAGES)
    with pytest.raises(ArchiveError, match="of one set, found those of a, b"):
        open_archive(tmp_path)
    assert open_archive(tmp_path / "b-r04.tfrecords").name == "b"


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
    assert_holds(copies[0], IMAGES)
    process = os.fork()
    if process == 0:
        same = np.array_equal(copies[1].read_pixels(1), IMAGES[1])
        os._exit(0 if same else 1)
    assert os.waitpid(process, 0)[1] == 0


def test_lmdb_cut_off(tmp_path):
    path = lsun(tmp_path)
    content = (path / "data.mdb").read_bytes()
    for size in (len(content) - 1, len(content) // 2, 5000, 100, 0):
        (path / "data.mdb").write_bytes(content[:size])
        with pytest.raises(ArchiveError, match="cut off|not a whole LMDB"):
            open_archive(path)


# CIFAR-10 and IDX


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
        assert_holds(copy, images[:10])

    test = CifarArchive(path, test=True)
    assert test.labels.values.tolist() == CIFAR_LABELS[10:]
    assert_holds(test, images[10:])


def test_cifar10_unpacked(cifar):
    images, files, path = cifar
    for name, content in files.items():
        (path.parent / name).write_bytes(content)
    assert_holds(open_archive(path.parent), images[:10])


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
    for at in rng.integers(12, len(content), 20):  # behind gzip's header, whose time may be any
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


def test_idx(tmp_path):
    grey = foreign.drawings(5, 28)[..., 0]
    path = foreign.write_idx(tmp_path / "mnist", grey, [4, 0, 3, 1, 4])
    expected = np.zeros((5, 32, 32, 1), np.uint8)
    expected[:, 2:30, 2:30, 0] = grey
    for opened in (path, path.parent):
        archive = open_archive(opened)
        assert archive.name == "mnist"
        assert archive.labels.values.tolist() == [4, 0, 3, 1, 4] and archive.labels.c_dim == 5
        assert_holds(pickle.loads(pickle.dumps(archive)), expected)


def test_idx_damaged(tmp_path):
    grey = foreign.drawings(5, 28)[..., 0]
    path = foreign.write_idx(tmp_path, grey, [1, 2])
    with pytest.raises(ArchiveError, match="2 labels.*5 images"):
        _ = open_archive(path).labels
    content = gzip.decompress(path.read_bytes())
    for damaged in (gzip.compress(content[:-1]), gzip.compress(b"\1" + content[1:]), b"x", b""):
        path.write_bytes(damaged)
        with pytest.raises(ArchiveError, match="not a whole IDX file"):
            open_archive(path)


def test_subset(tmp_path):
    whole = open_archive(folder(tmp_path))
    part = SubsetArchive(whole, [5, 0, 2], labels=class_labels([1, 0, 1], ["a", "b"]))
    assert part.names == [NAMES[5], NAMES[0], NAMES[2]] and part.where(0) == whole.where(5)
    assert_holds(pickle.loads(pickle.dumps(part)), IMAGES[[5, 0, 2]])
    assert part.labels.values.tolist() == [1, 0, 1]
    assert SubsetArchive(whole, [0]).labels.kind == "none"
    assert part.identity() != SubsetArchive(whole, [0, 5, 2]).identity()


# What fits no layout


def test_missing_path(tmp_path):
    with pytest.raises(ArchiveError, match="There is no .*nothing. Wanted a folder of images"):
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
