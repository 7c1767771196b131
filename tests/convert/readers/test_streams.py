import struct

import numpy as np
import pytest

from stylegan_jax.convert.readers.files import read_bytes
from stylegan_jax.convert.readers.records import CheckpointFileError
from stylegan_jax.convert.readers.trees import to_arrays
from tests.convert.writing import MAGIC, Tensor, write_pickle, write_stream

ROW = np.arange(6, dtype=np.float32)
STREAM = write_stream({"a": Tensor(ROW), "b": Tensor(ROW.reshape(2, 3).astype(np.float16))})


def test_tensors_come_after_the_pickles():
    arrays = to_arrays(read_bytes(STREAM).root, 10**6)
    np.testing.assert_array_equal(arrays["a"], ROW)
    np.testing.assert_array_equal(arrays["b"], ROW.reshape(2, 3))
    assert arrays["b"].dtype == np.float16


def test_tensors_that_share_a_storage():
    first, second = Tensor(ROW), Tensor(ROW)
    second.storage = first.storage
    data = write_stream([first, second])
    one, two = read_bytes(data).root
    assert one.storage is two.storage
    assert data.count(ROW.tobytes()) == 1


def test_streams_that_are_cut():
    for cut in range(0, len(STREAM), 23):
        # The first bytes alone are another format's.
        with pytest.raises(CheckpointFileError):
            read_bytes(STREAM[:cut])


def _system(**changes) -> bytes:
    return write_pickle({"little_endian": True} | changes, 2)


HEAD = write_pickle(MAGIC, 2) + write_pickle(1001, 2)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (write_pickle(MAGIC, 2) + write_pickle(1002, 2), "magic number"),
        (HEAD + _system(little_endian=False), "big-endian"),
        (HEAD + write_pickle(None, 2), "big-endian"),
        (HEAD + _system() + write_pickle(None, 2) + write_pickle(3, 2), "list of its storages"),
        (HEAD + _system() + write_pickle(None, 2) + write_pickle(["0"], 2), "belongs to no tensor"),
    ],
)
def test_other_streams(data, message):
    with pytest.raises(CheckpointFileError, match=message):
        read_bytes(data)


def test_lengths_that_differ():
    at = STREAM.index(struct.pack("<q", 6) + ROW.tobytes())
    with pytest.raises(CheckpointFileError, match="two lengths differ"):
        read_bytes(STREAM[:at] + struct.pack("<q", 5) + STREAM[at + 8 :])


@pytest.mark.parametrize(
    "name",
    [b"ctorch\nFloatStorage\nU\x010U\x03cpuJ\xff\xff\xff\xff", b"NU\x010U\x03cpuK\x01", b"N"],
)
def test_references_that_are_no_storages(name):
    with pytest.raises(CheckpointFileError, match="no plain storage"):
        read_bytes(HEAD + _system() + b"\x80\x02(U\x07storage" + name + b"tQ.")
