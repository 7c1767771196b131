"""StyleGAN3 generator: layers that treat their feature maps as samples of continuous signals."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

from stylegan_jax.models.blocks import (
    BaseGenerator,
    Moving,
    Noise,
    apply_block,
    growing_resolutions,
)
from stylegan_jax.models.fourier_input import FourierInput
from stylegan_jax.models.layers import Dense, Mapping
from stylegan_jax.models.stylegan3_schedule import Band, LayerPlan, plan_layers
from stylegan_jax.ops.filter_design import design_lowpass_filter
from stylegan_jax.ops.filtered_lrelu import filtered_lrelu
from stylegan_jax.ops.formulation import Formulation, platform_formulation
from stylegan_jax.ops.modulated_conv import modulated_conv2d_normalized
from stylegan_jax.ops.packing import UNPACKED, Packing, repack
from stylegan_jax.ops.partition import batch_mean
from stylegan_jax.sizes import SQUARE_BASE, Size

# Taps of a filter: along both axes, or of a square.
Taps = tuple[float, ...] | tuple[tuple[float, ...], ...]


@functools.cache
def design_filter(
    num_taps: int, band: Band, sampling_rate: int, *, radial: bool = False
) -> Taps | None:
    """Designs the low-pass filter of a band, as static floats; None where it has one tap."""
    taps = design_lowpass_filter(
        num_taps, band.cutoff, band.half_width * 2, sampling_rate, radial=radial
    )
    if taps is None:
        return None
    if taps.ndim == 1:
        return tuple(taps.tolist())
    return tuple(tuple(row) for row in taps.tolist())


def layer_filters(plan: LayerPlan) -> tuple[Taps | None, Taps | None]:
    """Returns the filters of a layer: of the zoom before its nonlinearity, and of what follows."""
    up = design_filter(plan.up_taps, plan.source, plan.tmp_rate)
    return up, design_filter(plan.down_taps, plan.target, plan.tmp_rate, radial=plan.is_radial)


class SynthesisLayer(nnx.Module):
    """Modulated convolution and a nonlinearity without aliasing, from a band to the next.

    Source: Karras et al. 2021 (StyleGAN3), figure 4b and appendices B and C.
    """

    def __init__(
        self,
        plan: LayerPlan,
        *,
        w_dim: int,
        conv_clamp: float | None,
        formulation: Formulation,
        rngs: nnx.Rngs,
    ):
        """Builds the layer of a plan; the other arguments as in `Generator`."""
        in_channels, out_channels = plan.source.channels, plan.target.channels
        # A: one scale per input channel, 1 at first.
        self.affine = Dense(w_dim, in_channels, bias_init=1.0, rngs=rngs)
        shape = (plan.kernel_size, plan.kernel_size, in_channels, out_channels)
        self.weight = nnx.Param(jax.random.normal(rngs.params(), shape))
        self.bias = nnx.Param(jnp.zeros((out_channels,)))

        # ToRGB is linear: nothing is demodulated, filtered or bent there.
        self.styles_gain = 1 / math.sqrt(math.prod(shape[:3])) if plan.is_torgb else 1.0
        self.gain, self.slope = (1.0, 1.0) if plan.is_torgb else (math.sqrt(2), 0.2)
        self.up_taps, self.down_taps = layer_filters(plan)
        self.plan = plan
        self.conv_clamp = conv_clamp
        self.dtype = jnp.dtype(jnp.bfloat16 if plan.is_bf16 else jnp.float32)
        self.formulation = formulation

    def __call__(
        self,
        x: Float[Array, "n h w i"],
        w: Float[Array, "n w_dim"],
        magnitude_ema: Float[Array, ""],
        ema_beta: Float[Array, ""] | float | None = None,
    ) -> tuple[Float[Array, "n p q o"], Float[Array, ""]]:
        """Applies the layer; returns its output and the mean square of inputs after this pass.

        `ema_beta` is the share of that mean which the pass keeps; None: it stands still.
        """
        # Inputs are scaled to unit magnitude by their moving mean, that of all devices' images.
        if ema_beta is not None:
            square = lax.stop_gradient(jnp.square(x.astype(jnp.float32)))
            magnitude = batch_mean(jnp.mean(square, axis=(1, 2, 3)))
            magnitude_ema = magnitude + (magnitude_ema - magnitude) * ema_beta
        x = modulated_conv2d_normalized(
            x.astype(self.dtype),
            self.weight[...],
            self.affine(w) * self.styles_gain,  # s [n, in]
            demodulate=not self.plan.is_torgb,
            padding=self.plan.kernel_size - 1,
            # A signal that is zero has no magnitude, and stays zero.
            input_gain=lax.rsqrt(jnp.maximum(magnitude_ema, 1e-30)),
            formulation=self.formulation,
        )
        x = filtered_lrelu(
            x,
            self.bias[...],
            up_taps=self.up_taps,
            down_taps=self.down_taps,
            up=self.plan.up,
            down=self.plan.down,
            padding=self.plan.padding,
            gain=self.gain,
            slope=self.slope,
            clamp=self.conv_clamp,
            formulation=self.formulation,
        )
        return x, magnitude_ema


class Synthesis(nnx.Module):
    """Synthesis network, `ws [n, num_ws, w_dim] -> img [n, h, w, img_channels]` in [-1, 1].

    Source: Karras et al. 2021 (StyleGAN3), figure 4b.
    """

    grows = False

    def __init__(
        self,
        w_dim: int,
        plans: tuple[LayerPlan, ...],
        *,
        img_resolution: int,
        base_grid: Size,
        conv_clamp: float | None,
        output_scale: float,
        formulation: Formulation,
        rngs: nnx.Rngs,
    ):
        """Builds the network; arguments as in `Generator`."""
        # Waves, their unit the shorter side of the image.
        first = plans[0].source
        unit = min(base_grid) / 4
        self.input = FourierInput(
            w_dim,
            first.channels,
            size=first.size,
            sampling_rate=first.rate * unit,
            bandwidth=first.cutoff * unit,
            rngs=rngs,
        )
        # Layers L0, L1, ..., each reading the one before.
        for plan in plans:
            layer = SynthesisLayer(
                plan, w_dim=w_dim, conv_clamp=conv_clamp, formulation=formulation, rngs=rngs
            )
            setattr(self, plan.name, layer)
        self.layer_names = tuple(plan.name for plan in plans)
        self.num_ws = 1 + len(plans)
        self.resolutions = (img_resolution,)
        self.output_scale = output_scale
        self.formulation = formulation

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
        transform: Float[Array, "*n 3 3"] | None = None,
        ema_beta: Float[Array, ""] | float | None = None,
    ) -> tuple[Float[Array, "n h w c"], Moving]:
        """Draws images; `moving` has the mean squares of the layers' inputs.

        See `BaseGenerator` for the arguments; noise has no use here.
        """
        del noise, fade
        if ws.shape[1] != self.num_ws:
            raise ValueError(f"{ws.shape[1]} styles given, {self.num_ws} wanted ([n, num_ws, w]).")
        growing_resolutions(self.resolutions, resolution, grows=self.grows)

        x = self.input(ws[:, 0], transform)
        moved: dict[str, Any] = {}
        for i, name in enumerate(self.layer_names):
            layer = getattr(self, name)
            x, magnitude_ema = apply_block(
                layer,
                x,
                ws[:, i + 1],
                moving["synthesis"][name]["magnitude_ema"],
                ema_beta,
                recompute=recompute and self.formulation.recomputes(layer.plan.tmp_rate),
            )
            moved[name] = {"magnitude_ema": magnitude_ema}
        img = x.astype(jnp.float32) * self.output_scale
        return repack(img, UNPACKED, packing), {"synthesis": moved}


class Generator(BaseGenerator):
    """StyleGAN3 generator, `(z, c) -> img`: mapping, truncation and synthesis.

    Source: Karras et al. 2021 (StyleGAN3); configs T and R.
    Checked: tests/parity, cases `sg3_G_*`.
    """

    takes_transform = True

    def __init__(
        self,
        z_dim: int,
        c_dim: int,
        w_dim: int,
        img_resolution: int,
        img_channels: int,
        *,
        base_grid: Size = SQUARE_BASE,
        mapping_layers: int = 2,
        mapping_lr_multiplier: float = 0.01,
        mapping_act: str = "lrelu",
        embed_features: int | None = None,
        layer_features: int | None = None,
        channel_base: int = 32768,
        channel_max: int = 512,
        num_layers: int = 14,
        num_critical: int = 2,
        first_cutoff: float = 2.0,
        first_stopband: float = 2.0**2.1,
        last_stopband_rel: float = 2.0**0.3,
        margin_size: int = 10,
        conv_kernel: int = 3,
        filter_size: int = 6,
        lrelu_upsampling: int = 2,
        use_radial_filters: bool = False,
        output_scale: float = 0.25,
        conv_clamp: float | None = 256.0,
        num_bf16_res: int = 0,
        formulation: Formulation | None = None,
        rngs: nnx.Rngs,
    ):
        """Builds the generator; the defaults are those of config T.

        Args:
            z_dim: Length of the latent.
            c_dim: Length of the label vector; 0: unconditional.
            w_dim: Length of a style.
            img_resolution: Pixels of a square's side, a power of two.
            img_channels: Colours of the image, 1 to 16.
            base_grid: Height and width of the image in quarters of `img_resolution` (`sizes.py`).
            mapping_layers: Layers of the mapping network.
            mapping_lr_multiplier: Learning-rate multiplier of the mapping network.
            mapping_act: Activation of its layers.
            embed_features: Length of the label's embedding; default w_dim.
            layer_features: Width of the mapping's hidden layers; default w_dim.
            channel_base: Feature maps at a cutoff are half of it divided by the cutoff ...
            channel_max: ... and at most this many; R has twice as many of both.
            num_layers: Layers before ToRGB.
            num_critical: Of these, the last ones are sampled as sparsely as can be.
            first_cutoff: Highest frequency of the first layer, in cycles per `img_resolution`.
            first_stopband: From where on it lets nothing pass.
            last_stopband_rel: That of the last layer, as a multiple of its cutoff.
            margin_size: Pixels of the feature maps around the image.
            conv_kernel: Side of the kernels; R has 1, which a rotation does not change.
            filter_size: Taps of a filter per sample of the coarser side.
            lrelu_upsampling: Zoom in which the nonlinearity works.
            use_radial_filters: Filter alike in all directions where a layer gains nothing by
                being critically sampled (R).
            output_scale: Factor on the image.
            conv_clamp: Clamp of all layers' activations; None: unbounded.
            num_bf16_res: Layers of the highest of so many rates compute in bfloat16.
            formulation: How it is computed, with the same results; None: as suits this platform.
            rngs: Source of the first weights.

        Raises:
            ValueError: There is no schedule of such numbers (`plan_layers`).
        """
        formulation = formulation or platform_formulation()
        plans = plan_layers(
            img_resolution,
            img_channels,
            base_grid=base_grid,
            channel_base=channel_base,
            channel_max=channel_max,
            num_layers=num_layers,
            num_critical=num_critical,
            first_cutoff=first_cutoff,
            first_stopband=first_stopband,
            last_stopband_rel=last_stopband_rel,
            margin_size=margin_size,
            conv_kernel=conv_kernel,
            filter_size=filter_size,
            lrelu_upsampling=lrelu_upsampling,
            use_radial_filters=use_radial_filters,
            num_bf16_res=num_bf16_res,
        )
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
            plans,
            img_resolution=img_resolution,
            base_grid=base_grid,
            conv_clamp=conv_clamp,
            output_scale=output_scale,
            formulation=formulation,
            rngs=rngs,
        )

        # What callers need to know in order to draw latents and styles.
        self.z_dim = z_dim
        self.w_dim = w_dim
        self.num_ws = self.synthesis.num_ws
        self.img_resolution = img_resolution
        self.has_styles = True
        self.noise_layers = ()

    def init_moving(self) -> Moving:
        """Returns the first mean squares of all layers' inputs: 1."""
        names = self.synthesis.layer_names
        return {"synthesis": {name: {"magnitude_ema": jnp.ones(())} for name in names}}
