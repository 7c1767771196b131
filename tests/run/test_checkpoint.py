"""Checkpoints survive what happens to long runs: kills, damage, mistakes, other hardware."""

import json
import pathlib
import shutil
import signal
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stylegan_jax.run import checkpoint, checkpoint_format
from stylegan_jax.run.checkpoint import CheckpointStore
from stylegan_jax.run.checkpoint_format import CorruptCheckpointError
from stylegan_jax.run.restore import restore_subtree
from tests.run.saved import (
    META,
    State,
    array_files,
    assert_equal,
    flip,
    flip_array,
    make_state,
    save_steps,
)


def place(state: State, devices: int) -> State:
    """Shards `const` over the devices, replicates the rest."""
    if len(jax.devices()) < devices:
        pytest.skip(f"needs {devices} devices")
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:devices]), ("data",))

    def put(path, leaf):
        spec = jax.P(None, None, "data") if "const" in jax.tree_util.keystr(path) else jax.P()
        return jax.device_put(leaf, jax.NamedSharding(mesh, spec))

    return jax.tree_util.tree_map_with_path(put, state)


def abstract(state: State) -> State:
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state
    )


def names(workdir: pathlib.Path) -> set[str]:
    return {p.name for p in (workdir / "checkpoints").iterdir()}


# Round trips


@pytest.mark.parametrize(("saved_on", "restored_on"), [(1, 1), (4, 4), (4, 2), (4, 1), (1, 4)])
def test_roundtrip_is_bit_equal_on_any_number_of_devices(tmp_path, saved_on, restored_on):
    state = place(make_state(7), saved_on)
    with CheckpointStore(tmp_path) as store:
        assert store.restore_latest(abstract(state)) is None
        store.save(state, 7, META, metrics={"fid": 12.5})
    target = place(make_state(8), restored_on)
    with CheckpointStore(tmp_path) as store:
        restored, meta = store.restore_latest(abstract(target))
    assert_equal(restored, state)
    for leaf, like in zip(jax.tree.leaves(restored), jax.tree.leaves(target), strict=True):
        assert leaf.sharding.is_equivalent_to(like.sharding, leaf.ndim)
    assert {key: meta[key] for key in META} == META
    assert meta["nimg"] == 7 and meta["metrics"] == {"fid": 12.5}
    assert meta["format_version"] == 1 and meta["versions"]["jax"] == jax.__version__


def test_state_may_be_donated_as_soon_as_save_returns(tmp_path):
    state = {f"w{i}": jnp.full((512, 512), float(i)) for i in range(8)}
    expected = jax.tree.map(np.array, state)
    step = jax.jit(lambda s: jax.tree.map(lambda x: x * 0 - 1, s), donate_argnums=0)
    with CheckpointStore(tmp_path) as store:
        store.save(state, 1, META)
        for _ in range(3):
            state = step(state)
        restored, _ = store.restore_latest(state)
    assert_equal(jax.tree.map(np.asarray, restored), expected)


def test_host_copy_does_not_alias_the_device_buffer():
    x = jnp.arange(1024.0)
    assert not np.shares_memory(checkpoint_format.host_copy(x), np.asarray(x))


def test_saving_twice_and_replacing(workdir):
    with CheckpointStore(workdir) as store:
        assert not store.save(make_state(5), 2000, META)
        assert store.save(make_state(5), 2000, META, force=True)
        restored, _ = store.restore_latest(abstract(make_state()))
        assert_equal(restored, make_state(5))
        with pytest.raises(ValueError, match="newer step 2000 exists"):
            store.save(make_state(), 1500, META)
    assert names(workdir) == {"1000", "2000"}


def test_interrupted_replacement_puts_the_old_step_back(workdir):
    step_dir = workdir / "checkpoints" / "2000"
    step_dir.rename(step_dir.with_name("2000.replaced"))
    with CheckpointStore(workdir) as store:
        assert store.steps() == [1000, 2000]


@pytest.mark.parametrize(
    ("state", "meta", "message"),
    [
        ({"a.b": jnp.ones(1)}, META, "without '/' and '.'"),
        ({"a": 3}, META, "store plain arrays"),
        ({"a": jax.random.key(0)}, META, "jax.random.key_data"),
        ({"a": jnp.ones(1)}, {"config": {}}, "missing: \\['data'\\]"),
        ({"a": jnp.ones(1)}, META | {"nimg": 3}, "may not use \\['nimg'\\]"),
        ({"a": jnp.ones(1)}, META | {"x": object()}, "JSON values only"),
    ],
)
def test_what_cannot_be_stored_is_refused(tmp_path, state, meta, message):
    with CheckpointStore(tmp_path) as store, pytest.raises(ValueError, match=message):
        store.save(state, 1, meta)


# What is kept


def test_newest_and_best_are_kept(tmp_path):
    fids = {1: None, 2: 3.0, 3: None, 4: 5.0, 5: float("nan"), 6: 7.0}
    with CheckpointStore(tmp_path, keep_newest=2, best_metric="fid") as store:
        for step, fid in fids.items():
            metrics = {"kid": 0.1} if fid is None else {"fid": fid, "kid": 0.1}
            store.save({"w": jnp.ones(3)}, step, META, metrics=metrics if step != 1 else None)
            store.wait()
            assert str(step) in names(tmp_path)
    assert names(tmp_path) == {"2", "5", "6"}

    # The best is known again after a restart, and gives way to a better one.
    with CheckpointStore(tmp_path, keep_newest=1, best_metric="fid") as store:
        store.save({"w": jnp.ones(3)}, 7, META, metrics={"fid": 1.0})
        store.save({"w": jnp.ones(3)}, 8, META)
    assert names(tmp_path) == {"7", "8"}
    assert restore_subtree(tmp_path, ["w"], step="best")[1]["nimg"] == 7


@pytest.mark.parametrize("name", ["run[1]", "a*b", "what?", "[!x]*", "a{b,c}", "~x", "1 2%20"])
def test_letters_of_patterns_in_a_path(tmp_path, name):
    workdir = tmp_path / name / "run"
    for step in (1, 2, 3):
        with CheckpointStore(workdir, keep_newest=1) as store:
            if step > 1:
                restored, _ = store.restore_latest({"w": jnp.zeros(3)})
                np.testing.assert_array_equal(restored["w"], np.full(3, step - 1))
            store.save({"w": jnp.full(3, float(step))}, step, META)
    assert names(workdir) == {"3"}
    assert restore_subtree(workdir, ["w"])[0]["w"][0] == 3


@pytest.mark.parametrize("lost", ["state/manifest.ocdbt", "state/_METADATA", "meta/metadata"])
def test_what_cannot_be_read_back_deletes_nothing(tmp_path, caplog, lost):
    """A disk that forgets; both tell the reader what to do about it, and the next save is usual."""
    with CheckpointStore(tmp_path, keep_newest=1) as store:
        store.save({"w": jnp.ones(3)}, 1, META)
        store.save({"w": jnp.ones(3)}, 2, META)
        store._manager.wait_until_finished()
        (tmp_path / "checkpoints" / "2" / lost).unlink()
        store.wait()
        assert names(tmp_path) == {"1", "2.corrupt"} and store.steps() == [1]
        assert "cannot be read back" in caplog.text
        store.save({"w": jnp.ones(3)}, 3, META)
    assert names(tmp_path) == {"2.corrupt", "3"}


def test_a_network_that_fails_is_no_damage(tmp_path, monkeypatch, caplog):
    def fail(step_dir):
        raise ConnectionError("no answer")

    with CheckpointStore(tmp_path, keep_newest=1) as store:
        store.save({"w": jnp.ones(3)}, 1, META)
        store.wait()
        monkeypatch.setattr(checkpoint, "check_readable", fail)
        store.save({"w": jnp.ones(3)}, 2, META)
        store.wait()
        assert names(tmp_path) == {"1", "2"} and "no answer" in caplog.text
        monkeypatch.undo()
        store.save({"w": jnp.ones(3)}, 3, META)
    assert names(tmp_path) == {"3"}


def test_an_error_on_the_way_deletes_nothing(tmp_path):
    """The other processes of a run may not be there to agree."""
    with pytest.raises(RuntimeError, match="alone"):
        with CheckpointStore(tmp_path, keep_newest=1) as store:
            store.save({"w": jnp.ones(3)}, 1, META)
            store.save({"w": jnp.ones(3)}, 2, META)
            raise RuntimeError("alone")
    assert names(tmp_path) == {"1", "2"}


def test_keeping_none_is_refused(tmp_path):
    with pytest.raises(ValueError, match=">= 1"):
        CheckpointStore(tmp_path, keep_newest=0)


# Damage


def truncate_array(step_dir):
    largest = array_files(step_dir)[-1]
    largest.write_bytes(largest.read_bytes()[:1000])


def remove_array(step_dir):
    array_files(step_dir)[-1].unlink()


def truncate_orbax_metadata(step_dir):
    path = step_dir / "state" / "_METADATA"
    path.write_text(path.read_text()[:-40])


def flip_record(step_dir):
    flip(step_dir / "meta" / "metadata")


def change_config(step_dir):
    path = step_dir / "meta" / "metadata"
    path.write_text(path.read_text().replace("stylegan2", "stylegan3"))


def remove_record(step_dir):
    shutil.rmtree(step_dir / "meta")


def remove_state(step_dir):
    shutil.rmtree(step_dir / "state")


def remove_manifest(step_dir):
    (step_dir / "state" / "manifest.ocdbt").unlink()


def empty_everything(step_dir):
    shutil.rmtree(step_dir)
    step_dir.mkdir()


DAMAGES = [
    flip_array,
    truncate_array,
    remove_array,
    truncate_orbax_metadata,
    flip_record,
    change_config,
    remove_record,
    remove_state,
    remove_manifest,
    empty_everything,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_newest_is_reported_and_the_one_before_used(workdir, caplog, damage):
    damage(workdir / "checkpoints" / "2000")
    with CheckpointStore(workdir) as store:
        restored, meta = store.restore_latest(abstract(make_state()))
        assert_equal(restored, make_state(1000))
        assert meta["nimg"] == 1000 and store.steps() == [1000]

        # The report names the damaged path, what is used, and where the damaged one went.
        assert f"{workdir}/checkpoints/2000 is damaged" in caplog.text
        assert f"resuming from {workdir}/checkpoints/1000" in caplog.text
        assert "kept as 2000.corrupt" in caplog.text

        # The step can be saved again, and the damaged one stays.
        assert store.save(make_state(9), 2000, META)
        assert_equal(store.restore_latest(abstract(make_state()))[0], make_state(9))
    assert names(workdir) == {"1000", "2000", "2000.corrupt"}


def test_a_flipped_bit_anywhere_is_harmless_or_caught(workdir):
    # Every file of the checkpoint in turn; none may yield other values without an error.
    like, expected = abstract(make_state()), make_state(2000)
    step_dir = workdir / "checkpoints" / "2000"
    shutil.rmtree(workdir / "checkpoints" / "1000")
    for path in [f for f in step_dir.rglob("*") if f.is_file()]:
        original = path.read_bytes()
        for at in (0.03, 0.5, 0.97):
            flip(path, at)
            with CheckpointStore(workdir) as store:
                try:
                    restored, _ = store.restore_latest(like)
                except CorruptCheckpointError:
                    pass
                else:
                    assert_equal(restored, expected)
            path.write_bytes(original)


def test_the_same_step_damaged_twice_keeps_both(workdir):
    for _ in range(2):
        flip_array(workdir / "checkpoints" / "2000")
        with CheckpointStore(workdir) as store:
            store.restore_latest(abstract(make_state()))
            store.save(make_state(9), 2000, META)
    assert names(workdir) == {"1000", "2000", "2000.corrupt", "2000.corrupt2"}


def test_all_damaged_is_an_error_that_changes_nothing(workdir, caplog):
    for step in ("1000", "2000"):
        flip_array(workdir / "checkpoints" / step)
    with CheckpointStore(workdir) as store:
        with pytest.raises(CorruptCheckpointError, match="all 2 checkpoints .* another --workdir"):
            store.restore_latest(abstract(make_state()))
    assert names(workdir) == {"1000", "2000"}
    assert caplog.text.count("differs from its checksum") == 2


# Mistakes


def test_another_architecture_is_an_error_that_lists_the_leaves(workdir):
    other = make_state(width=32)
    other.stats["extra"] = other.stats.pop("w_avg")
    with CheckpointStore(workdir) as store:
        with pytest.raises(ValueError) as e:
            store.restore_latest(abstract(other))
    text = str(e.value)
    assert "checkpoints/2000 does not fit this run" in text
    assert "G/synthesis/b4/const: saved float32[4, 4, 64], wanted float32[4, 4, 32]" in text
    assert "1 missing from the checkpoint\n    stats/extra: wanted float32[8]" in text
    assert "1 unexpected in the checkpoint\n    stats/w_avg: saved float32[8]" in text
    assert "resume needs the same architecture; use another --workdir" in text
    assert names(workdir) == {"1000", "2000"}


def test_another_dtype_is_an_error(workdir):
    other = make_state()
    other.nimg = jnp.float32(0)
    with CheckpointStore(workdir) as store:
        with pytest.raises(ValueError, match="nimg: saved int32.*, wanted float32"):
            store.restore_latest(abstract(other))


def test_other_library_versions_are_noted(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(checkpoint_format, "_library_versions", lambda: {"jax": "0.1", "old": "1"})
    save_steps(tmp_path, [1])
    monkeypatch.undo()
    with CheckpointStore(tmp_path) as store:
        store.restore_latest(abstract(make_state()))
    assert f"jax 0.1 -> {jax.__version__}, old 1 -> not used" in caplog.text


def test_a_newer_format_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint_format, "FORMAT_VERSION", 99)
    save_steps(tmp_path, [1])
    monkeypatch.undo()
    with pytest.raises(ValueError, match="upgrade stylegan_jax"):
        CheckpointStore(tmp_path)


# Kills and failing disks

KILLED_SAVE = """
import os, signal, sys
import jax.numpy as jnp
from stylegan_jax.run.checkpoint import CheckpointStore

META = {"config": {}, "data": {}}
store = CheckpointStore(sys.argv[1])
store.save({"w": jnp.ones((8, 8))}, 1, META)
store.wait()
store.save({f"w{i}": jnp.ones((1024, 1024)) * i for i in range(16)}, 2, META)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_kill_during_a_save_leaves_the_step_before(tmp_path, caplog):
    root = pathlib.Path(checkpoint.__file__).parents[2]
    command = [sys.executable, "-c", KILLED_SAVE, tmp_path]
    result = subprocess.run(command, capture_output=True, cwd=root)
    assert result.returncode == -signal.SIGKILL, result.stderr.decode()
    assert any("tmp" in name for name in names(tmp_path)), "the kill came too late to test"
    with CheckpointStore(tmp_path) as store:
        restored, meta = store.restore_latest({"w": jnp.zeros((8, 8))})
        assert meta["nimg"] == 1 and np.all(np.asarray(restored["w"]) == 1)
        assert store.save(restored, 2, META)
    assert names(tmp_path) == {"1", "2"}
    assert not caplog.records  # an unfinished save is ordinary, not damage


def test_error_of_the_background_save_surfaces_in_the_next_call(workdir, monkeypatch):
    def fail():
        raise OSError("disk full")

    with CheckpointStore(workdir, keep_newest=1) as store:
        monkeypatch.setattr(store._manager, "_wait_for_checkpointers", fail)
        store.save(make_state(3), 3000, META)
        with pytest.raises(OSError, match="disk full"):
            store.save(make_state(4), 4000, META)
        monkeypatch.undo()
        store.wait()
    assert {"1000", "2000"} <= names(workdir)  # a failed save prunes nothing


def test_record_is_readable_json(saved):
    record = json.loads((saved / checkpoint_format.SUBDIRECTORY / "2000/meta/metadata").read_text())
    leaf = record["leaves"]["G/synthesis/b4/const"]
    assert leaf["shape"] == [4, 4, 64] and leaf["dtype"] == "float32"
