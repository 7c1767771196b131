"""Second-moment and instance normalisation, and minibatch standard deviation."""

from typing import Literal

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from stylegan_jax.ops.partition import all_images, own_images

# Which images form a group: neighbours, or every (n / group_size)th.
Grouping = Literal["contiguous", "strided"]


def normalize_2nd_moment(
    x: Float[Array, "..."], *, axis: int = -1, eps: float = 1e-8
) -> Float[Array, "..."]:
    """Scales vectors along `axis` to unit mean square, `x / sqrt(mean(x^2) + eps)`.

    Source: Karras et al. 2018 (ProGAN), section 4.2 (pixel norm).
    Checked: tests/ops/test_normalize.py; tests/parity through every mapping network.
    """
    mean_square = jnp.mean(jnp.square(x.astype(jnp.float32)), axis=axis, keepdims=True)
    return x * lax.rsqrt(mean_square + eps).astype(x.dtype)


def instance_norm(x: Float[Array, "n h w c"], *, eps: float = 1e-8) -> Float[Array, "n h w c"]:
    """Gives every feature map of every image zero mean and unit variance.

    Statistics in float32; the result is in x.dtype.

    Source: Karras et al. 2019 (StyleGAN), eq. 1 (the normalisation in AdaIN).
    Checked: tests/parity, case `sg1_ops`.
    """
    # (x - mean(x)) / sigma(x) over the pixels of each map
    y = x.astype(jnp.float32)
    y = y - jnp.mean(y, axis=(1, 2), keepdims=True)
    variance = jnp.mean(jnp.square(y), axis=(1, 2), keepdims=True)
    return (y * lax.rsqrt(variance + eps)).astype(x.dtype)


def minibatch_stddev(
    x: Float[Array, "n h w c"],
    *,
    group_size: int | None = 4,
    num_channels: int = 1,
    grouping: Grouping = "contiguous",
) -> Float[Array, "n h w cf"]:
    """Appends the standard deviation over a group of images as extra feature maps.

    Args:
        x: Feature maps.
        group_size: Images per group, cut to the batch size; None takes the whole batch, that
            of all devices.
        num_channels: Statistics per group: channels are split into as many equal parts.
        grouping: `contiguous` groups neighbours (image i is in group i // group_size), which
            never cross a device; `strided` is the original order (group i mod (n / group_size)),
            for which devices exchange their feature maps.

    Returns:
        `[n, h, w, c + num_channels]` in x.dtype; statistics are computed in float32.

    Raises:
        ValueError: The batch is not a multiple of the group, or c not of `num_channels`.

    Source: Karras et al. 2018 (ProGAN), section 3; groups as in StyleGAN.
    Checked: tests/parity, case `ops_minibatch_stddev`; tests/ops/test_normalize.py.
    """
    # The images over which groups are formed.
    crosses_devices = grouping == "strided" or group_size is None
    members = all_images(x) if crosses_devices else x
    n, h, w, c = members.shape
    size = n if group_size is None else min(group_size, n)
    if n % size or c % num_channels:
        raise ValueError(
            f"Minibatch stddev of {n} images with {c} channels: give a group_size that divides "
            f"the batch (got {group_size}) and num_channels that divides c (got {num_channels})."
        )

    # Images by group and place in it, channels by statistic:
    # [groups, size, h, w, f, c / f], or [size, groups, ...] where groups are strided.
    if grouping == "contiguous":
        shape = (n // size, size)
        member = 1
    else:
        shape = (size, n // size)
        member = 0
    y = members.astype(jnp.float32).reshape(*shape, h, w, num_channels, c // num_channels)

    # One number per group and statistic: the deviation over the group, averaged over the rest.
    stddev = jnp.sqrt(jnp.var(y, axis=member, keepdims=True) + 1e-8)
    stddev = jnp.mean(stddev, axis=(2, 3, 5), keepdims=True)

    # The same map for every image of the group, [n, h, w, f].
    stddev = jnp.broadcast_to(stddev, (*shape, h, w, num_channels, 1))
    stddev = stddev.reshape(n, h, w, num_channels).astype(x.dtype)
    if crosses_devices:
        stddev = own_images(stddev)
    return jnp.concatenate([x, stddev], axis=-1)
