import pickle

import numpy as np
import pytest

from stylegan_jax.convert.readers.files import read_bytes
from stylegan_jax.convert.readers.records import CheckpointFileError
from tests.convert.writing import EasyDict, write_pickle


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("is_old", [False, True])
def test_arrays_of_every_protocol_and_numpy(protocol, is_old, rng):
    arrays = {
        "c": rng.standard_normal((2, 3)).astype(np.float32),
        "f": np.asfortranarray(rng.standard_normal((2, 3))),
        "flags": np.array([True, False]),
        "empty": np.zeros((0, 4), np.float16),
        "scalar": np.float64(0.25),
    }
    got = read_bytes(write_pickle(EasyDict(arrays), protocol, is_old=is_old)).root
    assert got.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(got[name], array)
        assert got[name].dtype == array.dtype.newbyteorder("=")


def test_bytes_of_a_big_endian_machine():
    array = np.arange(4, dtype=">i2")
    np.testing.assert_array_equal(read_bytes(pickle.dumps(array, 2)).root, array)


ARRAY = b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
FLOAT = b"cnumpy\ndtype\nU\x02f4\x85R"


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (b"N", "a state of type NoneType"),
        (b"(K\x01)" + FLOAT + b"\x89]t", "made of list"),
        (b"(K\x01)" + FLOAT + b"\x89U\x03abct", "has 3 bytes instead of 4"),
        (b"(K\x01K\x02\x85" + FLOAT + b"\x89U\x04abcdt", "has 4 bytes instead of 8"),
        (b"(K\x01J\xff\xff\xff\xff\x85" + FLOAT + b"\x89U\x04abcdt", "shape is none"),
        (b"(K\x01\x88\x85" + FLOAT + b"\x89U\x04abcdt", "shape is none"),
        (b"(K\x01)N\x89U\x04abcdt", "state that is none"),
        (b"(K\x01(K\x00" + b"J\xff\xff\xff\x7f" * 9 + b"t" + FLOAT + b"\x89U\x00t", "instead of"),
    ],
)
def test_states_of_arrays(state, message):
    with pytest.raises(CheckpointFileError, match=message):
        read_bytes(ARRAY + state + b"b.")
