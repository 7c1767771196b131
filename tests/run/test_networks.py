"""Networks of every kind of checkpoint, by one function."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stylegan_jax.convert.export import write_export
from stylegan_jax.convert.readers.records import CheckpointFileError
from stylegan_jax.errors import InputError
from stylegan_jax.run.checkpoint import CheckpointStore
from stylegan_jax.run.networks import load_networks
from tests.convert.official import CHECKPOINTS, assert_trees_equal
from tests.run.small import SIDE, make_config, make_state

DATA = {"height": SIDE, "width": SIDE, "img_channels": 3, "c_dim": 2, "class_names": ["a", "b"]}


def save(workdir, config, *, only=None):
    """A run of 8 px and two classes, with one checkpoint."""
    _, state = make_state()
    state = dataclasses.replace(state, nimg=jnp.int32(1500))
    saved = state if only is None else {only: getattr(state, only), "stats": state.stats}
    with CheckpointStore(workdir) as store:
        store.save(saved, 1500, {"config": config.to_dict(), "data": DATA}, {})
    return state


def test_a_run_and_its_export(tmp_path):
    state = save(tmp_path / "run", make_config())
    loaded = load_networks(tmp_path / "run")
    assert set(loaded.networks) == {"G", "D", "G_ema"}
    for net, network in loaded.networks.items():
        assert_trees_equal(network.params, jax.tree.map(np.asarray, getattr(state, net)))
        assert network.size == (SIDE, SIDE) and network.kwargs["c_dim"] == 2
    for net in ("G", "G_ema"):
        buffers = loaded.networks[net].buffers
        np.testing.assert_array_equal(buffers["w_avg"], state.stats["w_avg"])
        assert_trees_equal(
            buffers["noise_const"], jax.tree.map(np.asarray, state.stats["noise_const"])
        )
    assert loaded.networks["D"].buffers == {}
    assert (loaded.nimg, loaded.kimg, loaded.class_names) == (1500, 1.5, ("a", "b"))
    assert loaded.resolution is None and loaded.fade is None
    assert loaded.origin == str(tmp_path / "run") and loaded.training_set == DATA

    # The export says the same, and is found as a file.
    path = tmp_path / "x.safetensors"
    write_export(path, loaded)
    again = load_networks(path)
    assert again == dataclasses.replace(loaded, networks=again.networks)
    for net, network in loaded.networks.items():
        assert again.networks[net].kwargs == network.kwargs
        assert_trees_equal(again.networks[net].params, network.params)
        assert_trees_equal(again.networks[net].buffers, network.buffers)


def test_a_run_that_still_grows(tmp_path):
    config = make_config()
    config.data.resolution = SIDE
    config.schedule.total_kimg = 100
    config.growth.init_resolution = 4
    config.growth.training_kimg = 1
    config.growth.transition_kimg = 1
    save(tmp_path, config, only="G_ema")
    loaded = load_networks(tmp_path)
    assert set(loaded.networks) == {"G_ema"}
    assert loaded.resolution is None and loaded.fade == 0.5
    config.growth.training_kimg = 2
    save(tmp_path / "early", config, only="G_ema")
    assert load_networks(tmp_path / "early").resolution == 4
    with pytest.raises(InputError, match="none of the networks D"):
        load_networks(tmp_path, networks=["D"])


def test_files_of_others(tmp_path):
    path = CHECKPOINTS / "tf_stylegan2_r32.pkl"
    loaded = load_networks(path, networks=["G_ema"])
    assert set(loaded.networks) == {"G_ema"} and loaded.origin == str(path)
    with pytest.raises(InputError, match="step=1000.* is a file"):
        load_networks(path, step=1000)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load_networks(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="no finished checkpoint"):
        load_networks(tmp_path)
    (tmp_path / "text.txt").write_text("no network")
    with pytest.raises(CheckpointFileError, match=r"text\.txt"):
        load_networks(tmp_path / "text.txt")
