"""ProGAN's TFRecords: levels, labels, and damage of every kind."""

import concurrent.futures
import pickle

import numpy as np
import pytest

from stylegan_jax.data.archives import ArchiveError, TfrecordArchive, open_archive
from tests.data import foreign

N, PX = 7, 16
IMAGES = foreign.drawings(N, PX)


def tfrecords(path):
    foreign.write_tfrecords(path / "demo", "demo", IMAGES)
    return path / "demo"


def test_tfrecords_that_cannot_be_read_by_position(tmp_path):
    # As in a bucket: one position in the file, which threads must not take from one another.
    archive = open_archive(tfrecords(tmp_path))
    archive._file._is_local = False
    copy = pickle.loads(pickle.dumps(archive))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for index, pixels in zip(list(range(N)) * 20, pool.map(copy.read, [*range(N)] * 20)):
            np.testing.assert_array_equal(pixels, IMAGES[index])


def test_tfrecord_levels(tmp_path):
    path, levels = tfrecords(tmp_path), foreign.shrink_levels(IMAGES)
    assert sorted(levels) == [4, 8, 16]
    for asked, given in [(None, 16), (16, 16), (9, 16), (8, 8), (3, 4)]:
        foreign.assert_holds(open_archive(path, size=asked and (asked, asked)), levels[given])
    for size, given in [((8, 5), 8), ((5, 9), 16), ((4, 4), 4)]:
        foreign.assert_holds(open_archive(path, size=size), levels[given])
    archive = open_archive(path / "demo-r03.tfrecords")
    assert archive.name == "demo"
    foreign.assert_holds(archive, levels[8])
    with pytest.raises(ArchiveError, match="4, 8, 16 pixels, not of 32: ask for 16 or less"):
        open_archive(path, size=(32, 32))


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
    foreign.assert_holds(archive, [pixels, pixels])


def test_tfrecord_written_by_tensorflow(tmp_path):
    # tf.io.TFRecordWriter of TensorFlow 2.21.0; pixels [3, 4, 4] (CHW) that count by fives.
    record = bytes.fromhex(
        "520000000000000025eb07b70a500a100a05736861706512071a050a030304040a3c0a046461746112340a320a30"
        "00050a0f14191e23282d32373c41464b50555a5f64696e73787d82878c91969ba0a5aaafb4b9bec3c8cdd2d7dce1"
        "e6eb2341ff79"
    )
    pixels = (np.arange(48, dtype=np.uint8) * 5).reshape(3, 4, 4).transpose(1, 2, 0)
    (tmp_path / "x.tfrecords").write_bytes(record)
    foreign.assert_holds(open_archive(tmp_path / "x.tfrecords"), [pixels])
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


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.full((N, 2), np.nan), "NaN, infinity or a number too large"),
        (np.full((N, 2), np.inf), "NaN, infinity or a number too large"),
        (np.full((N, 2), 1e39), "NaN, infinity or a number too large"),
        (np.zeros(N), r"has shape \(7,\)"),
        (np.zeros((N + 1, 2)), r"has shape \(8, 2\)"),
        (np.zeros((N, 2, 1)), r"has shape \(7, 2, 1\)"),
        (np.zeros((N, 2), complex), "wanted one array of numbers"),
        (np.full((N, 2), "a"), "wanted one array of numbers"),
    ],
)
def test_tfrecord_labels_that_are_none(tmp_path, rows, message):
    foreign.write_tfrecords(tmp_path, "a", IMAGES)
    with (tmp_path / "a-rxx.labels").open("wb") as file:
        np.save(file, rows)
    archive = open_archive(tmp_path)
    with pytest.raises(
        ArchiveError, match=f"a-rxx.labels:? {message}|a-rxx.labels: a vector .*{message}"
    ):
        _ = archive.labels
    # A run without labels goes on.
    assert archive.find_fitting_labels()[0].kind == "none"


def test_tfrecord_labels_of_the_wrong_length(tmp_path):
    foreign.write_tfrecords(tmp_path, "a", IMAGES, np.eye(N))
    file = tmp_path / "a-rxx.labels"
    content = file.read_bytes()
    header = content[: content.index(b"\n") + 1]
    huge = header.replace(b"(7, 7)", b"(7, %d)" % 10**15)
    for wrong, message in [
        (content + b"x", r"longer than its array of shape \(7, 7\)"),
        (content[:-1], "not a NumPy array"),
        (content[:20], "not a NumPy array"),
        (huge[: len(header)] + content, "not a NumPy array"),
        (b"", "not a NumPy array"),
    ]:
        file.write_bytes(wrong)
        with pytest.raises(ArchiveError, match=f"a-rxx.labels: {message}"):
            _ = open_archive(tmp_path).labels


def test_each_flipped_bit_of_a_tfrecord_is_found(tmp_path):
    record = foreign.frame_record(foreign.tf_example(IMAGES[0][:4, :4]))
    file = tmp_path / "x.tfrecords"
    for bit in range(0, 8 * len(record), 5):  # every fifth, for time
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
