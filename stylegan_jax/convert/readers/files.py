"""Opens a checkpoint of any known format: pickle, torch's zips and stream, safetensors."""

import dataclasses
import io
import json
import math
import struct
import zipfile
from typing import Any

import ml_dtypes
import numpy as np
from etils import epath

from stylegan_jax.convert.readers.allowed import ALLOWED, SCRIPT_ALLOWED
from stylegan_jax.convert.readers.opcodes import Interpreter
from stylegan_jax.convert.readers.records import (
    MOST_NAMES,
    Budget,
    CheckpointFileError,
    Storage,
    Tensor,
)
from stylegan_jax.convert.readers.streams import parse_storage_id, read_stream

# The largest official files have 1 GB.
_MOST_BYTES = 2**33
_MOST_HEADER_BYTES = 2**24
# First bytes: a zip, and the pickle of the number that torch's streams begin with.
_ZIP = b"PK\x03\x04"
_STREAM = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e")
_CENTRAL_ENTRY = b"PK\x01\x02"

_SAFETENSORS_DTYPES = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}


@dataclasses.dataclass(frozen=True)
class FileContents:
    """What lies in a file: inert data, see `records.py`.

    Attributes:
        root: The object of a pickle; of safetensors `{name: Tensor}`.
        metadata: Texts of a safetensors file.
        num_bytes: Length of the file.
    """

    root: Any
    num_bytes: int
    metadata: dict[str, str] = dataclasses.field(default_factory=dict)


def read_file(path: epath.PathLike) -> FileContents:
    """Reads a file of a known format.

    Args:
        path: Local, or in a bucket; the suffix does not matter.

    Raises:
        CheckpointFileError: It is no checkpoint, is damaged, or holds what is not allowed.
        OSError: There is no such file.
    """
    path = epath.Path(path)
    if path.stat().length > _MOST_BYTES:
        raise CheckpointFileError(
            f"{path}: larger than {_MOST_BYTES / 2**30:.0f} GiB, as no checkpoint of this family."
        )
    try:
        return read_bytes(path.read_bytes())
    except CheckpointFileError as error:
        raise CheckpointFileError(f"{path}: {error}") from error


def read_bytes(data: bytes) -> FileContents:
    """Reads the bytes of a file; as `read_file`."""
    view = memoryview(data)
    budget = Budget.of_file(len(data))
    if data.startswith(_ZIP):
        return FileContents(_read_zip(data, budget), len(data))
    if data.startswith(_STREAM):
        return FileContents(read_stream(view, ALLOWED, budget), len(data))
    if data[8:9] == b"{" and struct.unpack("<Q", data[:8])[0] <= len(data) - 8:
        root, metadata = _read_safetensors(view)
        return FileContents(root, len(data), metadata)
    return FileContents(Interpreter(view, ALLOWED, budget).load(), len(data))


def _read_zip(data: bytes, budget: Budget) -> Any:
    """Reads torch's zip: `NAME/data.pkl`, whose persistent ids name the files `NAME/data/KEY`."""
    # An entry of the directory takes some hundred bytes once it is read.
    if data.count(_CENTRAL_ENTRY) > MOST_NAMES:
        raise CheckpointFileError("A zip of absurdly many files: it is no checkpoint of torch.")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return _read_archive(archive, budget)
    except CheckpointFileError:
        raise
    # What zipfile raises where bytes are not as they should be.
    except (
        zipfile.BadZipFile,
        *(EOFError, NotImplementedError, OSError, OverflowError),
        *(RuntimeError, ValueError, struct.error),
    ) as error:
        raise CheckpointFileError(
            f"The zip is damaged ({error}): it was not copied or downloaded to its end."
        ) from error


def _read_archive(archive: zipfile.ZipFile, budget: Budget) -> Any:
    """Reads an open zip of torch, of `torch.save` or TorchScript.

    TorchScript's differ in the classes that they name, and in what lies beside `data.pkl` and is
    never opened: `code/`, which defines these classes, and `constants.pkl`, which belongs to it.
    """
    names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
    if len(names) != 1:
        raise CheckpointFileError("A zip without data.pkl: it is no checkpoint of torch.")
    folder = names[0].removesuffix("data.pkl")
    if f"{folder}byteorder" in archive.namelist():
        if _record(archive, f"{folder}byteorder", budget) != b"little":
            raise CheckpointFileError("Tensors of a big-endian machine are not read.")
    storages: dict[str, Storage] = {}

    def find(persistent_id: Any) -> Storage:
        """Returns the storage of a key, whose bytes are read once."""
        key, storage = parse_storage_id(persistent_id)
        if key not in storages:
            storage.data = memoryview(_record(archive, f"{folder}data/{key}", budget))
            storages[key] = storage
        return storages[key]

    pickle = memoryview(_record(archive, names[0], budget))
    is_script = f"{folder}constants.pkl" in archive.namelist()
    allowed = SCRIPT_ALLOWED if is_script else ALLOWED
    return Interpreter(pickle, allowed, budget, persistent=find).load()


def _record(archive: zipfile.ZipFile, name: str, budget: Budget) -> bytes:
    """Returns a file of the zip; none is compressed, so that none can unfold."""
    try:
        info = archive.getinfo(name)
    except KeyError:
        raise CheckpointFileError(f"The zip has no file {name[:80]!r}: it is damaged.") from None
    if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
        raise CheckpointFileError("A compressed zip: torch writes none. Unpack it first.")
    budget.copy(info.file_size)
    return archive.read(info)


def _read_safetensors(data: memoryview) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Reads safetensors: the length of a JSON header, the header, the tensors' bytes."""
    length = struct.unpack("<Q", data[:8])[0]
    if length > _MOST_HEADER_BYTES:
        raise CheckpointFileError("A safetensors file with an absurdly long header.")
    try:
        # UTF-8 as the format says, no other encoding that json would guess.
        header = json.loads(str(data[8 : 8 + length], "utf-8"))
    except (ValueError, RecursionError):
        raise CheckpointFileError("A safetensors file whose header is no JSON: damaged.") from None
    if not isinstance(header, dict) or len(header) > MOST_NAMES:
        raise CheckpointFileError("A safetensors file whose header is no table: damaged.")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(type(v) is str for v in metadata.values()):
        raise CheckpointFileError("A safetensors file whose metadata are no texts: damaged.")
    body = data[8 + length :]
    return {name: _safetensor(name, entry, body) for name, entry in header.items()}, metadata


def _safetensor(name: str, entry: Any, body: memoryview) -> Tensor:
    """Returns one tensor of a safetensors file."""
    match entry:
        case {
            "dtype": str() as kind,
            "shape": list() as shape,
            "data_offsets": [int() as begin, int() as end],
        } if kind in _SAFETENSORS_DTYPES and 0 <= begin <= end <= len(body):
            dtype = _SAFETENSORS_DTYPES[kind]
        case _:
            raise CheckpointFileError(
                f"Tensor {name[:80]!r} has an odd entry, or one beyond the end of the file. Read "
                f"are {', '.join(_SAFETENSORS_DTYPES)}."
            )
    if not all(type(n) is int and 0 <= n < 2**48 for n in shape) or len(shape) > 16:
        raise CheckpointFileError(f"Tensor {name[:80]!r} has a shape that is none: damaged.")
    count = (end - begin) // dtype.itemsize
    if math.prod(shape) != count:
        raise CheckpointFileError(f"Tensor {name[:80]!r} has {count} numbers for {shape}.")
    # Rows of the last axis follow each other.
    stride = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
    return Tensor(Storage(dtype, count, body[begin:end]), 0, tuple(shape), stride)
