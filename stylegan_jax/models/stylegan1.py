"""StyleGAN 1 generator: mapping network, styles by AdaIN, per-layer noise; grown block by block."""

import jax
import jax.numpy as jnp
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
from stylegan_jax.models.progan import HE_GAIN
from stylegan_jax.ops.fir import blur2d
from stylegan_jax.ops.formulation import Formulation, platform_formulation
from stylegan_jax.ops.normalize import instance_norm, normalize_2nd_moment
from stylegan_jax.ops.packing import UNPACKED, Packing, space_to_depth


class Mapping(nnx.Module):
    """Mapping network, `(z [..., z_dim], c [..., c_dim]) -> w [..., w_dim]`, always in float32.

    The label picks a learned vector as long as the latent; both are normalised together.

    Source: Karras et al. 2019 (StyleGAN), figure 1b.
    """

    def __init__(
        self,
        z_dim: int,
        c_dim: int,
        w_dim: int,
        *,
        num_layers: int,
        layer_features: int | None,
        lr_multiplier: float,
        rngs: nnx.Rngs,
    ):
        """Builds the network; arguments as in `Generator`."""
        self.has_labels = c_dim > 0
        if self.has_labels:
            # Neither scaled at run time nor biased.
            self.embed = nnx.Param(jax.random.normal(rngs.params(), (c_dim, z_dim)))
        width = 2 * z_dim if self.has_labels else z_dim
        for i in range(num_layers):
            out = w_dim if i == num_layers - 1 else layer_features or w_dim
            layer = Dense(
                width,
                out,
                act="lrelu",
                weight_gain=HE_GAIN,
                act_gain=1.0,
                lr_multiplier=lr_multiplier,
                rngs=rngs,
            )
            setattr(self, f"fc{i}", layer)
            width = out
        self.num_layers = num_layers
        self.w_dim = width

    def __call__(
        self, z: Float[Array, "*n z"], c: Float[Array, "*n c"] | None
    ) -> Float[Array, "*n w"]:
        """Maps latents and labels."""
        x = z.astype(jnp.float32)
        if self.has_labels:
            assert c is not None
            x = jnp.concatenate([x, c.astype(jnp.float32) @ self.embed[...]], axis=-1)
        x = normalize_2nd_moment(x)
        for i in range(self.num_layers):
            x = getattr(self, f"fc{i}")(x)
        return x


class Epilogue(nnx.Module):
    """What follows every convolution: noise, bias, activation, normalisation, style.

    Source: Karras et al. 2019 (StyleGAN), figure 1b and eq. 1 (AdaIN).
    """

    def __init__(
        self,
        channels: int,
        *,
        w_dim: int,
        act: str,
        use_noise: bool,
        use_pixel_norm: bool,
        use_instance_norm: bool,
        use_styles: bool,
        rngs: nnx.Rngs,
    ):
        """Builds the layer; arguments as in `Generator`."""
        if use_noise:
            self.noise_strength = nnx.Param(jnp.zeros((channels,)))
        self.bias = nnx.Param(jnp.zeros((channels,)))
        if use_styles:
            self.affine = Dense(w_dim, 2 * channels, rngs=rngs)
        self.act = act
        self.use_noise = use_noise
        self.use_pixel_norm = use_pixel_norm
        self.use_instance_norm = use_instance_norm
        self.use_styles = use_styles

    def __call__(
        self,
        x: Float[Array, "n h w i"],
        w: Float[Array, "n w_dim"],
        noise: Float[Array, "#n h w 1"] | None,
    ) -> Float[Array, "n h w i"]:
        """Applies the layer; `noise` is unit normal, its learned strength differs by channel."""
        if self.use_noise and noise is not None:
            x = x + (noise * self.noise_strength[...]).astype(x.dtype)
        x = activate(x, self.bias[...], act=self.act, act_gain=1.0)
        if self.use_pixel_norm:
            x = normalize_2nd_moment(x)
        if self.use_instance_norm:
            x = instance_norm(x)
        if self.use_styles:
            scale, shift = jnp.split(self.affine(w)[:, None, None, :].astype(x.dtype), 2, axis=-1)
            x = x * (scale + 1) + shift
        return x


class SynthesisBlock(nnx.Module):
    """One resolution: up-sampling convolution and convolution, each with its epilogue.

    The 4x4 block starts from a learned constant, or from the latent through a dense layer.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        w_dim: int,
        img_channels: int,
        has_torgb: bool,
        const_input: bool,
        blur_filter: tuple[float, ...] | None,
        dtype: jnp.dtype,
        epilogue: dict,
        formulation: Formulation,
        rngs: nnx.Rngs,
    ):
        """Builds the block; `in_channels` 0 makes the 4x4 block. Arguments as in `Generator`."""
        layer = dict(
            kernel_size=3,
            bias=False,
            weight_gain=HE_GAIN,
            resample_filter=(1.0, 1.0),
            formulation=formulation,
            rngs=rngs,
        )
        self.start = "conv" if in_channels > 0 else "const" if const_input else "fc"
        if self.start == "const":
            self.const = nnx.Param(jnp.ones((4, 4, out_channels)))
        elif self.start == "fc":
            fan_out = 4 * 4 * out_channels
            self.fc = Dense(w_dim, fan_out, bias=False, weight_gain=HE_GAIN / 4, rngs=rngs)
        else:
            self.conv0 = Conv2d(in_channels, out_channels, up=2, **layer)
        self.epilogue0 = Epilogue(out_channels, w_dim=w_dim, **epilogue, rngs=rngs)
        self.conv1 = Conv2d(out_channels, out_channels, **layer)
        self.epilogue1 = Epilogue(out_channels, w_dim=w_dim, **epilogue, rngs=rngs)
        if has_torgb:
            colors = dict(kernel_size=1, formulation=formulation, rngs=rngs)
            self.torgb = Conv2d(out_channels, img_channels, **colors)
        self.blur_filter = blur_filter
        self.formulation = formulation
        self.dtype = dtype

    def __call__(
        self,
        x: Float[Array, "n h w i"] | None,
        ws: Float[Array, "n l w_dim"],
        noise: dict,
    ) -> Float[Array, "n p q o"]:
        """Applies the block with the first two of `ws`."""
        if self.start == "const":
            const = self.const[...].astype(self.dtype)
            x = jnp.broadcast_to(const, (ws.shape[0], *const.shape))
        elif self.start == "fc":
            x = self.fc(ws[:, 0]).reshape(ws.shape[0], 4, 4, -1).astype(self.dtype)
        else:
            assert x is not None
            x = self.conv0(x.astype(self.dtype))
            if self.blur_filter is not None:
                x = blur2d(x, self.blur_filter, formulation=self.formulation)
        x = self.epilogue0(x, ws[:, 0], noise.get("conv0"))
        return self.epilogue1(self.conv1(x), ws[:, 1], noise.get("conv1"))

    def colors(self, x: Float[Array, "n h w o"]) -> Float[Array, "n h w c"]:
        """The block's feature maps as an image, float32."""
        return self.torgb(x).astype(jnp.float32)


class Synthesis(nnx.Module):
    """Synthesis network, `ws [n, num_ws, w_dim] -> img [n, res, res, img_channels]`."""

    def __init__(
        self,
        w_dim: int,
        img_resolution: int,
        img_channels: int,
        *,
        channel_base: int,
        channel_max: int,
        grows: bool,
        const_input: bool,
        blur_filter: tuple[float, ...] | None,
        num_bf16_res: int,
        epilogue: dict,
        formulation: Formulation,
        rngs: nnx.Rngs,
    ):
        """Builds the network; `epilogue` are the settings of `Epilogue`, the rest as there."""
        self.resolutions = block_resolutions(img_resolution)
        self.num_ws = 2 * len(self.resolutions)
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
                const_input=const_input,
                blur_filter=blur_filter,
                dtype=compute_dtype(res, img_resolution, num_bf16_res),
                formulation=formulation,
                epilogue=epilogue,
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
        """Draws images; `noise` has unit normals `[n or 1, h, w, 1]` per layer, None: no noise.

        `packing` is that of the image: `ops/packing.py`.
        """
        if ws.shape[1] != self.num_ws:
            raise ValueError(f"{ws.shape[1]} styles given, {self.num_ws} wanted ([n, num_ws, w]).")
        noise = {} if noise is None else noise
        x = coarse = None
        for i, res in enumerate(
            growing_resolutions(self.resolutions, resolution, grows=self.grows)
        ):
            block = getattr(self, f"b{res}")
            args = x, ws[:, 2 * i :], noise.get(f"b{res}", {})
            again = recompute and self.formulation.recomputes(res)
            coarse, x = x, apply_block(block, *args, recompute=again)
        assert x is not None
        return space_to_depth(blend_colors(self, res, x, coarse, fade), packing), moving


class Generator(BaseGenerator):
    """StyleGAN 1 generator, `(z, c, noise) -> img`; its switches are rows B to F of table 1.

    Source: Karras et al. 2019 (StyleGAN), figure 1b and section 2.
    Checked: tests/parity, cases `sg1_G_*`.
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
        layer_features: int | None = None,
        channel_base: int = 16384,
        channel_max: int = 512,
        grows: bool = True,
        act: str = "lrelu",
        const_input: bool = True,
        use_noise: bool = True,
        use_pixel_norm: bool = False,
        use_instance_norm: bool = True,
        use_styles: bool = True,
        blur_filter: tuple[float, ...] | None = (1, 2, 1),
        num_bf16_res: int = 0,
        formulation: Formulation | None = None,
        rngs: nnx.Rngs,
    ):
        """Builds the generator.

        Args:
            z_dim: Length of the latent, and of the label's embedding.
            c_dim: Length of the label vector; 0: unconditional.
            w_dim: Length of a style; without mapping layers it is that of the mapping's input.
            img_resolution: Side of the image, a power of two.
            img_channels: Colours of the image.
            mapping_layers: Layers of the mapping network; 0: styles are normalised latents.
            mapping_lr_multiplier: Learning-rate multiplier of the mapping network.
            layer_features: Width of the mapping's hidden layers; default w_dim.
            channel_base: Channels at a resolution are `channel_base // resolution` ...
            channel_max: ... and at most this many.
            grows: Give every resolution a way to colours; False: only the last.
            act: Activation of the synthesis network.
            const_input: Start from a learned constant (row D) instead of the latent.
            use_noise: Give every layer a noise input (row E).
            use_pixel_norm: Normalise over channels behind the activation (row B has it).
            use_instance_norm: Normalise each feature map before its style (row C).
            use_styles: Give every layer a style (row C).
            blur_filter: 1-D taps behind every up-sampling convolution; None: no blur.
            num_bf16_res: How many of the highest resolutions compute in bfloat16.
            formulation: How it is computed, with the same results; None: as suits this platform.
            rngs: Source of the first weights.
        """
        formulation = formulation or platform_formulation()
        self.mapping = Mapping(
            z_dim,
            c_dim,
            w_dim,
            num_layers=mapping_layers,
            layer_features=layer_features,
            lr_multiplier=mapping_lr_multiplier,
            rngs=rngs,
        )
        self.synthesis = Synthesis(
            self.mapping.w_dim,
            img_resolution,
            img_channels,
            channel_base=channel_base,
            channel_max=channel_max,
            grows=grows,
            const_input=const_input,
            blur_filter=blur_filter,
            num_bf16_res=num_bf16_res,
            formulation=formulation,
            epilogue=dict(
                act=act,
                use_noise=use_noise,
                use_pixel_norm=use_pixel_norm,
                use_instance_norm=use_instance_norm,
                use_styles=use_styles,
            ),
            rngs=rngs,
        )
        self.z_dim = z_dim
        self.w_dim = self.mapping.w_dim
        self.num_ws = self.synthesis.num_ws
        self.img_resolution = img_resolution
        self.has_styles = use_styles
        self.noise_layers = tuple(
            (f"b{res}", layer, res)
            for res in self.synthesis.resolutions
            for layer in ("conv0", "conv1")
            if use_noise
        )
