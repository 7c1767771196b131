"""Patch descriptors: where they come from, what they do not depend on, devices."""

import os
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from stylegan_jax.metrics import patch_descriptors, patches
from stylegan_jax.metrics.patches import constant_channels
from tests.metrics.images import make_images

KEY = jax.random.key(0)


def test_patches_come_from_the_level():
    """Each descriptor row is a window of its own image, spread over all positions."""
    images = make_images(3, size=16, channels=2)
    rows = patch_descriptors([images], KEY, num_images=3, num_patches=200)[16]
    rows = rows.reshape(3, 200, 7, 7, 2)
    # Normalisation is one scale and offset per channel: undo it by a fit on the known windows.
    for i, image in enumerate(images.astype(np.float64)):
        windows = np.lib.stride_tricks.sliding_window_view(image, (7, 7), axis=(0, 1))
        windows = windows.reshape(100, 2, 49).transpose(0, 2, 1).reshape(100, 98)
        found = rows[i].reshape(200, 98)
        correlation = np.corrcoef(found[:, ::2], windows[:, ::2])[:200, 200:]
        assert np.all(correlation.max(axis=1) > 0.99999)
        assert len(set(correlation.argmax(axis=1))) > 70  # of 100; 86.6 expected


def test_descriptors_are_normalised():
    """Every channel has zero mean and unit variance over the set; a constant one stays zero."""
    images = make_images(20, channels=4)
    images[..., 3] = 255
    for rows in patch_descriptors([images], KEY, num_images=20).values():
        pixels = rows.reshape(-1, 4).astype(np.float64)
        np.testing.assert_allclose(pixels.mean(axis=0), 0, atol=1e-5)
        np.testing.assert_allclose(pixels.std(axis=0), [1, 1, 1, 0], atol=1e-5)


def test_constant_channels_of_another_set_get_the_scale_of_the_others():
    """Noise in a channel that is constant elsewhere counts as it is seen, not by its variance."""
    reals = make_images(20, size=16, channels=4)
    reals[..., 3] = 255
    constant = constant_channels(patch_descriptors([reals], KEY, num_images=20))
    assert constant[16].tolist() == [False, False, False, True]
    # One level, which holds the images themselves.
    fakes = reals.copy()
    fakes[..., 3] -= 2 * np.random.default_rng(0).integers(2, size=(20, 16, 16)).astype(np.uint8)
    rows, plain = (
        patch_descriptors([fakes], KEY, num_images=20, constant=which)[16].reshape(-1, 4)
        for which in (constant, None)
    )
    np.testing.assert_array_equal(rows[:, :3], plain[:, :3])
    np.testing.assert_allclose(plain[:, 3].std(), 1, atol=1e-4)
    # A coin of 0 or 2 has a deviation of 1. Pixels in the middle are in more patches: 2 per cent.
    contrast = np.sqrt(fakes[..., :3].reshape(-1, 3).var(axis=0).mean())
    np.testing.assert_allclose(rows[:, 3].std() * contrast, 1, rtol=0.1)


def test_batches_do_not_matter():
    """The same images give the same descriptors however they are cut, and with the same key."""
    images = make_images(70)
    whole = patch_descriptors([images], KEY, num_images=65)
    parts = patch_descriptors([images[:1], images[1:40], images[40:]], KEY, num_images=65)
    other = patch_descriptors([images], jax.random.key(1), num_images=65)
    assert list(whole) == [32, 16]
    for level, rows in whole.items():
        assert rows.shape == (65 * 128, 147) and rows.dtype == np.float32
        np.testing.assert_array_equal(rows, parts[level])
        assert not np.array_equal(rows, other[level])


def test_stream_is_read_no_further_than_needed():
    """An endless generator of fakes is fine."""

    def endless():
        while True:
            yield make_images(4, size=16)

    assert patch_descriptors(endless(), KEY, num_images=6)[16].shape == (6 * 128, 147)


def spread(images, devices):
    """The images as one array that is split over devices, as fakes are."""
    types = (AxisType.Auto,)
    mesh = jax.make_mesh((devices,), ("data",), types, devices=jax.devices()[:devices])
    return jax.device_put(images, NamedSharding(mesh, PartitionSpec("data")))


@pytest.mark.parametrize(("devices", "turn"), [(2, 8), (4, 2)])
def test_devices_do_not_matter(monkeypatch, devices, turn):
    """Images that are split over devices give what those on the host give, surplus ones left.

    So they do where a device, which has 8 or 4 of a batch, takes two at a time.
    """
    images = make_images(32)
    whole = patch_descriptors([images], KEY, num_images=21)
    monkeypatch.setattr(patches, "_TURN_PIXELS", turn * 32 * 32 + 1)
    parts = (spread(part, devices) for part in (images[:16], images[16:]))
    for level, rows in patch_descriptors(parts, KEY, num_images=21).items():
        np.testing.assert_array_equal(rows, whole[level])


@pytest.mark.parametrize("turn", [1, 4])
def test_images_stay_on_their_devices(turn):
    """Nothing crosses devices before the patches are gathered, and each device has its own."""
    images = spread(make_images(16, size=16), 4)
    assert patches._parts_and_turn(images) == (4, 4)
    program = patches._cut_patches.lower(images, 0, KEY, 128, 4, turn).compile()
    words = ("all-gather", "all-reduce", "all-to-all", "collective-permute")
    assert not [word for word in words if word in program.as_text()]
    for level in program(images, 0, KEY):
        assert level.addressable_shards[0].data.shape == (4 * 128, 147)


# Each of two processes holds half of the images, and writes what it has of all descriptors.
PROCESS = """
import sys
import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from stylegan_jax.metrics import patch_descriptors
address, number, folder = sys.argv[1:]
jax.distributed.initialize(address, 2, int(number))
mesh = jax.make_mesh((2,), ("data",), (AxisType.Auto,))
sharding = NamedSharding(mesh, PartitionSpec("data"))
images = np.load(f"{folder}/images.npy")
half = images[:4] if number == "0" else images[4:]
images = jax.make_array_from_process_local_data(sharding, half)
rows = patch_descriptors([images], jax.random.key(0), num_images=7)[16]
np.save(f"{folder}/rows{number}.npy", rows)
"""


def test_processes_do_not_matter(tmp_path):
    """Each of several processes gets the descriptors of all images, to the last bit."""
    images = make_images(8, size=16)
    np.save(tmp_path / "images.npy", images)
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{found.getsockname()[1]}"
    env = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=1"}
    env |= {"JAX_CPU_COLLECTIVES_IMPLEMENTATION": "gloo"}
    processes = [
        subprocess.Popen([sys.executable, "-c", PROCESS, address, str(i), tmp_path], env=env)
        for i in range(2)
    ]
    try:
        assert [process.wait(timeout=200) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    first, second = (np.load(tmp_path / f"rows{i}.npy") for i in range(2))
    np.testing.assert_array_equal(first, second)
    expected = patch_descriptors([images], KEY, num_images=7)[16]
    np.testing.assert_allclose(first, expected, atol=1e-5)  # other compiler options: rounding


def test_errors_say_what_to_do():
    images = make_images(4)
    with pytest.raises(ValueError, match="uint8.*Convert network output"):
        patch_descriptors([images / 127.5 - 1], KEY, num_images=4)
    with pytest.raises(ValueError, match="uint8.*Convert network output"):
        patch_descriptors([jax.numpy.zeros((4, 32, 32, 3))], KEY, num_images=4)
    with pytest.raises(ValueError, match="ended after 3, num_images=4"):
        patch_descriptors([jax.numpy.asarray(images[:3])], KEY, num_images=4)
    with pytest.raises(ValueError, match="Image 2 of the set has shape"):
        patch_descriptors([images[:2], make_images(2, size=16)], KEY, num_images=4)
    with pytest.raises(ValueError, match="num_images is 0"):
        patch_descriptors([images], KEY, num_images=0)
