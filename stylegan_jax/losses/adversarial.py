"""Adversarial losses, one value per image."""

import jax
from jaxtyping import Array, Float


def generator_logistic(fake_logits: Float[Array, "n 1"]) -> Float[Array, "n 1"]:
    """Non-saturating logistic loss of the generator, `softplus(-D(G(z)))`.

    Source: Goodfellow et al. 2014, section 3. Checked: tests/parity, cases `loss_*`.
    """
    return jax.nn.softplus(-fake_logits)


def discriminator_logistic(
    fake_logits: Float[Array, "n 1"], real_logits: Float[Array, "n 1"]
) -> Float[Array, "n 1"]:
    """Logistic loss of the discriminator, `softplus(D(G(z))) + softplus(-D(x))`.

    Source: Goodfellow et al. 2014, section 3. Checked: tests/parity, cases `loss_*`.
    """
    return jax.nn.softplus(fake_logits) + jax.nn.softplus(-real_logits)
