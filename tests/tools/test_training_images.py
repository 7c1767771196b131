"""Training images of a run, of a file with a run behind it, and of files alone."""

import dataclasses

import numpy as np
import pytest
from ml_collections import ConfigDict

import stylegan_jax
from stylegan_jax.convert.export import write_export
from stylegan_jax.run.networks import load_networks
from stylegan_jax.run.restore import read_meta
from stylegan_jax.tools import training_images
from stylegan_jax.tools.training_images import open_training_images
from tests.convert.official import CHECKPOINTS
from tests.data.foreign import write_folder


@pytest.fixture
def images(tmp_path):
    """Folders of images by channels and height."""

    def write(channels, height=16):
        rng = np.random.default_rng(0)
        pixels = rng.integers(0, 256, (4, height, 16, channels), np.uint8)
        folder = tmp_path / f"{channels}x{height}"
        write_folder(folder, pixels, [f"{i}.png" for i in range(4)])
        return str(folder)

    return write


@pytest.fixture(scope="module")
def pickled():
    """An official pickle: 16 px, grey."""
    return stylegan_jax.load(CHECKPOINTS / "sg2ada_r16_proto4.pkl")


def test_a_file_takes_any_images_of_its_size(pickled, images):
    shown, unseen = open_training_images(pickled, images(1))
    assert (len(shown), shown.size, shown.img_channels, unseen) == (4, (16, 16), 1, None)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "proto4.pkl does not say with what .* give --data, .* of 16 px and 1 channel"),
        ((3, 16), "0.png has colours, which 1 channel"),  # seen as they are read
        ((1, 32), "32x16 pixels .height x width., wanted 16x16"),
        ("gone", "There is no data set 'gone'"),
    ],
)
def test_images_that_do_not_fit_a_file(pickled, images, data, message):
    data = images(*data) if isinstance(data, tuple) else data
    with pytest.raises(ValueError, match=message):
        open_training_images(pickled, data).shown[0]


def test_an_export_whose_run_is_elsewhere(generator, images, tmp_path, monkeypatch):
    checkpoint = load_networks(generator.origin.path)
    write_export(tmp_path / "x.safetensors", checkpoint)
    exported = stylegan_jax.load(tmp_path / "x.safetensors")
    assert exported.origin.source == generator.origin.source
    assert len(open_training_images(exported, images(3)).shown) == 4
    write_export(
        tmp_path / "x.safetensors", dataclasses.replace(checkpoint, origin=f"{tmp_path}/gone")
    )
    moved = stylegan_jax.load(tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match="x.safetensors is of .*/gone, and .* here: give --data"):
        open_training_images(moved)
    assert len(open_training_images(moved, images(3)).shown) == 4


def test_a_run_whose_images_are_gone(generator, images, tmp_path, monkeypatch):
    source = generator.origin.source
    config = ConfigDict(read_meta(source)["config"])
    config.data.dataset, config.data.data_dir = "images", str(tmp_path)
    monkeypatch.setattr(training_images, "read_meta", lambda path: {"config": config.to_dict()})
    message = (
        f"images of {source} cannot be opened: There is no .* If they are elsewhere now: --data"
    )
    with pytest.raises(ValueError, match=message):
        open_training_images(generator)
    # Labels that the run was told to use are not asked of other images.
    config.data.labels = True
    assert len(open_training_images(generator, images(3)).shown) == 4
    with pytest.raises(ValueError, match="1 channel.* makes 16 px and 3 channel"):
        open_training_images(generator, images(1))
    with pytest.raises(ValueError, match="^There is no data set 'gone'"):
        open_training_images(generator, "gone")
