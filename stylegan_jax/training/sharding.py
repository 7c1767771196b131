"""The device mesh and what lies where: batches split over `data`, the state on every device."""

from typing import Any

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from stylegan_jax.ops.packing import UNPACKED, Packing, space_to_depth

MESH_AXES = ("data", "fsdp", "spatial")


def make_mesh(devices: list[Any] | None = None) -> Mesh:
    """A mesh with all devices (of all processes) along `data`, slice after slice of a TPU."""
    devices = jax.devices() if devices is None else devices
    num_slices = len({getattr(device, "slice_index", 0) for device in devices})
    types = (AxisType.Auto,) * 3
    if num_slices == 1:
        return jax.make_mesh((len(devices), 1, 1), MESH_AXES, axis_types=types, devices=devices)
    inside, between = (len(devices) // num_slices, 1, 1), (num_slices, 1, 1)
    ordered = mesh_utils.create_hybrid_device_mesh(inside, between, devices)
    return Mesh(ordered, MESH_AXES, axis_types=types)


def replicated(mesh: Mesh) -> NamedSharding:
    """A copy on every device."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Leading axis split over `data`."""
    return NamedSharding(mesh, PartitionSpec("data"))


def put_batch(
    mesh: Mesh, batch: dict[str, np.ndarray], packing: Packing = UNPACKED
) -> dict[str, jax.Array]:
    """Makes global arrays of the rows that this process has read, images packed on the way."""
    sharding = batch_sharding(mesh)
    batch = batch | {"image": space_to_depth(batch["image"], packing)}
    return {k: jax.make_array_from_process_local_data(sharding, v) for k, v in batch.items()}


def split_over_data(mesh: Mesh | None, tree: Any) -> Any:
    """Asks the compiler to keep a tree's leading axes split over `data`; no mesh: no request."""
    if mesh is None:
        return tree
    return jax.lax.with_sharding_constraint(tree, batch_sharding(mesh))
