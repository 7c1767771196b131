import jax
import jax.numpy as jnp
import numpy as np

from stylegan_jax.losses.adversarial import discriminator_logistic, generator_logistic
from stylegan_jax.losses.regularizers import path_length_penalty, path_lengths, r1_penalty


def test_logistic_by_hand():
    fake, real = jnp.asarray([[0.0], [2.0]]), jnp.asarray([[0.0], [-3.0]])
    np.testing.assert_allclose(
        generator_logistic(fake)[:, 0], np.log1p(np.exp([-0.0, -2.0])), rtol=1e-6
    )
    want = np.log1p(np.exp([0.0, 2.0])) + np.log1p(np.exp([0.0, 3.0]))
    np.testing.assert_allclose(discriminator_logistic(fake, real)[:, 0], want, rtol=1e-6)


def test_r1_of_a_linear_discriminator(rng):
    """The gradient of `<a, x>` is a, whatever x is."""
    a = jnp.asarray(rng.normal(size=(4, 4, 3)), jnp.float32)
    img = jnp.asarray(rng.normal(size=(5, 4, 4, 3)), jnp.float32)
    penalty, logits = r1_penalty(lambda x: jnp.sum(x * a, axis=(1, 2, 3))[:, None], img)
    np.testing.assert_allclose(penalty, np.full(5, np.sum(np.square(a))), rtol=1e-5)
    np.testing.assert_allclose(logits[:, 0], np.sum(img * a, axis=(1, 2, 3)), rtol=1e-4)


def test_path_length_of_a_linear_synthesis(rng):
    """For `img = W ws` the length is `|W^T y|` over the root of pixels and of layers."""
    matrix = jnp.asarray(rng.normal(size=(3, 2, 2 * 2 * 1)), jnp.float32)
    ws = jnp.asarray(rng.normal(size=(4, 3, 2)), jnp.float32)
    y = rng.normal(size=(4, 2, 2, 1)).astype(np.float32)

    def synthesis(ws):
        return jnp.einsum("nlw,lwp->np", ws, matrix).reshape(4, 2, 2, 1)

    got = path_lengths(synthesis, ws, jnp.asarray(y))
    jty = np.einsum("np,lwp->nlw", y.reshape(4, -1) / 2, matrix)
    np.testing.assert_allclose(got, np.sqrt((jty**2).sum(2).mean(1)), rtol=1e-5)


def test_penalty_moves_the_mean_first_and_differentiates_through_it():
    lengths, mean = jnp.asarray([1.0, 3.0]), jnp.float32(1.0)
    penalty, moved = path_length_penalty(lengths, mean, pl_decay=0.5)
    assert float(moved) == 1.5
    np.testing.assert_allclose(penalty, [0.25, 2.25])
    grad = jax.grad(lambda x: jnp.sum(path_length_penalty(x, mean, pl_decay=0.5)[0]))(lengths)
    # d/dx_i of sum_j (x_j - a)^2 with da/dx_i = 1/4: 2 (x_i - a) - (1/2) sum_j (x_j - a).
    np.testing.assert_allclose(grad, [2 * -0.5 - 0.5, 2 * 1.5 - 0.5])
