"""Fakes: of random latents, labels and noise, the same ones on any devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stylegan_jax.metrics.features import IMAGES_PER_DEVICE
from stylegan_jax.metrics.generator_scores import Generator
from stylegan_jax.run import fakes
from stylegan_jax.run.fakes import FakesMaker, GreyLevels, Snapshot
from stylegan_jax.training.sharding import batch_sharding, make_mesh
from tests.run.small import LEVEL, make_painter, make_state, numbered, paint

KEY = jax.random.key(5)


def make_fakes(devices):
    networks, state = make_state()
    mesh = make_mesh(jax.devices()[:devices])
    maker = FakesMaker(networks.G, networks.z_dim, numbered().labels, mesh, KEY, float32=networks.G)
    return maker.of(Snapshot(state.G_ema, state.stats, LEVEL.resolution))


def expected_fakes(num_images):
    """What the painter makes of the keys of 8 images each, in grey levels."""
    colours = []
    for number in range(-(-num_images // 8)):
        keys = jax.random.split(jax.random.fold_in(KEY, number), 3)
        z = jax.random.normal(keys[0], (8, make_state()[0].z_dim))
        index = np.asarray(jax.random.randint(keys[1], (8,), 0, 10))
        noise = jax.random.normal(keys[2], (8,))
        colours.append(paint(z, np.eye(2)[index % 2], noise))
    img = np.concatenate(colours)[:num_images]
    return np.clip(img * 127.5 + 128, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("devices", [1, 2, 4])
def test_fakes_are_those_of_their_keys_on_any_devices(monkeypatch, devices):
    """Random latents and noise, labels of random reals, the same every time, left where made."""
    monkeypatch.setattr(fakes, "make_sampler", make_painter)
    draw = make_fakes(devices)
    split = batch_sharding(make_mesh(jax.devices()[:devices]))
    batches = list(draw(20))
    assert len(batches) == -(-20 // (8 * devices))
    for batch in batches:
        assert batch.shape == (8 * devices, 8, 8, 3)
        assert batch.sharding.is_equivalent_to(split, 4)
    images = np.concatenate([np.asarray(batch) for batch in batches])
    np.testing.assert_array_equal(images[:20, 3, 5], expected_fakes(20))
    np.testing.assert_array_equal(next(iter(draw(1))), batches[0])


def test_fakes_of_a_class(monkeypatch):
    """The painter's green is the label of odd images."""
    monkeypatch.setattr(fakes, "make_sampler", make_painter)
    draw = make_fakes(1)
    for number in (0, 1):
        (batch,) = draw.of_class(number)(8)
        assert (np.asarray(batch)[..., 1] == (255 if number else 128)).all()
        labels = draw.of_class(number).draw_labels([3, 4], 5)
        np.testing.assert_array_equal(labels, np.broadcast_to(np.eye(2)[number], (2, 5, 2)))


def test_networks_draw_the_same_bits_on_any_devices():
    """Each device runs the program of a single one, of as many images."""

    def images(devices):
        batches = [np.asarray(batch) for batch in make_fakes(devices)(32)]
        return np.concatenate(batches)

    one, four = images(1), images(4)
    assert one.std() > 30  # there is something to compare
    np.testing.assert_array_equal(one, four)


def test_fakes_are_a_generator_to_metrics():
    draw = make_fakes(1)
    assert isinstance(draw, Generator) and draw.functions.has_styles
    assert not draw.functions.takes_transform
    functions, labels = draw.functions, jnp.asarray(draw.draw_labels([0], IMAGES_PER_DEVICE)[0])
    z = jax.random.normal(KEY, (IMAGES_PER_DEVICE, functions.z_dim))
    w = functions.mapping(draw.snapshot, z, labels)
    images = functions.synthesis(draw.snapshot, w, KEY)
    assert images.shape == (IMAGES_PER_DEVICE, 8, 8, 3) and images.dtype == np.float32
    # One hash of the functions serves all snapshots: they are compiled once.
    assert hash(functions) == hash(make_fakes(1).functions)
    # Labels are those of reals, as often as they occur, and the same for the same seed.
    np.testing.assert_array_equal(draw.draw_labels([0], 8)[0], labels)
    assert 0.3 < draw.draw_labels([7], 400)[0, :, 0].mean() < 0.7


def test_grey_levels_are_bytes():
    images = GreyLevels(numbered())
    assert len(images) == 10 and images[np.int64(7)].dtype == np.uint8 and (images[7] == 7).all()
