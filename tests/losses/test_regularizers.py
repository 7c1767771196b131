import jax
import jax.numpy as jnp
import numpy as np

from stylegan_jax.losses.regularizers import (
    gradient_penalty,
    path_length_penalty,
    path_lengths,
    r1_penalty,
)
from stylegan_jax.ops.pyramid import average_pixels, repeat_pixels


def test_r1_of_a_linear_discriminator(rng):
    """The gradient of `<a, x>` is a, whatever x is."""
    a = jnp.asarray(rng.normal(size=(4, 4, 3)), jnp.float32)
    img = jnp.asarray(rng.normal(size=(5, 4, 4, 3)), jnp.float32)
    penalty, logits, aux = r1_penalty(
        lambda x: (jnp.sum(x * a, axis=(1, 2, 3))[:, None], jnp.sum(x)), img
    )
    np.testing.assert_allclose(penalty, np.full(5, np.sum(np.square(a))), rtol=1e-5)
    np.testing.assert_allclose(logits[:, 0], np.sum(img * a, axis=(1, 2, 3)), rtol=1e-4)
    np.testing.assert_allclose(aux, np.sum(img), rtol=1e-4)


def test_gradient_penalty_of_a_linear_critic(rng):
    """The norm is |a| wherever the gradient is taken."""
    a = jnp.asarray(rng.normal(size=(4, 4, 3)), jnp.float32)
    real, fake = (jnp.asarray(rng.normal(size=(5, 4, 4, 3)), jnp.float32) for _ in range(2))
    mix = jnp.asarray(rng.uniform(size=(5, 1, 1, 1)), jnp.float32)
    norm = np.sqrt(np.sum(np.square(a)))

    def critic(x):
        return jnp.sum(x * a, axis=(1, 2, 3))[:, None], {}

    penalty = gradient_penalty(critic, real, fake, mix, target=2.0, gradient_gain=0.5)
    np.testing.assert_allclose(penalty, np.full(5, ((norm / 2 - 2) / 2) ** 2), rtol=1e-4)


def test_gradient_penalty_is_taken_between_the_images(rng):
    """The gradient of sum(x^3) / 3 is x^2: the point where it is taken shows."""
    real, fake = (jnp.asarray(rng.normal(size=(2, 2, 2, 1)), jnp.float32) for _ in range(2))
    mix = jnp.asarray([0.25, 1.0], jnp.float32)[:, None, None, None]
    penalty = gradient_penalty(
        lambda x: (jnp.sum(x**3, axis=(1, 2, 3))[:, None] / 3, {}), real, fake, mix
    )
    at = np.asarray(real + (fake - real) * mix)
    norm = np.sqrt(np.sum(at**4, axis=(1, 2, 3)))
    np.testing.assert_allclose(penalty, np.square(norm - 1), rtol=1e-4)


def test_penalties_of_small_images_as_of_enlarged_ones(rng):
    """Averaging enlarged images shortens the gradient: squared norms are 4^l times smaller."""
    weights = jnp.asarray(rng.normal(size=(4, 4, 3)), jnp.float32)
    small = jnp.asarray(rng.normal(size=(3, 4, 4, 3)), jnp.float32)

    def judge(img):
        small = average_pixels(img, img.shape[1] // 4)
        return jnp.sum(jnp.tanh(small * weights), (1, 2, 3))[:, None], {}

    for lod in (1, 2):
        enlarged, _, _ = r1_penalty(judge, repeat_pixels(small, 2**lod))
        native, _, _ = r1_penalty(judge, small)
        np.testing.assert_allclose(native * 4.0**-lod, enlarged, rtol=1e-4)


def test_path_length_of_a_linear_synthesis(rng):
    """For `img = W ws` the length is `|W^T y|` over the root of pixels and of layers."""
    matrix = jnp.asarray(rng.normal(size=(3, 2, 2 * 2 * 1)), jnp.float32)
    ws = jnp.asarray(rng.normal(size=(4, 3, 2)), jnp.float32)
    y = rng.normal(size=(4, 2, 2, 1)).astype(np.float32)

    def synthesis(ws):
        return jnp.einsum("nlw,lwp->np", ws, matrix).reshape(4, 2, 2, 1), jnp.sum(ws)

    got, aux = path_lengths(synthesis, ws, jnp.asarray(y))
    jty = np.einsum("np,lwp->nlw", y.reshape(4, -1) / 2, matrix)
    np.testing.assert_allclose(got, np.sqrt((jty**2).sum(2).mean(1)), rtol=1e-5)
    np.testing.assert_allclose(aux, jnp.sum(ws), rtol=1e-5)


def test_penalty_moves_the_mean_first_and_differentiates_through_it():
    lengths, mean = jnp.asarray([1.0, 3.0]), jnp.float32(1.0)
    penalty, moved = path_length_penalty(lengths, mean, pl_decay=0.5)
    assert float(moved) == 1.5
    np.testing.assert_allclose(penalty, [0.25, 2.25])
    grad = jax.grad(lambda x: jnp.sum(path_length_penalty(x, mean, pl_decay=0.5)[0]))(lengths)
    # d/dx_i of sum_j (x_j - a)^2 with da/dx_i = 1/4: 2 (x_i - a) - (1/2) sum_j (x_j - a).
    np.testing.assert_allclose(grad, [2 * -0.5 - 0.5, 2 * 1.5 - 0.5])
