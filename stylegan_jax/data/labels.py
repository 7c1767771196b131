"""What a data set says of its images besides their pixels: classes, vectors or captions."""

import dataclasses
import functools
import hashlib
import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np

from stylegan_jax.data.texts import Texts

# More, such as the number of a user account, is no class number.
MAX_CLASSES = 2**20

KINDS = ("none", "classes", "vectors", "captions")


@dataclasses.dataclass(frozen=True, eq=False)
class Labels:
    """Labels of all images of a data set, in its order.

    Attributes:
        kind: One of `KINDS`. Multi-hot labels are vectors.
        values: `none`: int32 [n] of -1; `classes`: int32 [n]; `vectors`: float32 [n, d], perhaps
            memory-mapped; `captions`: n texts.
        class_names: One name per class, empty for the other kinds.
        columns: Names of a vector's numbers, where they have some.
    """

    kind: str
    values: Any
    class_names: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()

    @property
    def c_dim(self) -> int:
        """Length of the vector that a network gets for an image: classes are one-hot."""
        return self.values.shape[1] if self.kind == "vectors" else len(self.class_names)

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """The arrays that the values consist of."""
        if isinstance(self.values, Texts):
            return self.values.utf8, self.values.offsets
        return (self.values,)

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of kind and values, equal on every machine; names do not count."""
        digest = hashlib.sha256(self.kind.encode())
        for array in self.arrays:
            # Type and shape are hashed too: the same bytes may be other vectors.
            little_endian = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
            digest.update(f" {little_endian.dtype.str} {little_endian.shape} ".encode())
            digest.update(little_endian.data)
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.values)

    def take(self, indices: Sequence[int] | np.ndarray) -> "Labels":
        """Returns the labels of some images; the classes stay the same."""
        return dataclasses.replace(self, values=self.values[np.asarray(indices, np.int64)])

    def rows(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Returns what a network gets for some images: float32 [n, c_dim]."""
        indices = np.asarray(indices, np.int64)
        if self.kind == "vectors":
            return self.values[indices]
        if self.kind == "classes":
            # One-hot: [n, 1] == [c_dim] -> [n, c_dim]
            return (self.values[indices, None] == np.arange(self.c_dim)).astype(np.float32)
        return np.zeros((len(indices), 0), np.float32)

    def item(self, index: int) -> Any:
        """Returns one image's label as a JSON value: int, list of float, str or None."""
        if self.kind == "none":
            return None
        value = self.values[index]
        return value if isinstance(value, str) else value.tolist()

    def describe(self) -> str:
        """Returns a few words for logs, such as `10 classes`."""
        return {
            "none": "no labels",
            "classes": f"{len(self.class_names)} classes",
            "vectors": f"label vectors of length {self.c_dim}",
            "captions": "captions",
        }[self.kind]


def no_labels(n: int) -> Labels:
    """Returns the labels of a data set that has none."""
    return Labels("none", np.full(n, -1, np.int32))


def class_labels(values: Sequence[int] | np.ndarray, class_names: Sequence[str]) -> Labels:
    """Makes labels from class numbers.

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


def make_vectors(values: Sequence[Sequence[float]] | np.ndarray) -> Labels:
    """Makes labels from vectors [n, d] of one length.

    Raises:
        ValueError: A number is NaN, infinite or too large for float32.
    """
    try:
        # In float64 first, where numbers too large for float32 are not infinite yet.
        values = np.asarray(values, np.float64)
    except OverflowError:
        values = np.array(np.inf)
    # Written so that NaN fails, too.
    if not (np.abs(values) <= np.finfo(np.float32).max).all():
        raise ValueError("a vector with NaN, infinity or a number too large for float32")
    return Labels("vectors", values.astype(np.float32))


def labels_from_rows(rows: np.ndarray) -> Labels:
    """Makes labels from numbers [n, d]: classes by their numbers where all are one-hot.

    Raises:
        ValueError: As `make_vectors`.
    """
    if not rows.shape[1]:
        return no_labels(len(rows))
    # One 1 among zeros in every row.
    if ((rows == 0) | (rows == 1)).all() and (rows.sum(1) == 1).all():
        return class_labels(rows.argmax(1), [str(number) for number in range(rows.shape[1])])
    return make_vectors(rows)


def parse_labels(items: Sequence[Any]) -> Labels:
    """Makes labels from JSON values, one per image, as in an NVIDIA data set's `dataset.json`.

    Args:
        items: Integers (classes 0 to their maximum), lists of numbers of one length (vectors),
            strings (captions) or all None.

    Raises:
        ValueError: Kinds are mixed, or an image has no label while others do.
    """
    # All images have a label of one kind, or none has one.
    if all(item is None for item in items):
        return no_labels(len(items))
    kinds = sorted({_kind_of(item) for item in items})
    if len(kinds) > 1:
        raise ValueError(f"labels are of several kinds: {', '.join(kinds)}. Give all the same.")

    # Classes without names are called by their numbers.
    if kinds == ["an integer"]:
        if max(items) >= MAX_CLASSES:
            raise ValueError(f"class number {max(items)}: number the classes from 0, without gaps.")
        if min(items) < 0:
            raise ValueError(
                f"class numbers run from {min(items)} to {max(items)}: number the classes from 0."
            )
        names = [str(number) for number in range(max(items) + 1)]
        return class_labels(np.asarray(items), names)
    if kinds == ["a text"]:
        return Labels("captions", Texts.from_strings(items))

    # Vectors, or nothing that can be a label.
    lengths = sorted({len(item) for item in items}) if kinds == ["a vector"] else []
    if len(lengths) != 1 or not lengths[0]:
        raise ValueError(
            f"labels are {kinds[0]}" + (f" of lengths {lengths}" if lengths else "") + "; wanted "
            "integers, lists of numbers of one length, or texts."
        )
    return make_vectors(items)


def _kind_of(item: Any) -> str:
    """Says what a JSON value is as a label."""
    if item is None:
        return "missing"
    # To Python True is an integer, but a data set that has it means no class.
    if isinstance(item, bool | dict):
        return f"a {type(item).__name__}"
    if isinstance(item, numbers.Integral):
        return "an integer"
    if isinstance(item, str):
        return "a text"
    # A vector has many numbers, but few types: asking each number takes a hundred times longer.
    if isinstance(item, list | tuple) and all(
        issubclass(type_, numbers.Real) for type_ in set(map(type, item))
    ):
        return "a vector"
    return f"a {type(item).__name__}"
