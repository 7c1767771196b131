"""Labels beside the records of a prepared data set, so that nobody has to read those for them.

`labels.json` is a header of a few lines. The values of classes and vectors are in `labels.npy`;
those of captions are UTF-8 in `labels.npy`, with `labels_offsets.npy` to tell where each begins.
Labels that go by a name have the same three files with it in theirs, such as `labels.role.json`;
`labels.json` lists their names.
"""

import io
import json
import tokenize
from collections.abc import Mapping

import numpy as np
from etils import epath

from stylegan_jax.data.labels import Labels, class_labels, no_labels
from stylegan_jax.data.texts import Texts
from stylegan_jax.files import is_cloud, replacing

HEADER_FILE = "labels.json"

_STEM = "labels"
# Damaged headers, of ours and of NumPy's arrays, raise errors of many types.
_DAMAGE = (
    AttributeError,
    EOFError,
    FileNotFoundError,
    LookupError,
    MemoryError,
    OverflowError,
    RecursionError,
    SyntaxError,
    TypeError,
    ValueError,
    tokenize.TokenError,
)


def write_labels(
    folder: epath.PathLike, labels: Labels, named: Mapping[str, Labels] | None = None
) -> None:
    """Writes labels, and those that go by a name, into a folder.

    A header comes after its values and has a hash of them, that of the usual labels last of all:
    what a killed writer leaves is not taken for whole.
    """
    folder = epath.Path(folder)
    named = named or {}
    for name, others in named.items():
        _write(folder, f"{_STEM}.{name}", others, {})
    _write(folder, _STEM, labels, {"named": list(named)} if named else {})


def _write(folder: epath.Path, stem: str, labels: Labels, more: dict) -> None:
    """Writes the files of some labels."""
    # Values in little-endian order, each file whole or not there.
    if labels.kind != "none":
        for file, array in zip(_value_files(folder, stem), labels.arrays):
            with replacing(file) as path, path.open("wb") as opened:
                np.save(opened, array.astype(array.dtype.newbyteorder("<"), copy=False))
    header = {
        "kind": labels.kind,
        "count": len(labels),
        "class_names": labels.class_names,
        "sha256": labels.digest,
    }
    if labels.columns:
        header["columns"] = labels.columns
    # From here on the labels are there.
    with replacing(folder / f"{stem}.json") as path:
        path.write_text(json.dumps(header | more))


def read_labels(folder: epath.PathLike, n: int) -> Labels:
    """Reads what `write_labels` wrote of `n` images; local arrays stay on disk, memory-mapped.

    Raises:
        ValueError: The files are damaged, or of another number of images.
    """
    return _read(epath.Path(folder), _STEM, n)


def read_named_labels(folder: epath.PathLike, n: int) -> dict[str, Labels]:
    """Reads the labels of `n` images that `write_labels` wrote by a name, if there are any.

    Raises:
        ValueError: The files are damaged, or of another number of images.
    """
    folder = epath.Path(folder)
    header = folder / HEADER_FILE
    try:
        # Data sets of the first releases list none.
        names = [str(name) for name in json.loads(header.read_text()).get("named", [])]
    except _DAMAGE as error:
        raise ValueError(f"{header} is damaged ({error!r}).") from error
    return {name: _read(folder, f"{_STEM}.{name}", n) for name in names}


def _read(folder: epath.Path, stem: str, n: int) -> Labels:
    """Reads the files of some labels."""
    file = folder / f"{stem}.json"
    try:
        header = json.loads(file.read_text())
        # Data sets of the first releases have the values in the header, as JSON.
        labels = _parse_values(header) if "values" in header else _read_values(folder, stem, header)
        if len(labels) != n:
            raise ValueError(f"{len(labels)} labels for {n} images")
    except _DAMAGE as error:
        raise ValueError(f"{file} is damaged ({error!r}).") from error
    return labels


def _value_files(folder: epath.Path, stem: str) -> tuple[epath.Path, epath.Path]:
    """Returns the files of values and, for captions, of offsets."""
    return folder / f"{stem}.npy", folder / f"{stem}_offsets.npy"


def _read_values(folder: epath.Path, stem: str, header: dict) -> Labels:
    """Reads the arrays that a header tells of, and checks them against its hash."""
    values, offsets = _value_files(folder, stem)
    if header["kind"] == "none":
        labels = no_labels(header["count"])
    elif header["kind"] == "classes":
        labels = class_labels(_load(values), header["class_names"])
    elif header["kind"] == "vectors":
        labels = Labels("vectors", _load(values), columns=tuple(header.get("columns", ())))
    else:
        labels = Labels("captions", Texts(_load(values), _load(offsets)))
    # The whole is read for this, at the speed of the disk: a wrong label would never show.
    if labels.digest != header["sha256"]:
        raise ValueError("the values are not those that were written")
    return labels


def _load(path: epath.Path) -> np.ndarray:
    """Opens an array in this machine's byte order, mapped where the file is local."""
    # A bucket's objects cannot be mapped into memory.
    if is_cloud(path):
        array = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
    else:
        array = np.load(path, mmap_mode="r", allow_pickle=False).view(np.ndarray)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _parse_values(header: dict) -> Labels:
    """Makes labels from JSON with the values inside."""
    kind = header["kind"]
    values = header["values"]
    if kind == "classes":
        return class_labels(values, header["class_names"])
    if kind == "none":
        return no_labels(values)
    if kind == "captions":
        return Labels("captions", Texts.from_strings(values))
    vectors = np.array(values, {"vectors": np.float32}[kind])
    if vectors.ndim != 2:
        raise ValueError(f"vectors of shape {vectors.shape}")
    return Labels("vectors", vectors)
