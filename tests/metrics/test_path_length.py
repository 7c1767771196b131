"""Path lengths with known answers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stylegan_jax.metrics import PathSettings, path_distances, sample_distances, trimmed_mean
from stylegan_jax.metrics.path_length import (
    crop_center,
    downsample_factor,
    lerp,
    line_points,
    prepare_images,
    slerp,
)

KEY = jax.random.key(0)


def test_lines(rng):
    a, b = jnp.asarray(rng.normal(size=(2, 3, 4, 5)), jnp.float32)
    t = jnp.array([0, 0.25, 1])
    want = [a[0], 0.75 * a[1] + 0.25 * b[1], b[2]]
    np.testing.assert_allclose(lerp(a, b, t), want, rtol=0, atol=1e-6)


def test_arcs():
    """In a plane the angle grows evenly, whatever the lengths of the two ends."""
    a, b = jnp.array([[3.0, 0]] * 4), jnp.array([[0, 0.5]] * 4)
    t = jnp.array([0, 1 / 3, 1, 0.5])
    angle = np.asarray(t) * np.pi / 2
    want = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    np.testing.assert_allclose(slerp(a, b, t), want, rtol=0, atol=1e-6)
    # Equal ends have no arc between them.
    np.testing.assert_allclose(slerp(a, 2 * a, t), [[1, 0]] * 4, rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [(8, 8), (32, 16), (21, 30)])
def test_the_crop(size):
    height, width = size
    rows, columns = np.mgrid[:height, :width]
    img = jnp.asarray(np.stack([rows, columns], axis=-1)[None], jnp.float32)
    got = np.asarray(crop_center(img))
    y, x = height // 8, width // 8
    np.testing.assert_array_equal(np.unique(got[..., 0]), np.arange(3 * y, 7 * y))
    np.testing.assert_array_equal(np.unique(got[..., 1]), np.arange(2 * x, 6 * x))


@pytest.mark.parametrize(
    ("size", "plain", "tensorflow", "pytorch"),
    [
        ((1024, 1024), 4, 2, 4),  # 512 px are left of the crop: 256 px and 128 px
        ((512, 512), 2, 1, 2),
        ((256, 256), 1, 1, 1),
        ((32, 32), 1, 1, 1),
        ((2048, 2048), 8, 4, 8),
        ((1024, 768), 2, 1, 2),  # a divisor of both sides
        ((768, 512), 2, 1, 2),
        ((896, 896), 2, 1, 2),
    ],
)
def test_both_conventions_of_size(size, plain, tensorflow, pytorch):
    for convention, cropped in (("tensorflow", tensorflow), ("pytorch", pytorch)):
        assert downsample_factor(size, crop=False, convention=convention) == plain
        assert downsample_factor(size, crop=True, convention=convention) == cropped


def test_images_are_cropped_averaged_and_scaled(rng):
    img = rng.uniform(-1, 1, (2, 512, 512, 1)).astype(np.float32)
    got = prepare_images(jnp.asarray(img), crop=True, convention="pytorch")
    inside = img[:, 192:448, 128:384].reshape(2, 128, 2, 128, 2).mean((2, 4))
    want = np.repeat((inside[..., None] + 1) * 127.5, 3, axis=3)
    np.testing.assert_allclose(got, want, rtol=1e-5)
    # Neither rounded nor clipped.
    far = prepare_images(jnp.full((1, 8, 8, 3), 1.5), crop=False, convention="pytorch")
    np.testing.assert_allclose(far, 318.75)


def quadratic(path, **kwargs):
    """A network that shows its style as 4 x 4 px, and the squared distance of images."""

    def mapping(z, c):
        return jnp.repeat((z * 2 + (0 if c is None else c))[:, None], 3, axis=1)

    def synthesize(x, noise_key):
        style = x if x.ndim == 2 else x[:, 0]
        noise = jax.random.normal(noise_key, (len(style), 4, 4, 3))
        return 100 * noise + style.reshape(-1, 4, 4, 3)

    def distance(a, b):
        assert a.shape[1:] == (4, 4, 3)
        return jnp.sum(jnp.square(a - b), axis=(1, 2, 3)) / 127.5**2

    given = {"mapping": mapping, "synthesize": synthesize, "distance": distance}
    run = functools.partial(sample_distances, path, num_samples=64, z_dim=48, **(given | kwargs))
    return jax.jit(lambda key: run(key, None))(KEY)


@pytest.mark.parametrize("sampling", ["full", "end"])
def test_straight_lines_have_the_length_of_their_ends(sampling):
    """E |2 z_1 - 2 z_0|^2 = 8 d, everywhere on the line, and noise is that of the pair."""
    path = PathSettings(space="w", sampling=sampling, epsilon=0.1)
    got = np.asarray(quadratic(path))
    # A sum of 48 squares of variance 8: a standard deviation of 8 sqrt(96), 64 times.
    np.testing.assert_allclose(got.mean(), 8 * 48, atol=4 * 8 * 96**0.5 / 8)
    # float32: noise of 100 times the style is taken off again.
    exact = np.asarray(quadratic(path, synthesize=lambda x, _: x[:, 0].reshape(-1, 4, 4, 3)))
    np.testing.assert_allclose(got, exact, rtol=0.02)


def test_arcs_have_the_length_of_their_angle():
    """On the unit sphere: chords of angle / 10, times 2; ends are about at right angles."""
    path = PathSettings(space="z", epsilon=0.1)
    got = np.asarray(quadratic(path))
    a, b = (jax.random.normal(k, (64, 48)) for k in jax.random.split(KEY, 4)[:2])
    cosine = np.sum(a * b, axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    chord = 2 * np.sin(np.arccos(cosine) * 0.1 / 2)
    np.testing.assert_allclose(got, (2 * chord / 0.1) ** 2, rtol=2e-3)
    direct = np.asarray(quadratic(path, mapping=None))
    np.testing.assert_allclose(direct, (chord / 0.1) ** 2, rtol=5e-3)


def test_labels_are_those_of_both_ends():
    path = PathSettings(space="w", epsilon=0.5)
    z = (jnp.zeros((2, 48)), jnp.ones((2, 48)))
    seen = []

    def mapping(z, c):
        seen.append(c)
        return z

    labels = jnp.eye(2)
    first, second = line_points(path, z, labels, jnp.zeros(2), mapping)
    assert len(seen) == 2 and all(c is labels for c in seen)
    np.testing.assert_array_equal(first, 0)
    np.testing.assert_array_equal(second, 0.5)
    keys = []
    path_distances(
        *(path, (first, second), KEY),
        synthesize=lambda x, key: (keys.append(key), jnp.zeros((2, 8, 8, 3)))[1],
        distance=lambda a, b: jnp.zeros(len(a)),
    )
    assert keys == [KEY, KEY]


def test_a_rougher_network_has_longer_paths():
    def wave(x, _, frequency):
        return jnp.sin(frequency * x[:, 0]).reshape(-1, 4, 4, 3)

    path = PathSettings(space="w", epsilon=1e-2)
    scores = [
        trimmed_mean(np.asarray(quadratic(path, synthesize=functools.partial(wave, frequency=f))))
        for f in (0.5, 1, 4)
    ]
    assert sorted(scores) == scores and scores[-1] > 10 * scores[0]


def test_trimming():
    """Of 0..100 the percentiles are 1 and 99; of 0..199 they lie between two values."""
    rng = np.random.default_rng(0)
    assert trimmed_mean(rng.permutation([-1e9, *range(1, 100), 1e9])) == 50
    values = np.concatenate([[-1e9], np.arange(1, 199), [1e9]])
    assert trimmed_mean(rng.permutation(values)) == np.arange(1, 199).mean()
    assert trimmed_mean(np.float32([3])) == 3


def test_errors_say_what_to_do():
    for wrong in ({"space": "x"}, {"sampling": "middle"}, {"convention": "jax"}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))}=.* is none of"):
            PathSettings(**wrong)
    for epsilon in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="must be above 0; papers take 1e-4"):
            PathSettings(epsilon=epsilon)
    with pytest.raises(ValueError, match='without a mapping network.*space="z"'):
        line_points(PathSettings(), (jnp.ones((1, 2)),) * 2, None, jnp.zeros(1), None)
    with pytest.raises(ValueError, match="7x9 have no eighths"):
        crop_center(jnp.zeros((1, 7, 9, 3)))
    for channels in (2, 4):
        img = jnp.zeros((1, 8, 8, channels))
        with pytest.raises(ValueError, match=f"{channels} channels.*Leave alpha out"):
            prepare_images(img, crop=False, convention="pytorch")
    with pytest.raises(ValueError, match="2 of 3 path lengths are not finite"):
        trimmed_mean(np.array([1, np.nan, np.inf]))
    with pytest.raises(ValueError, match="there must be some"):
        trimmed_mean(np.array([]))
