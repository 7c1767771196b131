"""A new run that begins with the networks of another."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath

from stylegan_jax.convert.checkpoint import load_checkpoint
from stylegan_jax.convert.export import write_export, write_official
from stylegan_jax.convert.networks import LoadedCheckpoint
from stylegan_jax.convert.stylegan2 import to_official
from stylegan_jax.run.checkpoint import CheckpointStore
from stylegan_jax.run.transfer import TABLE_FILE, StartingNetworks
from stylegan_jax.sizes import ImageShape
from stylegan_jax.training.build import make_hyperparameters, make_setup
from stylegan_jax.training.sharding import make_mesh, put_everywhere, shard_state, shardings
from tests.convert.official import CHECKPOINTS
from tests.convert.writing import Tensor, write_zip
from tests.run.small import SIDE, make_config, make_state

# What `data_position` wrote before images had heights and widths.
OLD_DATA = {"img_resolution": SIDE, "img_channels": 3, "c_dim": 2}


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A run of 8 px and two classes, with one checkpoint."""
    workdir = tmp_path_factory.mktemp("old")
    _, state = make_state()
    with CheckpointStore(workdir) as store:
        state = dataclasses.replace(state, nimg=jnp.int32(1500))
        store.save(state, 1500, {"config": make_config().to_dict(), "data": OLD_DATA}, {})
    return workdir


def config_from(workdir):
    config = make_config()
    config.init_from = str(workdir)
    return config


def test_networks_begin_with_those_of_another_run(workdir, tmp_path):
    """Of another shape, on devices that share the state; its Adam and counters are new."""
    shape = ImageShape(3 * SIDE, 2 * SIDE, 3, 2)  # a base of 6 x 4, a resolution more
    config = config_from(workdir)
    _, init = make_setup(config, shape)
    mesh = make_mesh(fsdp=2)
    whole = shardings(shard_state(mesh, jax.eval_shape(init, jax.random.key(0))))
    first = jax.jit(init, out_shardings=whole)(jax.random.key(0))
    own = jax.tree.map(np.asarray, first)

    start = StartingNetworks(config, shape)
    state = start.fit(first, mesh)
    _, old = make_state()
    for copy in ("G", "D", "G_ema"):
        new = getattr(state, copy)
        net = new["synthesis"] if copy != "D" else new
        there = getattr(old, copy)["synthesis"] if copy != "D" else getattr(old, copy)
        np.testing.assert_array_equal(net["b8"]["conv1"]["weight"], there["b8"]["conv1"]["weight"])
        before = getattr(own, copy)["synthesis"] if copy != "D" else getattr(own, copy)
        np.testing.assert_array_equal(
            net["b16"]["conv0"]["weight"], before["b16"]["conv0"]["weight"]
        )
    assert state.G["synthesis"]["b4"]["const"].shape == (6, 4, 8)
    assert not np.array_equal(
        state.G_ema["mapping"]["fc0"]["weight"], own.G["mapping"]["fc0"]["weight"]
    )
    np.testing.assert_array_equal(state.stats["w_avg"], old.stats["w_avg"])
    assert int(state.nimg) == 0 and float(state.stats["pl_mean"]) == 0
    assert shardings(state) == whole

    # What became of each array is said, and kept.
    text = start.describe()
    assert "stylegan2 of 8 px, 3 channel(s), 2 label(s), at 1.5 kimg" in text
    assert "D: 16 taken, 1 resized, 7 new, 2 left out" in text
    assert "D/b4/fc/weight: resized: 4x4 there, 6x4 here" in start.table()
    start.write(epath.Path(tmp_path))
    record = json.loads((tmp_path / TABLE_FILE).read_text())
    assert record["path"] == str(workdir) and record["nimg"] == 1500
    assert record["G"]["arrays"]["synthesis/b4/const"] == ["resized", "4x4 there, 6x4 here"]


def test_what_cannot_be_begun_with(workdir, tmp_path):
    shape = ImageShape(SIDE, SIDE, 3, 2)
    config = config_from(workdir)
    config.G.name = "stylegan1"
    with pytest.raises(ValueError, match="is a stylegan2, that of this run a stylegan1"):
        StartingNetworks(config, shape)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        StartingNetworks(config_from(tmp_path / "none"), shape)


def first_state(config, shape, mesh):
    """A state of zeros, without compiling anything."""
    _, init = make_setup(config, shape)
    shapes = jax.eval_shape(init, jax.random.key(0))
    return jax.tree.map(lambda x: put_everywhere(mesh, np.zeros(x.shape, x.dtype)), shapes)


def test_a_pickle_of_squares_begins_a_run_of_another_shape():
    """Grey images of 16 px begin colours of 24x16, each copy with its own; w_avg goes along."""
    path = CHECKPOINTS / "sg2ada_r16_proto4.pkl"
    shape = ImageShape(24, 16, 3, 0)
    config = config_from(path)
    start = StartingNetworks(config, shape)
    mesh = make_mesh()
    state = start.fit(first_state(config, shape, mesh), mesh)
    there = load_checkpoint(path).networks
    for copy in ("G", "G_ema"):
        ours = getattr(state, copy)["synthesis"]
        theirs = there[copy].params["synthesis"]
        np.testing.assert_array_equal(
            ours["b16"]["conv0"]["weight"], theirs["b16"]["conv0"]["weight"]
        )
        assert ours["b4"]["const"].shape[:2] == (6, 4) and np.asarray(ours["b4"]["const"]).any()
        np.testing.assert_array_equal(
            ours["b8"]["torgb"]["bias"], [*theirs["b8"]["torgb"]["bias"]] * 3
        )
    np.testing.assert_array_equal(state.stats["w_avg"], there["G_ema"].buffers["w_avg"])
    assert start.record["G"]["arrays"]["synthesis/b4/const"] == ["resized", "4x4 there, 6x4 here"]
    text = start.describe()
    assert "stylegan2 of 16 px, 1 channel(s), 0 label(s), at an unknown number of kimg" in text
    # The same weights would mean something else, which is said.
    assert "NOTE: G.mapping_layers: 8 there, 2 here." in text
    assert "NOTE: D.architecture: skip there, resnet here." in text
    assert "G.resample_filter" not in text


def write_state_dicts(path, loaded):
    """A file of torch with each network's tensors under the keys of other projects."""
    keys = {"G": "g", "D": "d", "G_ema": "g_ema"}
    state = {
        keys[net]: {name: Tensor(value) for name, value in to_official(network).items()}
        for net, network in loaded.networks.items()
    }
    path.write_bytes(write_zip(state))


@pytest.mark.parametrize("write", [write_export, write_official, write_state_dicts])
@pytest.mark.parametrize("nets", [("G", "D", "G_ema"), ("G_ema",), ("G", "D")])
def test_each_copy_has_its_own_where_the_file_has_it(write, nets, tmp_path):
    path = tmp_path / "x.safetensors"
    write(path, load_checkpoint(CHECKPOINTS / "sg2ada_r16_proto4.pkl", networks=nets))
    start = StartingNetworks(config_from(path), ImageShape(16, 16, 1, 0))
    assert start.record["sources"] == {
        "G": "G" if "G" in nets else "G_ema",
        "D": "D" if "D" in nets else None,
        "G_ema": "G_ema" if "G_ema" in nets else "G",
    }


def test_a_generator_alone(tmp_path):
    """It begins both copies; the discriminator is the run's own, and that is said."""
    path = tmp_path / "x.safetensors"
    loaded = load_checkpoint(CHECKPOINTS / "sg2ada_r16_proto4.pkl", networks=["G_ema"])
    write_export(path, loaded)
    shape = ImageShape(16, 16, 1, 0)
    config = config_from(path)
    start = StartingNetworks(config, shape)
    mesh = make_mesh()
    state = start.fit(first_state(config, shape, mesh), mesh)
    const = loaded.networks["G_ema"].params["synthesis"]["b4"]["const"]
    for copy in (state.G, state.G_ema):
        np.testing.assert_array_equal(copy["synthesis"]["b4"]["const"], const)
    assert not any(np.asarray(x).any() for x in jax.tree.leaves(state.D))
    text = start.describe()
    assert "G, from G_ema: 4" in text and "has no discriminator" in text
    assert f"D: {len(jax.tree.leaves(state.D))} new" in text


def test_a_discriminator_alone_begins_nothing(tmp_path):
    path = tmp_path / "x.safetensors"
    write_export(path, load_checkpoint(CHECKPOINTS / "sg2ada_r16_proto4.pkl", networks=["D"]))
    with pytest.raises(ValueError, match="has no generator; give a file with G or G_ema"):
        StartingNetworks(config_from(path), ImageShape(16, 16, 1, 0))


def test_a_discriminator_of_another_family(tmp_path):
    path = tmp_path / "x.safetensors"
    nets = load_checkpoint(CHECKPOINTS / "sg2ada_r16_proto4.pkl", networks=["G"]).networks
    other = load_checkpoint(CHECKPOINTS / "tf_stylegan1_r16.pkl", networks=["D"]).networks
    write_export(path, LoadedCheckpoint(nets | other))
    start = StartingNetworks(config_from(path), ImageShape(16, 16, 3, 0))
    assert start.record["sources"]["D"] is None
    (note,) = [note for note in start.record["notes"] if "discriminator" in note]
    assert note == "Its discriminator is a progressive, that of this run a stylegan2: it is new."


def test_files_of_another_family():
    config = config_from(CHECKPOINTS / "tf_stylegan1_r16.pkl")
    with pytest.raises(ValueError, match="is a stylegan1, that of this run a stylegan2"):
        StartingNetworks(config, ImageShape(16, 16, 3, 0))


def test_the_average_does_not_forget_them(workdir):
    config = make_config()
    config.schedule.ema_rampup = 0.05
    assert make_hyperparameters(config).ema_rampup == 0.05
    config.init_from = str(workdir)
    assert make_hyperparameters(config).ema_rampup is None
