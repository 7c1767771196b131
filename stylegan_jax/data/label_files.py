"""Labels beside the records of a prepared data set, so that nobody has to read those for them.

`labels.json` is a header of a few lines. The values of classes and vectors are in `labels.npy`;
those of captions are UTF-8 in `labels.npy`, with `labels_offsets.npy` to tell where each begins.
"""

import io
import json
import tokenize

import numpy as np
from etils import epath

from stylegan_jax.data.labels import Labels, class_labels, no_labels
from stylegan_jax.data.texts import Texts
from stylegan_jax.files import is_cloud, replacing

HEADER_FILE = "labels.json"

_VALUES_FILE = "labels.npy"
_OFFSETS_FILE = "labels_offsets.npy"
# Damaged headers, of ours and of NumPy's arrays, raise errors of many types.
_DAMAGE = (
    EOFError,
    FileNotFoundError,
    LookupError,
    OverflowError,
    SyntaxError,
    TypeError,
    ValueError,
    tokenize.TokenError,
)


def write_labels(folder: epath.PathLike, labels: Labels) -> None:
    """Writes labels into a folder.

    The header comes last and has a hash of the values: what a killed writer leaves is not taken
    for whole.
    """
    folder = epath.Path(folder)
    # Values in little-endian order, each file whole or not there.
    if labels.kind != "none":
        for file, array in zip((_VALUES_FILE, _OFFSETS_FILE), labels.arrays):
            with replacing(folder / file) as path, path.open("wb") as opened:
                np.save(opened, array.astype(array.dtype.newbyteorder("<"), copy=False))
    header = {
        "kind": labels.kind,
        "count": len(labels),
        "class_names": labels.class_names,
        "sha256": labels.digest,
    }
    # From here on the labels are there.
    with replacing(folder / HEADER_FILE) as path:
        path.write_text(json.dumps(header))


def read_labels(folder: epath.PathLike, n: int) -> Labels:
    """Reads what `write_labels` wrote of `n` images; local arrays stay on disk, memory-mapped.

    Raises:
        ValueError: The files are damaged, or of another number of images.
    """
    folder = epath.Path(folder)
    try:
        header = json.loads((folder / HEADER_FILE).read_text())
        # Data sets of the first releases have the values in the header, as JSON.
        labels = _parse_values(header) if "values" in header else _read_values(folder, header)
        if len(labels) != n:
            raise ValueError(f"{len(labels)} labels for {n} images")
    except _DAMAGE as error:
        raise ValueError(f"{folder / HEADER_FILE} is damaged ({error!r}).") from error
    return labels


def _read_values(folder: epath.Path, header: dict) -> Labels:
    """Reads the arrays that a header tells of, and checks them against its hash."""
    if header["kind"] == "none":
        labels = no_labels(header["count"])
    elif header["kind"] == "classes":
        labels = class_labels(_load(folder / _VALUES_FILE), header["class_names"])
    elif header["kind"] == "vectors":
        labels = Labels("vectors", _load(folder / _VALUES_FILE))
    else:
        texts = Texts(_load(folder / _VALUES_FILE), _load(folder / _OFFSETS_FILE))
        labels = Labels("captions", texts)
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
