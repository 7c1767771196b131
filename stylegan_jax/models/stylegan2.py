"""StyleGAN2 generator: modulated convolutions in the original, skip or residual architecture."""

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
    apply_block,
    growing_resolutions,
)
from stylegan_jax.models.layers import (
    Conv2d,
    Dense,
    Mapping,
    activate,
    block_resolutions,
    channels_at,
    compute_dtype,
    normalized,
)
from stylegan_jax.ops.fir import upsample2d
from stylegan_jax.ops.formulation import Formulation, platform_formulation
from stylegan_jax.ops.modulated_conv import modulated_conv2d
from stylegan_jax.ops.packing import (
    UNPACKED,
    Packing,
    depth_to_space,
    repack,
    space_to_depth,
    tile_channels,
)
from stylegan_jax.ops.pyramid import fade_to, repeat_pixels

ARCHITECTURES = ("orig", "skip", "resnet", "progressive")


class SynthesisLayer(nnx.Module):
    """Modulated 3x3 convolution, noise, bias, leaky ReLU: `[n, h, w, in] -> [n, h*up, w*up, out]`.

    Source: Karras et al. 2020 (StyleGAN2), figure 2d.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        w_dim: int,
        up: int = 1,
        use_noise: bool = True,
        resample_filter: tuple[float, ...] = (1, 3, 3, 1),
        conv_clamp: float | None = None,
        packing: tuple[Packing, Packing] = (UNPACKED, UNPACKED),
        formulation: Formulation | None = None,
        rngs: nnx.Rngs,
    ):
        """Builds the layer; arguments as in `Conv2d`, `w_dim` is the length of a style."""
        self.affine = Dense(w_dim, in_channels, bias_init=1.0, rngs=rngs)
        shape = (3, 3, in_channels, out_channels)
        # Demodulation sets the scale of the output, so the weight needs no equalised gain.
        self.weight = nnx.Param(jax.random.normal(rngs.params(), shape))
        if use_noise:
            self.noise_strength = nnx.Param(jnp.zeros(()))
        self.bias = nnx.Param(jnp.zeros((out_channels,)))
        self.use_noise = use_noise
        self.up = up
        self.taps = normalized(resample_filter)
        self.conv_clamp = conv_clamp
        self.packing = packing
        self.formulation = formulation

    def __call__(
        self,
        x: Float[Array, "n h w i"],
        w: Float[Array, "n w_dim"],
        noise: Float[Array, "#n nh nw 1"] | None,
        gain: float = 1.0,
    ) -> Float[Array, "n p q o"]:
        """Applies the layer; `noise` is unit normal and scaled by the learned strength here."""
        x = modulated_conv2d(
            x,
            self.weight[...],
            self.affine(w),
            noise=noise if self.use_noise else None,
            noise_strength=self.noise_strength[...] if self.use_noise else 0.0,
            up=self.up,
            padding=1,
            taps=self.taps,
            packing=self.packing,
            formulation=self.formulation,
        )
        bias = tile_channels(self.bias[...], self.packing[1])
        return activate(x, bias, act="lrelu", gain=gain, clamp=self.conv_clamp)


class ToRGB(nnx.Module):
    """Modulated 1x1 convolution to colours, without demodulation: `[n, h, w, in] -> [..., img]`."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        w_dim: int,
        conv_clamp: float | None = None,
        packing: tuple[Packing, Packing] = (UNPACKED, UNPACKED),
        formulation: Formulation | None = None,
        rngs: nnx.Rngs,
    ):
        """Builds the layer; arguments as in `SynthesisLayer`."""
        self.affine = Dense(w_dim, in_channels, bias_init=1.0, rngs=rngs)
        shape = (1, 1, in_channels, out_channels)
        self.weight = nnx.Param(jax.random.normal(rngs.params(), shape))
        self.bias = nnx.Param(jnp.zeros((out_channels,)))
        self.conv_clamp = conv_clamp
        self.packing = packing
        self.formulation = formulation
        self.weight_gain = 1 / float(np.sqrt(in_channels))

    def __call__(
        self, x: Float[Array, "n h w i"], w: Float[Array, "n w_dim"]
    ) -> Float[Array, "n p q o"]:
        """Applies the layer in x.dtype and returns float32."""
        styles = self.affine(w) * self.weight_gain
        x = modulated_conv2d(
            x,
            self.weight[...],
            styles,
            demodulate=False,
            packing=self.packing,
            formulation=self.formulation,
        )
        bias = tile_channels(self.bias[...], self.packing[1])
        return activate(x, bias, act="linear", clamp=self.conv_clamp).astype(jnp.float32)


class SynthesisBlock(nnx.Module):
    """One resolution: up-sampling convolution, convolution and, where wanted, ToRGB.

    The 4x4 block starts from the learned constant and has a single convolution.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        w_dim: int,
        img_resolution: int,
        img_channels: int,
        is_last: bool,
        architecture: str,
        use_noise: bool,
        resample_filter: tuple[float, ...],
        conv_clamp: float | None,
        dtype: jnp.dtype,
        formulation: Formulation,
        rngs: nnx.Rngs,
    ):
        """Builds the block of `img_resolution`; `in_channels` 0 makes the 4x4 block.

        Args:
            in_channels: Channels of the block before.
            out_channels: Channels of this block.
            w_dim: Length of a style.
            img_resolution: Side of this block's feature maps.
            img_channels: Colours of the image.
            is_last: The block that ends the network; it always has a ToRGB.
            architecture: Karras et al. 2020, figure 7.
            use_noise: Give the convolutions noise inputs.
            resample_filter: 1-D FIR taps.
            conv_clamp: Clamp of every convolution's output.
            dtype: Dtype of the feature maps.
            formulation: Decides how feature maps are packed; see also `conv2d_resample`.
            rngs: Source of the first weights.
        """
        packing = formulation.packing(img_resolution, out_channels)
        # The block before, whose feature maps and image come in.
        packing_in = formulation.packing(img_resolution // 2, in_channels)
        same, finer = (packing, packing), (packing_in, packing)
        self.img_packing = formulation.image_packing(img_resolution, img_channels, packing)
        self.img_packing_in = formulation.image_packing(
            img_resolution // 2, img_channels, packing_in
        )
        resampled = dict(resample_filter=resample_filter, packing=finer)
        common = dict(formulation=formulation, rngs=rngs)
        layer = dict(w_dim=w_dim, conv_clamp=conv_clamp, **common)
        if in_channels == 0:
            shape = (img_resolution, img_resolution, out_channels)
            self.const = nnx.Param(jax.random.normal(rngs.params(), shape))
        else:
            self.conv0 = SynthesisLayer(
                in_channels,
                out_channels,
                up=2,
                use_noise=use_noise,
                **resampled,
                **layer,
            )
        self.conv1 = SynthesisLayer(
            out_channels, out_channels, use_noise=use_noise, packing=same, **layer
        )
        self.has_torgb = is_last or architecture in ("skip", "progressive")
        self.adds_img = architecture == "skip"
        if self.has_torgb:
            to_img = (packing, self.img_packing)
            self.torgb = ToRGB(out_channels, img_channels, packing=to_img, **layer)
        self.has_skip = architecture == "resnet" and in_channels > 0
        if self.has_skip:
            self.skip = Conv2d(
                in_channels,
                out_channels,
                kernel_size=1,
                bias=False,
                up=2,
                **resampled,
                **common,
            )
        self.has_const = in_channels == 0
        self.num_convs = 1 if self.has_const else 2
        self.taps = normalized(resample_filter)
        self.dtype = dtype
        self.formulation = formulation

    def __call__(
        self,
        x: Float[Array, "n h w i"] | None,
        img: Float[Array, "n a b c"] | None,
        ws: Float[Array, "n l w_dim"],
        noise: dict[str, Any],
    ) -> tuple[Float[Array, "n p q o"], Float[Array, "n s t co"] | None]:
        """Returns this block's feature maps and the image so far (float32), packed each its way.

        In the progressive architecture the image is that of this block alone.
        """
        if self.has_const:
            const = self.const[...].astype(self.dtype)
            x = jnp.broadcast_to(const, (ws.shape[0], *const.shape))
            x = self.conv1(x, ws[:, 0], noise.get("conv1"))
        else:
            assert x is not None
            x = x.astype(self.dtype)
            # The residual sum keeps unit variance: both branches carry sqrt(1/2).
            gain = float(np.sqrt(0.5)) if self.has_skip else 1.0
            y = self.conv0(x, ws[:, 0], noise.get("conv0"))
            y = self.conv1(y, ws[:, 1], noise.get("conv1"), gain)
            x = self.skip(x, gain) + y if self.has_skip else y
        if self.has_torgb:
            rgb = self.torgb(x, ws[:, self.num_convs])
            if self.adds_img and img is not None:
                finer = (self.img_packing_in, self.img_packing)
                rgb += upsample2d(img, self.taps, packing=finer, formulation=self.formulation)
            img = rgb
        return x, img


class Synthesis(nnx.Module):
    """Synthesis network, `ws [n, num_ws, w_dim] -> img [n, res, res, img_channels]` in [-1, 1].

    Source: Karras et al. 2020 (StyleGAN2), figures 2 and 7.
    """

    def __init__(
        self,
        w_dim: int,
        img_resolution: int,
        img_channels: int,
        *,
        channel_base: int = 32768,
        channel_max: int = 512,
        architecture: str = "skip",
        use_noise: bool = True,
        resample_filter: tuple[float, ...] = (1, 3, 3, 1),
        conv_clamp: float | None = None,
        num_bf16_res: int = 0,
        formulation: Formulation | None = None,
        rngs: nnx.Rngs,
    ):
        """Builds the network; arguments as in `Generator`."""
        if architecture not in ARCHITECTURES:
            known = ", ".join(ARCHITECTURES)
            raise ValueError(f"architecture={architecture!r}: choose one of {known}.")
        formulation = formulation or platform_formulation()
        self.grows = architecture == "progressive"
        self.formulation = formulation
        self.resolutions = block_resolutions(img_resolution)
        in_channels = 0
        self.num_ws = 0
        for res in self.resolutions:
            out_channels = channels_at(res, channel_base=channel_base, channel_max=channel_max)
            block = SynthesisBlock(
                in_channels,
                out_channels,
                w_dim=w_dim,
                img_resolution=res,
                img_channels=img_channels,
                is_last=res == img_resolution,
                architecture=architecture,
                use_noise=use_noise,
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
    ) -> tuple[Float[Array, "n h w c"], Moving]:
        """Draws images; `noise` has unit normals `[n or 1, h, w, 1]` per layer, None: no noise.

        `packing` is that of the image: `ops/packing.py`.
        """
        if ws.shape[1] != self.num_ws:
            raise ValueError(f"{ws.shape[1]} styles given, {self.num_ws} wanted ([n, num_ws, w]).")
        noise = {} if noise is None else noise
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
                recompute=recompute and self.formulation.recomputes(res),
            )
            index += block.num_convs
        assert img is not None and block is not None
        if fade is not None:
            coarse_img = repeat_pixels(depth_to_space(coarse_img, block.img_packing_in), 2)
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
        mapping_layers: int = 8,
        mapping_lr_multiplier: float = 0.01,
        embed_features: int | None = None,
        layer_features: int | None = None,
        channel_base: int = 32768,
        channel_max: int = 512,
        architecture: str = "skip",
        use_noise: bool = True,
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
            img_resolution: Side of the image, a power of two.
            img_channels: Colours of the image.
            mapping_layers: Layers of the mapping network.
            mapping_lr_multiplier: Learning-rate multiplier of the mapping network.
            embed_features: Length of the label's embedding; default w_dim.
            layer_features: Width of the mapping's hidden layers; default w_dim.
            channel_base: Channels at a resolution are `channel_base // resolution` ...
            channel_max: ... and at most this many.
            architecture: `skip` (configs E, F), `orig`, `resnet` or `progressive` (configs B to D).
            use_noise: Give every convolution a noise input; False suits flat drawings.
            resample_filter: 1-D FIR taps of all resampling.
            conv_clamp: Clamp of convolution outputs (256 with bfloat16 in the originals' spirit).
            num_bf16_res: How many of the highest resolutions compute in bfloat16.
            formulation: How it is computed, with the same results; None: as suits this platform.
            rngs: Source of the first weights.
        """
        self.mapping = Mapping(
            z_dim,
            c_dim,
            w_dim,
            num_layers=mapping_layers,
            embed_features=embed_features,
            layer_features=layer_features,
            lr_multiplier=mapping_lr_multiplier,
            rngs=rngs,
        )
        self.synthesis = Synthesis(
            w_dim,
            img_resolution,
            img_channels,
            channel_base=channel_base,
            channel_max=channel_max,
            architecture=architecture,
            use_noise=use_noise,
            resample_filter=resample_filter,
            conv_clamp=conv_clamp,
            num_bf16_res=num_bf16_res,
            formulation=formulation,
            rngs=rngs,
        )
        self.z_dim = z_dim
        self.w_dim = w_dim
        self.num_ws = self.synthesis.num_ws
        self.img_resolution = img_resolution
        self.has_styles = True
        self.noise_layers = tuple(
            (f"b{res}", layer, res)
            for res in self.synthesis.resolutions
            for layer in ("conv0", "conv1")
            if use_noise and (res, layer) != (4, "conv0")
        )

    def packing_at(self, resolution: int) -> Packing:
        """How the network holds images of a resolution."""
        return getattr(self.synthesis, f"b{resolution}").img_packing
