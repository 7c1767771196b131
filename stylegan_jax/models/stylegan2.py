"""StyleGAN2 generator: modulated convolutions in the original, skip or residual architecture."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from stylegan_jax.models.blocks import (
    BaseGenerator,
    Moving,
    Noise,
    NoiseLayer,
    apply_block,
    growing_resolutions,
)
from stylegan_jax.models.fourier_input import FourierInput
from stylegan_jax.models.layers import (
    Conv2d,
    Mapping,
    block_sizes,
    channels_at,
    compute_dtype,
    image_packing,
    normalized,
)
from stylegan_jax.models.stylegan2_layers import SynthesisLayer, ToRGB
from stylegan_jax.ops.fir import upsample2d
from stylegan_jax.ops.formulation import Formulation, platform_formulation
from stylegan_jax.ops.packing import UNPACKED, Packing, depth_to_space, repack, space_to_depth
from stylegan_jax.ops.pyramid import fade_to, repeat_pixels
from stylegan_jax.sizes import SQUARE_BASE, Size, divided

# Karras et al. 2020, figure 7. orig: the last block alone makes the image. skip (b): the image is
# a sum over resolutions. resnet (c): the feature maps are. progressive: ProGAN's, grown in steps.
ARCHITECTURES = ("orig", "skip", "resnet", "progressive")
# What the first block begins with: the learned constant, or waves that can be moved, Karras et al.
# 2021 (StyleGAN3), config B.
INPUTS = ("const", "fourier")
# A sum of two branches of unit variance has variance 2 (Karras et al. 2020, section 4).
RESIDUAL_GAIN = float(np.sqrt(0.5))


def check_architecture(architecture: str) -> None:
    """Raises ValueError where the networks have no such architecture."""
    if architecture not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise ValueError(f"architecture={architecture!r}: choose one of {known}.")


class SynthesisBlock(nnx.Module):
    """One resolution: up-sampling convolution, convolution and, where wanted, ToRGB.

    The first block starts from the input and has a single convolution.

    Source: Karras et al. 2020 (StyleGAN2), figure 7: skip (b), residual (c).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        w_dim: int,
        size: Size,
        img_channels: int,
        is_last: bool,
        input: str,
        architecture: str,
        use_noise: bool,
        act: str,
        resample_filter: tuple[float, ...],
        conv_clamp: float | None,
        dtype: jnp.dtype,
        formulation: Formulation,
        rngs: nnx.Rngs,
    ):
        """Builds the block whose feature maps have the height and width `size`.

        `in_channels` are those of the block before, 0 in the first block; `is_last`: the block ends
        the network and always has a ToRGB; `dtype` is that of the feature maps. The other
        arguments are those of `Generator`.
        """
        self.is_first = in_channels == 0
        self.has_torgb = is_last or architecture in ("skip", "progressive")
        self.adds_img = architecture == "skip"
        self.has_skip = architecture == "resnet" and not self.is_first
        self.num_convs = 1 if self.is_first else 2
        conv = functools.partial(
            SynthesisLayer,
            w_dim=w_dim,
            size=size,
            use_noise=use_noise,
            act=act,
            resample_filter=resample_filter,
            conv_clamp=conv_clamp,
            formulation=formulation,
            rngs=rngs,
        )

        # Feature maps: the input, or those of the block before at twice their size.
        self.has_waves = self.is_first and input == "fourier"
        if self.has_waves:
            # All frequencies that so few pixels hold.
            rate = float(min(size))
            self.input = FourierInput(
                *(w_dim, out_channels),
                size=size,
                sampling_rate=rate,
                bandwidth=rate / 2,
                rngs=rngs,
            )
        elif self.is_first:
            shape = (*size, out_channels)
            self.const = nnx.Param(jax.random.normal(rngs.params(), shape))
        else:
            self.conv0 = conv(in_channels, out_channels, up=2)
        self.conv1 = conv(out_channels, out_channels)

        # Colours of this resolution (figure 7b: tRGB).
        if self.has_torgb:
            self.torgb = ToRGB(
                out_channels,
                img_channels,
                w_dim=w_dim,
                size=size,
                conv_clamp=conv_clamp,
                formulation=formulation,
                rngs=rngs,
            )
        # The residual path around both convolutions: linear and without a bias (figure 7c).
        if self.has_skip:
            self.skip = Conv2d(
                in_channels,
                out_channels,
                kernel_size=1,
                bias=False,
                up=2,
                resample_filter=resample_filter,
                size=size,
                formulation=formulation,
                rngs=rngs,
            )

        # How the image is held that this block returns, and the one that it is given.
        self.img_packing = image_packing(formulation, size, img_channels, out_channels)
        coarse_size = divided(size, 2)
        self.coarse_packing = image_packing(formulation, coarse_size, img_channels, in_channels)
        self.taps = normalized(resample_filter)
        self.dtype = dtype
        self.formulation = formulation

    def __call__(
        self,
        x: Float[Array, "n h w i"] | None,
        img: Float[Array, "n a b c"] | None,
        ws: Float[Array, "n l w_dim"],
        noise: dict[str, Any],
        transform: Float[Array, "*n 3 3"] | None,
    ) -> tuple[Float[Array, "n p q o"], Float[Array, "n s t co"] | None]:
        """Returns this block's feature maps and the image so far, which is float32.

        The convolutions read the first `num_convs` of `ws`, ToRGB the next; waves share the first
        one and are moved by `transform`. In the progressive architecture the image is that of this
        block alone.
        """
        # Feature maps; a layer that is missing in `noise` gets none.
        if self.is_first:
            if self.has_waves:
                x = self.input(ws[:, 0], transform).astype(self.dtype)
            else:
                const = self.const[...].astype(self.dtype)  # [h0, w0, out]
                x = jnp.broadcast_to(const, (ws.shape[0], *const.shape))
            x = self.conv1(x, ws[:, 0], noise.get("conv1"))
        else:
            assert x is not None
            x = x.astype(self.dtype)  # [n, h, w, in]
            # Both branches of the residual sum are scaled, so that it keeps unit variance.
            gain = RESIDUAL_GAIN if self.has_skip else 1.0
            y = self.conv0(x, ws[:, 0], noise.get("conv0"))  # [n, 2h, 2w, out]
            y = self.conv1(y, ws[:, 1], noise.get("conv1"), gain)
            x = self.skip(x, gain) + y if self.has_skip else y

        # Skip: the image so far, enlarged, and what this resolution adds to it.
        if self.has_torgb:
            rgb = self.torgb(x, ws[:, self.num_convs])  # [n, 2h, 2w, img_channels]
            if self.adds_img and img is not None:
                rgb += upsample2d(
                    img,
                    self.taps,
                    packing=(self.coarse_packing, self.img_packing),
                    formulation=self.formulation,
                )
            img = rgb
        return x, img


class Synthesis(nnx.Module):
    """Synthesis network, `ws [n, num_ws, w_dim] -> img [n, h, w, img_channels]` in [-1, 1].

    Source: Karras et al. 2020 (StyleGAN2), figures 2 and 7.
    """

    def __init__(
        self,
        w_dim: int,
        img_resolution: int,
        img_channels: int,
        *,
        base_grid: Size,
        channel_base: int,
        channel_max: int,
        input: str,
        architecture: str,
        use_noise: bool,
        act: str,
        resample_filter: tuple[float, ...],
        conv_clamp: float | None,
        num_bf16_res: int,
        formulation: Formulation,
        rngs: nnx.Rngs,
    ):
        """Builds the network; arguments as in `Generator`."""
        check_architecture(architecture)
        if input not in INPUTS:
            raise ValueError(f"input={input!r}: choose one of {', '.join(INPUTS)}.")
        self.takes_transform = input == "fourier"
        self.grows = architecture == "progressive"
        self.formulation = formulation
        sizes = block_sizes(img_resolution, base_grid)
        self.resolutions = tuple(sizes)

        # Blocks b4, b8, ..., each reading the feature maps of the one before.
        in_channels = 0
        self.num_ws = 0
        for res, size in sizes.items():
            out_channels = channels_at(res, channel_base=channel_base, channel_max=channel_max)
            block = SynthesisBlock(
                in_channels,
                out_channels,
                w_dim=w_dim,
                size=size,
                img_channels=img_channels,
                is_last=res == img_resolution,
                input=input,
                architecture=architecture,
                use_noise=use_noise,
                act=act,
                resample_filter=resample_filter,
                conv_clamp=conv_clamp,
                dtype=compute_dtype(res, img_resolution, num_bf16_res),
                formulation=formulation,
                rngs=rngs,
            )
            setattr(self, f"b{res}", block)
            self.num_ws += block.num_convs
            in_channels = out_channels
        # The last ToRGB has a style of its own; each earlier one shares the next block's first.
        self.num_ws += 1

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
        transform: Float[Array, "*n 3 3"] | None = None,
    ) -> tuple[Float[Array, "n h w c"], Moving]:
        """Draws images; `noise` has unit normals `[n or 1, h, w, 1]` per layer, None: no noise.

        `packing` is that of the image: `ops/packing.py`. It has no averages that could move.
        `transform` moves the image, where the input is waves (`fourier_input.py`).
        """
        del ema_beta
        if transform is not None and not self.takes_transform:
            raise ValueError("A learned constant cannot be moved: build it with input='fourier'.")
        if ws.shape[1] != self.num_ws:
            raise ValueError(f"{ws.shape[1]} styles given, {self.num_ws} wanted ([n, num_ws, w]).")
        noise = {} if noise is None else noise

        # From the base grid up; `index` counts the styles that convolutions have read.
        x = img = coarse_img = block = None
        index = 0
        for res in growing_resolutions(self.resolutions, resolution, grows=self.grows):
            block = getattr(self, f"b{res}")
            coarse_img = img
            x, img = apply_block(
                block,
                x,
                img,
                ws[:, index:],
                noise.get(f"b{res}", {}),
                transform,
                recompute=recompute and self.formulation.recomputes(res),
            )
            index += block.num_convs
        assert img is not None and block is not None

        # While the last block grows in: its image over that of the block before, whose pixels
        # are repeated (Karras et al. 2018, figure 2).
        if fade is not None:
            assert coarse_img is not None  # the first block does not grow in
            coarse_img = repeat_pixels(depth_to_space(coarse_img, block.coarse_packing), 2)
            img = fade_to(img, space_to_depth(coarse_img, block.img_packing), fade)
        return repack(img, block.img_packing, packing), moving


class Generator(BaseGenerator):
    """StyleGAN2 generator, `(z, c, noise) -> img`: mapping, truncation and synthesis.

    Source: Karras et al. 2020 (StyleGAN2); configs B to F.
    Checked: tests/parity, cases `sg2_G_*`.
    """

    def __init__(
        self,
        z_dim: int,
        c_dim: int,
        w_dim: int,
        img_resolution: int,
        img_channels: int,
        *,
        base_grid: Size = SQUARE_BASE,
        mapping_layers: int = 8,
        mapping_lr_multiplier: float = 0.01,
        mapping_act: str = "lrelu",
        embed_features: int | None = None,
        layer_features: int | None = None,
        channel_base: int = 32768,
        channel_max: int = 512,
        input: str = "const",
        architecture: str = "skip",
        use_noise: bool = True,
        act: str = "lrelu",
        resample_filter: tuple[float, ...] = (1, 3, 3, 1),
        conv_clamp: float | None = None,
        num_bf16_res: int = 0,
        formulation: Formulation | None = None,
        rngs: nnx.Rngs,
    ):
        """Builds the generator.

        Args:
            z_dim: Length of the latent.
            c_dim: Length of the label vector; 0: unconditional.
            w_dim: Length of a style.
            img_resolution: Resolution of the last block, a power of two: the side of a square.
            img_channels: Colours of the image, 1 to 16.
            base_grid: Height and width of the first feature maps (`sizes.py`).
            mapping_layers: Layers of the mapping network.
            mapping_lr_multiplier: Learning-rate multiplier of the mapping network.
            mapping_act: Activation of its layers.
            embed_features: Length of the label's embedding; default w_dim.
            layer_features: Width of the mapping's hidden layers; default w_dim.
            channel_base: Channels at a resolution are `channel_base // resolution` ...
            channel_max: ... and at most this many.
            input: `const`, or `fourier`: waves that take a transform (StyleGAN3's config B).
            architecture: `skip` (configs E, F), `orig`, `resnet` or `progressive` (configs B to D).
            use_noise: Give every convolution a noise input; False suits flat drawings.
            act: Activation after every convolution but ToRGB, with its own gain (`bias_act`).
            resample_filter: 1-D FIR taps of all resampling.
            conv_clamp: Clamp of convolution outputs (256 with bfloat16 in the originals' spirit).
            num_bf16_res: How many of the highest resolutions compute in bfloat16.
            formulation: How it is computed, with the same results; None: as suits this platform.
            rngs: Source of the first weights.
        """
        formulation = formulation or platform_formulation()
        # f: z -> w.
        self.mapping = Mapping(
            z_dim,
            c_dim,
            w_dim,
            num_layers=mapping_layers,
            embed_features=embed_features,
            layer_features=layer_features,
            act=mapping_act,
            lr_multiplier=mapping_lr_multiplier,
            rngs=rngs,
        )
        # g: w -> image.
        self.synthesis = Synthesis(
            w_dim,
            img_resolution,
            img_channels,
            base_grid=base_grid,
            channel_base=channel_base,
            channel_max=channel_max,
            input=input,
            architecture=architecture,
            use_noise=use_noise,
            act=act,
            resample_filter=resample_filter,
            conv_clamp=conv_clamp,
            num_bf16_res=num_bf16_res,
            formulation=formulation,
            rngs=rngs,
        )

        # What callers need to know in order to draw latents, styles and noise.
        self.z_dim = z_dim
        self.w_dim = w_dim
        self.num_ws = self.synthesis.num_ws
        self.img_resolution = img_resolution
        self.has_styles = True
        self.takes_transform = self.synthesis.takes_transform
        # Every convolution but the one that the first block does not have.
        self.noise_layers = tuple(
            NoiseLayer(f"b{res}", layer, res, size)
            for res, size in block_sizes(img_resolution, base_grid).items()
            for layer in ("conv0", "conv1")
            if use_noise and (res, layer) != (4, "conv0")
        )

    def packing_at(self, resolution: int) -> Packing:
        """Returns how the network holds images of a resolution."""
        return getattr(self.synthesis, f"b{resolution}").img_packing
