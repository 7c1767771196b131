"""What the readers make of a file: numbers, texts, lists, dicts and the inert records below.

Every record holds data and can do nothing with it but look at it; what a file claims about sizes
is checked where its bytes are looked at.
"""

import dataclasses
import math
from typing import Any

import ml_dtypes
import numpy as np

# Numbers of one file: names, modules, levels of nesting. Official files have far fewer.
MOST_NAMES = 100_000
MOST_LEVELS = 64
# Elements of the largest tensor of no elements, whose other sides no storage bounds.
_MOST_EMPTY = 2**31
_MOST_DIMENSIONS = 16
# Longest array that is taken for a setting, such as a size.
_MOST_SETTINGS = 64

# Storages of torch, by the name that pickles give them.
STORAGE_DTYPES: dict[str, np.dtype] = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}


class CheckpointFileError(ValueError):
    """A file that is no checkpoint, is damaged, or holds what is not read; says what to do."""


@dataclasses.dataclass
class Budget:
    """What one file may make a reader do, its nested streams included.

    Files of a few bytes can ask for much work by naming the same object again and again; each
    step and each byte that is copied is therefore paid for.

    Attributes:
        steps: Opcodes that are still read. A network of 1024 px takes some 40,000.
        copied_bytes: Bytes that may still be copied; what a file honestly holds it copies once.
    """

    steps: int
    copied_bytes: int

    @classmethod
    def of_file(cls, num_bytes: int) -> "Budget":
        """Returns what a file of this length may ask for."""
        return cls(steps=1_000_000, copied_bytes=2 * num_bytes + 2**16)

    def copy(self, num_bytes: int) -> None:
        """Pays for bytes that are about to be copied."""
        self.copied_bytes -= num_bytes
        if self.copied_bytes < 0:
            raise CheckpointFileError(
                "The file unfolds to far more than its own size, as no checkpoint does: it is "
                "damaged or made to harm."
            )


@dataclasses.dataclass
class Storage:
    """Elements in a row that tensors look at; the bytes may come after the records."""

    dtype: np.dtype
    count: int
    data: memoryview | None = None

    def elements(self) -> np.ndarray:
        """Returns `[count]`, a view of the file's bytes."""
        size = self.count * self.dtype.itemsize
        if self.data is None or self.count < 0 or len(self.data) != size:
            held = "none" if self.data is None else len(self.data)
            raise CheckpointFileError(
                f"A tensor's storage says {size} bytes and has {held}: the file is damaged."
            )
        return np.frombuffer(self.data, self.dtype)


@dataclasses.dataclass
class Tensor:
    """A view of a storage; offset and strides count elements, as in torch."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    def array(self) -> np.ndarray:
        """Returns the tensor, a view of the file's bytes in the file's dtype.

        Raises:
            CheckpointFileError: It reaches beyond its storage, or has more elements than that.
        """
        numbers = (self.offset, *self.size, *self.stride)
        if len(self.size) != len(self.stride) or len(self.size) > _MOST_DIMENSIONS:
            raise CheckpointFileError("A tensor's size and strides do not go together.")
        if min(numbers) < 0:
            raise CheckpointFileError("A tensor's size, strides or offset are negative.")

        if 0 in self.size:
            if math.prod(max(side, 1) for side in self.size) > _MOST_EMPTY:
                raise CheckpointFileError("An empty tensor has absurdly long sides.")
            return np.zeros(self.size, self.storage.dtype)

        # The last element that it reaches, and how many it has. Fewer places than elements are a
        # tensor that repeats itself: no parameter does, and a small file could ask for terabytes.
        last = self.offset + sum((n - 1) * s for n, s in zip(self.size, self.stride))
        count = self.storage.count
        if last >= count or math.prod(self.size) > count:
            raise CheckpointFileError(
                f"A tensor of size {self.size} reaches beyond its storage of {count} elements: "
                "the file is damaged."
            )
        row = self.storage.elements()[self.offset :]
        strides = tuple(s * row.itemsize for s in self.stride)
        return np.lib.stride_tricks.as_strided(row, self.size, strides, writeable=False)


@dataclasses.dataclass
class Module:
    """A network of torch, or a part of one: its class's name and what it holds.

    The source text that comes with it is neither run nor kept.
    """

    class_name: str
    state: dict[Any, Any]
    version: Any = None


@dataclasses.dataclass
class Instance:
    """An object of a known class of which only the attributes matter."""

    class_name: str
    state: dict[Any, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class ScriptObject:
    """A module of TorchScript, or a part of one: its attributes, tensors and parts among them.

    The code that comes with it is not even unpacked.
    """

    state: dict[Any, Any] = dataclasses.field(default_factory=dict)


def plain(value: Any) -> Any:
    """Copies settings: dicts, lists, texts and numbers; what else there is becomes None.

    Raises:
        CheckpointFileError: They nest too deep, or unfold to too much.
    """
    return _plain(value, _Countdown(MOST_NAMES), levels=MOST_LEVELS)


@dataclasses.dataclass
class _Countdown:
    """How many more values are copied."""

    left: int

    def step(self, text: str = "") -> None:
        """Counts a value; long texts count as several, since they are shown in errors."""
        self.left -= 1 + len(text) // 64
        if self.left < 0:
            raise CheckpointFileError("The file's settings unfold to more than any network has.")


def _plain(value: Any, countdown: _Countdown, levels: int) -> Any:
    """Copies one value and what is in it."""
    countdown.step(value if isinstance(value, str) else "")
    if levels == 0:
        raise CheckpointFileError(f"The file's settings nest deeper than {MOST_LEVELS} levels.")
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray) and value.ndim == 1 and len(value) <= _MOST_SETTINGS:
        value = list(value)
    if isinstance(value, dict):
        return {k: _plain(v, countdown, levels - 1) for k, v in value.items() if type(k) is str}
    if isinstance(value, (list, tuple)):
        return [_plain(item, countdown, levels - 1) for item in value]
    return value if isinstance(value, (str, int, float, type(None))) else None
