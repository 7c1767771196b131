"""Gradient penalties: R1 on real images, path length in the generator."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


def r1_penalty(
    discriminator: Callable[[Array], Array], real_img: Float[Array, "n h w c"]
) -> tuple[Float[Array, " n"], Float[Array, "n 1"]]:
    """Squared gradient norm of the logits at real images, summed over pixels and channels.

    Args:
        discriminator: Maps images to logits `[n, 1]`.
        real_img: Real images in [-1, 1].

    Returns:
        `(penalty, logits)`, float32; the loss is `r1_gamma / 2 * penalty`.

    Source: Mescheder et al. 2018, eq. 9. Checked: tests/parity, cases `loss_*`.
    """

    def total(img: Array) -> tuple[Array, Array]:
        logits = discriminator(img)
        return jnp.sum(logits), logits

    grads, logits = jax.grad(total, has_aux=True)(real_img)
    return jnp.sum(jnp.square(grads.astype(jnp.float32)), axis=(1, 2, 3)), logits


def path_lengths(
    synthesis: Callable[[Array], Array],
    ws: Float[Array, "n l d"],
    pl_noise: Float[Array, "n h w c"],
) -> Float[Array, " n"]:
    """Length of `J_w^T y` per image: root of its squared norm, averaged over the layers.

    Args:
        synthesis: Maps styles to images.
        ws: Styles of each layer.
        pl_noise: Unit normal image-shaped directions; divided by sqrt(h * w) here.

    Source: Karras et al. 2020 (StyleGAN2), section 3.2, eq. 4.
    Checked: tests/parity, cases `loss_*`.
    """
    scale = 1 / jnp.sqrt(float(pl_noise.shape[1] * pl_noise.shape[2]))
    grads = jax.grad(lambda ws: jnp.sum(synthesis(ws) * pl_noise * scale))(ws)
    return jnp.sqrt(jnp.mean(jnp.sum(jnp.square(grads), axis=2), axis=1))


def path_length_penalty(
    lengths: Float[Array, " n"], pl_mean: Float[Array, ""], *, pl_decay: float
) -> tuple[Float[Array, " n"], Float[Array, ""]]:
    """Squared distance of path lengths from their moving mean.

    The mean is moved first and the penalty is taken from the moved one, through which it
    stays differentiable; only the stored copy is cut off.

    Returns:
        `(penalty, new_pl_mean)`.

    Source: Karras et al. 2020 (StyleGAN2), section 3.2. Checked: tests/parity, cases `loss_*`.
    """
    moved = pl_mean + pl_decay * (jnp.mean(lengths) - pl_mean)
    return jnp.square(lengths - moved), lax.stop_gradient(moved)
