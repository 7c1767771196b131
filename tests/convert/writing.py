"""Writes checkpoints as the originals do, in any pickle protocol, without their code.

The classes below are pickled under the names of torch, NumPy of any age, and dnnlib.
"""

import collections
import io
import pickle
import struct
import zipfile
from typing import Any

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C


class FloatStorage:
    """Stands for torch's class in persistent ids."""


class HalfStorage:
    """As `FloatStorage`."""


KINDS = {np.dtype(np.float32): FloatStorage, np.dtype(np.float16): HalfStorage}


def _rebuild_tensor_v2(*args):
    raise AssertionError("never called")


def _rebuild_parameter(*args):
    raise AssertionError("never called")


def _load_from_bytes(*args):
    raise AssertionError("never called")


def _reconstruct_persistent_obj(*args):
    raise AssertionError("never called")


class Storage:
    """Elements in a row; inside a pickle of a network it is a stream of its own."""

    def __init__(self, elements: np.ndarray):
        self.elements = elements

    def __reduce__(self):
        return _load_from_bytes, (write_stream(self),)


class Tensor:
    """A view of a storage, written with the strides that the array has."""

    def __init__(self, array: np.ndarray):
        self.array = array
        order = np.argsort([-s for s in array.strides], kind="stable")
        dense = np.ascontiguousarray(array.transpose(order)) if array.ndim else array
        self.storage = Storage(dense.reshape(-1))
        self.stride = tuple(s // array.itemsize for s in array.strides)

    def __reduce__(self):
        args = (self.storage, 0, self.array.shape, self.stride, False, collections.OrderedDict())
        return _rebuild_tensor_v2, args


class Parameter:
    """A tensor that is trained."""

    def __init__(self, tensor: Tensor):
        self.tensor = tensor

    def __reduce__(self):
        return _rebuild_parameter, (self.tensor, True, collections.OrderedDict())


class Module:
    """A network, or a part of one."""

    def __init__(self, class_name: str, version: int = 6, **attributes: Any):
        self.class_name = class_name
        self.version = version
        self.state: dict[str, Any] = {
            "_parameters": {},
            "_buffers": {},
            "_modules": {},
            "_non_persistent_buffers_set": set(),
            **attributes,
        }

    def __reduce__(self):
        meta = {
            "type": "class",
            "version": self.version,
            "module_src": "raise SystemExit('the source of a checkpoint was run')",
            "class_name": self.class_name,
            "state": self.state,
        }
        return _reconstruct_persistent_obj, (meta,)


class EasyDict(dict):
    """dnnlib's dict."""


class Network:
    """A network of TensorFlow."""

    def __init__(self, state: dict[str, Any]):
        self.state = state

    def __getstate__(self):
        return self.state


class ScriptClass:
    """A class of TorchScript, which has nothing but a name."""

    def __init__(self, module: str, name: str):
        self.module = module
        self.name = name


class Script:
    """An object of TorchScript: its class and attributes."""

    def __init__(self, path: str, **attributes: Any):
        module, _, name = f"__torch__.{path}".rpartition(".")
        self.kind = ScriptClass(module, name)
        self.state = attributes


NAMES = {
    _rebuild_tensor_v2: ("torch._utils", "_rebuild_tensor_v2"),
    _rebuild_parameter: ("torch._utils", "_rebuild_parameter"),
    _load_from_bytes: ("torch.storage", "_load_from_bytes"),
    _reconstruct_persistent_obj: ("torch_utils.persistence", "_reconstruct_persistent_obj"),
    FloatStorage: ("torch", "FloatStorage"),
    HalfStorage: ("torch", "HalfStorage"),
    EasyDict: ("dnnlib.util", "EasyDict"),
    Network: ("dnnlib.tflib.network", "Network"),
}


class Writer(pickle._Pickler):
    """A pickler that writes those names, and with `is_old` the names of NumPy before 2."""

    def __init__(self, file: Any, protocol: int, *, is_old: bool = False, key_of: Any = None):
        super().__init__(file, protocol)
        self.is_old = is_old
        self.key_of = key_of

    def save_global(self, obj, name=None):
        """Writes a class or function without looking it up."""
        module, name = NAMES.get(obj, (None, name))
        if module is None:
            module = getattr(obj, "__module__", "") or ""
            if not self.is_old or not module.startswith("numpy._core"):
                return super().save_global(obj, name)
            module, name = module.replace("numpy._core", "numpy.core"), obj.__name__
        if self.proto >= 4:
            self.save(module)
            self.save(name)
            self.write(pickle.STACK_GLOBAL)
        else:
            self.write(pickle.GLOBAL + f"{module}\n{name}\n".encode())
        self.memoize(obj)

    dispatch = dict(pickle._Pickler.dispatch)
    dispatch[type(_rebuild_tensor_v2)] = save_global
    dispatch[type] = save_global

    def _save_script(self, obj):
        """Writes an object as TorchScript does: a class, no arguments, a dict of attributes."""
        self.write(pickle.GLOBAL + f"{obj.kind.module}\n{obj.kind.name}\n".encode())
        self.write(pickle.EMPTY_TUPLE + pickle.NEWOBJ)
        self.save(obj.state)
        self.write(pickle.BUILD)
        self.memoize(obj)

    dispatch[Script] = _save_script

    def persistent_id(self, obj):
        """Names storages by key in torch's own files."""
        if self.key_of is None or not isinstance(obj, Storage):
            return None
        kind = KINDS[obj.elements.dtype]
        return ("storage", kind, self.key_of(obj), "cpu", obj.elements.size)


def write_pickle(value: Any, protocol: int = 4, **kwargs: Any) -> bytes:
    """Returns a pickle of networks."""
    file = io.BytesIO()
    Writer(file, protocol, **kwargs).dump(value)
    return file.getvalue()


def write_stream(value: Any) -> bytes:
    """Returns torch's first file format."""
    storages: list[Storage] = []

    def key_of(storage: Storage) -> str:
        if storage not in storages:
            storages.append(storage)
        return str(storages.index(storage))

    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
    parts = [write_pickle(part, 2) for part in (MAGIC, 1001, system)]
    parts.append(write_tail(value, key_of))
    parts.append(write_pickle([str(i) for i in range(len(storages))], 2))
    for storage in storages:
        parts.append(struct.pack("<q", storage.elements.size) + storage.elements.tobytes())
    return b"".join(parts)


def write_tail(value: Any, key_of: Any) -> bytes:
    """Returns a pickle whose storages lie outside of it."""
    return write_pickle(value, 2, key_of=key_of)


def write_zip(value: Any, *, compression: int = zipfile.ZIP_STORED, **extra: bytes) -> bytes:
    """Returns torch's zip; `extra` files are named by their last part."""
    pickled, storages = split_tail(value)
    return join_zip(pickled, storages, compression=compression, **extra)


def split_tail(value: Any) -> tuple[bytes, list[bytes]]:
    """Returns the pickle of a zip, and the bytes of its storages."""
    storages: list[Storage] = []

    def key_of(storage: Storage) -> str:
        if storage not in storages:
            storages.append(storage)
        return str(storages.index(storage))

    pickled = write_tail(value, key_of)
    return pickled, [storage.elements.tobytes() for storage in storages]


def join_zip(
    pickled: bytes,
    storages: list[bytes],
    *,
    compression: int = zipfile.ZIP_STORED,
    **extra: bytes,
) -> bytes:
    """Returns torch's zip of its parts."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("run/data.pkl", pickled)
        for name, content in ({"byteorder": b"little", "version": b"3\n"} | extra).items():
            archive.writestr(f"run/{name}", content)
        for i, storage in enumerate(storages):
            archive.writestr(f"run/data/{i}", storage)
    return file.getvalue()


def make_script(arrays: dict[str, np.ndarray], **attributes: Any) -> Script:
    """Builds a module of TorchScript of tensors under dotted names.

    Args:
        arrays: Its tensors.
        **attributes: Of every part of it.
    """
    root = Script("detectors.Net", **attributes)
    for name, array in arrays.items():
        *path, leaf = name.split(".")
        node = root
        for i, part in enumerate(path):
            # Classes of equal names are told apart as torch does.
            kind = f"torch.nn.modules.{part}.___torch_mangle_{i}.Part"
            node = node.state.setdefault(part, Script(kind, **attributes))
        node.state[leaf] = Tensor(array)
    return root


def write_script(root: Any, **extra: bytes) -> bytes:
    """Returns an archive of TorchScript, whose code must not be run."""
    return join_script(*split_tail(root), **extra)


def join_script(pickled: bytes, storages: list[bytes], **extra: bytes) -> bytes:
    """Returns an archive of TorchScript of its parts."""
    code = b"raise SystemExit('the code of an archive was run')"
    files = {"constants.pkl": b"\x80\x02).", "code/__torch__.py": code}
    return join_zip(pickled, storages, **(files | extra))


def make_module(arrays: dict[str, np.ndarray], *, frozen: str = "-", **attributes: Any) -> Module:
    """Builds a module of tensors under dotted names.

    Args:
        arrays: Its tensors.
        frozen: Tensors whose name begins with this are buffers, as frozen layers have them.
        **attributes: Of the root, as `_init_kwargs`.
    """
    root = Module("Network", **attributes)
    for name, array in arrays.items():
        *path, leaf = name.split(".")
        module = root
        for part in path:
            module = module.state["_modules"].setdefault(part, Module("Part"))
        is_buffer = name.startswith(frozen) or leaf in ("w_avg", "noise_const", "resample_filter")
        tensor = Tensor(array)
        if is_buffer:
            module.state["_buffers"][leaf] = tensor
        else:
            module.state["_parameters"][leaf] = Parameter(tensor)
    return root


def make_network(
    name: str, function: str, arrays: dict[str, np.ndarray], kwargs: dict[str, Any]
) -> Network:
    """Builds a network of TensorFlow; variables below `G_mapping/` and the like are components."""
    own = [(n, a) for n, a in arrays.items() if not n.startswith("G_")]
    components = {
        key: Network(
            dict(
                version=4,
                name=f"G_{key}",
                static_kwargs=EasyDict(kwargs),
                build_module_src="raise SystemExit",
                build_func_name=f"G_{key}",
                components={},
                variables=[
                    (n.removeprefix(f"G_{key}/"), a)
                    for n, a in arrays.items()
                    if n.startswith(f"G_{key}/")
                ],
            )
        )
        for key in ("mapping", "synthesis")
        if any(n.startswith(f"G_{key}/") for n in arrays)
    }
    return Network(
        dict(
            version=4,
            name=name,
            static_kwargs=EasyDict(kwargs),
            components=components,
            build_module_src="raise SystemExit",
            build_func_name=function,
            variables=own,
        )
    )
