"""Hints to the compiler about what lies where; without a mesh in the context they do nothing.

A mesh has the axes `data` and `fsdp`, over which images are split, and `spatial`, over which rows
of pixels are.
"""

from typing import Any

import jax
from jax.sharding import PartitionSpec

BATCH_AXES = ("data", "fsdp")
# Fewer rows than this on a device are not worth their neighbours' edges.
MIN_ROWS = 16


def split_rows(tree: Any) -> Any:
    """Splits the rows of feature maps [n, h, w, c] over `spatial`, and the images as always.

    Arrays of other ranks, and those with few rows or rows that cannot be split, stay as they are.
    """
    rows = _axis_size("spatial")
    if rows == 1:
        return tree

    def split(x: Any) -> Any:
        if x.ndim != 4 or x.shape[1] % rows or x.shape[1] // rows < MIN_ROWS:
            return x
        return jax.lax.with_sharding_constraint(x, PartitionSpec(BATCH_AXES, "spatial"))

    return jax.tree.map(split, tree)


def gather(tree: Any) -> Any:
    """Puts parameters that are split over `fsdp` together, for the use that follows."""
    if _axis_size("fsdp") == 1:
        return tree
    return jax.lax.with_sharding_constraint(tree, PartitionSpec())


def _axis_size(name: str) -> int:
    """Devices along an axis of the mesh in the context; 1 without one."""
    mesh = jax.sharding.get_abstract_mesh()
    return 1 if mesh.empty else dict(mesh.shape).get(name, 1)
