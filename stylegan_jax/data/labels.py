"""What a data set says of its images besides their pixels: classes, vectors or captions."""

import dataclasses
import json
import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np
from etils import epath

# Where a prepared data set has its labels.
LABELS_FILE = "labels.json"

# More, such as the number of a user account, is no class number.
MAX_CLASSES = 2**20

KINDS = ("none", "classes", "vectors", "captions")


@dataclasses.dataclass(frozen=True, eq=False)
class Labels:
    """Labels of all images of a data set, in its order.

    Attributes:
        kind: One of `KINDS`. Multi-hot labels are vectors.
        values: `none`: int32 [n] of -1; `classes`: int32 [n]; `vectors`: float32 [n, d];
            `captions`: object [n] of str.
        class_names: One name per class, empty for the other kinds.
    """

    kind: str
    values: np.ndarray
    class_names: tuple[str, ...] = ()

    @property
    def c_dim(self) -> int:
        """Length of the vector that a network gets for an image: classes are one-hot."""
        return self.values.shape[1] if self.kind == "vectors" else len(self.class_names)

    def __len__(self) -> int:
        return len(self.values)

    def take(self, indices: Sequence[int] | np.ndarray) -> "Labels":
        """The labels of some images; the classes stay the same."""
        return dataclasses.replace(self, values=self.values[np.asarray(indices, np.int64)])

    def rows(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """What a network gets for some images: float32 [n, c_dim]."""
        values = self.values[np.asarray(indices, np.int64)]
        if self.kind == "vectors":
            return values
        if self.kind == "classes":
            return (values[:, None] == np.arange(self.c_dim)).astype(np.float32)
        return np.zeros((len(values), 0), np.float32)

    def item(self, index: int) -> Any:
        """One image's label as a JSON value: int, list of float, str or None."""
        if self.kind == "none":
            return None
        value = self.values[index]
        return value if self.kind == "captions" else value.tolist()

    def describe(self) -> str:
        """A few words for logs, such as `10 classes`."""
        return {
            "none": "no labels",
            "classes": f"{len(self.class_names)} classes",
            "vectors": f"label vectors of length {self.c_dim}",
            "captions": "captions",
        }[self.kind]


def no_labels(n: int) -> Labels:
    """Labels of a data set that has none."""
    return Labels("none", np.full(n, -1, np.int32))


def class_labels(values: Sequence[int] | np.ndarray, class_names: Sequence[str]) -> Labels:
    """Labels from class numbers.

    Raises:
        ValueError: A number without a name.
    """
    values = np.asarray(values, np.int32)
    if len(values) and not (0 <= values.min() and values.max() < len(class_names)):
        raise ValueError(
            f"class numbers run from {values.min()} to {values.max()}, but there are "
            f"{len(class_names)} classes, numbered from 0."
        )
    return Labels("classes", values, tuple(class_names))


def parse_labels(items: Sequence[Any]) -> Labels:
    """Labels from JSON values, one per image, as in an NVIDIA data set's `dataset.json`.

    Args:
        items: Integers (classes 0 to their maximum), lists of numbers of one length (vectors),
            strings (captions) or all None.

    Raises:
        ValueError: Kinds are mixed, or an image has no label while others do.
    """
    if all(item is None for item in items):
        return no_labels(len(items))
    kinds = sorted({_kind_of(item) for item in items})
    if len(kinds) > 1:
        raise ValueError(f"labels are of several kinds: {', '.join(kinds)}. Give all the same.")
    if kinds == ["an integer"]:
        if max(items) >= MAX_CLASSES:
            raise ValueError(f"class number {max(items)}: number the classes from 0, without gaps.")
        names = [str(number) for number in range(max(items) + 1)]
        return class_labels(np.asarray(items), names)
    if kinds == ["a text"]:
        return Labels("captions", np.array(list(items), object))
    lengths = sorted({len(item) for item in items}) if kinds == ["a vector"] else []
    if len(lengths) != 1 or not lengths[0]:
        raise ValueError(
            f"labels are {kinds[0]}" + (f" of lengths {lengths}" if lengths else "") + "; wanted "
            "integers, lists of numbers of one length, or texts."
        )
    values = np.asarray(items, np.float64)
    if not (np.abs(values) <= np.finfo(np.float32).max).all():
        raise ValueError("a vector with NaN, infinity or a number too large for float32")
    return Labels("vectors", values.astype(np.float32))


def write_labels(path: epath.PathLike, labels: Labels) -> None:
    """Writes labels beside the records, so that nobody has to read those for them."""
    content = dict(kind=labels.kind, class_names=labels.class_names, values=labels.values.tolist())
    if labels.kind == "none":
        content["values"] = len(labels)
    epath.Path(path).write_text(json.dumps(content))


def read_labels(path: epath.PathLike, n: int) -> Labels:
    """What `write_labels` wrote of `n` images.

    Raises:
        ValueError: The file is damaged, or of another number of images.
    """
    try:
        content = json.loads(epath.Path(path).read_text())
        kind, values = content["kind"], content["values"]
        if kind == "classes":
            labels = class_labels(values, content["class_names"])
        elif kind == "none":
            labels = no_labels(values)
        else:
            dtype = {"vectors": np.float32, "captions": object}[kind]
            labels = Labels(kind, np.array(values, dtype))
        if len(labels) != n or labels.values.ndim != 1 + (kind == "vectors"):
            raise ValueError(f"{len(labels)} labels for {n} images")
    except (LookupError, OverflowError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged ({error!r}).") from error
    return labels


def _kind_of(item: Any) -> str:
    """What a JSON value is as a label."""
    if item is None:
        return "missing"
    if isinstance(item, bool | dict):
        return f"a {type(item).__name__}"
    if isinstance(item, numbers.Integral):
        return "an integer"
    if isinstance(item, str):
        return "a text"
    if isinstance(item, list | tuple) and all(isinstance(x, numbers.Real) for x in item):
        return "a vector"
    return f"a {type(item).__name__}"
