import numpy as np
import pytest

from stylegan_jax.convert.pretrained.naming import from_torch, rename
from stylegan_jax.convert.readers.records import CheckpointFileError

NAMES = {r"a\.(\d)\.weight": r"x\1.weight", r"b\.weight": "x0.weight", "old.*": None}


def test_layout():
    arrays = {
        "a.1.weight": np.arange(24, dtype=np.float16).reshape(2, 3, 2, 2),
        "b.weight": np.arange(6).reshape(2, 3),
        "old.steps": np.zeros(()),
    }
    got = from_torch(rename(arrays, NAMES))
    assert got.keys() == {"x0", "x1"}
    # OIHW to HWIO, [out, in] to [in, out], float32.
    assert got["x1"]["weight"].shape == (2, 2, 3, 2) and got["x0"]["weight"].shape == (3, 2)
    assert got["x1"]["weight"][1, 0, 2, 1] == arrays["a.1.weight"][1, 2, 1, 0]
    assert {leaf["weight"].dtype for leaf in got.values()} == {np.dtype(np.float32)}


def test_names_that_are_not_known():
    with pytest.raises(CheckpointFileError, match=r"1 of 2 tensors could not.*: c \[2\]\. The net"):
        rename({"c": np.zeros(2), "b.weight": np.zeros(2)}, NAMES)
    with pytest.raises(CheckpointFileError, match="b.weight is there a second time"):
        rename({"a.0.weight": np.zeros(2), "b.weight": np.zeros(2)}, NAMES)
