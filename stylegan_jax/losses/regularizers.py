"""Gradient penalties: R1, R2 and WGAN-GP of the discriminator, path length of the generator."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from stylegan_jax.ops.partition import batch_mean


def r1_penalty(
    discriminator: Callable[[Array], tuple[Array, Any]], img: Float[Array, "n h w c"]
) -> tuple[Float[Array, " n"], Float[Array, "n 1"], Any]:
    """Squared gradient norm of the logits, summed over pixels and channels.

    Args:
        discriminator: Maps images to `(logits [n, 1], aux)`.
        img: Images in [-1, 1]; at reals the penalty is R1, at fakes R2.

    Returns:
        `(penalty, logits, aux)`, float32; the loss is `gamma / 2 * penalty`.

    Source: Mescheder et al. 2018, eqs. 9 and 10. Checked: tests/parity, cases `loss_*`,
    `sg1_losses`.
    """

    def total(img: Array) -> tuple[Array, Any]:
        logits, aux = discriminator(img)
        # An image moves its own logit alone: the sum's gradient holds all of theirs.
        return jnp.sum(logits), (logits, aux)

    grads, (logits, aux) = jax.grad(total, has_aux=True)(img)
    # |grad_x D(x)|^2
    penalty = jnp.sum(jnp.square(grads.astype(jnp.float32)), axis=(1, 2, 3))  # [n]
    return penalty, logits, aux


def gradient_penalty(
    discriminator: Callable[[Array], tuple[Array, Any]],
    real_img: Float[Array, "n h w c"],
    fake_img: Float[Array, "n h w c"],
    mix: Float[Array, "n 1 1 1"],
    *,
    target: float = 1.0,
    gradient_gain: float = 1.0,
) -> Float[Array, " n"]:
    """Squared relative distance of the critic's gradient norm from a target, between the images.

    Args:
        discriminator: Maps images to `(logits [n, 1], aux)`.
        real_img: Real images in [-1, 1].
        fake_img: As many fakes.
        mix: Uniform numbers in [0, 1): the gradient is taken at `real + (fake - real) * mix`.
        target: Norm that is not penalised.
        gradient_gain: Factor on the norm. Enlarging images by repeated pixels, `2^l` times,
            makes their gradient `2^l` times shorter; `2^-l` here gives the norm at full size.

    Returns:
        `((norm - target) / target)^2`, float32; the loss is `weight * penalty`.

    Source: Gulrajani et al. 2017 (WGAN-GP), eq. 3; target as in ProGAN, appendix A.1.
    Checked: tests/parity, cases `pggan_losses`, `sg1_losses`.
    """
    # On the line between a real and a fake, |grad D| should be the target.
    squared, _, _ = r1_penalty(discriminator, real_img + (fake_img - real_img) * mix)  # [n]
    return jnp.square((jnp.sqrt(squared) * gradient_gain - target) / target)


def path_lengths(
    synthesis: Callable[[Array], tuple[Array, Any]],
    ws: Float[Array, "n l d"],
    pl_noise: Float[Array, "n h w c"],
    *,
    num_pixels: int | None = None,
) -> tuple[Float[Array, " n"], Any]:
    """Length of `J_w^T y` per image: root of its squared norm, averaged over the layers.

    The length is taken as the slope of `y^T synthesis(w)` along `J_w^T y`, of unit length. It has
    the same value and gradient, but its gradient is reverse over forward differentiation, which
    holds less in memory than reverse over reverse. Second derivatives are not those of the length.

    Args:
        synthesis: Maps styles to `(images, aux)`.
        ws: Styles of each layer.
        pl_noise: Unit normal image-shaped directions; divided by sqrt(num_pixels) here.
        num_pixels: Pixels of an image; default `h * w`, which packed images have fewer of.

    Returns:
        `(lengths, aux)`.

    Source: Karras et al. 2020 (StyleGAN2), section 3.2, eq. 4.
    Checked: tests/parity, cases `loss_*`.
    """
    # With it the length of J_w^T y does not grow with the resolution.
    scale = 1 / jnp.sqrt(float(num_pixels or pl_noise.shape[1] * pl_noise.shape[2]))

    def projections(ws: Array) -> Array:
        """`y^T synthesis(w)` per image."""
        return jnp.sum(synthesis(ws)[0] * pl_noise * scale, axis=(1, 2, 3))

    def total(ws: Array) -> tuple[Array, Any]:
        img, aux = synthesis(ws)
        return jnp.sum(jnp.sum(img * pl_noise * scale, axis=(1, 2, 3))), aux

    # J_w^T y, the direction of steepest ascent, which stands still from here on.
    grads, aux = jax.grad(total, has_aux=True)(ws)  # [n, l, d]
    grads = lax.stop_gradient(grads)

    # sqrt(mean_l |(J_w^T y)_l|^2), and the direction whose slope is just that:
    # <J_w^T y, direction> = l * lengths^2 / (lengths * l)
    lengths = jnp.sqrt(jnp.mean(jnp.sum(jnp.square(grads), axis=2), axis=1))  # [n]
    direction = grads / (lengths[:, None, None] * ws.shape[1])

    # The slope along it: as long as J_w^T y, and differentiable by one more reverse pass.
    return jax.jvp(projections, (ws,), (direction,))[1], aux


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
    # a <- a + decay * (mean |J_w^T y| - a), over the images of all devices
    moved = pl_mean + pl_decay * (batch_mean(lengths) - pl_mean)
    # (|J_w^T y| - a)^2  (eq. 4)
    return jnp.square(lengths - moved), lax.stop_gradient(moved)
