import json
import math
import pathlib

import pytest

from stylegan_jax.configs import ffhq, progan_celebahq, quickstart
from stylegan_jax.run.alarms import EQUAL_TICKS, RULES, SCORE_RULE
from stylegan_jax.run.health import MIN_TICKS, QUIET_TICKS, Diverged, HealthMonitor
from stylegan_jax.training.build import make_config_levels
from stylegan_jax.training.schedules import Level, find_span, make_spans

# Metrics of whole quickstart runs, each with good samples at its end; four digits.
SOUND_RUNS = json.loads((pathlib.Path(__file__).parent / "sound_runs.json").read_text())

LEVEL = Level(resolution=1024, lod=0, batch_size=32, G_lr=0.002, D_lr=0.002)
TICK = 320  # images: ten iterations
SOUND = {
    "Grad/Dmain": 2.0,
    "Grad/Gmain": 5.0,
    "Loss/D/loss": 0.8,
    "Loss/G/loss": 1.5,
    "Loss/pl_penalty": 0.1,
    "Loss/r1_penalty": 0.05,
    "Loss/scores/fake": -1.0,
    "Loss/scores/real": 1.0,
    "Loss/signs/fake": -0.8,
    "Loss/signs/real": 0.8,
    "Skipped/D": 0,
    "Skipped/G": 0,
}
CRITIC = {"Loss/scores/fake": -8.0, "Loss/scores/real": 9.0, "Loss/gp_penalty": 0.1}


class Run:
    """A monitor that is fed one tick after another."""

    def __init__(self, config=None, saved=None, nimg=0, score_name="swd"):
        self.config = ffhq.get_config() if config is None else config
        self.monitor = HealthMonitor(self.config, saved, score_name=score_name)
        self.nimg, self.alarms = nimg, 0
        self.base = dict(SOUND)

    def ticks(self, count, **changes):
        for _ in range(count):
            self.nimg += TICK
            means = self.base | {name.replace("__", "/"): v for name, v in changes.items()}
            self.alarms = self.monitor.tick(self.nimg, means, LEVEL)["Health/alarms"]
        return self.alarms


@pytest.fixture
def sound():
    run = Run()
    assert run.ticks(MIN_TICKS) == 0
    return run


def alarms(capsys):
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith("ALARM")]


@pytest.mark.parametrize("model", sorted(SOUND_RUNS))
def test_sound_runs_raise_no_alarm(model, capsys):
    config = quickstart.get_config(f"model={model}")
    spans = make_spans(make_config_levels(config), round(config.schedule.total_kimg * 1000))
    run, monitor = SOUND_RUNS[model], HealthMonitor(config, score_name="swd")
    scores = dict(run["swd"])
    monitor.score(0, {"swd": scores[0]})
    for row in run["ticks"]:
        means = dict(zip(run["names"], row))
        nimg = round(means.pop("kimg") * 1000)
        level = find_span(spans, nimg - 1).level
        assert monitor.tick(nimg, means, level) == {"Health/alarms": 0}
        monitor.score(nimg, {"swd": scores[row[0]]} if row[0] in scores else {})
    assert not monitor.is_diverged() and capsys.readouterr().out == ""
    assert len(run["ticks"]) >= 80 and len(scores) >= 6


@pytest.mark.parametrize(
    ("changes", "ticks", "title", "advice"),
    [
        (dict(Skipped__D=3), 1, "not finite", "set G.conv_clamp=256"),
        (dict(Loss__G__loss=math.nan), 1, "not finite", "lower optimizer.G_lr from 0.002 to 0.001"),
        (dict(Grad__Gmain=51.0), 1, "exploded", "lower optimizer.G_lr"),
        (dict(Loss__D__loss=10.5), 1, "exploded", "raise loss.r1_gamma from 10 to 30"),
        (dict(Loss__signs__real=0.99, Loss__signs__fake=-0.98), 5, "too strong", "data.mirror"),
        (dict(Loss__scores__real=30.0), 5, "drift apart", "raise loss.r1_gamma"),
        (dict(Loss__scores__real=-0.98), EQUAL_TICKS, "tells nothing", "r1_gamma from 10 to 1"),
        (dict(Grad__Gmain=0.04), 2, "vanished", "lower optimizer.D_lr"),
        (dict(Loss__r1_penalty=0.6), 1, "penalty of D grows", "lower optimizer.D_lr"),
        (dict(Augment__p=0.81), 1, "augmented very strongly", "use more images"),
        (dict(Loss__pl_penalty=1.2), 1, "path lengths", "lower loss.pl_weight from 2 to 0.5"),
    ],
)
def test_an_alarm_is_raised_once_in_plain_words(sound, capsys, changes, ticks, title, advice):
    config = sound.config.unlock()
    config.G.num_bf16_res, config.data.mirror, config.G.conv_clamp = 4, False, None
    if ticks > 1:
        assert sound.ticks(ticks - 1, **changes) == 0
    assert sound.ticks(1, **changes) == 1
    first, *rest = capsys.readouterr().out.splitlines()
    assert first.startswith("ALARM at ") and title in first
    assert [line.split(":")[0].strip() for line in rest] == ["seen", "means", "try"]
    assert advice in rest[-1]
    sound.ticks(1, **changes)
    assert not alarms(capsys)


def test_a_strong_augmentation_is_told_its_limit(capsys):
    config = ffhq.get_config().unlock()
    config.augment.mode = "ada"
    run = Run(config)
    assert run.ticks(1, Augment__p=0.79) == 0 and run.ticks(1, Augment__p=0.9) == 1
    assert "lower augment.p_max from 1 to 0.8" in capsys.readouterr().out


def test_every_rule_is_tried_above():
    tried = {"non_finite", "explosion", "D_too_strong", "wide_gap", "D_collapsed", "G_vanishing"}
    assert {rule.name for rule in RULES} == tried | {"R1_growing", "PL_diverging", "leaking"}
    assert SCORE_RULE.name == "score_worse"


def test_what_comes_back_after_recovery_is_said_again(sound, capsys):
    def explode(ticks=1):
        return sound.ticks(ticks, Grad__Dmain=30.0)

    explode()
    assert sound.ticks(QUIET_TICKS - 1) == 1, "one sound tick is no recovery"
    explode()
    assert len(alarms(capsys)) == 1
    assert sound.ticks(QUIET_TICKS) == 0
    assert "alarm over at 5.4 kimg: a loss or a gradient has exploded" in capsys.readouterr().out
    explode()
    assert len(alarms(capsys)) == 1


def test_small_numbers_of_any_size_are_sound(sound):
    """What has grown a lot but weighs nothing, as in the first hours of a run."""
    assert sound.ticks(9, Loss__G__loss=9.0, Loss__r1_penalty=0.19, Loss__pl_penalty=0.4) == 0
    assert sound.ticks(EQUAL_TICKS - 1, Loss__scores__real=-0.99) == 0


def test_a_new_resolution_has_no_past(sound, capsys):
    half = Level(resolution=512, lod=1, batch_size=32, G_lr=0.002, D_lr=0.002)
    sound.monitor.tick(sound.nimg + TICK, SOUND | {"Grad/Gmain": 500.0}, half)
    assert not alarms(capsys)


def test_a_critic_has_neither_signs_nor_scale(capsys):
    run = Run(progan_celebahq.get_config())
    run.base |= CRITIC
    assert run.ticks(MIN_TICKS, Loss__signs__real=1.0, Loss__signs__fake=-1.0) == 0
    assert run.ticks(5, Loss__scores__real=90.0, Loss__G__loss=80.0) == 0
    assert run.ticks(5, Loss__scores__real=900.0) == 1
    assert "raise loss.gp_weight from 10 to 30" in capsys.readouterr().out


def test_the_rate_of_a_growing_network_is_that_of_its_resolution(capsys):
    run = Run(progan_celebahq.get_config())
    run.base |= CRITIC
    run.ticks(MIN_TICKS)
    run.ticks(1, Grad__Gmain=90.0)
    assert "lower growth.learning_rates.b1024 from 0.003 to 0.0015" in capsys.readouterr().out


def rolling(**changes):
    config = ffhq.get_config().unlock()
    config.health.rollback = True
    config.health.update(changes)
    return config.lock()


def test_a_tick_without_a_finite_update_is_a_divergence(capsys):
    run = Run(rolling())
    run.ticks(2)
    run.ticks(1, Skipped__D=9)
    run.monitor.check()
    run.ticks(1, Skipped__D=19)
    assert run.monitor.is_diverged()
    with pytest.raises(Diverged, match="at 1.28 kimg: no update of D was finite") as error:
        run.monitor.check()
    assert error.value.healthy_nimg == 2 * TICK
    back = HealthMonitor(run.config, run.monitor.meta()["health"], error.value)
    assert back.rollbacks == 1 and run.monitor.rollbacks == 0


def test_scores_twice_as_bad_as_the_best_are_a_divergence(capsys):
    run = Run(rolling())
    for swd in (100.0, 40.0, 79.0, 81.0, 50.0, 90.0):
        run.monitor.score(run.nimg, {"swd": swd})
        run.ticks(1)
        run.monitor.check()
    assert len(alarms(capsys)) == 2
    run.monitor.score(run.nimg, {"swd": 120.0})
    with pytest.raises(Diverged, match="swd is 120, and was 40 at its best") as error:
        run.monitor.check()
    assert error.value.healthy_nimg == 4 * TICK


def test_a_score_that_is_the_better_the_higher():
    """An alarm where it falls below half of its best; it is never the lowest that is the best."""
    run = Run(rolling(), score_name="-is50k_mean")
    for score, worse in ((4.0, 0), (10.0, 0), (5.1, 0), (4.9, 1), (4.8, 2)):
        run.monitor.score(run.nimg, {"is50k_mean": score})
        assert run.monitor.meta()["health"]["worse_scores"] == worse
        run.ticks(1)
    with pytest.raises(Diverged, match="is50k_mean is 4.8, and was 10 at its best"):
        run.monitor.check()


def test_no_ratio_speaks_of_scores_below_zero():
    """KID of a perfect generator varies about zero."""
    run = Run(rolling(), score_name="kid50k_full")
    for score in (0.01, -1e-5, 3e-5, 2e-3):
        run.monitor.score(run.nimg, {"kid50k_full": score})
        assert run.monitor.meta()["health"]["worse_scores"] == 0


def test_a_run_is_spent_when_its_best_score_is_old():
    config = rolling().unlock()
    config.metrics.patience_kimg = 2 * TICK / 1000
    run = Run(config)
    found = []
    for swd in (9.0, 8.0, 8.5, 8.0, 7.0):
        run.monitor.score(run.nimg, {"swd": swd})
        found.append(bool(run.monitor.is_spent(run.nimg)))
        run.ticks(1)
    # Equal is not better; what comes after is not looked at by a run that has ended.
    assert found == [False, False, False, True, False]
    run.monitor.score(run.nimg, {"swd": 7.5})
    run.ticks(2)
    assert "swd has not been better than 7, of" in run.monitor.is_spent(run.nimg)
    assert "metrics.patience_kimg=" in run.monitor.is_spent(run.nimg)
    # A run that ended stays so when it is started again, unless it is given more patience.
    again = HealthMonitor(config, run.monitor.meta()["health"], score_name="swd")
    assert again.is_spent(run.nimg)
    config.metrics.patience_kimg *= 4
    assert not again.is_spent(run.nimg)


def test_a_divergence_is_only_said_where_going_back_is_not_wanted(sound, capsys):
    sound.ticks(1, Skipped__G=10)
    assert sound.monitor.is_diverged()
    sound.monitor.check()
    assert "health.rollback=True goes back" in capsys.readouterr().out
    sound.ticks(1, Skipped__G=10)
    assert not sound.monitor.is_diverged()


def test_going_back_ends_after_a_few_times(capsys):
    run = Run(rolling(max_rollbacks=2), saved={"rollbacks": 2})
    run.ticks(1, Skipped__G=10)
    with pytest.raises(RuntimeError, match="health.max_rollbacks=5") as error:
        run.monitor.check()
    assert not isinstance(error.value, Diverged)


def test_a_resumed_monitor_goes_on_as_if_nothing_had_happened(capsys):
    whole, half = Run(), Run()
    sound, skip, explode = {}, dict(Skipped__G=1), dict(Grad__Dmain=90.0, Skipped__G=1)
    events = [sound] * 12 + [skip] + [explode] * 3 + [sound] * 9
    for number, event in enumerate(events):
        whole.ticks(1, **event)
        saved = json.loads(json.dumps(half.monitor.meta()["health"]))
        half = Run(saved=saved, nimg=number * TICK)
        half.ticks(1, **event)
        assert half.alarms == whole.alarms
        assert half.monitor.meta() == whole.monitor.meta()
    lines = alarms(capsys)
    assert lines[::2] == lines[1::2] and len(lines) == 4


def test_another_score_starts_afresh():
    """Where another one decides after a restart, its values are not held against the old."""
    run = Run(rolling())
    for swd in (40.0, 81.0):
        run.monitor.score(run.nimg, {"swd": swd})
        run.ticks(1)
    saved = json.loads(json.dumps(run.monitor.meta()["health"]))
    again = Run(rolling(), saved=saved, nimg=run.nimg, score_name="fid")
    again.monitor.score(again.nimg, {"fid": 200.0, "swd": 90.0})
    memory = again.monitor.meta()["health"]
    assert (memory["best_score"], memory["worse_scores"], memory["alarms"]) == (200.0, 0, {})
