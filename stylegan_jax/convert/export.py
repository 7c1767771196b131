"""Networks without their training: one file of arrays that says what they are.

A file of safetensors. Tensors have names such as `G_ema/params/synthesis/b4/const` and
`G_ema/buffers/w_avg`, in the layouts that the networks here have. Beside them lies a text of JSON
under `stylegan_jax`: the version of this format, family and arguments of each network, sizes,
labels, images trained on, origin, and a SHA-256 of all of it.

    write_export("mine.safetensors", checkpoint)
    same = read_export("mine.safetensors")

`write_official` writes the names and layouts of the original code in PyTorch instead, with the same
text beside them: what it wrote comes back as exactly.
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
from stylegan_jax.convert.official import from_official, to_official
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
    _write(path, checkpoint, arrays, "stylegan_jax")


def write_official(path: epath.PathLike, checkpoint: LoadedCheckpoint) -> None:
    """Writes the networks of a checkpoint under the names of the original in PyTorch.

    `load_state_dict(strict=True)` takes them there: buffers are among them. Names of one network
    stand alone, those of several begin with `G_ema.` and so on.

    Args:
        path: As in `write_export`.
        checkpoint: As in `write_export`.

    Raises:
        ValueError: There is no network, or one of a family without an original in PyTorch.
        OSError: It cannot be written there.
    """
    arrays: dict[str, np.ndarray] = {}
    for net, network in checkpoint.networks.items():
        prefix = f"{net}." if len(checkpoint.networks) > 1 else ""
        tensors = to_official(network)
        arrays |= {f"{prefix}{name}": value for name, value in tensors.items()}
    _write(path, checkpoint, arrays, "official", {"format": "pt"})


def read_export(path: epath.PathLike, *, networks: Collection[str] = NETWORKS) -> LoadedCheckpoint:
    """Reads what `write_export` or `write_official` has written, bit for bit.

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
    """Tells whether a file was written by `write_export` or `write_official`."""
    return _HEADER in contents.metadata


def load_export(contents: FileContents, networks: Collection[str] = NETWORKS) -> LoadedCheckpoint:
    """Makes a checkpoint of a file that was read; see `read_export`."""
    # Header, then contents: a newer format may be summed in another way.
    header = _read_header(contents.metadata[_HEADER])
    tensors: dict[str, Tensor] = contents.root
    arrays = {name: tensor.array() for name, tensor in tensors.items()}
    if _digest(contents.metadata[_HEADER], arrays) != contents.metadata.get(_DIGEST):
        raise CheckpointFileError(
            "Its checksum is not that of its contents: the file is damaged. Copy or download it "
            "again."
        )
    # The networks that are wanted, in our order.
    made = header["networks"]
    wanted = [net for net in NETWORKS if net in made and net in networks]
    if not wanted:
        raise CheckpointFileError(
            f"It has the networks {shorten(made)}, and none of {shorten(networks)}."
        )
    # Tuples became lists in JSON.
    stated: dict[str, Any] = {name: header[name] for name in _FIELDS}
    stated |= {name: tuple(header[name]) for name in _LISTS}
    split = _split_official if header["names"] == "official" else _split
    parts = split(arrays, made)
    return LoadedCheckpoint({net: _load(net, made[net], parts[net]) for net in wanted}, **stated)


def _write(
    path: epath.PathLike,
    checkpoint: LoadedCheckpoint,
    arrays: Mapping[str, np.ndarray],
    names: str,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes arrays with the header beside them."""
    if not arrays:
        raise ValueError(f"{path}: there is no network to write.")
    header = json.dumps({"names": names} | _describe(checkpoint), ensure_ascii=False)
    own = {_HEADER: header, _DIGEST: _digest(header, arrays)}
    write_safetensors(path, arrays, own | dict(metadata or {}))


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
    # Everything is looked at, so that the error names all that is odd.
    odd = [name for name, kinds in _FIELDS.items() if not isinstance(header.get(name, ...), kinds)]
    odd += [name for name in _LISTS if not _is_texts(header.get(name))]
    odd += [] if isinstance(header.get("networks"), dict) else ["networks"]
    odd += [] if header.get("names") in ("stylegan_jax", "official") else ["names"]
    if odd:
        raise CheckpointFileError(f"Its header has no sound {', '.join(odd)}: damaged.")
    return header


def _is_texts(value: Any) -> bool:
    """Tells a list of texts."""
    return isinstance(value, list) and all(type(item) is str for item in value)


def _split(arrays: Mapping[str, np.ndarray], nets: Collection[str]) -> dict[str, Any]:
    """Sorts tensors by network: `G_ema/params/...` to `{"G_ema": {"params": {...}, ...}}`."""
    parts: dict[str, Any] = {net: {"params": {}, "buffers": {}} for net in nets}
    for path, array in arrays.items():
        net, _, inner = path.partition("/")
        kind, _, name = inner.partition("/")
        if kind not in parts.get(net, {}) or not name:
            raise CheckpointFileError(f"Tensor {path[:120]} has no place in a network: damaged.")
        parts[net][kind][name] = array
    return parts


def _split_official(arrays: Mapping[str, np.ndarray], nets: Collection[str]) -> dict[str, Any]:
    """Sorts tensors of official names by network."""
    if len(nets) == 1:
        return {net: {"official": dict(arrays)} for net in nets}
    parts: dict[str, Any] = {net: {"official": {}} for net in nets}
    for path, array in arrays.items():
        net, _, name = path.partition(".")
        if net not in parts:
            raise CheckpointFileError(f"Tensor {path[:120]} has no place in a network: damaged.")
        parts[net]["official"][name] = array
    return parts


def _load(net: str, entry: Any, part: Mapping[str, Any]) -> LoadedNetwork:
    """Makes one network."""
    match entry:
        case {"name": str() as name, "kwargs": dict() as kwargs}:
            pass
        case _:
            raise CheckpointFileError(f"Its header has no sound entry of {net}: damaged.")
    is_generator = net != "D"
    known = GENERATORS if is_generator else DISCRIMINATORS
    if name not in known:
        raise CheckpointFileError(
            f"{net} is a {name[:80]!r}; known here are {', '.join(known)}: install a newer version."
        )
    # The arguments decide how much memory the network asks for: they are looked at first.
    kwargs = {key: _argument(key, value) for key, value in kwargs.items()}
    try:
        if "official" in part:
            return from_official(name, part["official"], kwargs, is_generator=is_generator)
        nested = [traverse_util.unflatten_dict(part[k], sep="/") for k in ("params", "buffers")]
        return make_loaded(name, kwargs, *nested, is_generator=is_generator)
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
