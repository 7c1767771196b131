"""Networks as they lie in files, flattened: tensors and settings under dotted names."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from stylegan_jax.convert.readers.records import (
    MOST_LEVELS,
    MOST_NAMES,
    CheckpointFileError,
    Instance,
    Module,
    ScriptObject,
    Tensor,
)

_LONGEST_NAME = 200


@dataclasses.dataclass(frozen=True)
class FlatNetwork:
    """One network of a file.

    Attributes:
        class_name: Class of torch or build function of TensorFlow; empty where there is none.
        arrays: Its tensors by the names that the original gives them.
        kwargs: What it was made with.
        facts: Plain attributes of its parts, as `synthesis.b8.conv0.conv_clamp`.
    """

    class_name: str
    arrays: dict[str, np.ndarray]
    kwargs: dict[str, Any] = dataclasses.field(default_factory=dict)
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)


def flatten_module(root: Module) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Walks a module of torch.

    Returns:
        `(tensors, facts)`: parameters and buffers, between which nothing is distinguished, since
        frozen layers hold their weights as buffers; and texts and numbers among the attributes.

    Raises:
        CheckpointFileError: It is no module, nests too deep, or has too many parts.
    """
    tensors: dict[str, Tensor] = {}
    facts: dict[str, Any] = {}
    # Its own list of what is left: a chain of modules must not exhaust Python's stack.
    waiting: list[tuple[str, Any, int]] = [("", root, 0)]
    seen = 0
    while waiting:
        prefix, module, level = waiting.pop()
        seen += 1
        # Of names, too, there is an end: those of parts of parts grow with every level.
        if level > MOST_LEVELS or seen > MOST_NAMES or len(prefix) > _LONGEST_NAME:
            raise CheckpointFileError("A network of absurdly many parts: the file is damaged.")
        if not isinstance(module, Module):
            raise CheckpointFileError(f"{prefix or 'A network'} is no module of torch: damaged.")

        # What it holds itself, then its plain attributes, then its parts.
        for kind in ("_parameters", "_buffers"):
            for name, tensor in _items(module, kind):
                if not isinstance(tensor, Tensor):
                    raise CheckpointFileError(f"{prefix}{name} is no tensor: the file is damaged.")
                tensors[prefix + name] = tensor
        for name, value in module.state.items():
            is_fact = isinstance(value, (str, int, float, np.generic, type(None)))
            if is_fact and type(name) is str and len(name) <= _LONGEST_NAME:
                facts[prefix + name] = value.item() if isinstance(value, np.generic) else value
        for name, child in _items(module, "_modules"):
            waiting.append((f"{prefix}{name}.", child, level + 1))
        if len(tensors) + len(facts) > 4 * MOST_NAMES:
            raise CheckpointFileError("A network of absurdly many names: the file is damaged.")
    return tensors, facts


def _items(module: Module, kind: str) -> Iterator[tuple[str, Any]]:
    """Yields what a module holds of a kind; None stands for what it could hold and does not."""
    held = module.state.get(kind)
    if not isinstance(held, dict):
        raise CheckpointFileError(f"A module of torch without {kind}: the file is damaged.")
    for name, value in held.items():
        if type(name) is not str or len(name) > _LONGEST_NAME:
            raise CheckpointFileError(f"A module of torch with an odd name in {kind}.")
        if value is not None:
            yield name, value


def flatten_script(root: ScriptObject) -> dict[str, Tensor]:
    """Walks a module of TorchScript: `{attribute path: tensor}`, its parameters and buffers.

    Raises:
        CheckpointFileError: It nests too deep, or has too many parts.
    """
    tensors: dict[str, Tensor] = {}
    waiting: list[tuple[str, ScriptObject, int]] = [("", root, 0)]
    seen = 0
    while waiting:
        prefix, script, level = waiting.pop()
        seen += 1
        if level > MOST_LEVELS or seen > MOST_NAMES or len(prefix) > _LONGEST_NAME:
            raise CheckpointFileError("A network of absurdly many parts: the file is damaged.")
        for name, value in script.state.items():
            if type(name) is not str or len(name) > _LONGEST_NAME:
                raise CheckpointFileError("A module of TorchScript with an odd name: damaged.")
            if isinstance(value, Tensor):
                tensors[prefix + name] = value
            elif isinstance(value, ScriptObject):
                waiting.append((f"{prefix}{name}.", value, level + 1))
        if len(tensors) + len(waiting) > MOST_NAMES:
            raise CheckpointFileError("A network of absurdly many names: the file is damaged.")
    return tensors


def flatten_tensors(root: Any) -> dict[str, Any]:
    """Returns the tensors of a network that is alone in its file, under their official names.

    Args:
        root: A dict of tensors, one that has such a dict as `model` or `state_dict`, or a module.

    Raises:
        CheckpointFileError: It is none of these.
    """
    if isinstance(root, Module):
        return dict(flatten_module(root)[0])
    if isinstance(root, ScriptObject):
        return dict(flatten_script(root))
    if isinstance(root, dict):
        for name in ("model", "state_dict"):
            if isinstance(root.get(name), dict):
                return root[name]
        if any(isinstance(value, Tensor) for value in root.values()):
            return root
    raise CheckpointFileError(
        f"The file holds {type(root).__name__}, wanted is a dict of tensors or a module."
    )


def flatten_variables(network: Instance) -> dict[str, Any]:
    """Returns the variables of a network of TensorFlow: its own, and those of its components.

    Components are `G_mapping` and `G_synthesis`, as in the names of the official variables.

    Raises:
        CheckpointFileError: It holds something else.
    """
    # Official components have none of their own: a second level is damage.
    found = dict(_variables(network))
    components = network.state.get("components", {})
    if not isinstance(components, dict) or len(components) > MOST_LEVELS:
        raise CheckpointFileError("A network of TensorFlow with odd components: damaged.")
    for key, component in components.items():
        if not isinstance(component, Instance) or component.state.get("components"):
            raise CheckpointFileError(f"{key!r} of a network of TensorFlow is none: damaged.")
        found |= {f"G_{key}/{name}": value for name, value in _variables(component)}
    return found


def _variables(network: Instance) -> Iterator[tuple[str, Any]]:
    """Yields a network's own variables."""
    variables = network.state.get("variables")
    if not isinstance(variables, list) or len(variables) > MOST_NAMES:
        raise CheckpointFileError("A network of TensorFlow without variables: damaged.")
    for entry in variables:
        match entry:
            case (str() as name, np.ndarray() | np.generic() as value):
                yield name[:_LONGEST_NAME], value
            case _:
                raise CheckpointFileError("A variable of TensorFlow that is none: damaged.")


def to_arrays(named: Mapping[Any, Any], most_bytes: int) -> dict[str, np.ndarray]:
    """Looks at tensors as arrays; entries that are none are left out.

    Args:
        named: Tensors, or arrays, by name.
        most_bytes: All of them together, as float32. What a file holds under one name it does not
            hold under many: without this a small file could be copied into a large memory.

    Raises:
        CheckpointFileError: A tensor is damaged, or they are too large together.
    """
    arrays: dict[str, np.ndarray] = {}
    total = 0
    for name, value in named.items():
        if type(name) is not str:
            continue
        if isinstance(value, Tensor):
            value = value.array()
        # Counted as they come, before the next is read.
        if isinstance(value, (np.ndarray, np.generic)):
            arrays[name] = np.asarray(value)
            total += 4 * arrays[name].size
        if total > most_bytes:
            raise CheckpointFileError(
                "The tensors of a network are larger than their file: it is damaged or made to "
                "harm."
            )
    return arrays
