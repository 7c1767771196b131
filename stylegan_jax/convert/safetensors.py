"""Writes safetensors: the length of a JSON header, the header, the bytes of the tensors."""

import json
import struct
from collections.abc import Mapping

import numpy as np
from etils import epath

from stylegan_jax.files import replacing

# Readers map the file into memory, where numbers begin at multiples of their size.
_ALIGNMENT = 8


def write_safetensors(
    path: epath.PathLike, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]
) -> None:
    """Writes a file that appears as a whole or not at all.

    Args:
        path: Local, or in a bucket; what is there is replaced.
        arrays: Tensors of float32 by name; they lie in the file in this order.
        metadata: Texts beside them.

    Raises:
        ValueError: A tensor is not of float32.
        OSError: It cannot be written there.
    """
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    begin = 0
    for name, array in arrays.items():
        if array.dtype != np.float32:
            raise ValueError(f"{name} is of {array.dtype}; float32 is written.")
        end = begin + array.nbytes
        header[name] = {
            "dtype": "F32",
            "shape": list(array.shape),
            "data_offsets": [begin, end],
        }
        begin = end
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    with replacing(path) as whole, whole.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        # One by one: networks are large, and a copy of all of them is not needed.
        for array in arrays.values():
            file.write(np.ascontiguousarray(array, "<f4").tobytes())
