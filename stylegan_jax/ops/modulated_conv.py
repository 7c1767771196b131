"""Weight (de)modulation as scaled activations around one shared convolution."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from stylegan_jax.ops.conv import conv2d_resample
from stylegan_jax.ops.fir import Axes2, Taps


def modulated_conv2d(
    x: Float[Array, "n h w i"],
    weight: Float[Array, "kh kw i o"],
    styles: Float[Array, "n i"],
    *,
    noise: Float[Array, "#n oh ow 1"] | None = None,
    demodulate: bool = True,
    up: int = 1,
    down: int = 1,
    padding: Axes2 = 0,
    taps: Taps = None,
) -> Float[Array, "n oh ow o"]:
    """Convolves each image with its own style-scaled kernel.

    `y_n = conv(x_n, w * s_n / sigma_n)`, where sigma_n normalises each output channel to unit
    variance. Styles scale the input channels and 1/sigma_n the output channels, so that one
    shared kernel serves the whole batch.

    Args:
        x: Feature maps, float32 or bfloat16.
        weight: Kernel, correlated as it stands.
        styles: Per-image scales of the input channels, around 1.
        noise: Added to the result; already multiplied by its strength.
        demodulate: Divide by sigma_n; False for ToRGB.
        up: Integer zoom.
        down: Integer decimation.
        padding: Zeros at the up-sampled rate, `p`, `[x, y]` or `[x0, x1, y0, y1]`.
        taps: FIR filter that sums to 1, for `up` or `down` above 1.

    Returns:
        Feature maps in x.dtype; sigma_n is computed in float32.

    Raises:
        ValueError: Styles or channels do not fit the kernel.

    Source: Karras et al. 2020 (StyleGAN2), section 2.2, eqs. 1-3.
    Checked: tests/parity, case `ops_modulated_conv2d_sg2`; tests/ops/test_modulated_conv.py.
    """
    if styles.shape != (x.shape[0], weight.shape[2]):
        raise ValueError(
            f"Styles of shape {styles.shape} for {x.shape[0]} images and a kernel of "
            f"{weight.shape[2]} input channels; give one scale per image and input channel."
        )
    y = x * styles.astype(x.dtype)[:, None, None, :]
    y = conv2d_resample(y, weight, taps, up=up, down=down, padding=padding)
    if demodulate:
        y = y * demodulation(weight, styles).astype(x.dtype)[:, None, None, :]
    return y if noise is None else y + noise.astype(x.dtype)


def demodulation(
    weight: Float[Array, "kh kw i o"], styles: Float[Array, "n i"]
) -> Float[Array, "n o"]:
    """`1 / sigma`, the inverse norm of every modulated output kernel, in float32."""
    energy = jnp.sum(jnp.square(weight.astype(jnp.float32)), axis=(0, 1))
    power = jnp.square(styles.astype(jnp.float32))
    sigma_squared = jnp.matmul(power, energy, precision=lax.Precision.HIGHEST)
    return lax.rsqrt(sigma_squared + 1e-8)
