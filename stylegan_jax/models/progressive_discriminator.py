"""Discriminator of ProGAN and StyleGAN 1, grown block by block."""

from typing import Literal

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from stylegan_jax.models.blocks import Moving, Network, growing_resolutions
from stylegan_jax.models.layers import (
    Conv2d,
    Dense,
    block_resolutions,
    channels_at,
    compute_dtype,
)
from stylegan_jax.models.progan import HE_GAIN
from stylegan_jax.ops.fir import blur2d
from stylegan_jax.ops.formulation import Formulation, platform_formulation
from stylegan_jax.ops.normalize import minibatch_stddev
from stylegan_jax.ops.packing import depth_to_space, packing_of
from stylegan_jax.ops.partition import split_rows
from stylegan_jax.ops.pyramid import average_pixels, fade_to

# Leaky ReLU whose gain sits on the weight.
_LRELU = dict(act="lrelu", weight_gain=HE_GAIN, act_gain=1.0)


class DiscriminatorBlock(nnx.Module):
    """One resolution: convolution and down-sampling convolution, `[n, h, w, i] -> [n, p, q, o]`.

    Images enter through FromRGB, in the block of the resolution that they have.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        img_channels: int,
        has_fromrgb: bool,
        blur_filter: tuple[float, ...] | None,
        fused_scale: bool,
        dtype: jnp.dtype,
        formulation: Formulation,
        rngs: nnx.Rngs,
    ):
        """Builds the block; arguments as in `ProgressiveDiscriminator`."""
        layer = dict(_LRELU, formulation=formulation, rngs=rngs)
        if has_fromrgb:
            self.fromrgb = Conv2d(img_channels, in_channels, kernel_size=1, **layer)
        self.conv0 = Conv2d(in_channels, in_channels, kernel_size=3, **layer)
        self.conv1 = Conv2d(
            in_channels,
            out_channels,
            kernel_size=3,
            down=2 if fused_scale else 1,
            resample_filter=(1.0, 1.0),
            **layer,
        )
        self.blur_filter = blur_filter
        self.fused_scale = fused_scale
        self.formulation = formulation
        self.dtype = dtype

    def __call__(self, x: Float[Array, "n h w i"]) -> Float[Array, "n p q o"]:
        """Halves the resolution."""
        x = self.conv0(x.astype(self.dtype))
        if self.blur_filter is not None:
            x = blur2d(x, self.blur_filter, formulation=self.formulation)
        x = self.conv1(x)
        return x if self.fused_scale else average_pixels(x, 2)


class DiscriminatorEpilogue(nnx.Module):
    """The 4x4 end: minibatch stddev, convolution, two dense layers, choice by label; float32."""

    def __init__(
        self,
        in_channels: int,
        hidden_features: int,
        *,
        num_scores: int,
        img_channels: int,
        has_fromrgb: bool,
        mbstd_group_size: int | None,
        mbstd_num_channels: int,
        mbstd_grouping: Literal["contiguous", "strided"],
        formulation: Formulation,
        rngs: nnx.Rngs,
    ):
        """Builds the end; with several `num_scores`, the label picks one."""
        layer = dict(_LRELU, formulation=formulation, rngs=rngs)
        if has_fromrgb:
            self.fromrgb = Conv2d(img_channels, in_channels, kernel_size=1, **layer)
        self.conv = Conv2d(in_channels + mbstd_num_channels, in_channels, kernel_size=3, **layer)
        self.fc = Dense(in_channels * 4 * 4, hidden_features, **_LRELU, rngs=rngs)
        self.out = Dense(hidden_features, num_scores, rngs=rngs)
        self.mbstd_group_size = mbstd_group_size
        self.mbstd_num_channels = mbstd_num_channels
        self.mbstd_grouping = mbstd_grouping

    def __call__(
        self, x: Float[Array, "n 4 4 i"], c: Float[Array, "n m"] | None
    ) -> Float[Array, "n 1"]:
        """Returns the logits."""
        x = x.astype(jnp.float32)
        if self.mbstd_num_channels > 0:
            x = minibatch_stddev(
                x,
                group_size=self.mbstd_group_size,
                num_channels=self.mbstd_num_channels,
                grouping=self.mbstd_grouping,
            )
        x = self.conv(x)
        x = self.out(self.fc(x.reshape(x.shape[0], -1)))
        return x if c is None else jnp.sum(x * c, axis=-1, keepdims=True)


class ProgressiveDiscriminator(Network):
    """Discriminator of ProGAN and StyleGAN 1, `(img, c [n, c_dim], moving) -> (logits, moved)`.

    Source: Karras et al. 2018 (ProGAN), table 2 and figure 2; Karras et al. 2019 (StyleGAN).
    Checked: tests/parity, cases `pggan_D_*`, `sg1_D_*`.
    """

    def __init__(
        self,
        c_dim: int,
        img_resolution: int,
        img_channels: int,
        *,
        channel_base: int = 16384,
        channel_max: int = 512,
        grows: bool = True,
        blur_filter: tuple[float, ...] | None = (1, 2, 1),
        fused_scale: bool = True,
        score_by_label: bool = True,
        mbstd_group_size: int | None = 4,
        mbstd_num_channels: int = 1,
        mbstd_grouping: Literal["contiguous", "strided"] = "contiguous",
        num_bf16_res: int = 0,
        formulation: Formulation | None = None,
        rngs: nnx.Rngs,
    ):
        """Builds the discriminator.

        Args:
            c_dim: Length of the label vector; 0: unconditional.
            img_resolution: Side of the largest image, a power of two.
            img_channels: Colours of the image.
            channel_base: Channels at a resolution are `channel_base // resolution` ...
            channel_max: ... and at most this many.
            grows: Let images enter at every resolution; False: only at the largest.
            blur_filter: 1-D taps before every down-sampling convolution; None: no blur (ProGAN).
            fused_scale: Average inside the down-sampling convolution. False: behind its
                activation, as ProGAN's separate scaling does.
            score_by_label: One score per class, of which the label picks its own (StyleGAN).
                False: labels are not looked at (ProGAN).
            mbstd_group_size: See `minibatch_stddev`.
            mbstd_num_channels: Statistics per group; 0 leaves the layer out.
            mbstd_grouping: `contiguous` or, as in the official checkpoints, `strided`.
            num_bf16_res: How many of the highest resolutions compute in bfloat16.
            formulation: How it is computed, with the same results; None: as suits this platform.
            rngs: Source of the first weights.
        """
        self.resolutions = block_resolutions(img_resolution)
        # The last dense layer's width follows the same rule, at 2x2.
        channels = {
            res: channels_at(res, channel_base=channel_base, channel_max=channel_max)
            for res in (2, *self.resolutions)
        }
        formulation = formulation or platform_formulation()
        common = dict(img_channels=img_channels, formulation=formulation, rngs=rngs)
        for res in self.resolutions[:0:-1]:
            block = DiscriminatorBlock(
                channels[res],
                channels[res // 2],
                has_fromrgb=grows or res == img_resolution,
                blur_filter=blur_filter,
                fused_scale=fused_scale,
                dtype=compute_dtype(res, img_resolution, num_bf16_res),
                **common,
            )
            setattr(self, f"b{res}", block)
        self.is_conditional = score_by_label and c_dim > 0
        self.b4 = DiscriminatorEpilogue(
            channels[4],
            channels[2],
            num_scores=c_dim if self.is_conditional else 1,
            has_fromrgb=grows or img_resolution == 4,
            mbstd_group_size=mbstd_group_size,
            mbstd_num_channels=mbstd_num_channels,
            mbstd_grouping=mbstd_grouping,
            **common,
        )
        self.grows = grows
        self.img_channels = img_channels

    def __call__(
        self,
        img: Float[Array, "n h w ch"],
        c: Float[Array, "n c"] | None,
        moving: Moving,
        *,
        fade: Float[Array, ""] | None = None,
    ) -> tuple[Float[Array, "n 1"], Moving]:
        """Scores images in [-1, 1], packed or not; higher is more real.

        The image's own size says which blocks work; `fade` is the share of the path that enters
        at half the size (None: not computed).
        """
        img = depth_to_space(img, packing_of(img, self.img_channels))
        side = img.shape[1]
        blocks = growing_resolutions(self.resolutions, side, grows=self.grows)
        x = getattr(self, f"b{side}").fromrgb(split_rows(img.astype(self._dtype(side))))
        for res in reversed(blocks[1:]):
            x = split_rows(getattr(self, f"b{res}")(x))
            if res == side and fade is not None:
                small = average_pixels(img, 2).astype(x.dtype)
                x = fade_to(x, getattr(self, f"b{res // 2}").fromrgb(small), fade)
        return self.b4(x, c if self.is_conditional else None), moving

    def _dtype(self, res: int) -> jnp.dtype:
        """What the block of a resolution computes in."""
        return jnp.dtype(jnp.float32) if res == 4 else getattr(self, f"b{res}").dtype
