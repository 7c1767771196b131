"""Discriminator of ProGAN and StyleGAN 1, grown block by block."""

import functools
import math

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from stylegan_jax.models.blocks import ImageNetwork, Moving, growing_resolutions
from stylegan_jax.models.layers import (
    Conv2d,
    Dense,
    MinibatchStddev,
    block_sizes,
    channels_at,
    compute_dtype,
)
from stylegan_jax.models.progan import HE_GAIN
from stylegan_jax.ops.fir import blur2d
from stylegan_jax.ops.formulation import Formulation, platform_formulation
from stylegan_jax.ops.normalize import Grouping
from stylegan_jax.ops.packing import UNPACKED, Packing, depth_to_space
from stylegan_jax.ops.partition import split_rows
from stylegan_jax.ops.pyramid import average_pixels, fade_to
from stylegan_jax.sizes import SQUARE_BASE, Size

# Convolution and dense layer with an activation whose gain sits on the weight.
_conv2d = functools.partial(Conv2d, weight_gain=HE_GAIN, act_gain=1.0)
_dense = functools.partial(Dense, weight_gain=HE_GAIN, act_gain=1.0)


class DiscriminatorBlock(nnx.Module):
    """One resolution: two convolutions that halve it, `[n, h, w, in] -> [n, h / 2, w / 2, out]`.

    Images enter through FromRGB, in the block of the resolution that they have.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        img_channels: int,
        has_fromrgb: bool,
        act: str,
        blur_filter: tuple[float, ...] | None,
        fused_scale: bool,
        dtype: jnp.dtype,
        formulation: Formulation,
        rngs: nnx.Rngs,
    ):
        """Builds the block; arguments as in `Discriminator`."""
        conv = functools.partial(_conv2d, act=act, formulation=formulation, rngs=rngs)
        # Colours of this resolution.
        if has_fromrgb:
            self.fromrgb = conv(img_channels, in_channels, kernel_size=1)
        # Feature maps, halved inside the second convolution or after it.
        self.conv0 = conv(in_channels, in_channels, kernel_size=3)
        self.conv1 = conv(
            in_channels,
            out_channels,
            kernel_size=3,
            down=2 if fused_scale else 1,
            resample_filter=(1.0, 1.0),  # averages pixels where `down` is 2
        )
        self.blur_filter = blur_filter
        self.fused_scale = fused_scale
        self.formulation = formulation
        self.dtype = dtype

    def __call__(self, x: Float[Array, "n h w i"]) -> Float[Array, "n p q o"]:
        """Halves the resolution."""
        x = self.conv0(x.astype(self.dtype))
        # Blurred before it is decimated, so that nothing aliases (StyleGAN, section 2.1).
        if self.blur_filter is not None:
            x = blur2d(x, self.blur_filter, formulation=self.formulation)
        x = self.conv1(x)
        return x if self.fused_scale else average_pixels(x, 2)


class DiscriminatorEpilogue(nnx.Module):
    """The end: minibatch stddev, convolution, two dense layers, choice by label; float32."""

    def __init__(
        self,
        in_channels: int,
        hidden_features: int,
        *,
        base_grid: Size,
        num_scores: int,
        img_channels: int,
        has_fromrgb: bool,
        act: str,
        mbstd: MinibatchStddev,
        formulation: Formulation,
        rngs: nnx.Rngs,
    ):
        """Builds the end; with several `num_scores`, the label picks one."""
        conv = functools.partial(_conv2d, act=act, formulation=formulation, rngs=rngs)
        # Colours of images of the base grid.
        if has_fromrgb:
            self.fromrgb = conv(img_channels, in_channels, kernel_size=1)
        # Feature maps -> one vector -> a score for every class, or one for all.
        self.mbstd = mbstd
        self.conv = conv(in_channels + mbstd.num_channels, in_channels, kernel_size=3)
        fan_in = in_channels * math.prod(base_grid)
        self.fc = _dense(fan_in, hidden_features, act=act, rngs=rngs)
        self.out = Dense(hidden_features, num_scores, rngs=rngs)

    def __call__(
        self, x: Float[Array, "n h0 w0 i"], c: Float[Array, "n m"] | None
    ) -> Float[Array, "n 1"]:
        """Returns the logits."""
        # Statistics of the group, then two layers that see the whole map (section 3, table 2).
        x = self.mbstd(x.astype(jnp.float32))  # [n, h0, w0, in + num_channels]
        x = self.conv(x)  # [n, h0, w0, in]
        x = self.fc(x.reshape(x.shape[0], -1))  # [n, hidden_features]
        x = self.out(x)  # [n, num_scores]
        # One-hot labels pick the score of their class.
        return x if c is None else jnp.sum(x * c, axis=-1, keepdims=True)


class Discriminator(ImageNetwork):
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
        base_grid: Size = SQUARE_BASE,
        channel_base: int = 16384,
        channel_max: int = 512,
        grows: bool = True,
        act: str = "lrelu",
        blur_filter: tuple[float, ...] | None = (1, 2, 1),
        fused_scale: bool = True,
        score_by_label: bool = True,
        mbstd_group_size: int | None = 4,
        mbstd_num_channels: int = 1,
        mbstd_grouping: Grouping = "contiguous",
        num_bf16_res: int = 0,
        formulation: Formulation | None = None,
        rngs: nnx.Rngs,
    ):
        """Builds the discriminator.

        Args:
            c_dim: Length of the label vector; 0: unconditional.
            img_resolution: Resolution of the first block, a power of two: the side of a square.
            img_channels: Colours of the image, 1 to 16.
            base_grid: Height and width of the last feature maps (`sizes.py`).
            channel_base: Channels at a resolution are `channel_base // resolution` ...
            channel_max: ... and at most this many.
            grows: Let images enter at every resolution; False: only at the largest.
            act: Activation; its gain is sqrt(2) whichever it is, on the weights.
            blur_filter: 1-D taps before every down-sampling convolution; None: no blur (ProGAN).
            fused_scale: Average inside the down-sampling convolution. False: after its
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
        formulation = formulation or platform_formulation()
        sizes = block_sizes(img_resolution, base_grid)
        self.resolutions = tuple(sizes)
        self.base_grid = base_grid
        self.grows = grows
        # The last dense layer's width follows the same rule, at 2x2.
        channels = {
            res: channels_at(res, channel_base=channel_base, channel_max=channel_max)
            for res in (2, *self.resolutions)
        }

        # Blocks b1024, b512, ..., b8, each at half the size of the one before.
        for res in self.resolutions[:0:-1]:
            block = DiscriminatorBlock(
                channels[res],
                channels[res // 2],
                has_fromrgb=grows or res == img_resolution,
                act=act,
                blur_filter=blur_filter,
                fused_scale=fused_scale,
                img_channels=img_channels,
                dtype=compute_dtype(res, img_resolution, num_bf16_res),
                formulation=formulation,
                rngs=rngs,
            )
            setattr(self, f"b{res}", block)

        # The end, on the base grid.
        self.is_conditional = score_by_label and c_dim > 0
        self.b4 = DiscriminatorEpilogue(
            channels[4],
            channels[2],
            base_grid=base_grid,
            num_scores=c_dim if self.is_conditional else 1,
            has_fromrgb=grows or img_resolution == 4,
            act=act,
            img_channels=img_channels,
            mbstd=MinibatchStddev(
                group_size=mbstd_group_size,
                num_channels=mbstd_num_channels,
                grouping=mbstd_grouping,
            ),
            formulation=formulation,
            rngs=rngs,
        )

    def __call__(
        self,
        img: Float[Array, "n h w ch"],
        c: Float[Array, "n c"] | None,
        moving: Moving,
        *,
        fade: Float[Array, ""] | None = None,
        packing: Packing = UNPACKED,
    ) -> tuple[Float[Array, "n 1"], Moving]:
        """Scores images in [-1, 1], packed by `packing`; higher is more real.

        The image's own size says which blocks work; `fade` is the share of the path that enters
        at half the size (None: not computed).

        Raises:
            ValueError: Images of a size that no block takes.
        """
        resolution = self.resolution_of(img, packing)
        blocks = growing_resolutions(self.resolutions, resolution, grows=self.grows)

        # From the image's own size down. Nothing here is packed.
        img = depth_to_space(img, packing)
        first = getattr(self, f"b{resolution}")
        x = first.fromrgb(split_rows(img.astype(self._dtype(resolution))))
        for res in reversed(blocks[1:]):
            x = split_rows(getattr(self, f"b{res}")(x))
            if res == resolution and fade is not None:
                # While the first block grows in: the next one reads its output mixed with the
                # colours of the image at half the size (Karras et al. 2018, figure 2).
                small = average_pixels(img, 2).astype(x.dtype)
                x = fade_to(x, getattr(self, f"b{res // 2}").fromrgb(small), fade)
        return self.b4(x, c if self.is_conditional else None), moving

    def _dtype(self, res: int) -> jnp.dtype:
        """The dtype in which the block of a resolution computes."""
        return jnp.dtype(jnp.float32) if res == 4 else getattr(self, f"b{res}").dtype
