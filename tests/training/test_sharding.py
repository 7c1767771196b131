import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from stylegan_jax.training.sharding import (
    batch_sharding,
    local_rows,
    make_mesh,
    put_batch,
    shard_state,
)


@dataclasses.dataclass(frozen=True)
class Device:
    """What is read of a device when a mesh is made."""

    id: int
    slice_index: int
    process_index: int = 0
    platform: str = "cpu"
    device_kind: str = "cpu"


def test_one_slice_takes_devices_in_their_order():
    mesh = make_mesh()
    assert mesh.shape == {"data": jax.device_count(), "fsdp": 1, "spatial": 1}
    assert list(mesh.devices.flat) == jax.devices()


def test_devices_of_a_slice_stay_together():
    devices = [Device(id=i, slice_index=i % 2) for i in range(8)]
    mesh = make_mesh(devices)
    assert mesh.shape == {"data": 8, "fsdp": 1, "spatial": 1}
    assert [device.slice_index for device in mesh.devices.flat] == [0] * 4 + [1] * 4


def test_slices_of_different_sizes_are_refused():
    with pytest.raises(ValueError):
        make_mesh([Device(id=i, slice_index=min(i, 1)) for i in range(4)])


def test_devices_can_share_the_state_and_the_rows_of_an_image():
    mesh = make_mesh(fsdp=2, spatial=2)
    assert mesh.shape == {"data": jax.device_count() // 4, "fsdp": 2, "spatial": 2}
    with pytest.raises(ValueError, match="mesh.fsdp=3 times mesh.spatial=1 does not divide"):
        make_mesh(fsdp=3)


def test_large_arrays_are_split_along_their_longest_axis():
    mesh = make_mesh(fsdp=2)
    state = {
        "kernel": jnp.zeros((3, 3, 64, 128)),
        "odd": jnp.zeros((127, 128, 3)),
        "bias": jnp.zeros(128),
        "prime": jnp.zeros((131, 131)),
    }
    specs = {name: x.sharding.spec for name, x in shard_state(mesh, state).items()}
    assert specs == {
        "kernel": PartitionSpec(None, None, None, "fsdp"),
        "odd": PartitionSpec(None, "fsdp", None),
        "bias": PartitionSpec(),
        "prime": PartitionSpec(),
    }
    whole = shard_state(make_mesh(), state)
    assert all(x.sharding.is_fully_replicated for x in whole.values())


@pytest.mark.parametrize("shape", [{}, {"fsdp": 2}, {"spatial": 2}, {"fsdp": 2, "spatial": 2}])
def test_batches_lie_where_their_rows_belong(shape):
    mesh = make_mesh(**shape)
    rows = local_rows(mesh, 8)
    assert rows.tolist() == list(range(8))  # of one process: all
    images = np.arange(8 * 4 * 4, dtype=np.uint8).reshape(8, 4, 4, 1)
    placed = put_batch(mesh, {"image": images, "label": images[:, 0, 0]}, 8)
    np.testing.assert_array_equal(placed["image"], images)
    assert placed["image"].sharding.is_equivalent_to(batch_sharding(mesh), 4)


def test_rows_follow_the_devices_not_the_processes(monkeypatch):
    """In a mesh of several hosts in another order, each host reads what its devices hold."""
    mesh = make_mesh()
    ours = set(list(mesh.devices.flat)[1::2])
    indices = batch_sharding(mesh).devices_indices_map((8,))
    addressable = {device: index for device, index in indices.items() if device in ours}
    monkeypatch.setattr(
        NamedSharding, "addressable_devices_indices_map", lambda self, shape: addressable
    )
    assert local_rows(mesh, 8).tolist() == [2, 3, 6, 7]
