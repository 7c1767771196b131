"""Arrays of NumPy as they lie in pickles: bytes, a dtype, a shape, all checked before use."""

import math
from typing import Any, Literal

import numpy as np

from stylegan_jax.convert.readers.records import Budget, CheckpointFileError

_MOST_DIMENSIONS = 16
# Elements of the largest array, and of one without elements if its sides of 0 had 1.
_MOST_ELEMENTS = 2**40


class Dtype:
    """A dtype of NumPy while its byte order is not known yet: letters, then BUILD."""

    def __init__(self, letters: str):
        """Takes such as `f4`."""
        self.letters = letters
        self.order: Literal["<", ">", "|", "="] = "<"

    def numpy(self) -> np.dtype:
        """Returns it as NumPy has it."""
        return np.dtype(self.letters).newbyteorder(self.order)


def encode_latin(text: str) -> bytes:
    """Returns the bytes that a text stands for in protocols before 3."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        raise CheckpointFileError("A pickle with a text where bytes are wanted.") from None


def array_of(
    raw: Any, dtype: Dtype, shape: Any, order: Literal["C", "F"], budget: Budget
) -> np.ndarray:
    """Returns bytes as an array, a view of them.

    Raises:
        CheckpointFileError: Size, dtype and bytes do not go together.
    """
    if isinstance(raw, str):
        # Bytes of Python 2 are texts.
        budget.copy(len(raw))
        raw = encode_latin(raw)
    if not isinstance(raw, (bytes, memoryview)) or not isinstance(shape, tuple):
        raise CheckpointFileError(f"An array made of {type(raw).__name__}: only bytes are read.")
    if len(shape) > _MOST_DIMENSIONS or not all(type(n) is int and 0 <= n < 2**31 for n in shape):
        raise CheckpointFileError("An array whose shape is none: the file is damaged.")
    kind = dtype.numpy()
    # Products of Python's integers do not overflow; NumPy's do, also where a side is 0.
    size = math.prod(shape) * kind.itemsize
    if size != len(raw) or math.prod(max(n, 1) for n in shape) > _MOST_ELEMENTS:
        raise CheckpointFileError(
            f"An array of shape {shape} has {len(raw)} bytes instead of {size}: damaged."
        )
    budget.copy(len(raw))
    return np.frombuffer(raw, kind).reshape(shape, order=order)


def fill_array(target: np.ndarray, state: tuple[Any, ...], budget: Budget) -> None:
    """Gives an array its values, `(version, shape, dtype, is_fortran, raw)`, all checked first."""
    match state:
        case (int(), tuple() as shape, Dtype() as dtype, bool() as is_fortran, raw):
            values = array_of(raw, dtype, shape, "F" if is_fortran else "C", budget)
        case _:
            raise CheckpointFileError(
                "An array of NumPy with a state that is none: objects are not read."
            )
    # In place: others refer to this array already.
    raw_state: Any = (1, values.shape, values.dtype, is_fortran, values.tobytes("A"))
    target.__setstate__(raw_state)
