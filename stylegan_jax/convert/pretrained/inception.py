"""Names of Inception's weights in published files -> ours, with folded normalisation.

Two namings are known: that of torchvision, in the files of pytorch-fid and torch-fidelity, and that
of TensorFlow's graph, in NVIDIA's. Below, a convolution goes by its path in our module.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from stylegan_jax.convert.networks import shorten
from stylegan_jax.convert.readers.records import CheckpointFileError
from stylegan_jax.models.pretrained.inception import BLOCKS, STEM, Layer, layer_names

Path = tuple[str, ...]

# Added to variances; a constant of the graph, not of the files.
_EPSILON = 1e-3
# Counts of training steps.
_IGNORED = re.compile(r".*\.num_batches_tracked")
# What belongs to a convolution, and axes: official name behind that of the convolution.
_PARTS = {
    "conv.weight": 4,
    "bn.weight": 1,
    "bn.bias": 1,
    "bn.running_mean": 1,
    "bn.running_var": 1,
}
# The same in the graph's naming. NVIDIA's file was not at hand: these are the words of the graph
# and of torch, and a file with others is refused with the list of them.
_GRAPH_PARTS = {
    "weight": "conv.weight",
    "conv.weight": "conv.weight",
    "gamma": "bn.weight",
    "beta": "bn.bias",
    "bias": "bn.bias",
    "mean": "bn.running_mean",
    "moving_mean": "bn.running_mean",
    "running_mean": "bn.running_mean",
    "var": "bn.running_var",
    "moving_variance": "bn.running_var",
    "running_var": "bn.running_var",
    "bn.weight": "bn.weight",
    "bn.bias": "bn.bias",
    "bn.running_mean": "bn.running_mean",
    "bn.running_var": "bn.running_var",
}
_GRAPH_ROOT = "layers."
_GRAPH_CLASSIFIER = {"output.weight": "fc.weight", "output.bias": "fc.bias"}


def params_from_official(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Converts the weights of a published file.

    Args:
        arrays: All tensors of the file: `Mixed_5b.branch1x1.conv.weight` [out, in, kh, kw], `.bn.*`
            and `fc.weight` [1008, 2048], or `layers.mixed.conv.weight` and so on.

    Returns:
        Nested dict of float32 parameters.

    Raises:
        CheckpointFileError: Names those that are missing, could not be placed, or have odd shapes.
    """
    left = {name: value for name, value in arrays.items() if not _IGNORED.fullmatch(name)}
    if any(name.startswith(_GRAPH_ROOT) for name in left):
        left = _from_graph_names(left)
    wanted = {f"{official_name(p)}.{part}": n for p in conv_paths() for part, n in _PARTS.items()}
    wanted |= {"fc.weight": 2, "fc.bias": 1}
    missing = wanted.keys() - left.keys()
    strange = left.keys() - wanted.keys()
    if missing or strange:
        raise CheckpointFileError(
            f"The file does not fit Inception: of {len(wanted)} tensors {len(missing)} are missing "
            f"({shorten(missing) or 'none'}), {len(strange)} could not be placed "
            f"({shorten(strange) or 'none'})."
        )
    odd = {name for name, rank in wanted.items() if left[name].ndim != rank}
    if odd:
        shapes = (f"{name} {list(left[name].shape)}" for name in odd)
        raise CheckpointFileError(f"The file does not fit Inception: {shorten(shapes)}.")

    params: dict[str, Any] = {}
    for path in conv_paths():
        node = params
        for name in path:
            node = node.setdefault(name, {})
        node |= _fold(official_name(path), left)
    return params | {"fc": {"weight": left["fc.weight"].T, "bias": left["fc.bias"]}}


def conv_paths() -> list[Path]:
    """Returns the paths of all convolutions, in the order of the network."""
    paths: list[Path] = [(name,) for name in STEM]
    for block, (branches, _) in BLOCKS.items():
        for branch, layers in branches.items():
            paths += [(block, name) for names in layer_names(branch, layers) for name in names]
    return paths


def official_name(path: Path) -> str:
    """Returns torchvision's name of a convolution: `Mixed_5b.branch1x1`."""
    return ".".join((path[0].capitalize(), *path[1:]))


def graph_names() -> dict[str, Path]:
    """Returns the graph's name of each convolution, `mixed.tower.conv_1`, and its path here.

    Within a scope names are numbered: `conv`, `conv_1`; the convolutions of a branch are a `tower`,
    but for a branch of one; those side by side are `mixed` in it.
    """
    names: dict[str, Path] = {_numbered("conv", i): (name,) for i, name in enumerate(STEM)}
    for i, (block, (branches, _)) in enumerate(BLOCKS.items()):
        scope, towers = _numbered("mixed", i), 0
        for branch, layers in branches.items():
            inner = scope
            if len(layers) > 1 or branch == "branch_pool":
                inner, towers = f"{scope}.{_numbered('tower', towers)}", towers + 1
            for k, (step, layer) in enumerate(zip(layer_names(branch, layers), layers)):
                if isinstance(layer, Layer):
                    names[f"{inner}.{_numbered('conv', k)}"] = (block, *step)
                    continue
                for j, name in enumerate(step):
                    names[f"{inner}.mixed.{_numbered('conv', j)}"] = (block, name)
    return names


def _numbered(name: str, i: int) -> str:
    """Numbers as TensorFlow does: the first has none."""
    return f"{name}_{i}" if i else name


def _from_graph_names(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Renames tensors to torchvision's names; those of no known name keep theirs."""
    scopes = graph_names()
    renamed: dict[str, np.ndarray] = {}
    for name, value in arrays.items():
        # The longest scope first: `conv.weight` may be a part of `mixed` or the weight of `conv`.
        words = name.removeprefix(_GRAPH_ROOT).split(".")
        for end in range(len(words) - 1, 0, -1):
            path, part = scopes.get(".".join(words[:end])), _GRAPH_PARTS.get(".".join(words[end:]))
            if path and part and f"{official_name(path)}.{part}" not in renamed:
                renamed[f"{official_name(path)}.{part}"] = value
                break
        else:
            renamed[_GRAPH_CLASSIFIER.get(name.removeprefix(_GRAPH_ROOT), name)] = value
    # The graph scales nothing after normalisation.
    if not any(name.endswith("bn.weight") for name in renamed):
        for path in scopes.values():
            offset = renamed.get(f"{official_name(path)}.bn.bias")
            if offset is not None:
                renamed[f"{official_name(path)}.bn.weight"] = np.ones_like(offset)
    return renamed


def _fold(name: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Multiplies a normalisation into the kernel [out, in, kh, kw] before it, in float64."""
    kernel, gain, offset, mean, variance = (
        np.asarray(arrays[f"{name}.{part}"], np.float64) for part in _PARTS
    )
    if {x.shape for x in (gain, offset, mean, variance)} != {kernel.shape[:1]}:
        raise CheckpointFileError(f"{name}: a normalisation of other channels than its kernel's.")
    scale = gain / np.sqrt(variance + _EPSILON)
    return {
        "weight": (kernel.transpose(2, 3, 1, 0) * scale).astype(np.float32),  # HWIO
        "bias": (offset - mean * scale).astype(np.float32),
    }
