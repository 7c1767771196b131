import jax.numpy as jnp
import numpy as np

from stylegan_jax.losses.adversarial import ADVERSARIAL_LOSSES

FAKE, REAL = jnp.asarray([[0.0], [2.0]]), jnp.asarray([[0.5], [-3.0]])


def losses(name):
    generator, discriminator = ADVERSARIAL_LOSSES[name]
    return np.asarray(generator(FAKE))[:, 0], np.asarray(discriminator(FAKE, REAL))[:, 0]


def test_logistic_by_hand():
    G, D = losses("logistic")
    np.testing.assert_allclose(G, np.log1p(np.exp([-0.0, -2.0])), rtol=1e-6)
    np.testing.assert_allclose(
        D, np.log1p(np.exp([0.0, 2.0])) + np.log1p(np.exp([-0.5, 3.0])), rtol=1e-6
    )
    saturating, same = losses("logistic_saturating")
    np.testing.assert_allclose(saturating, -np.log1p(np.exp([0.0, 2.0])), rtol=1e-6)
    np.testing.assert_array_equal(same, D)


def test_wgan_and_hinge_by_hand():
    G, D = losses("wgan")
    np.testing.assert_allclose(G, [0, -2])
    np.testing.assert_allclose(D, [-0.5, 5])
    G, D = losses("hinge")
    np.testing.assert_allclose(G, [0, -2])
    np.testing.assert_allclose(D, [1 + 0.5, 3 + 4])
