"""Sliced Wasserstein distance: known answers, SciPy references, and the rules for small sets."""

import jax
import numpy as np
import pytest
from scipy import ndimage, stats

from stylegan_jax.metrics import (
    evaluate_swd,
    laplacian_pyramid,
    patch_descriptors,
    real_descriptors,
    sliced_wasserstein,
    swd_floor,
)
from stylegan_jax.metrics.sliced_wasserstein import num_levels

KEY = jax.random.key(0)
BINOMIAL = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256


def make_images(n, size=32, channels=3, seed=0, blur=1.5, noise=0.0):
    """Returns smooth random images, optionally blurred more or made noisy."""
    rng = np.random.default_rng(seed)
    x = ndimage.gaussian_filter(rng.normal(size=(n, size, size, channels)), (0, 1.5, 1.5, 0))
    extra = max(blur**2 - 1.5**2, 0) ** 0.5
    x = 128 + 300 * ndimage.gaussian_filter(x, (0, extra, extra, 0))
    return np.clip(x + noise * rng.normal(size=x.shape), 0, 255).astype(np.uint8)


def scipy_pyramid(image, levels):
    """Pyramid of one [h, w, c] image in float64, straight from its definition."""

    def blur(x):
        return ndimage.convolve(x, BINOMIAL[:, :, None], mode="mirror")

    lowpass, pyramid = image.astype(np.float64), []
    for _ in range(levels - 1):
        coarser = blur(lowpass)[::2, ::2]
        spread = np.zeros_like(lowpass)
        spread[::2, ::2] = coarser
        pyramid.append(lowpass - 4 * blur(spread))
        lowpass = coarser
    return [*pyramid, lowpass]


@pytest.mark.parametrize("shape", [(16, 16, 3), (32, 32, 1), (64, 64, 4), (32, 48, 3)])
def test_pyramid_equals_scipy(shape):
    """Every level is that of a direct convolution with mirrored borders."""
    image = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    levels = num_levels(*shape[:2])
    expected = scipy_pyramid(image, levels)
    actual = laplacian_pyramid(image[None])
    assert len(actual) == levels
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a[0], b, atol=1e-4)  # float32 at 255 grey levels


def test_pyramid_reconstructs_the_image():
    """Adding the levels up from the coarsest gives the image back."""
    image = make_images(1, size=64)
    levels = [np.asarray(level[0], np.float64) for level in laplacian_pyramid(image)]
    x = levels.pop()
    for detail in reversed(levels):
        spread = np.zeros_like(detail)
        spread[::2, ::2] = x
        x = detail + 4 * ndimage.convolve(spread, BINOMIAL[:, :, None], mode="mirror")
    np.testing.assert_allclose(x, image[0], atol=1e-4)


def test_constant_image_has_no_detail():
    """Band-pass levels of a constant are zero up to the border, its low-pass is the constant."""
    detail, lowpass = laplacian_pyramid(np.full((1, 32, 32, 3), 77, np.uint8))
    assert np.all(np.asarray(detail) == 0) and np.all(np.asarray(lowpass) == 77)


@pytest.mark.parametrize(("size", "levels"), [(16, 1), (32, 2), (256, 5), (1024, 7)])
def test_num_levels(size, levels):
    """Levels go from the resolution down to 16."""
    assert num_levels(size, size) == levels


@pytest.mark.parametrize("shape", [(8, 8), (24, 24), (48, 48), (32, 33)])
def test_odd_sizes_are_refused(shape):
    """Sizes that do not halve down to 16 say what is wanted."""
    with pytest.raises(ValueError, match="shorter side of 16, 32"):
        laplacian_pyramid(np.zeros((1, *shape, 3), np.uint8))


def test_patches_come_from_the_level():
    """Each descriptor row is a window of its own image, spread over all positions."""
    images = make_images(3, size=16, channels=2)
    rows = patch_descriptors([images], KEY, num_images=3, num_patches=200)[16]
    rows = rows.reshape(3, 200, 7, 7, 2)
    # Normalisation is one scale and offset per channel: undo it by a fit on the known windows.
    for i, image in enumerate(images.astype(np.float64)):
        windows = np.lib.stride_tricks.sliding_window_view(image, (7, 7), axis=(0, 1))
        windows = windows.reshape(100, 2, 49).transpose(0, 2, 1).reshape(100, 98)
        found = rows[i].reshape(200, 98)
        correlation = np.corrcoef(found[:, ::2], windows[:, ::2])[:200, 200:]
        assert np.all(correlation.max(axis=1) > 0.99999)
        assert len(set(correlation.argmax(axis=1))) > 70  # of 100; 86.6 expected


def test_descriptors_are_normalised():
    """Every channel has zero mean and unit variance over the set; a constant one stays zero."""
    images = make_images(20, channels=4)
    images[..., 3] = 255
    for rows in patch_descriptors([images], KEY, num_images=20).values():
        pixels = rows.reshape(-1, 4).astype(np.float64)
        np.testing.assert_allclose(pixels.mean(axis=0), 0, atol=1e-5)
        np.testing.assert_allclose(pixels.std(axis=0), [1, 1, 1, 0], atol=1e-5)


def test_batches_do_not_matter():
    """The same images give the same descriptors however they are cut, and with the same key."""
    images = make_images(70)
    whole = patch_descriptors([images], KEY, num_images=65)
    parts = patch_descriptors([images[:1], images[1:40], images[40:]], KEY, num_images=65)
    other = patch_descriptors([images], jax.random.key(1), num_images=65)
    assert list(whole) == [32, 16]
    for level, rows in whole.items():
        assert rows.shape == (65 * 128, 147) and rows.dtype == np.float32
        np.testing.assert_array_equal(rows, parts[level])
        assert not np.array_equal(rows, other[level])


def test_stream_is_read_no_further_than_needed():
    """An endless generator of fakes is fine."""

    def endless():
        while True:
            yield make_images(4, size=16)

    assert patch_descriptors(endless(), KEY, num_images=6)[16].shape == (6 * 128, 147)


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
    with pytest.raises(ValueError, match="Image 2 of the set has shape"):
        patch_descriptors([images[:2], make_images(2, size=16)], KEY, num_images=4)
    with pytest.raises(ValueError, match="different shapes"):
        real_descriptors([images[0], images[1, :16]], KEY, num_images=2)
    with pytest.raises(ValueError, match="num_images is 0"):
        patch_descriptors([images], KEY, num_images=0)
    with pytest.raises(ValueError, match="reals is empty"):
        real_descriptors(images[:0], KEY, num_images=1)
    with pytest.raises(ValueError, match="at least 2"):
        swd_floor(images[:1], KEY, num_images=4)
    with pytest.raises(ValueError, match="num_splits is 0"):
        swd_floor(images, KEY, num_images=4, num_splits=0)
