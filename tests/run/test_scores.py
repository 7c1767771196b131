"""Scores: which there are, when they are taken, which one decides, and the fakes they look at."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stylegan_jax.data.archives import Archive, FolderArchive
from stylegan_jax.data.labels import class_labels
from stylegan_jax.data.sources import ImageSource
from stylegan_jax.metrics import SwdScore
from stylegan_jax.run import scores
from stylegan_jax.run.checkpoint import CheckpointStore
from stylegan_jax.run.health import Diverged, HealthMonitor
from stylegan_jax.run.images import save_png
from stylegan_jax.run.scores import MAKERS, best_score, make_draw, make_scores, take_scores
from stylegan_jax.training.settings import SettingsError
from stylegan_jax.training.sharding import batch_sharding, make_mesh
from tests.run.small import (
    LEVEL,
    NumberedArchive,
    make_config,
    make_painter,
    make_state,
    numbered,
    paint,
)

KEY = jax.random.key(5)
KEY_FAKES = jax.random.split(KEY)[1]


class Darkness:
    """An invented score: how dark the fakes are, against the reals, times a factor."""

    def __init__(self, reals, *, factor):
        if factor <= 0:
            raise ValueError(f"dark_factor is {factor}; it must be positive.")
        self.real, self.factor = np.mean(255.0 - reals[1]), factor

    def evaluate(self, draw, key):
        (fakes,) = draw(3)
        return {"dark": float(self.factor * np.mean(255.0 - fakes)), "dark_real": self.real}

    def host_bytes(self, num_images):
        return 0

    def describe(self, values):
        return f"dark {values['dark']:.0f} (reals {values['dark_real']:.0f})"


@pytest.fixture
def config(monkeypatch):
    """With a second score, which decides; it is taken twice as often as the first."""
    monkeypatch.setitem(MAKERS, "dark", lambda context, **s: Darkness(context.reals, **s))
    config = make_config()
    config.metrics.dark_kimg, config.metrics.dark_factor = 0.016, 2.0
    config.metrics.swd_kimg, config.metrics.best = 0.032, "dark"
    return config


def fakes_of(value):
    """A draw of images of one grey."""
    return lambda num_images: iter([np.full((num_images, 4, 4, 3), value, np.uint8)])


def test_a_score_is_a_row_and_its_settings(config):
    swd, dark = make_scores(config, numbered(side=16))
    assert (swd.name, swd.kimg, dark.name, dark.kimg) == ("swd", 0.032, "dark", 0.016)
    assert dark.evaluate(fakes_of(155), KEY) == {"dark": 200.0, "dark_real": 254.0}
    config.metrics.swd_kimg = 0.0
    assert [score.name for score in make_scores(config, numbered())] == ["dark"]


def test_what_cannot_work_is_refused_at_once(config):
    with pytest.raises(SettingsError, match="got 8x8 images.*metrics.swd_kimg=0"):
        make_scores(config, numbered(side=8))
    config.metrics.dark_factor = -1.0
    with pytest.raises(SettingsError, match="dark_factor is -1.0.*metrics.dark_kimg=0"):
        make_scores(config, numbered(side=16))
    config.metrics.best = "fid"
    with pytest.raises(ValueError, match=r"metrics.best='fid' is no score; there are \['dark', 'm"):
        best_score(config)


def test_a_score_per_class_is_refused_without_labels(config, monkeypatch):
    def make(context, **settings):
        if context.labels.kind != "classes":
            raise ValueError("Classes are compared, and there are none: set data.labels.")
        return Darkness(context.reals, **settings)

    monkeypatch.setitem(MAKERS, "dark", make)
    assert len(make_scores(config, numbered(side=16))) == 2
    with pytest.raises(SettingsError) as refused:
        make_scores(config, ImageSource(NumberedArchive(10, 16)))
    assert str(refused.value) == (
        "metrics.dark_kimg=0.016: Classes are compared, and there are none: set data.labels. "
        "Or leave the score out with metrics.dark_kimg=0."
    )


class NoiseArchive(Archive):
    """Images of noise, of any size and number of channels."""

    name = "noise"

    def __init__(self, size, side, channels, labels):
        self._pixels = np.random.default_rng(0).integers(
            0, 256, (size, side, side, channels), dtype=np.uint8
        )
        self._labels_kind = labels
        self.names = [str(i) for i in range(size)]
        self.sizes = [side * side * channels] * size

    def read(self, index):
        return self._pixels[index]

    def _read_labels(self):
        return class_labels(np.arange(len(self)) % self._labels_kind, "abc"[: self._labels_kind])


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize(
    ("size", "side", "channels", "classes"),
    [(1, 16, 3, 1), (2, 16, 3, 2), (3, 16, 1, 1), (3, 4, 3, 1), (2, 8, 1, 1), (1, 4, 1, 1)],
)
def test_a_score_is_refused_in_a_line_or_taken(tmp_path, name, size, side, channels, classes):
    """Never in the middle of a run: what the data cannot have is known when scores are made."""
    config = make_config()
    for other in MAKERS:
        config.metrics[f"{other}_kimg"] = float(other == name)
        config.metrics[f"{other}_num_images"] = 5
    config.data.resolution = side
    config.metrics.memory_unseen = str(tmp_path)
    save_png(tmp_path / "0.png", np.full((side, side, channels), 9, np.uint8))
    source = ImageSource(NoiseArchive(size, side, channels, classes), labels=classes > 1)
    fakes = np.random.default_rng(1).integers(0, 256, (5, side, side, channels), dtype=np.uint8)
    try:
        (score,) = make_scores(config, source)
    except SettingsError as error:
        assert name == "swd" and (size == 1 or side < 16)
        assert "\n" not in str(error) and str(error).endswith(f"metrics.{name}_kimg=0.")
        return
    assert name != "swd" or (size > 1 and side >= 16)
    values = score.evaluate(lambda n: iter([jnp.asarray(fakes)]), KEY)
    assert all(np.isfinite(value) for value in values.values())
    assert score.describe(values)


def test_scores_that_memory_cannot_hold_are_refused_with_what_it_can(config, monkeypatch):
    # 5 images of 16 px, 3 channels: 128 patches of 49 pixels, as floats, 6 times.
    image = 128 * 49 * 3 * 4 * 6
    monkeypatch.setattr(scores, "host_memory_bytes", lambda: 5 * image + 1)
    config.metrics.dark_kimg = 0.0
    config.metrics.swd_num_images = 5
    assert len(make_scores(config, numbered(side=16))) == 1
    config.metrics.swd_num_images = 6
    with pytest.raises(SettingsError, match="swd_num_images=6 .*: give at most 5."):
        make_scores(config, numbered(side=16))


def test_a_score_that_is_off_decides_nothing(config):
    assert best_score(config) == "dark"
    config.metrics.dark_kimg = 0.0
    assert best_score(config) is None
    config.metrics.best = "swd"
    assert best_score(config) == "swd"


def test_each_is_taken_at_its_own_times(config, monkeypatch, capsys):
    monkeypatch.setattr(SwdScore, "evaluate", lambda *_: {"swd": 45.12, "swd_floor": 6.61})
    announced, taken = [], {}

    def announce(activity, nimg):
        announced.append((activity, nimg))

    made = make_scores(config, numbered(side=16))
    for nimg in (16, 32, 48, 64):
        taken[nimg] = take_scores(
            made,
            fakes_of(155),
            nimg,
            key=KEY,
            is_due=lambda kimg, nimg=nimg: nimg % (kimg * 1000) == 0,
            announce=announce,
        )
    assert taken[16] == taken[48] == {"dark": 200.0, "dark_real": 254.0}
    assert taken[32] == taken[64] == taken[16] | {"swd": 45.12, "swd_floor": 6.61}
    assert announced[:3] == [("scoring dark", 16), ("scoring swd", 32), ("scoring dark", 32)]
    assert capsys.readouterr().out.splitlines()[:3] == [
        "0.0 kimg: dark 200 (reals 254)",
        "0.0 kimg: swd 45.1 (reals against reals 6.6)",
        "0.0 kimg: dark 200 (reals 254)",
    ]
    never = take_scores(made, fakes_of(0), 8, key=KEY, is_due=lambda _: False, announce=announce)
    assert never == {}


def test_every_process_gets_the_numbers_of_the_first(config, monkeypatch):
    monkeypatch.setattr(scores, "as_first_process", lambda values: dict.fromkeys(values, 7.0))
    config.metrics.swd_kimg = 0.0
    made = make_scores(config, numbered())
    values = take_scores(
        made, fakes_of(1), 8, key=KEY, is_due=lambda _: True, announce=lambda *_: None
    )
    assert values == {"dark": 7.0, "dark_real": 7.0}


def test_the_score_that_is_named_decides(config, tmp_path):
    """Which checkpoint is the best, and that a run goes back to it; the other one does not."""
    config.health.rollback = True
    monitor, meta = HealthMonitor(config), {"config": {}, "data": {}}
    with CheckpointStore(tmp_path, keep_newest=9, best_metric=best_score(config)) as store:
        for nimg, (swd, dark) in enumerate([(1, 60), (50, 20), (50, 41), (2, 42)], start=1):
            monitor.tick(nimg, {}, LEVEL)
            monitor.score(nimg, {"swd": swd, "dark": dark})
            store.save({"w": np.ones(3)}, nimg, meta | monitor.meta(), {"swd": swd, "dark": dark})
        with pytest.raises(Diverged, match="dark is 42, and was 20 at its best") as error:
            monitor.check()
        assert store.roll_back(error.value.healthy_nimg) == 2


# Fakes


def expected_fakes(num_images):
    """What the painter makes of the keys of 32 images each, in grey levels."""
    colours = []
    for number in range(-(-num_images // 32)):
        keys = jax.random.split(jax.random.fold_in(KEY_FAKES, number), 3)
        z = jax.random.normal(keys[0], (32, make_state()[0].z_dim))
        index = np.asarray(jax.random.randint(keys[1], (32,), 0, 10))
        noise = jax.random.normal(keys[2], (32,))
        colours.append(paint(z, np.eye(2)[index % 2], noise))
    img = np.concatenate(colours)[:num_images]
    return np.clip(img * 127.5 + 128, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("devices", [1, 2, 4])
def test_fakes_are_those_of_their_keys_on_any_devices(monkeypatch, devices):
    """Random latents and noise, labels of random reals, the same every time, left where made."""
    monkeypatch.setattr(scores, "make_sampler", make_painter)
    networks, state = make_state()
    mesh = make_mesh(jax.devices()[:devices])
    draw = make_draw(numbered(), networks, mesh, KEY)(state, LEVEL)
    batches = list(draw(40))
    assert [batch.shape for batch in batches] == [(32, 8, 8, 3)] * 2
    for batch in batches:
        assert batch.sharding.is_equivalent_to(batch_sharding(mesh), 4)
    images = np.concatenate([np.asarray(batch) for batch in batches])
    np.testing.assert_array_equal(images[:40, 3, 5], expected_fakes(40))
    np.testing.assert_array_equal(next(iter(draw(1))), batches[0])


def test_networks_draw_the_same_on_any_devices():
    """Of pixels a few fall on the other side of a grey level: sums run in another order."""
    networks, state = make_state()

    def fakes(devices):
        draw = make_draw(numbered(), networks, make_mesh(jax.devices()[:devices]), KEY)
        (batch,) = draw(state, LEVEL)(32)
        assert batch.addressable_shards[0].data.shape == (32 // devices, 8, 8, 3)
        return np.asarray(batch, np.int64)

    one, four = fakes(1), fakes(4)
    assert one.std() > 30  # there is something to compare
    assert np.abs(one - four).max() <= 1 and np.mean(one != four) < 1e-3


def test_memory_compares_with_a_set_that_training_does_not_see(tmp_path):
    """By the name or path of any data set."""
    config = make_config()
    config.metrics.memory_kimg = 1.0
    config.metrics.swd_kimg = 0.0
    for i in (20, 30):
        save_png(tmp_path / f"{i}.png", np.full((16, 16, 3), i, np.uint8))
    config.metrics.memory_unseen = str(tmp_path)
    (memory,) = make_scores(config, numbered(side=16))
    found = memory.evaluate(lambda n: map(jnp.asarray, fakes_of_side(14, n, 16)), KEY)
    # The nearest of the greys 0 to 9 is 9.
    assert found["memory_fakes_p50"] == pytest.approx(5)
    assert found["memory_unseen_p50"] == pytest.approx((11 + 21) / 2)


def test_unseen_images_are_not_those_that_are_trained_on(tmp_path):
    config = make_config()
    config.metrics.memory_kimg, config.metrics.swd_kimg = 1.0, 0.0
    save_png(tmp_path / "0.png", np.zeros((16, 16, 3), np.uint8))
    config.metrics.memory_unseen = f"{tmp_path}/"
    source = ImageSource(FolderArchive(tmp_path))
    with pytest.raises(SettingsError, match="is what is trained on: name images that are not"):
        make_scores(config, source)


def fakes_of_side(value, n, side):
    """One batch of images of one grey."""
    return [np.full((n, side, side, 3), value, np.uint8)]
