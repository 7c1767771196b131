"""Scores by features: which reals, how many fakes, one pass, what is kept, what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from stylegan_jax.metrics.comparisons import Rows
from stylegan_jax.metrics.feature_scores import FeatureScore, Reals
from stylegan_jax.metrics.features import Extractor, choose_reals, device_batches
from stylegan_jax.metrics.frechet import Moments, frechet_distance
from stylegan_jax.metrics.names import parse_name
from stylegan_jax.metrics.statistics_cache import StatisticsCache

KEY = jax.random.key(3)


def make_sharding(devices):
    mesh = Mesh(np.array(jax.devices()[:devices]), ("data",))
    return NamedSharding(mesh, PartitionSpec("data"))


@jax.jit
def _features(img):
    """Means of four rows, which tell left from right in no way, and of four columns, which do."""
    x = img.astype(jnp.float32)
    parts = [x.mean(axis=(2, 3)), x.mean(axis=(1, 3))]
    return jnp.concatenate(parts, axis=1)  # [n, 8]


def make_extractor(devices=1, calls=None, spoil=False):
    def extract(img):
        if calls is not None:
            calls.append(img.shape[0])
        features = _features(img)
        if spoil:
            features = features.at[0, 0].set(jnp.nan)
        return {"features": features, "logits_unbiased": features / 50}

    widths = {"features": 8, "logits_unbiased": 8}
    return Extractor("tiny", extract, widths, {"network": "tiny"}, make_sharding(devices))


def images_of(count, seed=0, shift=0):
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 150, (count, 4, 4, 3))
    # Brighter on the right: mirror images are others.
    return (base + np.array([0, 10, 20, 40])[:, None] + shift).astype(np.uint8)


def drawn(images, calls=None, batch=16):
    """A draw of stored images, whose last batch is a whole one."""

    def draw(num_images):
        if calls is not None:
            calls.append(num_images)
        for start in range(0, num_images, batch):
            part = images[np.arange(start, start + batch) % len(images)]
            yield jnp.asarray(part)

    return draw


def make_score(names, reals, tmp_path, *, mirror=False, extractor=None):
    names = [parse_name(name) for name in names]
    return FeatureScore(
        names,
        Reals(reals, "print", mirror),
        extractor or make_extractor(),
        StatisticsCache(tmp_path),
    )


def expected_fid(reals, fakes):
    sides = [Moments.of(np.asarray(_features(jnp.asarray(x)))) for x in (reals, fakes)]
    return frechet_distance(*(y for x in sides for y in (x.mean, x.covariance())))


def test_known_answers(tmp_path):
    """Equal sets are at 0, others as far as plain arithmetic says."""
    reals, fakes = images_of(40), images_of(30, seed=1, shift=20)
    score = make_score(["fid30_full"], reals, tmp_path)
    assert score.evaluate(drawn(fakes), KEY)["fid30_full"] == pytest.approx(
        expected_fid(reals, fakes), rel=1e-9
    )
    score = make_score(["fid40_full"], reals, tmp_path)
    assert abs(score.evaluate(drawn(reals), KEY)["fid40_full"]) < 1e-3


def test_which_reals(tmp_path):
    """`_full`: all as they are. Otherwise as many as fakes, mirror images after the others."""
    reals, fakes = images_of(24), images_of(30, seed=1)
    both = np.concatenate([reals, reals[:, :, ::-1]])
    for name, mirror, expected in (
        ("fid30_full", True, reals),
        ("fid20", True, reals[:20]),
        ("fid30", True, both[:30]),
        ("fid20", False, reals[:20]),
    ):
        score = make_score([name], reals, tmp_path, mirror=mirror)
        found = score.evaluate(drawn(fakes), KEY)[name]
        wanted = expected_fid(expected, fakes[: parse_name(name).num_images])
        assert found == pytest.approx(wanted, rel=1e-9), (name, mirror)
        assert score.protocol(parse_name(name))["reals"] == len(expected)
        assert score.protocol(parse_name(name))["mirror"] == (mirror and "full" not in name)
    np.testing.assert_array_equal(choose_reals(3, most=5, mirror=True), [0, 1, 2, -1, -2])


def test_all_metrics_share_one_pass_of_the_fakes(tmp_path):
    reals, fakes = images_of(24), images_of(40, seed=1)
    calls, drawn_numbers = [], []
    names = ["fid16_full", "kid24_full", "is40"]
    score = make_score(names, reals, tmp_path, extractor=make_extractor(calls=calls))
    together = score.evaluate(drawn(fakes, drawn_numbers), KEY)
    assert drawn_numbers == [40] and calls[:3] == [16, 16, 16]
    for name in names:
        alone = make_score([name], reals, tmp_path).evaluate(drawn(fakes), KEY)
        assert {key: together[key] for key in alone} == alone
    assert score.describe(together).count(";") == 2


def test_reals_are_looked_at_once(tmp_path):
    """In a run, and by the next one: their statistics are kept."""
    reals, fakes = images_of(24), images_of(16, seed=1)
    calls = []
    extractor = make_extractor(calls=calls)
    score = make_score(["fid16_full", "kid16_full"], reals, tmp_path, extractor=extractor)
    first = score.evaluate(drawn(fakes), KEY)
    assert calls == [16] + [8] * 3 + [8] * 3  # sums and rows are kept apart
    again = score.evaluate(drawn(fakes), KEY)
    later = make_score(["fid16_full", "kid16_full"], reals, tmp_path, extractor=extractor)
    assert first == again == later.evaluate(drawn(fakes), KEY)
    assert calls[7:] == [16, 16]


def test_other_images_under_the_same_print_are_noticed(tmp_path):
    """Files that were replaced by others of their names and lengths."""
    fakes = images_of(16, seed=1)
    for seed in (0, 5):
        reals = images_of(24, seed=seed)
        found = make_score(["fid16_full"], reals, tmp_path).evaluate(drawn(fakes), KEY)
        assert found["fid16_full"] == pytest.approx(expected_fid(reals, fakes), rel=1e-9)


def test_more_noise_and_fewer_modes_are_worse(tmp_path):
    reals = images_of(64)
    noise = np.random.default_rng(2).integers(0, 60, reals.shape)
    fakes = {
        "good": images_of(64, seed=1),
        "noisy": (images_of(64, seed=1) + noise).astype(np.uint8),
        "few": images_of(4, seed=1)[np.arange(64) % 4],
    }
    for name in ("fid64_full", "kid64_full"):
        values = {
            kind: make_score([name], reals, tmp_path).evaluate(drawn(images), KEY)[name]
            for kind, images in fakes.items()
        }
        assert values["good"] < values["noisy"] and values["good"] < values["few"], name
    recall = {
        kind: make_score(["pr64_full"], reals, tmp_path).evaluate(drawn(images), KEY)
        for kind, images in fakes.items()
    }
    assert recall["good"]["pr64_full_recall"] > recall["few"]["pr64_full_recall"]
    assert recall["good"]["pr64_full_precision"] > recall["noisy"]["pr64_full_precision"]


def test_the_floor_stands_beside_the_score(tmp_path):
    """Disjoint halves of the reals, of as many images as there are fakes where there are enough."""
    reals, fakes = images_of(64), images_of(20, seed=1, shift=50)
    score = make_score(["lite0_fd20", "lite0_kd20_full"], reals, tmp_path)
    values = score.evaluate(drawn(fakes), KEY)
    assert values["lite0_fd20_split_n"] == 10 and values["lite0_kd20_full_split_n"] == 20
    assert values["lite0_fd20_split"] < values["lite0_fd20"]
    assert "of 10 each" in score.describe(values)
    assert values == make_score(["lite0_fd20", "lite0_kd20_full"], reals, tmp_path).evaluate(
        drawn(fakes), KEY
    )


@pytest.mark.parametrize("devices", [1, 2, 4])
def test_the_same_on_any_devices(tmp_path, devices):
    """To the last bit: each device works on as many images as it would alone."""
    reals, fakes = images_of(21), images_of(37, seed=1)
    names = ["fid37_full", "kid37_full", "is37"]
    sharding = make_sharding(devices)

    def draw(num_images):
        for batch, _ in device_batches(fakes, np.arange(num_images), sharding):
            yield batch

    score = make_score(names, reals, tmp_path / "own", extractor=make_extractor(devices))
    one = make_score(names, reals, tmp_path / "one", extractor=make_extractor(1))
    assert score.evaluate(draw, KEY) == one.evaluate(drawn(fakes), KEY)


@pytest.mark.parametrize(
    ("name", "count", "message"),
    [
        ("fid20", 10, "fid20 compares 20 fakes with as many reals, and there are 10: fid20_full"),
        ("fid20_full", 1, "fid20_full needs 2 reals or more, and there are 1"),
        ("fid1_full", 10, "fid1_full looks at 1 images and needs 2"),
        ("is9", 10, "is9 looks at 9 images and needs 10"),
        ("pr20_full", 3, "pr20_full needs 4 reals or more, and there are 3"),
        ("pr3_full", 10, "pr3_full looks at 3 images and needs 4"),
        ("lite0_fd20_full", 3, "lite0_fd20_full needs 4 reals or more, and there are 3"),
        ("kid20_full", None, "kid20_full compares with reals, and there are none: give data"),
    ],
)
def test_too_few(tmp_path, name, count, message):
    reals = None if count is None else images_of(count)
    with pytest.raises(ValueError, match=message):
        make_score([name], reals, tmp_path)


def test_no_reals_are_needed_for_the_inception_score(tmp_path):
    values = make_score(["is40"], None, tmp_path).evaluate(drawn(images_of(40)), KEY)
    assert 1 < values["is40_mean"] < 8 and values["is40_std"] >= 0


def test_features_that_are_not_finite(tmp_path):
    for name in ("fid16_full", "kid16_full"):
        score = make_score([name], images_of(20), tmp_path, extractor=make_extractor(spoil=True))
        with pytest.raises(ValueError, match="not finite"):
            score.evaluate(drawn(images_of(16)), KEY)
    # Nothing of it was kept.
    assert not list(tmp_path.iterdir())


def test_too_few_fakes_and_images_of_two_sizes(tmp_path):
    score = make_score(["fid16_full"], images_of(20), tmp_path)
    with pytest.raises(ValueError, match="fid16_full wants 16 images and got 8"):
        score.evaluate(lambda n: iter([jnp.asarray(images_of(8))]), KEY)
    mixed = [*images_of(5), np.zeros((4, 5, 3), np.uint8)]
    with pytest.raises(ValueError, match=r"Image 5 is uint8 \[4, 5, 3\], the first one uint8"):
        make_score(["fid16_full"], mixed, tmp_path).evaluate(drawn(images_of(16)), KEY)


def test_rows_in_order_and_half_precision():
    rows = Rows(2)
    rows.add(np.array([[1.0, 2.0]]))
    rows.add(np.array([[3.0, 4.0]]))
    assert rows.num == 2 and rows.array.tolist() == [[1, 2], [3, 4]]
    assert Rows.from_arrays(rows.to_arrays()).array.tolist() == rows.array.tolist()
