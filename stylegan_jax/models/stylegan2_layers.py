"""Layers of StyleGAN2's generator: the modulated convolution with its noise, and ToRGB."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from stylegan_jax.models.layers import Dense, activate, image_packing, normalized
from stylegan_jax.ops.formulation import Formulation, platform_formulation
from stylegan_jax.ops.modulated_conv import modulated_conv2d
from stylegan_jax.sizes import Size, divided


class SynthesisLayer(nnx.Module):
    """Modulated 3x3 convolution, noise, bias, activation: `[n, h, w, in] -> [n, h*up, w*up, out]`.

    Source: Karras et al. 2020 (StyleGAN2), figure 2d.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        w_dim: int,
        size: Size,
        up: int = 1,
        use_noise: bool = True,
        act: str = "lrelu",
        resample_filter: tuple[float, ...] = (1, 3, 3, 1),
        conv_clamp: float | None = None,
        formulation: Formulation | None = None,
        rngs: nnx.Rngs,
    ):
        """Builds the layer; `w_dim` is the length of a style, the rest as in `Conv2d`."""
        formulation = formulation or platform_formulation()
        # A: one scale per input channel, 1 at first.
        self.affine = Dense(w_dim, in_channels, bias_init=1.0, rngs=rngs)
        # w. Demodulation sets the scale of the output, so it needs no equalised gain.
        shape = (3, 3, in_channels, out_channels)
        self.weight = nnx.Param(jax.random.normal(rngs.params(), shape))
        # B, one strength for all channels; 0 at first: noise comes in as far as it helps.
        if use_noise:
            self.noise_strength = nnx.Param(jnp.zeros(()))
        self.bias = nnx.Param(jnp.zeros((out_channels,)))

        self.use_noise = use_noise
        self.act = act
        self.up = up
        self.taps = normalized(resample_filter)
        self.conv_clamp = conv_clamp
        # As in `Conv2d`: the same numbers in another order.
        self.formulation = formulation
        self.packing = (
            formulation.packing(divided(size, up), in_channels),
            formulation.packing(size, out_channels),
        )

    def __call__(
        self,
        x: Float[Array, "n h w i"],
        w: Float[Array, "n w_dim"],
        noise: Float[Array, "#n nh nw 1"] | None,
        gain: float = 1.0,
    ) -> Float[Array, "n p q o"]:
        """Applies the layer; `noise` is unit normal and scaled by the learned strength here."""
        # Modulation, up-sampling, convolution, demodulation (eqs. 1 to 3):
        #   w'_ijk = s_i * w_ijk,   w''_ijk = w'_ijk / sqrt(sum_ik w'_ijk^2 + eps),   x * w'' + B n
        x = modulated_conv2d(
            x,
            self.weight[...],
            self.affine(w),  # s [n, in]
            noise=noise if self.use_noise else None,
            noise_strength=self.noise_strength[...] if self.use_noise else 0.0,
            up=self.up,
            padding=1,
            taps=self.taps,
            packing=self.packing,
            formulation=self.formulation,
        )
        # Bias and noise lie after demodulation, outside the style's reach (section 2.1).
        return activate(x, self.bias[...], act=self.act, gain=gain, clamp=self.conv_clamp)


class ToRGB(nnx.Module):
    """Modulated 1x1 convolution to colours, `[n, h, w, in] -> [n, h, w, img_channels]`."""

    def __init__(
        self,
        in_channels: int,
        img_channels: int,
        *,
        w_dim: int,
        size: Size,
        conv_clamp: float | None = None,
        formulation: Formulation | None = None,
        rngs: nnx.Rngs,
    ):
        """Builds the layer; arguments as in `SynthesisLayer`."""
        formulation = formulation or platform_formulation()
        self.affine = Dense(w_dim, in_channels, bias_init=1.0, rngs=rngs)
        shape = (1, 1, in_channels, img_channels)
        self.weight = nnx.Param(jax.random.normal(rngs.params(), shape))
        self.bias = nnx.Param(jnp.zeros((img_channels,)))
        # Equalised learning rate, which nothing replaces here.
        self.weight_gain = 1 / float(np.sqrt(in_channels))

        self.conv_clamp = conv_clamp
        self.formulation = formulation
        self.packing = (
            formulation.packing(size, in_channels),
            image_packing(formulation, size, img_channels, in_channels),
        )

    def __call__(
        self, x: Float[Array, "n h w i"], w: Float[Array, "n w_dim"]
    ) -> Float[Array, "n p q o"]:
        """Applies the layer in x.dtype and returns float32."""
        # No demodulation: it would give the colours of every image the same variance.
        x = modulated_conv2d(
            x,
            self.weight[...],
            self.affine(w) * self.weight_gain,
            demodulate=False,
            packing=self.packing,
            formulation=self.formulation,
        )
        x = activate(x, self.bias[...], act="linear", clamp=self.conv_clamp)
        # The image, a sum over resolutions, is not rounded to bfloat16's 8 bits.
        return x.astype(jnp.float32)
