"""Both sides of the sliced Wasserstein distance: scores of damage, and the rules for small sets."""

import jax
import numpy as np
import pytest

from stylegan_jax.metrics import (
    evaluate_swd,
    real_descriptors,
)
from tests.metrics.images import make_images

KEY = jax.random.key(0)


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
