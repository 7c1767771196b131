"""Official tensors of frozen networks under our names and in our layout."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from stylegan_jax.convert.networks import shorten
from stylegan_jax.convert.readers.records import CheckpointFileError


def rename(
    arrays: Mapping[str, np.ndarray], names: Mapping[str, str | None]
) -> dict[str, np.ndarray]:
    """Gives every tensor our dotted name.

    Args:
        arrays: Tensors by official name.
        names: Pattern of a whole official name -> ours, with `\\1` for what a group found; None:
            the tensor is known and not wanted. The first that fits counts.

    Raises:
        CheckpointFileError: Names those that no pattern fits, or two of one name.
    """
    patterns = [(re.compile(pattern), ours) for pattern, ours in names.items()]
    renamed: dict[str, np.ndarray] = {}
    strange = []
    for name, array in arrays.items():
        fitting = [(m, ours) for pattern, ours in patterns if (m := pattern.fullmatch(name))]
        if not fitting:
            strange.append(f"{name} {list(array.shape)}")
        elif fitting[0][1] is not None:
            ours = fitting[0][0].expand(fitting[0][1])
            if ours in renamed:
                raise CheckpointFileError(f"{name} is there a second time under another name.")
            renamed[ours] = np.asarray(array)
    if strange:
        raise CheckpointFileError(
            f"{len(strange)} of {len(arrays)} tensors could not be placed: {shorten(strange)}. The "
            "network has other layers than the official one."
        )
    return renamed


def from_torch(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Nests tensors by the dots of their names, in our layout.

    Weights of convolutions `[o, i, h, w]` become `[h, w, i, o]`, those of dense layers `[o, i]`
    become `[i, o]`: all that are called `weight`. Everything is float32 afterwards.
    """
    tree: dict[str, Any] = {}
    for name, array in arrays.items():
        *path, leaf = name.split(".")
        branch = tree
        for part in path:
            branch = branch.setdefault(part, {})
        if leaf == "weight" and array.ndim == 4:
            array = array.transpose(2, 3, 1, 0)
        elif leaf == "weight" and array.ndim == 2:
            array = array.T
        branch[leaf] = np.asarray(array, np.float32)
    return tree
