import dataclasses

import jax
import pytest

from stylegan_jax.training.sharding import make_mesh


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
