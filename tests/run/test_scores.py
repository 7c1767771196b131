"""Scores: which there are, when they are taken, and which one decides."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stylegan_jax.data.archives import Archive, FolderArchive
from stylegan_jax.data.labels import class_labels
from stylegan_jax.data.sources import ImageSource
from stylegan_jax.metrics import SwdScore, names
from stylegan_jax.metrics.names import Family
from stylegan_jax.run import scores
from stylegan_jax.run.checkpoint import CheckpointStore
from stylegan_jax.run.health import Diverged, HealthMonitor
from stylegan_jax.run.images import save_png
from stylegan_jax.run.scores import MAKERS, best_score, make_scores, take_scores
from stylegan_jax.training.settings import SettingsError
from stylegan_jax.training.sharding import make_mesh
from tests.run.frozen import TinyFrozen
from tests.run.small import LEVEL, NumberedArchive, make_config, numbered

KEY = jax.random.key(5)
MESH = make_mesh(jax.devices()[:1])


class Darkness:
    """An invented score: how dark the fakes are, against the reals."""

    def __init__(self, context, names):
        (self.name,) = names
        if self.name.num_images < 3:
            raise ValueError(f"{self.name.text}: darkness is a matter of 3 images.")
        self.real = np.mean(255.0 - context.reals[1])

    def evaluate(self, draw, key):
        (fakes,) = draw(self.name.num_images)
        text = self.name.text
        return {text: float(2 * np.mean(255.0 - fakes)), f"{text}_real": self.real}

    def host_bytes(self, num_images):
        return 0

    def protocol(self, name):
        return {}

    def describe(self, values):
        text = self.name.text
        return f"{text} {values[text]:.0f} (reals {values[f'{text}_real']:.0f})"


@pytest.fixture
def config(monkeypatch):
    """With a second score, which decides."""
    dark = Family(r"dark(?P<count>\d+k?)?", "dark3", "darkness")
    monkeypatch.setitem(names.FAMILIES, "dark", dark)
    monkeypatch.setitem(MAKERS, "dark", Darkness)
    config = make_config()
    config.metrics.names, config.metrics.best = "swd64,dark3", "dark3"
    return config


def fakes_of(value):
    """A draw of images of one grey."""
    return lambda num_images: iter([np.full((num_images, 4, 4, 3), value, np.uint8)])


def make(config, source=None):
    return make_scores(config, numbered(side=16) if source is None else source, MESH)


def test_scores_are_those_that_are_named(config):
    swd, dark = make(config)
    assert [name.text for score in (swd, dark) for name in score.names] == ["swd64", "dark3"]
    assert dark.metric.evaluate(fakes_of(155), KEY) == {"dark3": 200.0, "dark3_real": 254.0}
    config.metrics.names = " dark3 , dark3"
    assert len(make(config)) == 1
    config.metrics.kimg = 0.0
    assert make(config) == ()


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("swd64", "got 8x8 images"),
        ("dark2", "dark2: darkness is a matter of 3 images"),
        ("dark", "dark does not say of how many images: dark3 does"),
        ("dark0", "dark0: no images; a name such as dark3"),
        ("fido", "'fido' is no metric: there are fid50k_full"),
        ("", "No metric is named: give some of fid50k_full"),
    ],
)
def test_what_cannot_work_is_refused_at_once(config, named, message):
    config.metrics.names = named
    with pytest.raises(SettingsError, match=f"metrics.names={named}: .*{message}.*metrics.kimg=0"):
        make(config, numbered(side=8))


def test_the_best_is_one_of_those_that_are_named(config):
    assert best_score(config) == "dark3"
    config.metrics.best = ""
    assert best_score(config) == "swd64"
    config.metrics.names = "is50k,swd64"
    assert best_score(config) == "-is50k_mean"
    config.metrics.best = "pr50k3_full"
    with pytest.raises(ValueError, match="best=pr50k3_full: it is none of metrics.names=is50k"):
        best_score(config)
    config.metrics.kimg = 0.0
    assert best_score(config) is None


def test_a_score_per_class_is_refused_without_labels(config, monkeypatch):
    def make_labelled(context, names):
        if context.reals is not None and "none" in context.fingerprint:
            raise ValueError("Classes are compared, and there are none: set data.labels.")
        return Darkness(context, names)

    monkeypatch.setitem(MAKERS, "dark", make_labelled)
    source = ImageSource(NumberedArchive(10, 16))
    assert len(make(config, source)) == 2
    source.fingerprint = "none"
    with pytest.raises(SettingsError) as refused:
        make(config, source)
    assert str(refused.value) == (
        "metrics.names=swd64,dark3: Classes are compared, and there are none: set data.labels. "
        "Or leave scores out with metrics.kimg=0."
    )


def test_networks_that_cannot_be_moved_have_no_equivariance(config):
    """Said before the run, with what would do."""
    for name in ("eqt4_int", "eqr4"):
        config.metrics.names = name
        with pytest.raises(SettingsError, match=f"{name}: this 'stylegan2' takes no tr.*StyleGAN3"):
            make(config)
    config.metrics.best = ""
    assert best_score(config) == "-eqr4"


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


# How many images each family's name asks for here, and what is wrong with a set of images.
EXAMPLES = {
    "fid": "fid5_full",
    "kid": "kid5_full",
    "is": "is10",
    "pr": "pr5_full",
    "lite0_fd": "lite0_fd5_full",
    "lite0_kd": "lite0_kd5_full",
    "swd": "swd5",
    "memory": "memory5",
    "ppl": "ppl2_wend_8",
    "ls": "ls_8",
    "msssim": "msssim4",
    "eqt": "eqt4_int",
    "eqr": "eqr4",
}
NEEDS_GENERATOR = {"ppl", "ls", "eqt", "eqr"}


def test_every_family_has_a_maker():
    assert set(MAKERS) == set(names.FAMILIES) == set(EXAMPLES)
    for family, example in EXAMPLES.items():
        assert names.parse_name(example).family == family


@pytest.mark.parametrize("family", MAKERS)
@pytest.mark.parametrize(
    ("size", "side", "channels", "classes"),
    [(1, 16, 3, 1), (6, 16, 3, 2), (7, 16, 1, 1), (7, 4, 3, 1), (2, 8, 1, 1), (1, 4, 1, 1)],
)
def test_a_score_is_refused_in_a_line_or_taken(
    monkeypatch, tmp_path, family, size, side, channels, classes
):
    """Never in the middle of a run: what the data cannot have is known when scores are made."""
    monkeypatch.setattr(scores, "FrozenNetworks", TinyFrozen)
    config = make_config()
    config.metrics.names = EXAMPLES[family]
    config.metrics.cache_dir = str(tmp_path / "cache")
    config.data.resolution = side
    (tmp_path / "unseen").mkdir()
    config.metrics.memory_unseen = str(tmp_path / "unseen")
    save_png(tmp_path / "unseen" / "0.png", np.full((side, side, channels), 9, np.uint8))
    source = ImageSource(NoiseArchive(size, side, channels, classes), labels=classes > 1)
    fakes = np.random.default_rng(1).integers(0, 256, (10, side, side, channels), dtype=np.uint8)
    try:
        (score,) = make_scores(config, source, MESH, takes_transform=True)
    except SettingsError as error:
        # The reals are too few or too small, or a sample is.
        assert size <= 2 or side < 16 or family == "msssim"
        assert "\n" not in str(error) and str(error).endswith("metrics.kimg=0.")
        return
    if family in NEEDS_GENERATOR:
        return
    values = score.metric.evaluate(lambda n: iter([jnp.asarray(fakes)]), KEY)
    assert values and all(np.isfinite(value) for value in values.values())
    (name,) = score.names
    assert name.main in values and all(key.startswith(name.text) for key in values)
    assert score.metric.describe(values).startswith(name.text)
    assert score.metric.protocol(name)


def test_scores_that_memory_cannot_hold_are_refused_with_what_it_can(config, monkeypatch):
    # 5 images of 16 px, 3 channels: 128 patches of 49 pixels, as floats, 6 times.
    image = 128 * 49 * 3 * 4 * 6
    monkeypatch.setattr(scores, "host_memory_bytes", lambda: 5 * image + 1)
    config.metrics.names = "swd5"
    assert len(make(config)) == 1
    config.metrics.names = "swd6"
    with pytest.raises(SettingsError, match="swd6: with .* give at most 5 images."):
        make(config)


def test_metrics_of_one_network_share_a_pass(config, monkeypatch, tmp_path):
    monkeypatch.setattr(scores, "FrozenNetworks", TinyFrozen)
    config.metrics.names = "fid8,dark3,kid4_full,is10"
    config.metrics.cache_dir = str(tmp_path)
    inception, dark = make(config)
    assert [name.text for name in inception.names] == ["fid8", "kid4_full", "is10"]
    drawn = []

    def draw(num_images):
        drawn.append(num_images)
        yield jnp.asarray(np.random.default_rng(0).integers(0, 256, (16, 16, 16, 3), np.uint8))

    values = inception.metric.evaluate(draw, KEY)
    assert drawn == [10]
    assert set(values) == {"fid8", "kid4_full", "kid4_full_std", "is10_mean", "is10_std"}


def test_scores_are_taken_one_after_the_other(config, monkeypatch, capsys):
    found = {"swd64": 45.12, "swd64_floor": 6.61}
    monkeypatch.setattr(SwdScore, "evaluate", lambda *_: found)
    announced = []

    def announce(activity, nimg):
        announced.append((activity, nimg))

    values = take_scores(make(config), fakes_of(155), 32, key=KEY, announce=announce)
    assert values == found | {"dark3": 200.0, "dark3_real": 254.0}
    assert announced == [("scoring swd64", 32), ("scoring dark3", 32)]
    assert capsys.readouterr().out.splitlines() == [
        "0.0 kimg: swd64 45.1 (reals against reals 6.6)",
        "0.0 kimg: dark3 200 (reals 254)",
    ]
    assert take_scores((), fakes_of(0), 8, key=KEY, announce=announce) == {}


def test_every_process_gets_the_numbers_of_the_first(config, monkeypatch):
    monkeypatch.setattr(scores, "as_first_process", lambda values: dict.fromkeys(values, 7.0))
    config.metrics.names = "dark3"
    values = take_scores(make(config), fakes_of(1), 8, key=KEY, announce=lambda *_: None)
    assert values == {"dark3": 7.0, "dark3_real": 7.0}


def test_the_score_that_is_named_decides(config, tmp_path):
    """Which checkpoint is the best, and that a run goes back to it; the other one does not."""
    config.health.rollback = True
    best = best_score(config)
    monitor, meta = HealthMonitor(config, score_name=best), {"config": {}, "data": {}}
    with CheckpointStore(tmp_path, keep_newest=9, best_metric=best) as store:
        for nimg, (swd, dark) in enumerate([(1, 60), (50, 20), (50, 41), (2, 42)], start=1):
            values = {"swd64": swd, "dark3": dark}
            monitor.tick(nimg, {}, LEVEL)
            monitor.score(nimg, values)
            store.save({"w": np.ones(3)}, nimg, meta | monitor.meta(), values)
        with pytest.raises(Diverged, match="dark3 is 42, and was 20 at its best") as error:
            monitor.check()
        assert store.roll_back(error.value.healthy_nimg) == 2


def test_memory_compares_with_a_set_that_training_does_not_see(tmp_path):
    """By the name or path of any data set."""
    config = make_config()
    config.metrics.names = "memory9"
    for i in (20, 30):
        save_png(tmp_path / f"{i}.png", np.full((16, 16, 3), i, np.uint8))
    config.metrics.memory_unseen = str(tmp_path)
    (memory,) = make(config)
    found = memory.metric.evaluate(lambda n: map(jnp.asarray, fakes_of_side(14, n, 16)), KEY)
    # The nearest of the greys 0 to 9 is 9.
    assert found["memory9_fakes_p50"] == pytest.approx(5)
    assert found["memory9_unseen_p50"] == pytest.approx((11 + 21) / 2)
    assert "memory9: samples are 5.0 grey levels" in memory.metric.describe(found)


def test_unseen_images_are_not_those_that_are_trained_on(tmp_path):
    config = make_config()
    config.metrics.names = "memory9"
    save_png(tmp_path / "0.png", np.zeros((16, 16, 3), np.uint8))
    config.metrics.memory_unseen = f"{tmp_path}/"
    source = ImageSource(FolderArchive(tmp_path))
    with pytest.raises(SettingsError, match="is what is trained on: name images that are not"):
        make(config, source)


def fakes_of_side(value, n, side):
    """One batch of images of one grey."""
    return [np.full((n, side, side, 3), value, np.uint8)]
