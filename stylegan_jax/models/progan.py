"""ProGAN generator, grown block by block."""

import functools
import math

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from stylegan_jax.models.blocks import (
    BaseGenerator,
    Moving,
    Noise,
    apply_block,
    growing_resolutions,
)
from stylegan_jax.models.layers import (
    Conv2d,
    Dense,
    activate,
    block_sizes,
    channels_at,
    compute_dtype,
)
from stylegan_jax.ops.formulation import Formulation, platform_formulation
from stylegan_jax.ops.normalize import normalize_2nd_moment
from stylegan_jax.ops.packing import UNPACKED, Packing, space_to_depth
from stylegan_jax.ops.pyramid import fade_to, repeat_pixels
from stylegan_jax.sizes import SQUARE_BASE, Size

# Half of a leaky ReLU's variance is lost (He et al. 2015). ProGAN and StyleGAN make up for it on
# the weight, w_hat = w * sqrt(2 / fan_in); StyleGAN2 does on the activation.
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

    The first block makes its feature maps from the latent with a dense layer.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        w_dim: int,
        size: Size,
        img_channels: int,
        has_torgb: bool,
        act: str,
        dtype: jnp.dtype,
        formulation: Formulation,
        rngs: nnx.Rngs,
    ):
        """Builds the block of a size; `in_channels` 0 makes the first one."""
        conv = functools.partial(
            Conv2d,
            kernel_size=3,
            act=act,
            weight_gain=HE_GAIN,
            act_gain=1.0,
            resample_filter=(1.0, 1.0),  # repeats pixels where `up` is 2
            formulation=formulation,
            rngs=rngs,
        )
        self.has_fc = in_channels == 0

        # Feature maps: from the latent, or those of the block before at twice their size.
        if self.has_fc:
            # A quarter of the usual gain, as the official first layer has it; bias after reshaping.
            fan_out = math.prod(size) * out_channels
            self.fc = Dense(w_dim, fan_out, bias=False, weight_gain=HE_GAIN / 4, rngs=rngs)
            self.bias = nnx.Param(jnp.zeros((out_channels,)))
        else:
            self.conv0 = conv(in_channels, out_channels, up=2)
        self.conv1 = conv(out_channels, out_channels)

        # Colours of this resolution, linear.
        if has_torgb:
            self.torgb = Conv2d(
                out_channels, img_channels, kernel_size=1, formulation=formulation, rngs=rngs
            )
        self.size = size
        self.act = act
        self.dtype = dtype

    def __call__(self, x: Float[Array, "..."]) -> Float[Array, "n h w o"]:
        """Maps the latent `[n, w_dim]` (first block) or feature maps `[n, h, w, i]`."""
        if self.has_fc:
            x = self.fc(x).reshape(x.shape[0], *self.size, -1)  # [n, h0, w0, out]
            x = x.astype(self.dtype)
            x = activate(x, self.bias[...], act=self.act, act_gain=1.0)
        else:
            x = self.conv0(x.astype(self.dtype))
        # Pixel norm after every activation (section 4.2): b = a / sqrt(mean_c(a^2) + eps).
        x = normalize_2nd_moment(x)
        return normalize_2nd_moment(self.conv1(x))

    def colors(self, x: Float[Array, "n h w o"]) -> Float[Array, "n h w c"]:
        """Returns the block's feature maps as an image, float32."""
        return self.torgb(x).astype(jnp.float32)


def blend_colors(
    synthesis: nnx.Module,
    resolution: int,
    x: Float[Array, "n h w i"],
    coarse: Float[Array, "..."] | None,
    fade: Float[Array, ""] | None,
) -> Float[Array, "n h w c"]:
    """Returns the image of the block of `resolution`, mixed with that of the block before it.

    `x` and `coarse` are the feature maps of the two blocks, which must have `colors`.

    Source: Karras et al. 2018 (ProGAN), figure 2.
    """
    img = getattr(synthesis, f"b{resolution}").colors(x)
    if fade is None:
        return img
    # While the block grows in: (1 - fade) * img + fade * coarse image at twice its size.
    coarse_img = getattr(synthesis, f"b{resolution // 2}").colors(coarse)
    return fade_to(img, repeat_pixels(coarse_img, 2), fade)


class Synthesis(nnx.Module):
    """Synthesis network, `ws [n, 1, w_dim] -> img [n, h, w, img_channels]`."""

    def __init__(
        self,
        w_dim: int,
        img_resolution: int,
        img_channels: int,
        *,
        base_grid: Size,
        channel_base: int,
        channel_max: int,
        grows: bool,
        act: str,
        num_bf16_res: int,
        formulation: Formulation,
        rngs: nnx.Rngs,
    ):
        """Builds the network; arguments as in `Generator`."""
        sizes = block_sizes(img_resolution, base_grid)
        self.resolutions = tuple(sizes)
        self.grows = grows
        self.formulation = formulation

        # Blocks b4, b8, ..., each reading the feature maps of the one before.
        in_channels = 0
        for res, size in sizes.items():
            out_channels = channels_at(res, channel_base=channel_base, channel_max=channel_max)
            block = SynthesisBlock(
                in_channels,
                out_channels,
                w_dim=w_dim,
                size=size,
                img_channels=img_channels,
                has_torgb=grows or res == img_resolution,
                act=act,
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
        ema_beta: Float[Array, ""] | float | None = None,
    ) -> tuple[Float[Array, "n h w c"], Moving]:
        """Draws images at `resolution`, packed by `packing`; there is no noise input."""
        del noise, ema_beta
        # The only style is the normalised latent, which the first block reads.
        x = ws[:, 0]  # [n, w_dim]
        coarse = None  # what the block before the last gave
        for res in growing_resolutions(self.resolutions, resolution, grows=self.grows):
            coarse = x
            x = apply_block(
                getattr(self, f"b{res}"),
                x,
                recompute=recompute and self.formulation.recomputes(res),
            )
        # The image of the last block; while that grows in, mixed with the one of the block before.
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
        base_grid: Size = SQUARE_BASE,
        channel_base: int = 16384,
        channel_max: int = 512,
        grows: bool = True,
        act: str = "lrelu",
        num_bf16_res: int = 0,
        formulation: Formulation | None = None,
        rngs: nnx.Rngs,
    ):
        """Builds the generator.

        Args:
            z_dim: Length of the latent.
            c_dim: Length of the label vector, appended to the latent; 0: unconditional.
            img_resolution: Resolution of the last block, a power of two: the side of a square.
            img_channels: Colours of the image, 1 to 16.
            base_grid: Height and width of the first feature maps (`sizes.py`).
            channel_base: Channels at a resolution are `channel_base // resolution` ...
            channel_max: ... and at most this many.
            grows: Give every resolution a way to colours; False: only the last.
            act: Activation; its gain is sqrt(2) whichever it is, on the weights.
            num_bf16_res: How many of the highest resolutions compute in bfloat16.
            formulation: How it is computed, with the same results; None: as suits this platform.
            rngs: Source of the first weights.
        """
        formulation = formulation or platform_formulation()
        # Latent -> normalised latent -> image.
        self.mapping = Mapping()
        self.synthesis = Synthesis(
            z_dim + c_dim,
            img_resolution,
            img_channels,
            base_grid=base_grid,
            channel_base=channel_base,
            channel_max=channel_max,
            grows=grows,
            act=act,
            num_bf16_res=num_bf16_res,
            formulation=formulation,
            rngs=rngs,
        )

        # What callers need to know in order to draw latents.
        self.z_dim = z_dim
        self.w_dim = z_dim + c_dim
        self.num_ws = 1
        self.img_resolution = img_resolution
        self.has_styles = False
        self.noise_layers = ()
