"""Labels: from JSON values, for the networks, and told apart by their bytes."""

import hashlib

import numpy as np
import pytest

from stylegan_jax.data.labels import Labels, class_labels, no_labels, parse_labels

VECTORS = Labels("vectors", np.array([[0.5, 1], [0, 0], [1, 1]], np.float32))


@pytest.mark.parametrize(
    ("items", "kind", "c_dim", "dtype"),
    [
        ([None, None], "none", 0, np.int32),
        ([2, 0, 2], "classes", 3, np.int32),
        ([[0.5, 1], (0, True)], "vectors", 2, np.float32),
    ],
)
def test_kinds_of_json_values(items, kind, c_dim, dtype):
    labels = parse_labels(items)
    assert (labels.kind, labels.c_dim, len(labels)) == (kind, c_dim, len(items))
    assert labels.values.dtype == dtype
    for index, item in enumerate(items):
        assert labels.item(index) == (list(item) if isinstance(item, tuple) else item)


def test_captions():
    labels = parse_labels(["a cat", "ein Hund", "\u732b"])
    assert labels.kind == "captions" and labels.c_dim == 0
    assert labels.item(2) == "\u732b" and labels.take([2, 0]).values.tolist() == ["\u732b", "a cat"]
    assert labels.rows([0, 1]).shape == (2, 0)


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([1, "a"], "several kinds: a text, an integer"),
        ([1, None], "several kinds: an integer, missing"),
        ([[1], [1, 2]], "a vector of lengths .1, 2."),
        ([[], []], "a vector of lengths .0."),
        ([["a"], ["b"]], "labels are a list"),
        ([{}, {}], "labels are a dict"),
        ([True, False], "labels are a bool"),
        ([-1, 0], "class numbers run from -1 to 0"),
        ([2**20], "number the classes from 0"),
        ([10**400, 0], "number the classes from 0"),
        ([-(10**400), 0], "number the classes from 0"),
        ([[10**400]], "too large for float32"),
        ([[float("nan")]], "NaN"),
        ([[1e39]], "too large for float32"),
    ],
)
def test_values_that_are_no_labels(items, message):
    with pytest.raises(ValueError, match=message):
        parse_labels(items)


def test_rows_for_the_networks():
    classes = class_labels([2, 0, 1], "abc")
    np.testing.assert_array_equal(classes.rows([1, 0]), [[1, 0, 0], [0, 0, 1]])
    np.testing.assert_array_equal(VECTORS.rows([2, 0]), [[1, 1], [0.5, 1]])
    for labels, c_dim in ((classes, 3), (VECTORS, 2), (no_labels(3), 0)):
        rows = labels.rows(np.array([0, 2]))
        assert rows.shape == (2, c_dim) and rows.dtype == np.float32


def test_digest_is_that_of_the_bytes():
    text = b"vectors <f4 (3, 2) " + VECTORS.values.astype("<f4").tobytes()
    assert VECTORS.digest == hashlib.sha256(text).hexdigest()
    transposed = np.asfortranarray(VECTORS.values)
    big_endian = VECTORS.values.astype(">f4")
    assert {Labels("vectors", v).digest for v in (transposed, big_endian)} == {VECTORS.digest}


def test_digest_tells_labels_apart():
    seen = {
        labels.digest
        for labels in (
            no_labels(3),
            no_labels(4),
            class_labels([0, 1, 2], "abc"),
            class_labels([2, 1, 0], "abc"),
            VECTORS,
            Labels("vectors", VECTORS.values.reshape(2, 3)),
            Labels("vectors", VECTORS.values + np.float32(1e-6)),
            parse_labels(["ab", "c", ""]),
            parse_labels(["a", "bc", ""]),
        )
    }
    assert len(seen) == 9
    # What classes are called is no value.
    assert class_labels([0, 1, 2], "xyz").digest in seen
