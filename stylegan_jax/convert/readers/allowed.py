"""The globals that checkpoints name, and what stands for each of them: the whole allow-list."""

from typing import Any

import numpy as np

from stylegan_jax.convert.readers.arrays import Dtype, array_of, encode_latin
from stylegan_jax.convert.readers.opcodes import SCRIPT_CLASS, Allowed, Global
from stylegan_jax.convert.readers.records import (
    STORAGE_DTYPES,
    Budget,
    CheckpointFileError,
    Instance,
    Module,
    ScriptObject,
    Storage,
    Tensor,
)
from stylegan_jax.convert.readers.streams import read_stream

Args = tuple[Any, ...]

# Numbers of the dtypes that arrays may have; never objects, texts or records.
_DTYPES = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
# Classes whose objects are kept as their attributes.
_INSTANCES = ("Network", "Namespace")


def _refuse(name: str, args: Args) -> CheckpointFileError:
    """An error: arguments that no checkpoint has."""
    kinds = ", ".join(type(arg).__name__ for arg in args[:8])
    return CheckpointFileError(
        f"A pickle calls {name} with {len(args)} arguments ({kinds}), as no checkpoint does: it "
        "is damaged, of a version that is not known, or made to harm."
    )


def _never(args: Args, budget: Budget) -> Any:
    """Stands for what is named but never called: storages, numpy.ndarray, object."""
    raise _refuse("what is no function", args)


# Modules and tensors of torch.


def _persistent_object(args: Args, budget: Budget) -> Module:
    """A module that travels with its source: the source is not even looked at."""
    match args:
        case ({"type": "class", "class_name": str() as name, "state": dict() as state} as meta,):
            return Module(name, state, meta.get("version"))
    raise _refuse("_reconstruct_persistent_obj", args)


def _rebuild_tensor(args: Args, budget: Budget) -> Tensor:
    match args:
        case (Storage() as storage, int() as offset, tuple() as size, tuple() as stride, *_):
            if all(type(number) is int for number in (*size, *stride)):
                return Tensor(storage, offset, size, stride)
    raise _refuse("_rebuild_tensor_v2", args)


def _rebuild_parameter(args: Args, budget: Budget) -> Tensor:
    match args:
        case (Tensor() as tensor, *_):
            return tensor
    raise _refuse("_rebuild_parameter", args)


def _load_from_bytes(args: Args, budget: Budget) -> Storage:
    """A storage as a stream of its own, in which only storages are named."""
    match args:
        case (bytes() | memoryview() as raw,):
            storage = read_stream(memoryview(raw), _STORAGES, budget)
            if isinstance(storage, Storage):
                return storage
    raise _refuse("_load_from_bytes", args)


def _size(args: Args, budget: Budget) -> tuple[Any, ...]:
    match args:
        case (tuple() as size,):
            return size
    raise _refuse("torch.Size", args)


# Archives of TorchScript.


def _script_object(args: Args, budget: Budget) -> ScriptObject:
    """An object of any class that the archive's code would define: a holder of attributes."""
    if args:
        raise _refuse("a class of TorchScript", args)
    return ScriptObject()


def _first(args: Args, budget: Budget) -> Any:
    """A value with its type, or a list of numbers: the value."""
    match args:
        case (value,) | (value, str()):
            return value
    raise _refuse("torch.jit._pickle", args)


# Arrays of NumPy.


def _dtype(args: Args, budget: Budget) -> Dtype:
    match args:
        case (str() as letters, *_) if letters in _DTYPES:
            return Dtype(letters)
    raise CheckpointFileError(
        f"An array whose elements are none of {', '.join(_DTYPES)}: objects, texts and records "
        "are not read from arrays."
    )


def _scalar(args: Args, budget: Budget) -> Any:
    match args:
        case (Dtype() as dtype, raw):
            return array_of(raw, dtype, (), "C", budget)[()]
    raise _refuse("numpy scalar", args)


def _empty_array(args: Args, budget: Budget) -> np.ndarray:
    """An array that BUILD fills."""
    match args:
        case (Global(name="ndarray"), (0,), _):
            return np.empty(0, np.float32)
    raise _refuse("numpy _reconstruct", args)


def _array_from_buffer(args: Args, budget: Budget) -> np.ndarray:
    match args:
        case (raw, Dtype() as dtype, tuple() as shape, "C" | "F" as order):
            return array_of(raw, dtype, shape, order, budget)
    raise _refuse("numpy _frombuffer", args)


# Objects and containers.


def _instance(name: str):
    """Stands for a class whose objects are kept as their attributes."""

    def call(args: Args, budget: Budget) -> Instance:
        if args:
            raise _refuse(name, args)
        return Instance(name)

    return call


def _dict(args: Args, budget: Budget) -> dict[Any, Any]:
    """An OrderedDict or EasyDict: empty, or from pairs as Python 2 wrote it."""
    match args:
        case ():
            return {}
        case (list() as pairs,):
            budget.copy(8 * len(pairs))
            if all(isinstance(p, (list, tuple)) and len(p) == 2 for p in pairs):
                if all(type(p[0]) is str for p in pairs):
                    return {key: value for key, value in pairs}
    raise _refuse("dict", args)


def _set(args: Args, budget: Budget) -> list[Any]:
    """A set, as a list: nothing is hashed."""
    match args:
        case (list() as items,):
            return items
    raise _refuse("set", args)


def _old_object(args: Args, budget: Budget) -> Any:
    """How protocols 0 and 1 make an object: class, base, and what the base holds."""
    match args:
        case (Global(name=name), Global(name="object"), None) if name in _INSTANCES:
            return Instance(name)
        case (Global(name="EasyDict" | "OrderedDict"), Global(name="dict"), dict() as items):
            return items
    raise _refuse("_reconstructor", args)


def _bytes(args: Args, budget: Budget) -> bytes | memoryview:
    """Bytes and bytearrays before the protocols that have opcodes for them."""
    match args:
        case ():
            return b""
        case (bytes() | memoryview() as raw,):
            return raw
        case (str() as text, "latin1" | "latin-1"):
            budget.copy(len(text))
            return encode_latin(text)
    raise _refuse("bytes", args)


def _with_old_names(table: dict[tuple[str, str], Any]) -> Allowed:
    """Adds the names that older Pythons and NumPys have for the same."""
    old = {"numpy._core.": "numpy.core.", "builtins": "__builtin__", "copyreg": "copy_reg"}
    for (module, name), call in list(table.items()):
        for new_module, old_module in old.items():
            if module.startswith(new_module):
                table[module.replace(new_module, old_module), name] = call
    return table


# In the stream of a single storage nothing else is named.
_STORAGES: Allowed = {("torch", name): _never for name in STORAGE_DTYPES}

ALLOWED: Allowed = _with_old_names(
    {
        ("torch_utils.persistence", "_reconstruct_persistent_obj"): _persistent_object,
        ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
        ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
        ("torch.storage", "_load_from_bytes"): _load_from_bytes,
        ("torch", "Size"): _size,
        **_STORAGES,
        ("numpy", "dtype"): _dtype,
        ("numpy", "ndarray"): _never,
        ("numpy._core.multiarray", "scalar"): _scalar,
        ("numpy._core.multiarray", "_reconstruct"): _empty_array,
        ("numpy._core.numeric", "_frombuffer"): _array_from_buffer,
        ("dnnlib.tflib.network", "Network"): _instance("Network"),
        ("dnnlib.util", "EasyDict"): _dict,
        ("argparse", "Namespace"): _instance("Namespace"),
        ("collections", "OrderedDict"): _dict,
        ("builtins", "set"): _set,
        ("builtins", "dict"): _dict,
        ("builtins", "object"): _never,
        ("builtins", "bytes"): _bytes,
        ("builtins", "bytearray"): _bytes,
        ("copyreg", "_reconstructor"): _old_object,
        ("_codecs", "encode"): _bytes,
    }
)

# What archives of TorchScript name. The second entry stands for every class below `__torch__`:
# these are names alone, and what is made of all of them is the same.
SCRIPT_ALLOWED: Allowed = {
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    SCRIPT_CLASS: _script_object,
    ("torch.jit._pickle", "restore_type_tag"): _first,
    ("torch.jit._pickle", "build_intlist"): _first,
    ("torch.jit._pickle", "build_doublelist"): _first,
    ("torch.jit._pickle", "build_boollist"): _first,
    ("torch.jit._pickle", "build_tensorlist"): _first,
    ("collections", "OrderedDict"): _dict,
    **_STORAGES,
}
