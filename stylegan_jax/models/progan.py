"""ProGAN generator, grown block by block."""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from stylegan_jax.models.blocks import (
    BaseGenerator,
    Moving,
    Noise,
    apply_block,
    blend_colors,
    growing_resolutions,
)
from stylegan_jax.models.layers import (
    Conv2d,
    Dense,
    activate,
    block_resolutions,
    channels_at,
    compute_dtype,
)
from stylegan_jax.ops.formulation import Formulation, platform_formulation
from stylegan_jax.ops.normalize import normalize_2nd_moment
from stylegan_jax.ops.packing import UNPACKED, Packing, space_to_depth

# Here the gain that keeps unit variance sits on the weight, not on the activation.
HE_GAIN = float(np.sqrt(2))


class Mapping(nnx.Module):
    """Latent and label side by side, normalised together; without parameters."""

    def __call__(
        self, z: Float[Array, "*n z"], c: Float[Array, "*n c"] | None
    ) -> Float[Array, "*n w"]:
        """Returns vectors of unit mean square."""
        z = z.astype(jnp.float32)
        return normalize_2nd_moment(z if c is None else jnp.concatenate([z, c], axis=-1))


class SynthesisBlock(nnx.Module):
    """One resolution: up-sampling convolution and convolution, `[n, h, w, in] -> [n, 2h, 2w, out]`.

    The 4x4 block makes its first feature maps from the latent with a dense layer.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        w_dim: int,
        img_channels: int,
        has_torgb: bool,
        dtype: jnp.dtype,
        formulation: Formulation,
        rngs: nnx.Rngs,
    ):
        """Builds the block; `in_channels` 0 makes the 4x4 block."""
        layer = dict(
            kernel_size=3,
            act="lrelu",
            weight_gain=HE_GAIN,
            act_gain=1.0,
            resample_filter=(1.0, 1.0),
            formulation=formulation,
            rngs=rngs,
        )
        self.has_fc = in_channels == 0
        if self.has_fc:
            fan_out = 4 * 4 * out_channels
            self.fc = Dense(w_dim, fan_out, bias=False, weight_gain=HE_GAIN / 4, rngs=rngs)
            self.bias = nnx.Param(jnp.zeros((out_channels,)))
        else:
            self.conv0 = Conv2d(in_channels, out_channels, up=2, **layer)
        self.conv1 = Conv2d(out_channels, out_channels, **layer)
        if has_torgb:
            colors = dict(kernel_size=1, formulation=formulation, rngs=rngs)
            self.torgb = Conv2d(out_channels, img_channels, **colors)
        self.dtype = dtype

    def __call__(self, x: Float[Array, "..."]) -> Float[Array, "n h w o"]:
        """Maps the latent `[n, w_dim]` (4x4 block) or feature maps `[n, h, w, i]`."""
        if self.has_fc:
            x = self.fc(x).reshape(x.shape[0], 4, 4, -1).astype(self.dtype)
            x = activate(x, self.bias[...], act="lrelu", act_gain=1.0)
        else:
            x = self.conv0(x.astype(self.dtype))
        return normalize_2nd_moment(self.conv1(normalize_2nd_moment(x)))

    def colors(self, x: Float[Array, "n h w o"]) -> Float[Array, "n h w c"]:
        """The block's feature maps as an image, float32."""
        return self.torgb(x).astype(jnp.float32)


class Synthesis(nnx.Module):
    """Synthesis network, `ws [n, 1, w_dim] -> img [n, res, res, img_channels]`."""

    def __init__(
        self,
        w_dim: int,
        img_resolution: int,
        img_channels: int,
        *,
        channel_base: int,
        channel_max: int,
        grows: bool,
        num_bf16_res: int,
        formulation: Formulation,
        rngs: nnx.Rngs,
    ):
        """Builds the network; arguments as in `Generator`."""
        self.resolutions = block_resolutions(img_resolution)
        self.grows = grows
        self.formulation = formulation
        in_channels = 0
        for res in self.resolutions:
            out_channels = channels_at(res, channel_base=channel_base, channel_max=channel_max)
            block = SynthesisBlock(
                in_channels,
                out_channels,
                w_dim=w_dim,
                img_channels=img_channels,
                has_torgb=grows or res == img_resolution,
                dtype=compute_dtype(res, img_resolution, num_bf16_res),
                formulation=formulation,
                rngs=rngs,
            )
            setattr(self, f"b{res}", block)
            in_channels = out_channels

    def __call__(
        self,
        ws: Float[Array, "n l w_dim"],
        noise: Noise | None,
        moving: Moving,
        *,
        resolution: int | None = None,
        fade: Float[Array, ""] | None = None,
        packing: Packing = UNPACKED,
        recompute: bool = False,
    ) -> tuple[Float[Array, "n h w c"], Moving]:
        """Draws images at `resolution`, packed by `packing`; there is no noise input."""
        del noise
        x = ws[:, 0]
        coarse = None
        for res in growing_resolutions(self.resolutions, resolution, grows=self.grows):
            block = getattr(self, f"b{res}")
            again = recompute and self.formulation.recomputes(res)
            coarse, x = x, apply_block(block, x, recompute=again)
        return space_to_depth(blend_colors(self, res, x, coarse, fade), packing), moving


class Generator(BaseGenerator):
    """ProGAN generator, `(z, c, None) -> img`.

    Source: Karras et al. 2018 (ProGAN), table 2 and figure 2.
    Checked: tests/parity, cases `pggan_G_*`.
    """

    def __init__(
        self,
        z_dim: int,
        c_dim: int,
        img_resolution: int,
        img_channels: int,
        *,
        channel_base: int = 16384,
        channel_max: int = 512,
        grows: bool = True,
        num_bf16_res: int = 0,
        formulation: Formulation | None = None,
        rngs: nnx.Rngs,
    ):
        """Builds the generator.

        Args:
            z_dim: Length of the latent.
            c_dim: Length of the label vector, appended to the latent; 0: unconditional.
            img_resolution: Side of the image, a power of two.
            img_channels: Colours of the image.
            channel_base: Channels at a resolution are `channel_base // resolution` ...
            channel_max: ... and at most this many.
            grows: Give every resolution a way to colours; False: only the last.
            num_bf16_res: How many of the highest resolutions compute in bfloat16.
            formulation: How it is computed, with the same results; None: as suits this platform.
            rngs: Source of the first weights.
        """
        formulation = formulation or platform_formulation()
        self.mapping = Mapping()
        self.synthesis = Synthesis(
            z_dim + c_dim,
            img_resolution,
            img_channels,
            channel_base=channel_base,
            channel_max=channel_max,
            grows=grows,
            num_bf16_res=num_bf16_res,
            formulation=formulation,
            rngs=rngs,
        )
        self.z_dim = z_dim
        self.w_dim = z_dim + c_dim
        self.num_ws = 1
        self.img_resolution = img_resolution
        self.has_styles = False
        self.noise_layers = ()
