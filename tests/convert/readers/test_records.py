import ml_dtypes
import numpy as np
import pytest

from stylegan_jax.convert.readers.records import (
    STORAGE_DTYPES,
    Budget,
    CheckpointFileError,
    Instance,
    Storage,
    Tensor,
    plain,
)

ROW = np.arange(24, dtype=np.float32)


def tensor(size, stride, offset=0):
    """A view of 24 numbers."""
    return Tensor(Storage(ROW.dtype, ROW.size, memoryview(ROW.tobytes())), offset, size, stride)


@pytest.mark.parametrize(
    ("size", "stride", "offset", "want"),
    [
        ((24,), (1,), 0, ROW),
        ((), (), 5, ROW[5]),
        ((2, 3, 4), (12, 4, 1), 0, ROW.reshape(2, 3, 4)),
        ((4, 6), (1, 4), 0, ROW.reshape(6, 4).T),
        # Channels last: [n, c, h, w] of rows [n, h, w, c].
        ((2, 3, 2, 2), (12, 1, 6, 3), 0, ROW.reshape(2, 2, 2, 3).transpose(0, 3, 1, 2)),
        ((5,), (2,), 3, ROW[3:13:2]),
        ((0, 4), (4, 1), 24, np.zeros((0, 4), np.float32)),
    ],
)
def test_views(size, stride, offset, want):
    got = tensor(size, stride, offset).array()
    np.testing.assert_array_equal(got, want)
    assert not got.flags.writeable or not got.size


@pytest.mark.parametrize(
    ("size", "stride", "offset"),
    [
        ((25,), (1,), 0),
        ((24,), (1,), 1),
        ((2, 2), (24, 1), 0),
        ((2**40, 2**40), (1, 1), 0),
        ((2**62,), (0,), 0),
        ((30,), (0,), 0),
        ((-1,), (1,), 0),
        ((2,), (-1,), 1),
        ((2,), (1,), -1),
        ((2,), (1, 1), 0),
        ((1,) * 17, (1,) * 17, 0),
        ((0, 2**40), (1, 1), 0),
    ],
)
def test_views_beyond_their_storage(size, stride, offset):
    with pytest.raises(CheckpointFileError):
        tensor(size, stride, offset).array()


@pytest.mark.parametrize("data", [None, memoryview(bytes(4))])
def test_storages_whose_size_lies(data):
    with pytest.raises(CheckpointFileError, match="says 8 bytes"):
        Tensor(Storage(ROW.dtype, 2, data), 0, (2,), (1,)).array()


@pytest.mark.parametrize("kind", STORAGE_DTYPES)
def test_every_kind_of_storage(kind):
    dtype = STORAGE_DTYPES[kind]
    row = np.array([0, 1, 1], dtype)
    storage = Storage(dtype, 3, memoryview(row.tobytes()))
    np.testing.assert_array_equal(Tensor(storage, 0, (3,), (1,)).array(), row)
    assert STORAGE_DTYPES["BFloat16Storage"] == ml_dtypes.bfloat16


def test_plain_settings():
    value = {
        "a": np.float64(0.5),
        "b": (1, None, True),
        "c": {"d": np.array([3, 4])},
        7: "left out",
        "e": Instance("Network"),
    }
    assert plain(value) == {"a": 0.5, "b": [1, None, True], "c": {"d": [3, 4]}, "e": None}


def test_budget_counts_copies():
    budget = Budget.of_file(10)
    budget.copy(2 * 10 + 2**16)
    with pytest.raises(CheckpointFileError, match="more than its own size"):
        budget.copy(1)
