"""Sliced Wasserstein distance: known answers, SciPy references, and the rules for small sets."""

import sys

import jax
import numpy as np
import pytest
from scipy import stats

from stylegan_jax.metrics import (
    SwdScore,
    evaluate_swd,
    patch_descriptors,
    real_descriptors,
    sliced_wasserstein,
    swd_floor,
)
from tests.metrics.images import make_images

KEY = jax.random.key(0)


def test_identical_sets_have_no_distance():
    """A set is at zero from itself, at every level."""
    a = patch_descriptors([make_images(10)], KEY, num_images=10)
    assert sliced_wasserstein(a, a, KEY) == {"swd_32": 0.0, "swd_16": 0.0, "swd": 0.0}


def test_distance_equals_scipy():
    """Along each direction it is SciPy's 1-D Wasserstein distance, averaged and times 1000."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(300, 5)), rng.normal(0.3, 2, size=(300, 5))
    a, b = a.astype(np.float32), b.astype(np.float32)
    actual = sliced_wasserstein({16: a}, {16: b}, KEY, num_repeats=2, num_directions=25)
    u = np.array(jax.random.normal(jax.random.fold_in(KEY, 16), (5, 50)))
    u /= np.linalg.norm(u, axis=0)
    expected = np.mean([stats.wasserstein_distance(a @ v, b @ v) for v in u.T])
    np.testing.assert_allclose(actual["swd"], 1000 * expected, rtol=1e-5)


def test_patches_that_a_device_takes_in_parts(monkeypatch):
    """Give the same distance, up to how a part's products are rounded."""
    a, b = (np.random.default_rng(i).normal(size=(300, 5)).astype(np.float32) for i in (0, 1))
    whole = sliced_wasserstein({16: a}, {16: b}, KEY)
    module = sys.modules[sliced_wasserstein.__module__]
    monkeypatch.setattr(module, "_VALUES_ON_DEVICE", 5 * 128 + 4)
    assert sliced_wasserstein({16: a}, {16: b}, KEY) == pytest.approx(whole, rel=1e-6)


def test_shift_of_a_gaussian():
    """In one dimension a shift by s costs s; in d dimensions s times the mean of |u_1|."""
    rng = np.random.default_rng(0)
    line = rng.normal(size=(500, 1)).astype(np.float32)
    np.testing.assert_allclose(
        sliced_wasserstein({16: line}, {16: line + 0.25}, KEY)["swd"], 250, rtol=1e-4
    )
    space = rng.normal(size=(500, 3)).astype(np.float32)
    shifted = space + np.float32([0.25, 0, 0])
    result = sliced_wasserstein({16: space}, {16: shifted}, KEY, num_directions=2000)
    # E|u_1| is 1/2 on the sphere; 8000 directions have a standard error of 0.65 %.
    np.testing.assert_allclose(result["swd"], 125, rtol=0.02)


@pytest.mark.parametrize("change", ["blur", "noise"])
def test_score_grows_with_damage(change):
    """More blur or noise is further away, most of all in the finest level."""
    amounts = {"blur": (1.5, 1.7, 2.0, 2.5), "noise": (0, 8, 16, 32)}[change]
    reals = real_descriptors(make_images(32), KEY, num_images=32)
    fakes = [make_images(32, seed=1, **{change: amount}) for amount in amounts]
    scores = [evaluate_swd(reals, [images], KEY) for images in fakes]
    fine = [score["swd_32"] for score in scores]
    assert fine == sorted(fine) and fine[-1] > 1.5 * fine[0]
    assert scores == [evaluate_swd(reals, [images], KEY) for images in fakes]


def test_noise_where_all_is_constant_counts_in_grey_levels():
    """Without any contrast. Coins of 0 or k: k / 2 of deviation, k / 2 * E|N(0, 1)| of distance."""
    reals = np.full((32, 16, 16, 1), 200, np.uint8)
    coins = np.random.default_rng(0).integers(2, size=reals.shape).astype(np.uint8)
    kept = real_descriptors(reals, KEY, num_images=32)
    one, eighty = (evaluate_swd(kept, [reals - k * coins], KEY)["swd"] for k in (1, 80))
    # 8192 patches that share pixels, in 512 directions.
    np.testing.assert_allclose(one, 1000 / 2 * (2 / np.pi) ** 0.5, rtol=0.02)
    np.testing.assert_allclose(eighty, 80 * one, rtol=1e-4)
    assert evaluate_swd(kept, [reals], KEY)["swd"] < 1e-3


def test_many_channels_are_compared_and_constant_ones_passed_over():
    images, others = (make_images(32, size=16, channels=6, seed=seed) for seed in (0, 1))
    images[..., -1] = others[..., -1] = 255
    kept = real_descriptors(images, KEY, num_images=32)
    assert kept[16].shape[1] == 49 * 6 and not kept[16][:, 5::6].any()
    near = evaluate_swd(kept, [images], KEY)["swd"]
    far = evaluate_swd(kept, [others], KEY)["swd"]
    assert 0 <= near < far / 2


def test_an_alpha_that_says_nothing_does_not_decide():
    """Beside colours, a trace of transparency in the fakes costs a trace."""
    images, others = make_images(32, size=16), make_images(32, size=16, seed=1)

    def with_alpha(colours, noise=0):
        alpha = np.full((32, 16, 16, 1), 255, np.uint8)
        alpha[..., 0] -= noise
        return np.concatenate([colours, alpha], axis=3)

    kept = real_descriptors(with_alpha(images), KEY, num_images=32)
    colours = evaluate_swd(real_descriptors(images, KEY, num_images=32), [others], KEY)["swd"]
    opaque = evaluate_swd(kept, [with_alpha(others)], KEY)["swd"]
    # A direction has 3/4 of its square in the colours; the patches lie elsewhere by chance.
    np.testing.assert_allclose(opaque, colours * 0.75**0.5, rtol=0.1)
    # A grey level of noise is lost in the colours' contrast of many; a hundred are not.
    coins = np.random.default_rng(0).integers(2, size=(32, 16, 16)).astype(np.uint8)
    trace, much = (
        evaluate_swd(kept, [with_alpha(others, k * coins)], KEY)["swd"] for k in (1, 100)
    )
    np.testing.assert_allclose(trace, opaque, rtol=0.02)
    assert much > 1.3 * opaque


def test_small_set_is_repeated_evenly():
    """Ten images stand for 25 draws: each two or three times, with other patches each time."""
    images = make_images(10, size=16)
    seen = []

    class Counting:
        def __len__(self):
            return len(images)

        def __getitem__(self, i):
            seen.append(int(i))
            return images[i]

    rows = real_descriptors(Counting(), KEY, num_images=25)[16].reshape(25, 128, 147)
    assert set(np.bincount(seen)) == {2, 3}
    first, second = np.flatnonzero(np.array(seen) == np.argmax(np.bincount(seen)))[:2]
    assert not np.array_equal(rows[first], rows[second])


def test_mirror_adds_mirror_images():
    """With mirroring, each image appears once either way in two rounds of the set."""
    ramp = np.arange(0, 256, 16, dtype=np.uint8)
    across = np.broadcast_to(ramp[:, None], (3, 16, 16, 1))
    down = across.transpose(0, 2, 1, 3)
    across, down = (
        real_descriptors(x, KEY, num_images=6, mirror=True)[16].reshape(6, 128, 7, 7)
        for x in (across, down)
    )
    slopes = np.sign(across[..., 6] - across[..., 0])
    assert sorted(slopes[:, 0, 0]) == [-1, -1, -1, 1, 1, 1]
    assert np.all(slopes == slopes[:, :1, :1])
    assert np.all(down[:, :, 6] > down[:, :, 0])


def test_floor_brackets_a_perfect_generator():
    """New images of the same kind score between copies and disjoint halves; damage scores above."""
    results = []
    for seed in range(3):
        key, reals = jax.random.key(seed), make_images(40, size=16, seed=seed)
        floor = swd_floor(reals, key, num_images=80, num_splits=2)
        kept = real_descriptors(reals, key, num_images=80)
        for noise in (0, 128):
            fakes = make_images(80, size=16, seed=100 + seed, noise=noise)
            floor[f"noise {noise}"] = evaluate_swd(kept, [fakes], key)["swd"]
        floor["copies"] = evaluate_swd(kept, [reals, reals], key)["swd"]
        results.append(floor)
    mean = {name: np.mean([result[name] for result in results]) for name in results[0]}
    assert mean["swd_floor"] < mean["noise 0"] < mean["swd_split"] < mean["noise 128"]
    # 40 images' worth of patches twice over: a few per cent of scatter.
    np.testing.assert_allclose(mean["copies"], mean["swd_floor"], rtol=0.15)


def test_floor_names_and_determinism():
    """Both references are given for every level, the same for the same key."""
    floor = swd_floor(make_images(5), KEY, num_images=6, num_splits=2)
    assert set(floor) == {f"swd_{k}{s}" for k in ("floor", "split") for s in ("", "_32", "_16")}
    assert floor == swd_floor(make_images(5), KEY, num_images=6, num_splits=2)


def test_errors_say_what_to_do():
    """What cannot be compared is refused, with both sides named."""
    images = make_images(4)
    reals = real_descriptors(images, KEY, num_images=4)
    with pytest.raises(ValueError, match="uint8.*Convert network output"):
        evaluate_swd(reals, [images / 127.5 - 1], KEY)
    with pytest.raises(ValueError, match="ended after 3, num_images=4"):
        evaluate_swd(reals, [images[:3]], KEY)
    with pytest.raises(ValueError, match="same resolution, channels"):
        evaluate_swd(reals, [make_images(4, size=16)], KEY)
    with pytest.raises(ValueError, match="same resolution, channels"):
        evaluate_swd(reals, [images[..., :1]], KEY)
    with pytest.raises(ValueError, match="num_patches"):
        evaluate_swd(reals, [images], KEY, num_patches=100)
    with pytest.raises(ValueError, match="different shapes"):
        real_descriptors([images[0], images[1, :16]], KEY, num_images=2)
    with pytest.raises(ValueError, match="reals is empty"):
        real_descriptors(images[:0], KEY, num_images=1)
    with pytest.raises(ValueError, match="at least 2"):
        swd_floor(images[:1], KEY, num_images=4)
    with pytest.raises(ValueError, match="num_splits is 0"):
        swd_floor(images, KEY, num_images=4, num_splits=0)


def test_the_score_of_a_run_is_these_three():
    """Reals, their floor and the fakes' score, all of one key; the reals are read once."""
    reals, fakes = make_images(5, size=16), make_images(8, size=16, seed=1)
    asked = []

    def draw(num_images):
        asked.append(num_images)
        yield fakes

    score = SwdScore(reals, num_images=6, mirror=True)
    values = score.evaluate(draw, KEY)
    sides = dict(num_images=6, mirror=True)
    floor = swd_floor(reals, KEY, num_splits=1, **sides)
    assert values == evaluate_swd(real_descriptors(reals, KEY, **sides), [fakes], KEY) | floor
    reals[...] = 0
    assert score.evaluate(draw, KEY) == values and asked == [6, 6]
    line = score.describe({"swd": 45.12, "swd_floor": 6.61})
    assert line == "swd 45.1 (reals against reals 6.6)"


def test_a_score_without_levels_is_refused_at_once():
    with pytest.raises(ValueError, match="got 8x8 images.*at least 16 px"):
        SwdScore(make_images(2, size=8), num_images=4, mirror=False)
