"""Many texts in two arrays: millions of captions take little more than their own bytes."""

from collections.abc import Iterable, Sequence
from typing import overload

import numpy as np


class Texts(Sequence[str]):
    """A fixed sequence of texts, held as UTF-8 one after another.

    Either array may be memory-mapped. Equal texts have equal arrays.

    Attributes:
        utf8: uint8 [m], all texts without separators.
        offsets: int64 [n + 1]; text i is `utf8[offsets[i] : offsets[i + 1]]`.
    """

    def __init__(self, utf8: np.ndarray, offsets: np.ndarray):
        """Takes the arrays as they are.

        Args:
            utf8: uint8 [m].
            offsets: int64 [n + 1], from 0 to m, never falling.

        Raises:
            ValueError: The arrays do not belong together.
        """
        # Two comparisons and a pass over the numbers; the bytes are not looked at.
        is_whole = len(offsets) > 0 and offsets[0] == 0 and offsets[-1] == len(utf8)
        if not is_whole or (np.diff(offsets) < 0).any():
            raise ValueError(f"{len(offsets)} offsets that do not fit {len(utf8)} bytes of text")
        self.utf8 = utf8
        self.offsets = offsets

    @classmethod
    def from_strings(cls, texts: Iterable[str]) -> "Texts":
        """Makes the arrays from texts.

        Raises:
            ValueError: A text has half of a surrogate pair, which UTF-8 does not hold.
        """
        return cls._join([text.encode() for text in texts])

    @classmethod
    def _join(cls, parts: Sequence[bytes | memoryview]) -> "Texts":
        """Makes the arrays from encoded texts."""
        offsets = np.zeros(len(parts) + 1, np.int64)
        np.cumsum([len(part) for part in parts], out=offsets[1:])
        return cls(np.frombuffer(b"".join(parts), np.uint8), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice | np.ndarray) -> "Texts": ...
    def __getitem__(self, index: int | slice | np.ndarray) -> "str | Texts":
        """Returns one text, or those of a slice or of integer positions [k] in their order."""
        if isinstance(index, slice | np.ndarray):
            return self._join(self._encoded(index))
        (encoded,) = self._encoded(np.asarray([index]))
        return str(encoded, "utf-8")

    def tolist(self) -> list[str]:
        """Returns all texts."""
        return [str(encoded, "utf-8") for encoded in self._encoded(slice(None))]

    def _encoded(self, index: slice | np.ndarray) -> list[memoryview]:
        """Returns the bytes of some texts, not copied."""
        utf8 = self.utf8.data
        # Python's numbers slice several times faster than NumPy's.
        starts = self.offsets[:-1][index].tolist()
        ends = self.offsets[1:][index].tolist()
        return [utf8[start:end] for start, end in zip(starts, ends)]
