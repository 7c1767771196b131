"""Weight (de)modulation as scaled activations around one shared convolution."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from stylegan_jax.ops.conv import conv2d_resample
from stylegan_jax.ops.fir import Axes2, Taps
from stylegan_jax.ops.formulation import Formulation
from stylegan_jax.ops.packing import UNPACKED, Packing, pack_map, tile_channels
from stylegan_jax.ops.precision import spread, wide


def modulated_conv2d(
    x: Float[Array, "n h w ci"],
    weight: Float[Array, "kh kw i o"],
    styles: Float[Array, "n i"],
    *,
    noise: Float[Array, "#n nh nw 1"] | None = None,
    noise_strength: Float[Array, ""] | float = 1.0,
    demodulate: bool = True,
    up: int = 1,
    down: int = 1,
    padding: Axes2 = 0,
    taps: Taps = None,
    packing: tuple[Packing, Packing] = (UNPACKED, UNPACKED),
    formulation: Formulation | None = None,
) -> Float[Array, "n oh ow co"]:
    """Convolves each image with its own style-scaled kernel.

    `y_n = conv(x_n, w * s_n / sigma_n)`, where sigma_n normalises each output channel to unit
    variance. Styles scale the input channels and 1/sigma_n the output channels, so that one
    shared kernel serves the whole batch.

    Args:
        x: Feature maps, float32 or bfloat16.
        weight: Kernel, correlated as it stands.
        styles: Per-image scales of the input channels, around 1.
        noise: Added to the result, times `noise_strength`.
        noise_strength: One number for the layer.
        demodulate: Divide by sigma_n; False for ToRGB.
        up: Integer zoom.
        down: Integer decimation.
        padding: Zeros at the up-sampled rate, `p`, `[x, y]` or `[x0, x1, y0, y1]`.
        taps: FIR filter that sums to 1, for `up` or `down` above 1.
        packing: How x and the result are packed (`ops/packing.py`); noise and styles never are.
        formulation: See `conv2d_resample`.

    Returns:
        Feature maps in x.dtype; sigma_n, and sums over pixels in gradients, are float32.

    Raises:
        ValueError: Styles or channels do not fit the kernel.

    Source: Karras et al. 2020 (StyleGAN2), section 2.2, eqs. 1-3.
    Checked: tests/parity, case `ops_modulated_conv2d_sg2`; tests/ops/test_modulated_conv.py.
    """
    pack_in, pack_out = packing
    if styles.shape != (x.shape[0], weight.shape[2]):
        raise ValueError(
            f"Styles of shape {styles.shape} for {x.shape[0]} images and a kernel of "
            f"{weight.shape[2]} input channels; give one scale per image and input channel."
        )

    # x * s, with one number per image and input channel: [n, i] -> [n, 1, 1, ci] -> [n, h, w, ci].
    y = x * spread(tile_channels(styles, pack_in)[:, None, None, :], x)
    y = conv2d_resample(
        y,
        weight,
        taps,
        up=up,
        down=down,
        padding=padding,
        packing=packing,
        formulation=formulation,
    )

    # Divided after the convolution by what the kernel would have been divided by.
    if demodulate:
        inverse_sigma = demodulation(weight, styles)  # [n, o]
        y = y * spread(tile_channels(inverse_sigma, pack_out)[:, None, None, :], y)
    if noise is None:
        return y

    # Packed before it is scaled: the strength's gradient is one sum over what is added.
    noise = pack_map(noise.astype(y.dtype), pack_out, weight.shape[3])
    return y + spread(noise * spread(jnp.asarray(noise_strength), noise), y)


def modulated_conv2d_normalized(
    x: Float[Array, "n h w i"],
    weight: Float[Array, "kh kw i o"],
    styles: Float[Array, "n i"],
    *,
    demodulate: bool = True,
    padding: Axes2 = 0,
    input_gain: Float[Array, "..."] | float | None = None,
    formulation: Formulation | None = None,
) -> Float[Array, "n oh ow o"]:
    """Convolves each image with its own kernel, from a kernel and styles of unit variance.

    `y_n = conv(x_n, g * w' * s'_n / sigma_n)`: w' is w divided by the root mean square of each
    output channel's kernel, s' is s divided by that of all styles, and sigma_n normalises each
    output channel to unit variance. Without demodulation nothing is normalised.

    sigma_n cancels both divisions but for its epsilon. So it does not matter that the mean over
    styles is over the images of one device where a batch is split.

    Args:
        x: Feature maps, float32 or bfloat16.
        weight: Kernel, correlated as it stands.
        styles: Per-image scales of the input channels.
        demodulate: Normalise; False for ToRGB.
        padding: Zeros around x, `p`, `[x, y]` or `[x0, x1, y0, y1]`.
        input_gain: Factor on x, after normalisation: a number, `[i]` or `[n, i]`.
        formulation: See `conv2d_resample`.

    Returns:
        Feature maps in x.dtype; norms, and sums over pixels in gradients, are float32.

    Raises:
        ValueError: Styles, gain or channels do not fit the kernel.

    Source: Karras et al. 2021 (StyleGAN3), section 3.2 and appendix C; eqs. 1-3 of Karras et al.
        2020 (StyleGAN2).
    Checked: tests/parity, case `ops_modulated_conv2d_sg3`; tests/ops/test_modulated_conv.py.
    """
    inverse_sigma = None
    if demodulate:
        # w' and s', of mean square 1
        weight = wide(weight)
        weight = weight * lax.rsqrt(jnp.mean(jnp.square(weight), axis=(0, 1, 2)))  # [kh, kw, i, o]
        styles = wide(styles)
        styles = styles * lax.rsqrt(jnp.mean(jnp.square(styles)))  # [n, i]
        inverse_sigma = demodulation(weight, styles)  # [n, o]

    # What scales the input may do so with the styles.
    if input_gain is not None:
        gain = jnp.asarray(input_gain)
        if gain.shape not in ((), styles.shape[1:], styles.shape):
            raise ValueError(
                f"input_gain of shape {gain.shape} for styles of shape {styles.shape}; give a "
                "number, one per input channel, or one per image and input channel."
            )
        styles = styles * gain
    y = modulated_conv2d(
        x, weight, styles, demodulate=False, padding=padding, formulation=formulation
    )
    if inverse_sigma is None:
        return y
    return y * spread(inverse_sigma[:, None, None, :], y)


def demodulation(
    weight: Float[Array, "kh kw i o"], styles: Float[Array, "n i"]
) -> Float[Array, "n o"]:
    """`1 / sigma`, the inverse norm of every modulated output kernel, in float32."""
    # sigma_no^2 = sum_i s_ni^2 sum_k w_kio^2  (Karras et al. 2020, eq. 3)
    energy = jnp.sum(jnp.square(weight.astype(jnp.float32)), axis=(0, 1))  # [i, o]
    power = jnp.square(styles.astype(jnp.float32))  # [n, i]
    # TPUs round factors of a product to bfloat16 by default: too coarse for a norm.
    sigma_squared = jnp.matmul(power, energy, precision=lax.Precision.HIGHEST)
    return lax.rsqrt(sigma_squared + 1e-8)
