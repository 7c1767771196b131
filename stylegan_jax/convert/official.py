"""Networks under the names of the original code in PyTorch: which families have one."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from stylegan_jax.convert import stylegan2, stylegan3
from stylegan_jax.convert.networks import LoadedNetwork

# By the network's name, which is that of the generator or of the discriminator.
_FAMILIES: dict[str, Any] = {"stylegan2": stylegan2, "stylegan3": stylegan3}


def to_official(network: LoadedNetwork) -> dict[str, np.ndarray]:
    """Returns the tensors of a network as the official code in PyTorch names and shapes them.

    Raises:
        ValueError: A network of another family, whose original has no version in PyTorch.
    """
    return _family(network.name).to_official(network)


def from_official(
    name: str, arrays: Mapping[str, np.ndarray], kwargs: dict[str, Any], *, is_generator: bool
) -> LoadedNetwork:
    """Makes a network whose name and arguments are known of what `to_official` returned.

    Raises:
        ValueError: As `to_official`.
    """
    return _family(name).from_official(arrays, kwargs, is_generator=is_generator)


def foreign_notes(network: LoadedNetwork) -> list[str]:
    """What the official code could not make of a network, a sentence each."""
    return _family(network.name).foreign_notes(network)


def _family(name: str) -> Any:
    """The table of a family."""
    if name not in _FAMILIES:
        raise ValueError(
            f"{name!r} has no original in PyTorch whose names could be given: write an export "
            "instead."
        )
    return _FAMILIES[name]
