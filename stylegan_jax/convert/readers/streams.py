"""Torch's first file format: pickles, one after another, and the bytes of the storages after them.

`torch.save` wrote whole files in it until 1.5, and a storage that is pickled by itself still is
such a stream. Newer files are zips, in `files.py`.
"""

import struct
from typing import Any

from stylegan_jax.convert.readers.opcodes import Allowed, Global, Interpreter
from stylegan_jax.convert.readers.records import (
    STORAGE_DTYPES,
    Budget,
    CheckpointFileError,
    Storage,
)

# What a stream begins with: two pickles of a number.
MAGIC = 0x1950A86A20F9469CFC6C
_VERSION = 1001


def read_stream(data: memoryview, allowed: Allowed, budget: Budget) -> Any:
    """Reads a stream: the object of its fourth pickle, whose storages have their bytes.

    Args:
        data: The stream, all of it.
        allowed: What its pickles may name.
        budget: What may still be done.

    Raises:
        CheckpointFileError: It is no such stream, is damaged, or was written on a machine that
            orders bytes the other way.
    """
    storages: dict[str, Storage] = {}

    def find(persistent_id: Any) -> Storage:
        """Returns the storage of a key, the same for each tensor that looks at it."""
        key, storage = parse_storage_id(persistent_id)
        return storages.setdefault(key, storage)

    machine = Interpreter(data, allowed, budget, persistent=find)
    magic = machine.load()
    version = machine.load()
    if type(magic) is not int or magic != MAGIC or type(version) is not int or version != _VERSION:
        raise CheckpointFileError("A stream of torch without torch's magic number.")
    system = machine.load()
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise CheckpointFileError("Tensors of a big-endian machine are not read.")
    result = machine.load()
    keys = machine.load()
    if not isinstance(keys, list) or not all(type(key) is str for key in keys):
        raise CheckpointFileError("A stream of torch without the list of its storages.")

    # For each key in turn: how many elements, and these.
    position = machine.position
    for key in keys:
        storage = storages.get(key)
        if storage is None or storage.data is not None:
            raise CheckpointFileError(f"Storage {key[:80]!r} belongs to no tensor: damaged.")
        storage.data = _take_elements(data, position, storage)
        position += 8 + len(storage.data)
    return result


def _take_elements(data: memoryview, position: int, storage: Storage) -> memoryview:
    """Returns the bytes of a storage, before which their number stands again."""
    size = storage.count * storage.dtype.itemsize
    head = data[position : position + 8]
    if len(head) < 8 or size > len(data) - position - 8:
        raise CheckpointFileError(
            "The file ends before its tensors do: it was not copied or downloaded to its end."
        )
    if struct.unpack("<q", head)[0] != storage.count:
        raise CheckpointFileError("A storage whose two lengths differ: the file is damaged.")
    return data[position + 8 : position + 8 + size]


def parse_storage_id(persistent_id: Any) -> tuple[str, Storage]:
    """Reads `("storage", kind, key, device, count[, None])`, how pickles of torch name a storage.

    Returns:
        Its key, and the storage without its bytes.
    """
    match persistent_id:
        case ("storage", Global(module="torch", name=name), str() as key, str(), int() as count) | (
            "storage",
            Global(module="torch", name=name),
            str() as key,
            str(),
            int() as count,
            None,
        ) if name in STORAGE_DTYPES and 0 <= count < 2**48:
            return key, Storage(STORAGE_DTYPES[name], count)
    raise CheckpointFileError(
        "A pickle refers to a part outside of it that is no plain storage of torch."
    )
