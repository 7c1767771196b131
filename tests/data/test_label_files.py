"""Labels on disk: binary beside a header, whole or refused; and as early releases wrote them."""

import contextlib
import json
import mmap

import numpy as np
import pytest

from stylegan_jax.data.label_files import read_labels, read_named_labels, write_labels
from stylegan_jax.data.labels import Labels, class_labels, no_labels, parse_labels

ALL_KINDS = pytest.mark.parametrize(
    "labels",
    [
        class_labels([2, 0, 1], ["a", "b", "c"]),
        Labels("vectors", np.array([[0.5, 1], [0, 0], [1, 1]], np.float32)),
        parse_labels(["a cat", "ein Hund", "\u732b"]),
        parse_labels(["", "", ""]),
        no_labels(3),
    ],
    ids=["classes", "vectors", "captions", "empty captions", "none"],
)


def assert_equal(found, labels):
    assert (found.kind, found.class_names) == (labels.kind, labels.class_names)
    assert found.values.tolist() == labels.values.tolist()
    assert [a.dtype for a in found.arrays] == [a.dtype for a in labels.arrays]
    assert found.digest == labels.digest


@ALL_KINDS
def test_what_is_written_is_read(tmp_path, labels):
    write_labels(tmp_path, labels)
    assert_equal(read_labels(tmp_path, 3), labels)
    with pytest.raises(ValueError, match="labels.json is damaged .*3 labels for 4 images"):
        read_labels(tmp_path, 4)
    assert all(not path.name.startswith(".") for path in tmp_path.iterdir())


def test_labels_by_names_lie_beside_the_usual_ones(tmp_path):
    vectors = np.array([[0.5, 1], [0, 0], [1, 1]], np.float32)
    named = {
        "role": class_labels([2, 0, 1], ["a", "b", "c"]),
        "offsets": Labels("vectors", vectors, columns=("hat", "veil")),
        "captions": parse_labels(["a cat", "ein Hund", ""]),
    }
    write_labels(tmp_path, no_labels(3), named)
    assert_equal(read_labels(tmp_path, 3), no_labels(3))
    found = read_named_labels(tmp_path, 3)
    assert list(found) == list(named) and found["offsets"].columns == ("hat", "veil")
    for name, labels in named.items():
        assert_equal(found[name], labels)
    # Whatever is damaged is told by its file.
    (tmp_path / "labels.role.npy").unlink()
    with pytest.raises(ValueError, match="labels.role.json is damaged"):
        read_named_labels(tmp_path, 3)


@pytest.mark.parametrize("content", ["", "[]", '{"named": 3}', '{"named": ["x"]}'])
def test_damaged_list_of_names(tmp_path, content):
    (tmp_path / "labels.json").write_text(content)
    with pytest.raises(ValueError, match=r"labels(\.x)?.json is damaged"):
        read_named_labels(tmp_path, 3)


@ALL_KINDS
def test_no_names_in_what_older_releases_wrote(tmp_path, labels):
    write_labels(tmp_path, labels)
    assert "named" not in (tmp_path / "labels.json").read_text()
    assert read_named_labels(tmp_path, 3) == {}


@ALL_KINDS
def test_values_inside_the_header_as_in_the_first_releases(tmp_path, labels):
    values = 3 if labels.kind == "none" else labels.values.tolist()
    content = {"kind": labels.kind, "class_names": labels.class_names, "values": values}
    (tmp_path / "labels.json").write_text(json.dumps(content))
    assert_equal(read_labels(tmp_path, 3), labels)


def test_values_are_binary_and_mapped(tmp_path):
    values = np.random.default_rng(0).normal(size=(1000, 64)).astype(np.float32)
    write_labels(tmp_path, Labels("vectors", values))
    assert (tmp_path / "labels.npy").stat().st_size == values.nbytes + 128
    assert (tmp_path / "labels.json").stat().st_size < 200
    found = read_labels(tmp_path, 1000).values
    np.testing.assert_array_equal(found, values)
    assert type(found) is np.ndarray and not found.flags.writeable
    # The last of the arrays that it is a view of lies on a map of the file.
    base = found
    while isinstance(base, np.ndarray):
        base = base.base
    assert isinstance(base, mmap.mmap)


def test_a_killed_writer_leaves_nothing_that_is_read(tmp_path, monkeypatch):
    old, new = class_labels([2, 0, 1], "abc"), class_labels([0, 1, 2], "abc")
    write_labels(tmp_path, old)
    # Killed between the values and the header: those of two writers are never taken for one.
    monkeypatch.setattr(json, "dumps", lambda content: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_labels(tmp_path, new)
    with pytest.raises(ValueError, match="not those that were written"):
        read_labels(tmp_path, 3)
    (tmp_path / "labels.json").unlink()
    with pytest.raises(ValueError, match="labels.json is damaged"):
        read_labels(tmp_path, 3)


@pytest.mark.parametrize("file", ["labels.npy", "labels_offsets.npy"])
def test_no_flipped_bit_and_no_cut_changes_a_label(tmp_path, file):
    write_labels(tmp_path, parse_labels(["a cat", "ein Hund"]))
    content = (tmp_path / file).read_bytes()
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1
        (tmp_path / file).write_bytes(damaged)
        # Some bits before the values mean nothing; all of the values are checked.
        if position >= 128:
            with pytest.raises(ValueError, match="labels.json is damaged"):
                read_labels(tmp_path, 2)
        else:
            with contextlib.suppress(ValueError):
                assert read_labels(tmp_path, 2).values.tolist() == ["a cat", "ein Hund"]
    for size in (0, 20, 128, len(content) - 1):
        (tmp_path / file).write_bytes(content[:size])
        with pytest.raises(ValueError, match="labels.json is damaged"):
            read_labels(tmp_path, 2)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "other"},
        {"kind": "vectors"},
        {"class_names": ["a", "b"]},
        {"sha256": "0"},
        {"values": [2, 0]},
        {"values": [3, 0, 1]},
        {"kind": "vectors", "values": [1, 2, 3]},
    ],
)
def test_damaged_headers(tmp_path, change):
    write_labels(tmp_path, class_labels([2, 0, 1], "abc"))
    header = json.loads((tmp_path / "labels.json").read_text())
    (tmp_path / "labels.json").write_text(json.dumps(header | change))
    with pytest.raises(ValueError, match="labels.json is damaged"):
        read_labels(tmp_path, 3)


def test_pickles_are_not_opened(tmp_path):
    write_labels(tmp_path, class_labels([2, 0, 1], "abc"))
    np.save(tmp_path / "labels.npy", np.array(["x"], object), allow_pickle=True)
    with pytest.raises(ValueError, match="labels.json is damaged"):
        read_labels(tmp_path, 3)


@pytest.mark.parametrize("text", ["[" * 100_000, "3", "[]", '"a"', '{"kind": []}', "{}"])
def test_whatever_stands_in_the_header_it_is_damaged(tmp_path, text):
    (tmp_path / "labels.json").write_text(text)
    for read in (read_labels, read_named_labels):
        if text.startswith("{") and read is read_named_labels:
            continue  # a header that names no others
        with pytest.raises(ValueError, match="labels.json is damaged"):
            read(tmp_path, 3)
