"""Whole runs that fall ill, go back and finish; the trace of a few iterations."""

import contextlib
import dataclasses
import gzip
import json
import shutil

import jax
import numpy as np
import pytest

from stylegan_jax import train as module
from stylegan_jax.configs import ffhq
from stylegan_jax.metrics import SwdScore
from stylegan_jax.metrics.feature_scores import FeatureScore
from stylegan_jax.run import scores
from stylegan_jax.run.meters import read_metrics
from stylegan_jax.run.networks import load_networks
from stylegan_jax.run.restore import restore_subtree
from stylegan_jax.train import train
from tests.run.frozen import TinyFrozen

pytestmark = pytest.mark.slow


def smoke(data_dir, **changes):
    """Iterations and checkpoints of 16 images, ticks of 32, twelve iterations."""
    config = ffhq.get_config("smoke").unlock()
    config.data.data_dir = str(data_dir)
    config.schedule.total_kimg, config.io.checkpoint_kimg = 0.192, 0.016
    config.io.keep_newest, config.io.sample_kimg = 100, 1.0
    config.metrics.kimg, config.loss.pl_weight = 0.0, 0.0
    config.health.rollback = True
    for name, value in changes.items():
        section, key = name.split("__")
        config[section][key] = value
    return config.lock()


def assert_same_bits(got, want):
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(got), jax.tree.leaves(want)):
        np.testing.assert_array_equal(a, b, err_msg=jax.tree_util.keystr(path))


@contextlib.contextmanager
def illness(at_nimg, times=1):
    """In the iteration that begins at `at_nimg`, D becomes NaN: from then on nothing is finite."""
    compile_steps = module.compile_steps
    left = [times]

    def compile_ill(*args, **kwargs):
        *steps, last = compile_steps(*args, **kwargs)

        def count(state, *rest):
            nimg = jax.device_get(state.nimg)
            state, report = last.run(state, *rest)
            if left[0] and nimg == at_nimg:
                left[0] -= 1
                nan = jax.tree.map(
                    lambda x: jax.device_put(np.full(x.shape, np.nan, x.dtype), x.sharding), state.D
                )
                state = dataclasses.replace(state, D=nan)
            return state, report

        return *steps, last._replace(run=count)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "compile_steps", compile_ill)
        yield


@pytest.fixture(scope="module")
def ill(tmp_path_factory, data_dir):
    """A run that fell ill at 96 images, was found so at 160 and went back."""
    workdir = tmp_path_factory.mktemp("ill")
    with illness(96):
        return workdir, train(smoke(data_dir), str(workdir), profile="1:3")


def steps(workdir):
    return sorted(path.name for path in (workdir / "checkpoints").iterdir())


def test_a_diverged_run_goes_back_and_finishes(ill):
    workdir, state = ill
    assert int(state.nimg) == 192 and int(state.skipped["G"]) == int(state.skipped["D"]) == 0
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves((state.D, state.G_ema)))
    given_up = {"112.diverged", "128.diverged", "144.diverged"}
    assert {name for name in steps(workdir) if not name.isdigit()} == given_up
    lines = read_metrics(workdir / "metrics.jsonl")
    assert [line["kimg"] for line in lines] == [0.032, 0.064, 0.096, 0.128, 0.16, 0.192]
    assert all(np.isfinite(line["Loss/G/loss"]) for line in lines)
    log = (workdir / "log.txt").read_text()
    assert log.count("ALARM at 0.1 kimg: losses or gradients are not finite") == 1
    assert "ROLLBACK: The run has diverged at 0.16 kimg: no update of G and D was finite" in log
    assert log.index("ROLLBACK") < log.index("continuing at 0.096 kimg")
    for step, rollbacks in ((80, 0), (96, 1), (192, 1)):
        _, meta = restore_subtree(str(workdir), ["nimg"], step=step)
        assert meta["health"]["rollbacks"] == rollbacks


def test_its_noise_is_another(ill):
    """The iteration from 96 images on was made twice, and G was well in both."""
    folder = ill[0] / "checkpoints"
    before, after = (restore_subtree(folder / name, ["G"])[0] for name in ("112.diverged", "112"))
    same = jax.tree.map(np.array_equal, before, after)
    assert not any(jax.tree.leaves(same["G"]["mapping"]))


def test_resumed_after_it_went_back_a_run_has_the_same_bits(ill, tmp_path, data_dir):
    workdir, whole = ill
    shutil.copytree(workdir / "checkpoints" / "96", tmp_path / "checkpoints" / "96")
    assert_same_bits(train(smoke(data_dir), str(tmp_path)), whole)
    ours = {line["kimg"]: line for line in read_metrics(tmp_path / "metrics.jsonl")}
    for line in read_metrics(workdir / "metrics.jsonl"):
        for name, value in line.items() if line["kimg"] in ours else ():
            if not name.startswith(("Timing", "Memory")):
                assert ours[line["kimg"]][name] == value, name


def test_going_back_has_an_end(ill, tmp_path, data_dir):
    workdir, _ = ill
    shutil.copytree(workdir / "checkpoints" / "96", tmp_path / "checkpoints" / "96")
    config = smoke(data_dir, health__max_rollbacks=1)
    with illness(96), pytest.raises(RuntimeError, match="went back 1 times.*max_rollbacks=4"):
        train(config, str(tmp_path))
    (tmp_path / "new").mkdir()
    config = smoke(data_dir, io__checkpoint_kimg=1.0)
    with illness(0), pytest.raises(RuntimeError, match="there is no way back.*io.checkpoint_kimg"):
        train(config, str(tmp_path / "new"))


def test_bad_scores_lead_back_to_the_best_one(tmp_path, data_dir, monkeypatch):
    scores = iter([90.0, 50.0, 20.0, 60.0, 61.0, 30.0, 19.0])  # every 32 images from 0 on

    def evaluate(self, draw, key):
        return {"swd64": next(scores), "swd64_floor": 1.0}

    monkeypatch.setattr(SwdScore, "evaluate", evaluate)
    changes = dict(metrics__kimg=0.032, io__checkpoint_kimg=0.032, io__keep_newest=2)
    train(smoke(data_dir, schedule__total_kimg=0.128, **changes), str(tmp_path))
    assert steps(tmp_path) == ["128", "96", "96.diverged"]
    lines = read_metrics(tmp_path / "metrics.jsonl")
    assert [line["swd64"] for line in lines if "swd64" in line] == [90, 50, 20, 30, 19]
    alarms = [line["Health/alarms"] for line in lines if "Health/alarms" in line]
    assert alarms == [0] * 4
    log = (tmp_path / "log.txt").read_text()
    assert "2 scores in a row are bad, swd64 is 61, and was 20 at its best" in log


def test_a_run_whose_scores_stand_still_ends(tmp_path, data_dir, monkeypatch):
    """With its reason; started again it stays as it is, unless it is given more patience."""
    found = iter([50.0, 40.0, 41.0, 42.0, 43.0, 44.0])  # every 32 images from 0 on
    monkeypatch.setattr(SwdScore, "evaluate", lambda *_: {"swd64": next(found), "swd64_floor": 1.0})

    def run(patience):
        changes = dict(metrics__kimg=0.032, metrics__patience_kimg=patience)
        state = train(smoke(data_dir, io__checkpoint_kimg=0.032, **changes), str(tmp_path))
        return int(state.nimg), (tmp_path / "log.txt").read_text()

    reason = "ended: swd64 has not been better than 40, of 0.032 kimg, for metrics.patience_kimg="
    nimg, log = run(0.064)
    assert nimg == 96 and log.count(f"{reason}0.064") == 1
    assert steps(tmp_path) == ["32", "64", "96"]
    nimg, log = run(0.064)
    assert nimg == 96 and log.count(f"{reason}0.064") == 2 and "stopped and saved" not in log
    assert steps(tmp_path) == ["32", "64", "96"] and next(found) == 43
    nimg, log = run(0.096)
    assert nimg == 128 and log.count(f"{reason}0.096") == 1


def test_the_best_is_the_highest_where_higher_is_better(tmp_path, data_dir, monkeypatch):
    monkeypatch.setattr(scores, "FrozenNetworks", TinyFrozen)
    found = iter([1.0, 2.0, 7.0, 3.0, 2.5])  # every 32 images from 0 on

    def evaluate(self, draw, key):
        return {"is16_mean": next(found), "is16_std": 0.1}

    monkeypatch.setattr(FeatureScore, "evaluate", evaluate)
    changes = dict(metrics__kimg=0.032, metrics__names="is16", io__checkpoint_kimg=0.032)
    changes |= dict(io__keep_newest=1, schedule__total_kimg=0.128, health__rollback=False)
    train(smoke(data_dir, **changes), str(tmp_path))
    assert steps(tmp_path) == ["128", "64"]
    assert load_networks(str(tmp_path), step="best", networks=["G_ema"]).nimg == 64
    lines = read_metrics(tmp_path / "metrics.jsonl")
    assert [line["is16_mean"] for line in lines if "is16_mean" in line] == [1, 2, 7, 3, 2.5]


def test_exactly_the_iterations_asked_for_are_traced(ill):
    workdir, _ = ill
    (trace,) = (workdir / "profile").rglob("*.trace.json.gz")
    assert list(trace.parent.glob("*.xplane.pb"))
    events = json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]
    traced = {event["args"]["step_num"] for event in events if event.get("name") == "train"}
    assert traced == {"1", "2"}
    assert (workdir / "log.txt").read_text().count("profile: iterations 1 to 2 are in") == 1


def test_speed_memory_and_health_are_logged(ill):
    for line in read_metrics(ill[0] / "metrics.jsonl"):
        assert line["Timing/sec_per_step"] == pytest.approx(16 / line["Timing/img_per_sec"])
        assert line["Timing/img_per_sec_per_chip"] == line["Timing/img_per_sec"] / 4
        assert line["Memory/host_gib"] > 0 and line["Health/alarms"] == 0


def test_a_bad_window_is_refused_before_anything_is_written(tmp_path, data_dir):
    with pytest.raises(ValueError, match="--profile=20:10: give START:STOP"):
        train(smoke(data_dir), str(tmp_path), profile="20:10")
    assert not list(tmp_path.iterdir())
