"""The device mesh and what lies where: images over `data` and `fsdp`, the state over `fsdp`."""

import math
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from stylegan_jax.ops.packing import UNPACKED, Packing, space_to_depth
from stylegan_jax.ops.partition import BATCH_AXES

MESH_AXES = ("data", "fsdp", "spatial")

# Smaller arrays are kept whole: splitting them saves nothing and costs a message each.
_MIN_SPLIT_SIZE = 2**14


def make_mesh(devices: list[Any] | None = None, *, fsdp: int = 1, spatial: int = 1) -> Mesh:
    """A mesh of all devices of all processes, slice after slice of a TPU along `data`.

    Args:
        devices: Default: all.
        fsdp: Devices that share one copy of the state.
        spatial: Devices that share the rows of an image.

    Raises:
        ValueError: `fsdp` times `spatial` does not divide the devices of a slice.
    """
    devices = jax.devices() if devices is None else devices
    num_slices = len({getattr(device, "slice_index", 0) for device in devices})
    per_slice = len(devices) // num_slices
    if fsdp < 1 or spatial < 1 or per_slice % (fsdp * spatial):
        raise ValueError(
            f"mesh.fsdp={fsdp} times mesh.spatial={spatial} does not divide {per_slice} devices"
            + (f" of each of {num_slices} slices" if num_slices > 1 else "")
            + ": give factors of that number."
        )

    # Images are split first, then the state, then rows: devices along the last axes, which exchange
    # most, lie side by side.
    types = (AxisType.Auto,) * 3
    inside = (per_slice // (fsdp * spatial), fsdp, spatial)
    if num_slices == 1:
        return jax.make_mesh(inside, MESH_AXES, axis_types=types, devices=devices)
    # Slices talk over the slow network: only gradients, along `data`, cross between them.
    ordered = mesh_utils.create_hybrid_device_mesh(inside, (num_slices, 1, 1), devices)
    return Mesh(ordered, MESH_AXES, axis_types=types)


def replicated(mesh: Mesh) -> NamedSharding:
    """A copy on every device."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Leading axis split over `data` and `fsdp`."""
    return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


def num_batch_devices(mesh: Mesh) -> int:
    """Devices, or groups of them along `spatial`, that a batch is split over."""
    return mesh.shape["data"] * mesh.shape["fsdp"]


def shard_state(mesh: Mesh, state: Any) -> Any:
    """The shapes of a state with where its arrays lie.

    Arrays that are not small are split over `fsdp` along their longest axis that it divides; all
    else has a copy on every device.

    Args:
        mesh: Devices.
        state: Arrays or their shapes.

    Returns:
        The tree with `jax.ShapeDtypeStruct` leaves.

    Source: Rajbhandari et al. 2020 (ZeRO), stage 3.
    """

    def shard(x: Any) -> jax.ShapeDtypeStruct:
        sharding = NamedSharding(mesh, _state_spec(x.shape, mesh.shape["fsdp"]))
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)

    return jax.tree.map(shard, state)


def shardings(tree: Any) -> Any:
    """Where the arrays of a tree lie."""
    return jax.tree.map(lambda x: x.sharding, tree)


def local_rows(mesh: Mesh, batch_size: int) -> np.ndarray:
    """Which images of a batch this process's devices hold, ascending, int [n]."""
    indices = batch_sharding(mesh).addressable_devices_indices_map((batch_size,)).values()
    # Devices that share rows of images hold the same images: a set names each part once.
    spans = {_span(index, batch_size) for index in indices}
    return np.concatenate([np.arange(*span) for span in sorted(spans)])


def _span(index: tuple[slice, ...] | None, batch_size: int) -> tuple[int, int]:
    """First image of a device's part of a batch, and the one after its last."""
    assert index is not None  # devices that hold nothing are not addressable
    start, stop, _ = index[0].indices(batch_size)
    return start, stop


def put_batch(
    mesh: Mesh, batch: dict[str, np.ndarray], batch_size: int, packing: Packing = UNPACKED
) -> dict[str, jax.Array]:
    """Makes global arrays of the images that this process has read, packed on the way.

    Args:
        mesh: Devices.
        batch: Arrays of the rows that `local_rows` gives.
        batch_size: Images of all processes.
        packing: How the images are held.
    """
    rows = local_rows(mesh, batch_size)
    sharding = batch_sharding(mesh)
    batch = batch | {"image": space_to_depth(batch["image"], packing)}

    def put(local: np.ndarray) -> jax.Array:
        shape = (batch_size, *local.shape[1:])
        parts = []
        # Each device gets the images that the sharding gives it, cut from what was read here.
        for device, index in sharding.addressable_devices_indices_map(shape).items():
            start, stop = _span(index, batch_size)
            first = int(np.searchsorted(rows, start))
            parts.append(jax.device_put(local[first : first + stop - start], device))
        return jax.make_array_from_single_device_arrays(shape, sharding, parts)

    return {name: put(local) for name, local in batch.items()}


def put_everywhere(mesh: Mesh, x: np.ndarray) -> jax.Array:
    """A copy on every device of an array that all processes have."""
    return jax.make_array_from_callback(x.shape, replicated(mesh), lambda index: x[index])


def split_over_data(mesh: Mesh | None, tree: Any) -> Any:
    """Asks the compiler to keep a tree's leading axes split as batches; no mesh: no request."""
    if mesh is None:
        return tree
    return lax.with_sharding_constraint(tree, batch_sharding(mesh))


def state_specs(state: Any, mesh: Any) -> Any:
    """How the arrays of a state, or of its gradients, are split over `fsdp`."""
    return jax.tree.map(lambda x: _state_spec(x.shape, mesh.shape["fsdp"]), state)


def gather_state(state: Any, specs: Any) -> Any:
    """Puts arrays that are split over `fsdp` together, on a device that computes for itself."""

    def gather(x: jax.Array, spec: PartitionSpec) -> jax.Array:
        return lax.all_gather(x, "fsdp", axis=_split_axis(spec), tiled=True) if spec else x

    return jax.tree.map(gather, state, specs)


def mean_over_devices(grads: Any, specs: Any) -> Any:
    """Averages gradients of devices that compute for themselves; each keeps its part."""

    def average(x: jax.Array, spec: PartitionSpec) -> jax.Array:
        if not spec:
            return lax.pmean(x, BATCH_AXES)
        # Of a split array every device needs, and gets, the sum of its own part only.
        axis = _split_axis(spec)
        part = lax.psum_scatter(x, "fsdp", scatter_dimension=axis, tiled=True)
        return lax.psum(part, "data") / lax.axis_size(BATCH_AXES)

    return jax.tree.map(average, grads, specs)


def _state_spec(shape: tuple[int, ...], fsdp: int) -> PartitionSpec:
    """Which axis of an array is split over `fsdp`, if any."""
    # The longest axis that divides evenly; small arrays stay whole.
    axes = [axis for axis, size in enumerate(shape) if size % fsdp == 0]
    if fsdp == 1 or math.prod(shape) < _MIN_SPLIT_SIZE or not axes:
        return PartitionSpec()
    longest = max(axes, key=lambda axis: shape[axis])
    return PartitionSpec(*(["fsdp" if axis == longest else None for axis in range(len(shape))]))


def _split_axis(spec: PartitionSpec) -> int:
    """The axis that `fsdp` splits."""
    return list(spec).index("fsdp")
