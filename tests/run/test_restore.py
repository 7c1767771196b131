"""Parts of a checkpoint for inference."""

import jax
import jax.numpy as jnp
import pytest

from stylegan_jax.run.checkpoint import CheckpointStore
from stylegan_jax.run.checkpoint_format import CorruptCheckpointError
from stylegan_jax.run.restore import restore_subtree
from tests.run.saved import META, assert_equal, flip_array, make_state


@pytest.mark.parametrize("start", ["", "checkpoints", "checkpoints/2000"])
def test_subtrees_load_from_any_level(saved, start):
    trees, meta = restore_subtree(saved / start, ["G_ema", "stats/w_avg", "nimg"])
    expected = make_state(2000)
    assert_equal(trees["G_ema"], {"synthesis": expected.G_ema["synthesis"]})
    assert_equal(trees["stats/w_avg"], expected.stats["w_avg"])
    assert int(trees["nimg"]) == 2000
    assert meta["config"] == META["config"]


def test_subtrees_take_a_step_and_a_sharding(saved):
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[-1])
    trees, meta = restore_subtree(saved, ["stats"], step=1000, sharding=sharding)
    assert meta["nimg"] == 1000
    assert all(leaf.sharding == sharding for leaf in jax.tree.leaves(trees))


def test_subtree_errors_say_what_to_do(saved, workdir, tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist; give a workdir"):
        restore_subtree(tmp_path / "absent", ["G_ema"])
    (tmp_path / "new" / "checkpoints").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="no finished checkpoint"):
        restore_subtree(tmp_path / "new", ["G_ema"])
    with pytest.raises(FileNotFoundError, match="no checkpoint 5 .* \\[1000, 2000\\]"):
        restore_subtree(saved, ["G_ema"], step=5)
    with pytest.raises(ValueError, match="no step .* has a metric"):
        restore_subtree(saved, ["G_ema"], step="best")
    with pytest.raises(ValueError, match="'D_ema' is not in .*'G', 'G_ema'"):
        restore_subtree(saved, ["D_ema"])
    flip_array(workdir / "checkpoints" / "2000")
    with pytest.raises(CorruptCheckpointError, match="differs from its checksum"):
        restore_subtree(workdir, ["G", "G_ema", "opt"])


def test_the_best_is_by_the_metric_used_last(tmp_path):
    """Values of two metrics are not compared, and a run without any keeps the best of before."""
    state = {"w": jnp.ones(3)}
    with CheckpointStore(tmp_path, keep_newest=9, best_metric="swd") as store:
        store.save(state, 1, META, metrics={"swd": 1.0, "fid": 9.0})
        store.save(state, 2, META, metrics={"swd": 2.0, "fid": 8.0})
    assert restore_subtree(tmp_path, ["w"], step="best")[1]["nimg"] == 1
    with CheckpointStore(tmp_path, keep_newest=9, best_metric="fid") as store:
        store.save(state, 3, META, metrics={"swd": 3.0, "fid": 8.5})
    with CheckpointStore(tmp_path, keep_newest=9) as store:
        store.save(state, 4, META)
    assert restore_subtree(tmp_path, ["w"], step="best")[1]["nimg"] == 2
