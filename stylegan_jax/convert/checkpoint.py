"""Opens a checkpoint that is one file as networks of this package.

`load_checkpoint("network-snapshot-025000.pkl").networks["G_ema"]` has all that `make_model` needs.
Nothing in the file is run: `readers/` says why.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from etils import epath

from stylegan_jax.convert import stylegan1, stylegan2, stylegan2_tf, stylegan3
from stylegan_jax.convert.export import is_export, load_export
from stylegan_jax.convert.networks import NETWORKS, LoadedCheckpoint, LoadedNetwork, shorten
from stylegan_jax.convert.readers.files import FileContents, read_file
from stylegan_jax.convert.readers.records import (
    CheckpointFileError,
    Instance,
    Module,
    Tensor,
    plain,
)
from stylegan_jax.convert.readers.trees import (
    FlatNetwork,
    flatten_module,
    flatten_variables,
    to_arrays,
)

# What else the networks are called.
_OTHER_NAMES = {"g": "G", "d": "D", "g_ema": "G_ema", "Gs": "G_ema"}
# Order of positional arguments of the originals.
_G_ARGS = ("z_dim", "c_dim", "w_dim", "img_resolution", "img_channels")
_D_ARGS = ("c_dim", "img_resolution", "img_channels")
# Versions of the layout of objects: of torch, and of TensorFlow in StyleGAN's and StyleGAN2's.
_TORCH_VERSIONS = {6}
_TENSORFLOW_VERSIONS = {3, 4}
# Copies in float32 may be larger than halves in a file, and a tensor may have two names.
_MOST_GROWTH = 4
# Build functions of ProGAN in TensorFlow.
_PROGAN = ("G_paper", "D_paper")


def load_checkpoint(
    path: epath.PathLike, *, networks: Collection[str] = NETWORKS
) -> LoadedCheckpoint:
    """Reads a checkpoint that is one file: of another project, or an export of this one.

    Families: StyleGAN2-ADA, StyleGAN3 and the StyleGAN2 of its repository (PyTorch); ProGAN,
    StyleGAN, StyleGAN2 and StyleGAN2-ADA (TensorFlow). Formats: their pickles; `.pt`, `.pth` and
    `.safetensors` with tensors under the names of the PyTorch versions. What this package has
    exported (`export.py`) comes back as it was.

    Args:
        path: Local, or in a bucket.
        networks: Which of `NETWORKS` are wanted.

    Raises:
        CheckpointFileError: The file is damaged, holds what is not allowed, or holds networks
            that this package does not have; says which.
        OSError: There is no such file.
    """
    contents = read_file(path)
    name = epath.Path(path).name
    try:
        if is_export(contents):
            return load_export(contents, networks)
        flat, notes = _flatten(contents)
        wanted = {net: flat[net] for net in NETWORKS if net in flat and net in networks}
        if not wanted:
            raise CheckpointFileError(
                f"It has the networks {shorten(flat)}, and none of {shorten(networks)}."
            )
        loaded = {net: _load(net, network) for net, network in wanted.items()}
        extras = _extras(contents)
    except CheckpointFileError as error:
        raise CheckpointFileError(f"{path}: {error}") from error
    kimg = re.search(r"snapshot-(\d{1,7})\D", name)
    return LoadedCheckpoint(
        loaded,
        nimg=1000 * int(kimg[1]) if kimg else None,
        notes=tuple(notes),
        origin=str(path),
        **extras,
    )


def read_networks(path: epath.PathLike) -> dict[str, FlatNetwork]:
    """Reads the tensors of a checkpoint under the names that the original gives them.

    Raises:
        CheckpointFileError: The file is damaged, or holds what is not allowed.
    """
    return _flatten(read_file(path))[0]


def _flatten(contents: FileContents) -> tuple[dict[str, FlatNetwork], list[str]]:
    """Finds the networks in what a file holds."""
    most_bytes = _MOST_GROWTH * contents.num_bytes
    match contents.root:
        case (Instance() as G, Instance() as D, Instance() as Gs):
            found = {"G": G, "D": D, "G_ema": Gs}
            flat = {net: _from_tensorflow(n, most_bytes) for net, n in found.items()}
            versions = [n.state.get("version") for n in found.values()]
            return flat, _version_notes(versions, _TENSORFLOW_VERSIONS)
        case dict() as entries if any(isinstance(entry, Module) for entry in entries.values()):
            modules = {
                net: entry
                for net, entry in entries.items()
                if net in NETWORKS and isinstance(entry, Module)
            }
            flat = {net: _from_torch(net, m, most_bytes) for net, m in modules.items()}
            return flat, _version_notes([m.version for m in modules.values()], _TORCH_VERSIONS)
        case dict() as entries:
            return _from_tensors(entries, most_bytes), [
                "The file has tensors alone: activations and clamps are taken to be the original's."
            ]
    raise CheckpointFileError(
        f"The file holds {type(contents.root).__name__}; wanted are networks under the names "
        f"{', '.join(NETWORKS)}, or the three networks of a TensorFlow pickle."
    )


def _from_torch(net: str, module: Module, most_bytes: int) -> FlatNetwork:
    """Flattens a module of torch."""
    tensors, facts = flatten_module(module)
    args = plain(module.state.get("_init_args"))
    names = _D_ARGS if net == "D" else _G_ARGS
    kwargs: dict[str, Any] = dict(zip(names, args)) if isinstance(args, list) else {}
    kwargs |= _settings(module, "_init_kwargs")
    return FlatNetwork(module.class_name, to_arrays(tensors, most_bytes), kwargs, facts)


def _from_tensorflow(network: Instance, most_bytes: int) -> FlatNetwork:
    """Flattens a network of TensorFlow."""
    function = network.state.get("build_func_name")
    return FlatNetwork(
        function if isinstance(function, str) else "",
        to_arrays(flatten_variables(network), most_bytes),
        _settings(network, "static_kwargs"),
    )


def _settings(network: Module | Instance, name: str) -> dict[str, Any]:
    """Returns arguments that a network keeps of its making; none where they are no dict."""
    settings = plain(network.state.get(name))
    return settings if isinstance(settings, dict) else {}


def _from_tensors(entries: Mapping[Any, Any], most_bytes: int) -> dict[str, FlatNetwork]:
    """Finds networks in tensors by name: each in a dict of its own, or under `G_ema.`, or one."""
    found = {
        _OTHER_NAMES.get(key, key): value
        for key, value in entries.items()
        if type(key) is str and isinstance(value, dict)
    }
    # Tensors beside such dicts are no networks.
    if not set(found) & set(NETWORKS):
        found = _split_names(entries)
    if not set(found) & set(NETWORKS):
        raise CheckpointFileError(
            f"The file holds {shorten(map(str, entries))}; wanted are networks under the names "
            f"{', '.join(NETWORKS)}."
        )
    return {
        net: FlatNetwork("", to_arrays(tensors, most_bytes))
        for net, tensors in found.items()
        if net in NETWORKS
    }


def _split_names(entries: Mapping[Any, Any]) -> dict[str, dict[str, Tensor]]:
    """Sorts tensors by network: `G_ema.synthesis...`; without such a beginning it is one alone."""
    tensors = {k: v for k, v in entries.items() if type(k) is str and isinstance(v, Tensor)}
    if "synthesis.b4.const" in tensors or stylegan3.is_generator(tensors):
        return {"G_ema": tensors}
    if "b4.conv.weight" in tensors:
        return {"D": tensors}
    found: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        net, _, rest = name.partition(".")
        found.setdefault(_OTHER_NAMES.get(net, net), {})[rest] = value
    return found


def _version_notes(versions: list[Any], known: set[int]) -> list[str]:
    """Notes about versions that are not known; what is read has been the same in all so far."""
    strange = {str(v)[:20] for v in versions if isinstance(v, (int, str)) and v not in known}
    return [f"Its objects are of version {shorten(strange)}, which is not known."] * bool(strange)


def _load(net: str, network: FlatNetwork) -> LoadedNetwork:
    """Makes a network of ours; the names of the tensors tell the family."""
    try:
        return _load_discriminator(network) if net == "D" else _load_generator(network)
    except CheckpointFileError as error:
        raise CheckpointFileError(f"{net}: {error}") from error


def _load_generator(network: FlatNetwork) -> LoadedNetwork:
    """Makes a generator."""
    arrays = network.arrays
    if stylegan3.is_generator(arrays):
        return stylegan3.load_generator(network)
    if _has_variables(arrays):
        if network.class_name in _PROGAN or "4x4/Dense/weight" in arrays:
            return stylegan1.load_progan_generator(network)
        if any(name.endswith(("StyleMod/weight", "Noise/weight")) for name in arrays):
            return stylegan1.load_generator(network)
        network = stylegan2_tf.generator_to_torch(network)
    return stylegan2.load_generator(network)


def _load_discriminator(network: FlatNetwork) -> LoadedNetwork:
    """Makes a discriminator."""
    arrays = network.arrays
    if _has_variables(arrays):
        # The last layer is one of 4x4 there, and stands for itself in StyleGAN2.
        if "4x4/Dense1/weight" in arrays:
            is_progan = network.class_name in _PROGAN
            return stylegan1.load_discriminator(network, is_progan=is_progan)
        network = stylegan2_tf.discriminator_to_torch(network)
    return stylegan2.load_discriminator(network)


def _has_variables(arrays: Mapping[str, np.ndarray]) -> bool:
    """Tells names of TensorFlow, which have slashes."""
    return any("/" in name for name in arrays)


def _extras(contents: FileContents) -> dict[str, Any]:
    """What a pickle of torch says besides its networks."""
    root = contents.root
    if not isinstance(root, dict):
        return {}
    extras: dict[str, Any] = {}
    training_set = root.get("training_set_kwargs")
    if isinstance(training_set, dict):
        extras["training_set"] = plain(training_set)
    pipe = root.get("augment_pipe")
    if isinstance(pipe, Module):
        strength = to_arrays(flatten_module(pipe)[0], 4 * contents.num_bytes).get("p")
        if strength is not None and strength.size == 1:
            extras["augment_p"] = float(strength.reshape(()))
    return extras
