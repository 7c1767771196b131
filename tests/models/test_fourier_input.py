import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from stylegan_jax.models import make_model
from stylegan_jax.models.fourier_input import FourierInput

SIZES = dict(w_dim=5, channels=64, size=(10, 12), sampling_rate=8, bandwidth=2.0)


@pytest.fixture(scope="module")
def waves():
    """The input with a style that turns and moves, and its program."""
    graphdef, init = make_model(FourierInput, **SIZES)
    params = jax.tree.map(np.asarray, jax.jit(init)(jax.random.key(0)))
    draw = jax.jit(lambda params, w, transform: nnx.merge(graphdef, params)(w, transform))
    return params, draw


def test_first_weights(waves):
    params, draw = waves
    # Uniform over the disc: half of the radii lie below bandwidth / sqrt(2).
    radii = np.linalg.norm(params["freqs"], axis=1)
    assert radii.max() < 2 and 0.3 < np.mean(radii < np.sqrt(2)) < 0.7
    assert np.abs(params["phases"]).max() <= 0.5
    w = np.asarray(jax.random.normal(jax.random.key(1), (3, 5)))
    x = draw(params, w, np.eye(3, dtype=np.float32))
    # No style turns or moves anything at first.
    assert x.shape == (3, 10, 12, 64) and x.dtype == jnp.float32
    np.testing.assert_array_equal(x[0], x[2])


def test_against_a_loop(waves):
    """Formulas of one pixel after the other, in float64."""
    params, draw = waves
    rng = np.random.RandomState(0)
    affine = {"weight": rng.randn(5, 4), "bias": rng.randn(4)}
    params = params | {"affine": affine}
    w = rng.randn(2, 5)
    transform = np.stack([[[1.2, 0.3, 0.1], [-0.2, 0.9, 0.4], [0, 0, 1]], np.diag([2.5, 2.2, 1])])
    got = draw(jax.tree.map(np.float32, params), np.float32(w), np.float32(transform))

    t = w @ affine["weight"] / np.sqrt(5) + affine["bias"]
    t /= np.hypot(t[:, 0], t[:, 1])[:, None]
    for n in range(2):
        c, s, tx, ty = t[n]
        rotation = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
        matrix = rotation @ [[1, 0, -tx], [0, 1, -ty], [0, 0, 1]] @ transform[n]
        freqs = params["freqs"] @ matrix[:2, :2]
        phases = params["phases"] + params["freqs"] @ matrix[:2, 2]
        amplitudes = np.clip(1 - (np.hypot(*freqs.T) - 2.0) / (4 - 2.0), 0, 1)
        for row, column in ((0, 0), (3, 11), (9, 5)):
            place = np.array([column + 0.5 - 6, row + 0.5 - 5]) / 8
            values = amplitudes * np.sin(2 * np.pi * (freqs @ place + phases))
            want = values @ params["weight"] / 8
            np.testing.assert_allclose(got[n, row, column], want, atol=2e-5)


def test_a_transform_moves_the_waves_by_whole_pixels(waves):
    params, draw = waves
    w = np.zeros((1, 5), np.float32)
    moved = np.eye(3, dtype=np.float32)
    moved[:2, 2] = 2 / 8, -1 / 8  # from here to two pixels to the right, one up
    x = draw(params, w, np.eye(3, dtype=np.float32))
    np.testing.assert_allclose(draw(params, w, moved)[:, 1:, :-2], x[:, :-1, 2:], atol=1e-5)


def test_nothing_breaks_where_a_transform_or_a_style_is_no_map(waves):
    """Gradients, too; none reaches what is not trained."""
    params, _ = waves
    graphdef, _ = make_model(FourierInput, **SIZES)
    params = params | {"affine": jax.tree.map(np.zeros_like, params["affine"])}

    @jax.jit
    def grads(params, transform):
        def total(params):
            return jnp.sum(nnx.merge(graphdef, params)(jnp.ones((2, 5)), transform) ** 2)

        return jax.value_and_grad(total)(params)

    value, grad = grads(params, jnp.zeros((3, 3)))
    assert np.isfinite(value) and all(np.isfinite(x).all() for x in jax.tree.leaves(grad))
    assert not np.any(grad["freqs"]) and not np.any(grad["phases"]) and np.any(grad["weight"])


def test_pixels_that_hold_no_such_waves():
    with pytest.raises(ValueError, match="bandwidth=4.5 with sampling_rate=8"):
        make_model(FourierInput, **SIZES | dict(bandwidth=4.5))
