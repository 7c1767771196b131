"""A new run that begins with the networks of another."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath

from stylegan_jax.run.checkpoint import CheckpointStore
from stylegan_jax.run.transfer import TABLE_FILE, Origin
from stylegan_jax.sizes import ImageShape
from stylegan_jax.training.build import make_hyperparameters, make_setup
from stylegan_jax.training.sharding import make_mesh, shard_state, shardings
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

    origin = Origin(config, shape)
    state = origin.fit(first, mesh)
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
    text = origin.describe()
    assert "stylegan2 of 8 px, 3 channel(s), 2 label(s), at 1.5 kimg" in text
    assert "D: 16 taken, 1 resized, 7 new, 2 left out" in text
    assert "D/b4/fc/weight: resized: 4x4 there, 6x4 here" in origin.table()
    origin.write(epath.Path(tmp_path))
    record = json.loads((tmp_path / TABLE_FILE).read_text())
    assert record["path"] == str(workdir) and record["nimg"] == 1500
    assert record["G"]["arrays"]["synthesis/b4/const"] == ["resized", "4x4 there, 6x4 here"]


def test_what_cannot_be_begun_with(workdir, tmp_path):
    shape = ImageShape(SIDE, SIDE, 3, 2)
    config = config_from(workdir)
    config.G.name = "stylegan1"
    with pytest.raises(ValueError, match="is a stylegan2, that of this run a stylegan1"):
        Origin(config, shape)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        Origin(config_from(tmp_path / "none"), shape)


def test_the_average_does_not_forget_them(workdir):
    config = make_config()
    config.schedule.ema_rampup = 0.05
    assert make_hyperparameters(config).ema_rampup == 0.05
    config.init_from = str(workdir)
    assert make_hyperparameters(config).ema_rampup is None
