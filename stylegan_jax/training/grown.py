"""The part of a network, or of its optimiser's state, that has grown so far."""

import re
from typing import Any


def grown_part(tree: Any, resolution: int) -> Any:
    """Leaves out the blocks above a resolution.

    Args:
        tree: Nested dicts and tuples; blocks are entries `b4`, `b8`, ... of dicts.
        resolution: The largest side that stays.

    Returns:
        The same containers without those entries; arrays are not copied.
    """
    # Parameters and moments are dicts with blocks among their entries ...
    if isinstance(tree, dict):
        return {
            name: grown_part(child, resolution)
            for name, child in tree.items()
            if not _is_above(name, resolution)
        }
    # ... inside optax's named tuples.
    if isinstance(tree, tuple):
        children = [grown_part(child, resolution) for child in tree]
        return type(tree)(*children) if hasattr(tree, "_fields") else tuple(children)
    return tree


def with_grown_part(tree: Any, part: Any) -> Any:
    """The tree with the leaves of `part`, which `grown_part` gave, in the place of its own."""
    if isinstance(tree, dict):
        return {
            name: with_grown_part(child, part[name]) if name in part else child
            for name, child in tree.items()
        }
    if isinstance(tree, tuple):
        children = [with_grown_part(*pair) for pair in zip(tree, part, strict=True)]
        return type(tree)(*children) if hasattr(tree, "_fields") else tuple(children)
    return part


def _is_above(name: str, resolution: int) -> bool:
    """True for a block of a higher resolution."""
    match = re.fullmatch(r"b(\d+)", name)
    return match is not None and int(match[1]) > resolution
