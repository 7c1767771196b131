"""StyleGAN 1 generator: mapping network, styles by AdaIN, per-layer noise; grown block by block."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
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
from stylegan_jax.models.layers import (
    Conv2d,
    Dense,
    activate,
    block_sizes,
    channels_at,
    compute_dtype,
)
from stylegan_jax.models.progan import HE_GAIN, blend_colors
from stylegan_jax.ops.fir import blur2d
from stylegan_jax.ops.formulation import Formulation, platform_formulation
from stylegan_jax.ops.normalize import instance_norm, normalize_2nd_moment
from stylegan_jax.ops.packing import UNPACKED, Packing, space_to_depth
from stylegan_jax.sizes import SQUARE_BASE, Size


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
        act: str,
        lr_multiplier: float,
        rngs: nnx.Rngs,
    ):
        """Builds the network; arguments as in `Generator`."""
        self.has_labels = c_dim > 0
        if self.has_labels:
            # One vector per class, neither scaled at run time nor biased.
            self.embed = nnx.Param(jax.random.normal(rngs.params(), (c_dim, z_dim)))

        # Latent and label side by side -> hidden layers -> w.
        width = 2 * z_dim if self.has_labels else z_dim
        for i in range(num_layers):
            out = w_dim if i == num_layers - 1 else layer_features or w_dim
            # Slower than the synthesis by `lr_multiplier`, or training is unstable (appendix C).
            layer = Dense(
                width,
                out,
                act=act,
                weight_gain=HE_GAIN,
                act_gain=1.0,
                lr_multiplier=lr_multiplier,
                rngs=rngs,
            )
            setattr(self, f"fc{i}", layer)
            width = out
        self.num_layers = num_layers
        # Without layers the style is the normalised input itself.
        self.w_dim = width

    def __call__(
        self, z: Float[Array, "*n z"], c: Float[Array, "*n c"] | None
    ) -> Float[Array, "*n w"]:
        """Maps latents and labels."""
        x = z.astype(jnp.float32)
        if self.has_labels:
            assert c is not None
            # [..., 2 * z_dim]; unlike StyleGAN2's, both are normalised as one vector.
            x = jnp.concatenate([x, c.astype(jnp.float32) @ self.embed[...]], axis=-1)
        x = normalize_2nd_moment(x)
        for i in range(self.num_layers):
            x = getattr(self, f"fc{i}")(x)
        return x


@dataclasses.dataclass(frozen=True)
class Switches:
    """What the rows of table 1 turn on and off; fields as the arguments of `Generator`."""

    act: str
    const_input: bool
    use_noise: bool
    use_pixel_norm: bool
    use_instance_norm: bool
    use_styles: bool
    blur_filter: tuple[float, ...] | None


class Epilogue(nnx.Module):
    """What follows every convolution: noise, bias, activation, normalisation, style.

    Source: Karras et al. 2019 (StyleGAN), figure 1b and eq. 1 (AdaIN).
    """

    def __init__(self, channels: int, *, w_dim: int, switches: Switches, rngs: nnx.Rngs):
        """Builds the layer; `w_dim` is the length of a style."""
        # B: one strength per channel, 0 at first.
        if switches.use_noise:
            self.noise_strength = nnx.Param(jnp.zeros((channels,)))
        self.bias = nnx.Param(jnp.zeros((channels,)))
        # A: w -> a scale and a shift per channel.
        if switches.use_styles:
            self.affine = Dense(w_dim, 2 * channels, rngs=rngs)
        self.switches = switches

    def __call__(
        self,
        x: Float[Array, "n h w i"],
        w: Float[Array, "n w_dim"],
        noise: Float[Array, "#n h w 1"] | None,
    ) -> Float[Array, "n h w i"]:
        """Applies the layer; `noise` is unit normal, its learned strength differs by channel."""
        # x + B n, bias, activation.
        if self.switches.use_noise and noise is not None:
            x = x + (noise * self.noise_strength[...]).astype(x.dtype)  # [n, h, w, 1] * [i]
        x = activate(x, self.bias[...], act=self.switches.act, act_gain=1.0)
        if self.switches.use_pixel_norm:
            x = normalize_2nd_moment(x)

        # AdaIN(x_i, y) = y_s,i * (x_i - mean(x_i)) / std(x_i) + y_b,i   (eq. 1)
        if self.switches.use_instance_norm:
            x = instance_norm(x)
        if self.switches.use_styles:
            y = self.affine(w)[:, None, None, :].astype(x.dtype)  # [n, 1, 1, 2 i]
            scale, shift = jnp.split(y, 2, axis=-1)
            # The scale is stored as its distance from 1, so that styles change nothing at first.
            x = x * (scale + 1) + shift
        return x


class SynthesisBlock(nnx.Module):
    """One resolution: up-sampling convolution and convolution, each with its epilogue.

    The first block starts from a learned constant, or from the latent through a dense layer.
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
        switches: Switches,
        dtype: jnp.dtype,
        formulation: Formulation,
        rngs: nnx.Rngs,
    ):
        """Builds the block of a size; `in_channels` 0 makes the first one.

        The other arguments are those of `Generator`.
        """
        # The bias belongs to the epilogue, after the noise.
        conv = functools.partial(
            Conv2d,
            kernel_size=3,
            bias=False,
            weight_gain=HE_GAIN,
            resample_filter=(1.0, 1.0),  # repeats pixels where `up` is 2
            formulation=formulation,
            rngs=rngs,
        )
        epilogue = functools.partial(
            Epilogue, out_channels, w_dim=w_dim, switches=switches, rngs=rngs
        )

        # Feature maps: a learned constant, the style through a dense layer (rows B and C), or
        # those of the block before at twice their size.
        self.start = "conv" if in_channels > 0 else "const" if switches.const_input else "fc"
        if self.start == "const":
            self.const = nnx.Param(jnp.ones((*size, out_channels)))
        elif self.start == "fc":
            # A quarter of the usual gain, as in ProGAN's first layer.
            fan_out = math.prod(size) * out_channels
            self.fc = Dense(w_dim, fan_out, bias=False, weight_gain=HE_GAIN / 4, rngs=rngs)
        else:
            self.conv0 = conv(in_channels, out_channels, up=2)
        self.epilogue0 = epilogue()
        self.conv1 = conv(out_channels, out_channels)
        self.epilogue1 = epilogue()

        # Colours of this resolution, linear and without a style.
        if has_torgb:
            self.torgb = Conv2d(
                out_channels, img_channels, kernel_size=1, formulation=formulation, rngs=rngs
            )
        self.blur_filter = switches.blur_filter
        self.formulation = formulation
        self.size = size
        self.dtype = dtype

    def __call__(
        self,
        x: Float[Array, "n h w i"] | None,
        ws: Float[Array, "n l w_dim"],
        noise: dict,
    ) -> Float[Array, "n p q o"]:
        """Applies the block with the first two of `ws`."""
        if self.start == "const":
            const = self.const[...].astype(self.dtype)  # [h0, w0, out]
            x = jnp.broadcast_to(const, (ws.shape[0], *const.shape))
        elif self.start == "fc":
            x = self.fc(ws[:, 0]).reshape(ws.shape[0], *self.size, -1)  # [n, h0, w0, out]
            x = x.astype(self.dtype)
        else:
            assert x is not None
            x = self.conv0(x.astype(self.dtype))
            # Repeated pixels, blurred, are bilinear up-sampling (section 2.1).
            if self.blur_filter is not None:
                x = blur2d(x, self.blur_filter, formulation=self.formulation)

        # Every convolution is followed by noise, bias, activation and a style of its own.
        x = self.epilogue0(x, ws[:, 0], noise.get("conv0"))
        return self.epilogue1(self.conv1(x), ws[:, 1], noise.get("conv1"))

    def colors(self, x: Float[Array, "n h w o"]) -> Float[Array, "n h w c"]:
        """Returns the block's feature maps as an image, float32."""
        return self.torgb(x).astype(jnp.float32)


class Synthesis(nnx.Module):
    """Synthesis network, `ws [n, num_ws, w_dim] -> img [n, h, w, img_channels]`."""

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
        switches: Switches,
        num_bf16_res: int,
        formulation: Formulation,
        rngs: nnx.Rngs,
    ):
        """Builds the network; arguments as in `Generator`."""
        sizes = block_sizes(img_resolution, base_grid)
        self.resolutions = tuple(sizes)
        self.num_ws = 2 * len(self.resolutions)
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
                switches=switches,
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
        """Draws images; `noise` has unit normals `[n or 1, h, w, 1]` per layer, None: no noise.

        `packing` is that of the image: `ops/packing.py`. It has no averages that could move.
        """
        del ema_beta
        if ws.shape[1] != self.num_ws:
            raise ValueError(f"{ws.shape[1]} styles given, {self.num_ws} wanted ([n, num_ws, w]).")
        noise = {} if noise is None else noise

        # From the base grid up, two styles per block; `coarse` is of the block before the last.
        x = coarse = None
        working = growing_resolutions(self.resolutions, resolution, grows=self.grows)
        for i, res in enumerate(working):
            coarse = x
            x = apply_block(
                getattr(self, f"b{res}"),
                x,
                ws[:, 2 * i :],
                noise.get(f"b{res}", {}),
                recompute=recompute and self.formulation.recomputes(res),
            )
        assert x is not None
        # The image of the last block; while that grows in, mixed with the one of the block before.
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
        base_grid: Size = SQUARE_BASE,
        mapping_layers: int = 8,
        mapping_lr_multiplier: float = 0.01,
        mapping_act: str = "lrelu",
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
            img_resolution: Resolution of the last block, a power of two: the side of a square.
            img_channels: Colours of the image, 1 to 16.
            base_grid: Height and width of the first feature maps (`sizes.py`).
            mapping_layers: Layers of the mapping network; 0: styles are normalised latents.
            mapping_lr_multiplier: Learning-rate multiplier of the mapping network.
            mapping_act: Activation of its layers; its gain is that of `act`.
            layer_features: Width of the mapping's hidden layers; default w_dim.
            channel_base: Channels at a resolution are `channel_base // resolution` ...
            channel_max: ... and at most this many.
            grows: Give every resolution a way to colours; False: only the last.
            act: Activation of the synthesis network; its gain is sqrt(2) whichever it is, on the
                weights.
            const_input: Start from a learned constant (row D) instead of the latent.
            use_noise: Give every layer a noise input (row E).
            use_pixel_norm: Normalise over channels after the activation (row B has it).
            use_instance_norm: Normalise each feature map before its style (row C).
            use_styles: Give every layer a style (row C).
            blur_filter: 1-D taps after every up-sampling convolution; None: no blur.
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
            layer_features=layer_features,
            act=mapping_act,
            lr_multiplier=mapping_lr_multiplier,
            rngs=rngs,
        )
        # g: w -> image.
        self.synthesis = Synthesis(
            self.mapping.w_dim,
            img_resolution,
            img_channels,
            base_grid=base_grid,
            channel_base=channel_base,
            channel_max=channel_max,
            grows=grows,
            switches=Switches(
                act=act,
                const_input=const_input,
                use_noise=use_noise,
                use_pixel_norm=use_pixel_norm,
                use_instance_norm=use_instance_norm,
                use_styles=use_styles,
                blur_filter=blur_filter,
            ),
            num_bf16_res=num_bf16_res,
            formulation=formulation,
            rngs=rngs,
        )

        # What callers need to know in order to draw latents, styles and noise.
        self.z_dim = z_dim
        self.w_dim = self.mapping.w_dim
        self.num_ws = self.synthesis.num_ws
        self.img_resolution = img_resolution
        self.has_styles = use_styles
        self.noise_layers = tuple(
            NoiseLayer(f"b{res}", layer, res, size)
            for res, size in block_sizes(img_resolution, base_grid).items()
            for layer in ("conv0", "conv1")
            if use_noise
        )
