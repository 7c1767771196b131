"""Adversarial losses, one value per image."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


# Logistic: softplus(-l) = -log sigmoid(l), and D(x) = sigmoid(l) is "real"'s probability.
def generator_logistic(fake_logits: Float[Array, "n 1"]) -> Float[Array, "n 1"]:
    """Non-saturating logistic loss of the generator, `softplus(-D(G(z)))`.

    Source: Goodfellow et al. 2014, section 3. Checked: tests/parity, cases `loss_*`.
    """
    return jax.nn.softplus(-fake_logits)


def generator_logistic_saturating(fake_logits: Float[Array, "n 1"]) -> Float[Array, "n 1"]:
    """Saturating logistic loss of the generator, `-softplus(D(G(z)))`: the minimax game itself.

    Source: Goodfellow et al. 2014, eq. 1. Checked: tests/parity, case `sg1_losses`.
    """
    return -jax.nn.softplus(fake_logits)


def discriminator_logistic(
    fake_logits: Float[Array, "n 1"], real_logits: Float[Array, "n 1"]
) -> Float[Array, "n 1"]:
    """Logistic loss of the discriminator, `softplus(D(G(z))) + softplus(-D(x))`.

    Source: Goodfellow et al. 2014, section 3. Checked: tests/parity, cases `loss_*`.
    """
    return jax.nn.softplus(fake_logits) + jax.nn.softplus(-real_logits)


# Wasserstein and hinge: the logit is a score without a scale.
def generator_wgan(fake_logits: Float[Array, "n 1"]) -> Float[Array, "n 1"]:
    """Wasserstein and hinge loss of the generator, `-D(G(z))`.

    Source: Arjovsky et al. 2017 (WGAN), algorithm 1. Checked: tests/parity, case `pggan_losses`.
    """
    return -fake_logits


def discriminator_wgan(
    fake_logits: Float[Array, "n 1"], real_logits: Float[Array, "n 1"]
) -> Float[Array, "n 1"]:
    """Wasserstein loss of the critic, `D(G(z)) - D(x)`; needs a gradient penalty.

    Source: Arjovsky et al. 2017 (WGAN), algorithm 1. Checked: tests/parity, case `pggan_losses`.
    """
    return fake_logits - real_logits


def discriminator_hinge(
    fake_logits: Float[Array, "n 1"], real_logits: Float[Array, "n 1"]
) -> Float[Array, "n 1"]:
    """Hinge loss of the discriminator, `max(0, 1 + D(G(z))) + max(0, 1 - D(x))`.

    Source: Lim and Ye 2017 (Geometric GAN), eq. 8. Checked: tests/parity, case `sg1_losses`.
    """
    return jnp.maximum(0.0, 1 + fake_logits) + jnp.maximum(0.0, 1 - real_logits)


# Name -> losses of the generator and of the discriminator.
ADVERSARIAL_LOSSES = {
    "logistic": (generator_logistic, discriminator_logistic),
    "logistic_saturating": (generator_logistic_saturating, discriminator_logistic),
    "wgan": (generator_wgan, discriminator_wgan),
    "hinge": (generator_wgan, discriminator_hinge),
}
