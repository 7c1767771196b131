"""Networks without their training: one file of arrays that says what they are.

A file of safetensors. Tensors have names such as `G_ema/params/synthesis/b4/const` and
`G_ema/buffers/w_avg`, in the layouts that the networks here have. Beside them lies a text of JSON
under `stylegan_jax`: the version of this format, family and arguments of each network, sizes,
labels, images trained on, origin, and a SHA-256 of all of it.

    write_export("mine.safetensors", checkpoint)
    same = read_export("mine.safetensors")
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from etils import epath
from flax import traverse_util

from stylegan_jax.convert.networks import (
    MOST_LAYERS,
    NETWORKS,
    LoadedCheckpoint,
    LoadedNetwork,
    make_loaded,
    shorten,
)
from stylegan_jax.convert.readers.files import FileContents, read_file
from stylegan_jax.convert.readers.records import CheckpointFileError, Tensor
from stylegan_jax.convert.safetensors import write_safetensors
from stylegan_jax.models import DISCRIMINATORS, GENERATORS

FORMAT_VERSION = 1

# Texts beside the tensors.
_HEADER = "stylegan_jax"
_DIGEST = "sha256"
# Largest number among a network's arguments; a damaged one must not ask for a terabyte.
_MOST_SIZE = 2**20
# Fields of a checkpoint that the header has under the same name.
_FIELDS = {
    "nimg": (int, type(None)),
    "augment_p": (float, int, type(None)),
    "training_set": (dict,),
    "resolution": (int, type(None)),
    "fade": (float, int, type(None)),
    "origin": (str,),
}
_LISTS = ("class_names", "notes")


def write_export(path: epath.PathLike, checkpoint: LoadedCheckpoint) -> None:
    """Writes the networks of a checkpoint.

    Args:
        path: Local, or in a bucket; what is there is replaced as a whole.
        checkpoint: Of a workdir (`run/networks.py`) or another file (`load_checkpoint`).

    Raises:
        ValueError: There is no network.
        OSError: It cannot be written there.
    """
    arrays: dict[str, np.ndarray] = {}
    for net, network in checkpoint.networks.items():
        trees = {"params": network.params, "buffers": network.buffers}
        flat: dict[str, Any] = traverse_util.flatten_dict(trees, sep="/")
        arrays |= {f"{net}/{name}": np.asarray(value) for name, value in flat.items()}
    if not arrays:
        raise ValueError(f"{path}: there is no network to write.")
    header = json.dumps(_describe(checkpoint), ensure_ascii=False)
    write_safetensors(path, arrays, {_HEADER: header, _DIGEST: _digest(header, arrays)})


def read_export(path: epath.PathLike, *, networks: Collection[str] = NETWORKS) -> LoadedCheckpoint:
    """Reads what `write_export` has written, bit for bit.

    Args:
        path: Local, or in a bucket.
        networks: Which of `NETWORKS` are wanted.

    Raises:
        CheckpointFileError: The file is damaged, is none of these, is of a newer version, or has
            none of the networks.
        OSError: There is no such file.
    """
    contents = read_file(path)
    try:
        if not is_export(contents):
            raise CheckpointFileError(
                "It is no export of this package; `tools.convert` makes one of other checkpoints."
            )
        return load_export(contents, networks)
    except CheckpointFileError as error:
        raise CheckpointFileError(f"{path}: {error}") from error


def is_export(contents: FileContents) -> bool:
    """Tells whether a file was written by `write_export`."""
    return _HEADER in contents.metadata


def load_export(contents: FileContents, networks: Collection[str] = NETWORKS) -> LoadedCheckpoint:
    """Makes a checkpoint of a file that was read; see `read_export`."""
    header = _read_header(contents.metadata[_HEADER])
    tensors: dict[str, Tensor] = contents.root
    arrays = {name: tensor.array() for name, tensor in tensors.items()}
    if _digest(contents.metadata[_HEADER], arrays) != contents.metadata.get(_DIGEST):
        raise CheckpointFileError(
            "Its checksum is not that of its contents: the file is damaged. Copy or download it "
            "again."
        )
    made = header["networks"]
    wanted = [net for net in NETWORKS if net in made and net in networks]
    if not wanted:
        raise CheckpointFileError(
            f"It has the networks {shorten(made)}, and none of {shorten(networks)}."
        )
    stated: dict[str, Any] = {name: header[name] for name in _FIELDS}
    stated |= {name: tuple(header[name]) for name in _LISTS}
    return LoadedCheckpoint({net: _load(net, made[net], arrays) for net in wanted}, **stated)


def _describe(checkpoint: LoadedCheckpoint) -> dict[str, Any]:
    """Returns the header, plain enough for JSON."""
    nets = checkpoint.networks
    any_net = next(iter(nets.values()))
    stated = {name: getattr(checkpoint, name) for name in (*_FIELDS, *_LISTS)}
    return {
        "format_version": FORMAT_VERSION,
        "networks": {net: {"name": n.name, "kwargs": n.kwargs} for net, n in nets.items()},
        # For those who look into the file: the arguments say the same.
        "height": any_net.size[0],
        "width": any_net.size[1],
        "img_channels": any_net.kwargs["img_channels"],
        "c_dim": any_net.kwargs["c_dim"],
        **stated,
    }


def _read_header(text: str) -> dict[str, Any]:
    """Reads the header; the version comes first, since others may look otherwise."""
    try:
        header = json.loads(text)
    except (ValueError, RecursionError):
        raise CheckpointFileError("Its header is no JSON: the file is damaged.") from None
    version = header.get("format_version") if isinstance(header, dict) else None
    if type(version) is not int or version < 1:
        raise CheckpointFileError("Its header says no version: the file is damaged.")
    if version > FORMAT_VERSION:
        raise CheckpointFileError(
            f"It is of version {version}; this package reads up to {FORMAT_VERSION}: install a "
            "newer one."
        )
    odd = [name for name, kinds in _FIELDS.items() if not isinstance(header.get(name, ...), kinds)]
    odd += [name for name in _LISTS if not _is_texts(header.get(name))]
    odd += [] if isinstance(header.get("networks"), dict) else ["networks"]
    if odd:
        raise CheckpointFileError(f"Its header has no sound {', '.join(odd)}: damaged.")
    return header


def _is_texts(value: Any) -> bool:
    """Tells a list of texts."""
    return isinstance(value, list) and all(type(item) is str for item in value)


def _load(net: str, entry: Any, arrays: Mapping[str, np.ndarray]) -> LoadedNetwork:
    """Makes one network."""
    match entry:
        case {"name": str() as name, "kwargs": dict() as kwargs}:
            pass
        case _:
            raise CheckpointFileError(f"Its header has no sound entry of {net}: damaged.")
    known = DISCRIMINATORS if net == "D" else GENERATORS
    if name not in known:
        raise CheckpointFileError(
            f"{net} is a {name[:80]!r}; known here are {', '.join(known)}: install a newer version."
        )
    trees: dict[str, Any] = {"params": {}, "buffers": {}}
    for path, array in arrays.items():
        owner, _, inner = path.partition("/")
        if owner != net:
            continue
        kind, _, name_within = inner.partition("/")
        if kind not in trees or not name_within:
            raise CheckpointFileError(f"Tensor {path[:120]} has no place in a network: damaged.")
        trees[kind][name_within] = array
    params, buffers = (
        traverse_util.unflatten_dict(trees[kind], sep="/") for kind in ("params", "buffers")
    )
    kwargs = {key: _argument(key, value) for key, value in kwargs.items()}
    try:
        return make_loaded(name, kwargs, params, buffers, is_generator=net != "D")
    except CheckpointFileError as error:
        raise CheckpointFileError(f"{net}: {error}") from error


def _argument(name: str, value: Any) -> Any:
    """Returns an argument of a network: JSON has lists for tuples."""
    most = MOST_LAYERS if name == "mapping_layers" else _MOST_SIZE
    items = value if isinstance(value, list) else [value]
    for item in items:
        is_number = isinstance(item, (int, float)) and abs(item) <= most
        if not is_number and not isinstance(item, (str, type(None))) or len(items) > MOST_LAYERS:
            raise CheckpointFileError(f"{name[:80]}={str(value)[:80]}: no such network can be.")
    return tuple(items) if isinstance(value, list) else value


def _digest(header: str, arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of the header and of all tensors: names, shapes, numbers."""
    digest = hashlib.sha256(header.encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name], "<f4")
        digest.update(f"\n{name} {list(arrays[name].shape)}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
