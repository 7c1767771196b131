"""What lies where, and what crosses devices; without a mesh in the context all is in one place.

A mesh has the axes `data` and `fsdp`, over which images are split, and `spatial`, over which rows
of pixels are. Networks and losses are computed on one device's images; the compiler splits rows.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float

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
        # Where this code sees one device's images, their axis is split already.
        images = None if _split_axes() else BATCH_AXES
        return lax.with_sharding_constraint(x, PartitionSpec(images, "spatial"))

    return jax.tree.map(split, tree)


def with_whole_images(function: Callable[[Any, Any], Any], per_image: Any, shared: Any) -> Any:
    """Calls `function(per_image, shared)` where every image has all of its rows.

    Devices that share the rows of images each take some of the images instead, or all of them
    where their number does not divide. For functions that choose by image what they compute: had
    the compiler to move rows within such a branch, devices that branch otherwise would not come,
    and all would wait for ever.

    Args:
        function: Computes each image from what belongs to it.
        per_image: Arrays [n, ...].
        shared: Arrays that belong to no image.
    """
    count = _axis_size("spatial")
    if count == 1:
        return function(per_image, shared)
    n = jax.tree.leaves(per_image)[0].shape[0]
    split = PartitionSpec() if n % count else PartitionSpec("spatial")
    return jax.shard_map(
        function,
        in_specs=(split, PartitionSpec()),
        out_specs=split,
        axis_names={"spatial"},
        check_vma=False,  # our own operations do not say what varies over devices
    )(per_image, shared)


def batch_mean(x: Float[Array, "n ..."]) -> Float[Array, "..."]:
    """Mean over images, those of other devices included."""
    mean = jnp.mean(x, axis=0)
    axes = _split_axes()
    return lax.pmean(mean, axes) if axes else mean


def all_images(x: Float[Array, "n ..."]) -> Float[Array, "m ..."]:
    """The images of all devices, in their order."""
    axes = _split_axes()
    return lax.all_gather(x, axes, tiled=True) if axes else x


def own_images(x: Float[Array, "m ..."]) -> Float[Array, "n ..."]:
    """This device's part of what `all_images` gave."""
    axes = _split_axes()
    if not axes:
        return x
    # `all_gather` put the devices' parts one after the other, in the order of their index.
    n = x.shape[0] // lax.axis_size(axes)
    return lax.dynamic_slice_in_dim(x, lax.axis_index(axes) * n, n)


def _split_axes() -> tuple[str, ...]:
    """Axes of the mesh along which this code sees the images of one device only."""
    manual = jax.sharding.get_abstract_mesh().manual_axes
    return tuple(name for name in BATCH_AXES if name in manual)


def _axis_size(name: str) -> int:
    """Devices along an axis of the mesh in the context; 1 without one."""
    mesh = jax.sharding.get_abstract_mesh()
    return 1 if mesh.empty else dict(mesh.shape).get(name, 1)
