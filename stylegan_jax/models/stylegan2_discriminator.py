"""StyleGAN2 discriminator in the original, skip, residual or progressive architecture."""

import functools
import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from stylegan_jax.models.blocks import ImageNetwork, Moving, growing_resolutions
from stylegan_jax.models.layers import (
    Conv2d,
    Dense,
    Mapping,
    MinibatchStddev,
    block_sizes,
    channels_at,
    compute_dtype,
    image_packing,
    normalized,
)
from stylegan_jax.models.stylegan2 import RESIDUAL_GAIN, check_architecture
from stylegan_jax.ops.fir import downsample2d
from stylegan_jax.ops.formulation import Formulation, platform_formulation
from stylegan_jax.ops.normalize import Grouping
from stylegan_jax.ops.packing import (
    UNPACKED,
    Packing,
    depth_to_space,
    repack,
    space_to_depth,
)
from stylegan_jax.ops.partition import split_rows
from stylegan_jax.ops.pyramid import average_pixels, fade_to
from stylegan_jax.sizes import SQUARE_BASE, Size, divided


class FromRGB(Conv2d):
    """1x1 convolution from colours and activation, `[n, h, w, img_channels] -> [n, h, w, out]`."""

    def __init__(
        self,
        img_channels: int,
        out_channels: int,
        *,
        size: Size,
        act: str,
        conv_clamp: float | None = None,
        formulation: Formulation,
        rngs: nnx.Rngs,
    ):
        """Builds the layer; arguments as in `Conv2d`."""
        super().__init__(
            img_channels,
            out_channels,
            kernel_size=1,
            act=act,
            conv_clamp=conv_clamp,
            formulation=formulation,
            rngs=rngs,
        )
        # Images are packed otherwise than feature maps of as many channels.
        self.packing = (
            image_packing(formulation, size, img_channels, out_channels),
            formulation.packing(size, out_channels),
        )


class DiscriminatorBlock(nnx.Module):
    """One resolution: convolution, down-sampling convolution, and FromRGB or a residual path.

    Maps feature maps `[n, h, w, in]` to `[n, h / 2, w / 2, out]`.

    Source: Karras et al. 2020 (StyleGAN2), figure 7: skip (b), residual (c).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        size: Size,
        img_channels: int,
        is_first: bool,
        architecture: str,
        act: str,
        resample_filter: tuple[float, ...],
        conv_clamp: float | None,
        dtype: jnp.dtype,
        formulation: Formulation,
        rngs: nnx.Rngs,
    ):
        """Builds the block of a size; `is_first`: the image enters here at full size."""
        self.has_fromrgb = is_first or architecture in ("skip", "progressive")
        self.adds_fromrgb = architecture == "skip"
        self.has_skip = architecture == "resnet"
        conv = functools.partial(
            Conv2d,
            resample_filter=resample_filter,
            size=size,
            formulation=formulation,
            rngs=rngs,
        )
        conv3x3 = functools.partial(conv, kernel_size=3, act=act, conv_clamp=conv_clamp)

        # Colours of this resolution (figure 7b: fRGB).
        if self.has_fromrgb:
            self.fromrgb = FromRGB(
                img_channels,
                in_channels,
                size=size,
                act=act,
                conv_clamp=conv_clamp,
                formulation=formulation,
                rngs=rngs,
            )
        # Feature maps, halved by the second convolution.
        self.conv0 = conv3x3(in_channels, in_channels)
        self.conv1 = conv3x3(in_channels, out_channels, down=2)
        # The residual path around both: linear and without a bias (figure 7c).
        if self.has_skip:
            self.skip = conv(in_channels, out_channels, kernel_size=1, bias=False, down=2)

        # How the image is held that comes in, and the one that goes on to the next block.
        self.img_packing = image_packing(formulation, size, img_channels, in_channels)
        coarse_size = divided(size, 2)
        self.coarse_packing = image_packing(formulation, coarse_size, img_channels, out_channels)
        self.taps = normalized(resample_filter)
        self.formulation = formulation
        self.dtype = dtype

    def __call__(
        self, x: Float[Array, "n h w i"] | None, img: Float[Array, "n a b c"] | None
    ) -> tuple[Float[Array, "n p q o"], Float[Array, "n s t co"] | None]:
        """Returns the feature maps and, in the skip architecture, the smaller image.

        The image comes packed as this block's `img_packing` says.
        """
        # Skip: every block sees the image at its own size, the next one a filtered half of it.
        if x is None or self.adds_fromrgb:
            assert img is not None
            y = self.fromrgb(img.astype(self.dtype))  # [n, h, w, in]
            x = y if x is None else x.astype(self.dtype) + y
            img = self._shrink(img) if self.adds_fromrgb else None

        assert x is not None
        x = x.astype(self.dtype)
        if not self.has_skip:
            return self.conv1(self.conv0(x)), img
        # Both branches of the residual sum are scaled, so that it keeps unit variance.
        y = self.conv1(self.conv0(x), RESIDUAL_GAIN)  # [n, h / 2, w / 2, out]
        return self.skip(x, RESIDUAL_GAIN) + y, img

    def _shrink(self, img: Float[Array, "n h w c"]) -> Float[Array, "n p q co"]:
        """The image of the next block."""
        packing = (self.img_packing, self.coarse_packing)
        return downsample2d(img, self.taps, packing=packing, formulation=self.formulation)


class DiscriminatorEpilogue(nnx.Module):
    """The end: minibatch stddev, convolution, two dense layers, label projection; float32."""

    def __init__(
        self,
        in_channels: int,
        *,
        base_grid: Size,
        cmap_dim: int,
        img_channels: int,
        architecture: str,
        act: str,
        mbstd: MinibatchStddev,
        conv_clamp: float | None,
        formulation: Formulation,
        rngs: nnx.Rngs,
    ):
        """Builds the end; `cmap_dim` 0 gives one logit per image without a label."""
        # Colours, in the architectures whose image reaches the base grid.
        if architecture in ("skip", "progressive"):
            self.fromrgb = FromRGB(
                img_channels,
                in_channels,
                size=base_grid,
                act=act,
                formulation=formulation,
                rngs=rngs,
            )
        self.adds_fromrgb = architecture == "skip"

        # Feature maps -> one vector -> one logit, or as many numbers as the mapped label has.
        self.mbstd = mbstd
        self.conv = Conv2d(
            in_channels + mbstd.num_channels,
            in_channels,
            kernel_size=3,
            act=act,
            conv_clamp=conv_clamp,
            formulation=formulation,
            rngs=rngs,
        )
        self.fc = Dense(in_channels * math.prod(base_grid), in_channels, act=act, rngs=rngs)
        self.out = Dense(in_channels, cmap_dim if cmap_dim > 0 else 1, rngs=rngs)
        self.cmap_dim = cmap_dim

    def __call__(
        self,
        x: Float[Array, "n h0 w0 i"] | None,
        img: Float[Array, "n h0 w0 c"] | None,
        cmap: Float[Array, "n m"] | None,
    ) -> Float[Array, "n 1"]:
        """Returns the logits."""
        if x is None or self.adds_fromrgb:
            assert img is not None
            y = self.fromrgb(img)
            x = y if x is None else x.astype(jnp.float32) + y

        # Feature maps -> one vector per image (Karras et al. 2018, section 3 and table 2).
        x = self.mbstd(x.astype(jnp.float32))  # [n, h0, w0, in + num_channels]
        x = self.conv(x)  # [n, h0, w0, in]
        x = self.fc(x.reshape(x.shape[0], -1))  # [n, in]
        x = self.out(x)  # [n, cmap_dim or 1]

        # Label projection (Miyato and Koyama 2018, eq. 3): D(x, c) = cmap(c) . f(x) / sqrt(m).
        if cmap is None:
            return x
        return jnp.sum(x * cmap, axis=-1, keepdims=True) / float(np.sqrt(self.cmap_dim))


class Discriminator(ImageNetwork):
    """StyleGAN2 discriminator, `(img [n, h, w, ch], c [n, c_dim], moving) -> (logits, moved)`.

    Source: Karras et al. 2020 (StyleGAN2), figure 7; label projection as in StyleGAN2-ADA.
    Checked: tests/parity, cases `sg2_D_*`.
    """

    def __init__(
        self,
        c_dim: int,
        img_resolution: int,
        img_channels: int,
        *,
        base_grid: Size = SQUARE_BASE,
        channel_base: int = 32768,
        channel_max: int = 512,
        architecture: str = "resnet",
        act: str = "lrelu",
        epilogue_act: str = "lrelu",
        resample_filter: tuple[float, ...] = (1, 3, 3, 1),
        cmap_dim: int | None = None,
        mapping_layers: int = 8,
        mapping_lr_multiplier: float = 0.01,
        mapping_act: str = "lrelu",
        embed_features: int | None = None,
        layer_features: int | None = None,
        mbstd_group_size: int | None = 4,
        mbstd_num_channels: int = 1,
        mbstd_grouping: Grouping = "contiguous",
        conv_clamp: float | None = None,
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
            architecture: `resnet` (configs E, F), `skip`, `orig` or `progressive` (configs B to D).
            act: Activation of the blocks, FromRGB included, with its own gain (`bias_act`).
            epilogue_act: Activation of the layers at 4x4, FromRGB included.
            resample_filter: 1-D FIR taps of all resampling.
            cmap_dim: Length of the mapped label; default the channels of the last block.
            mapping_layers: Layers of the label's mapping network.
            mapping_lr_multiplier: Learning-rate multiplier of that network.
            mapping_act: Activation of its layers.
            embed_features: Length of the label's embedding; default cmap_dim.
            layer_features: Width of the mapping's hidden layers; default cmap_dim.
            mbstd_group_size: See `minibatch_stddev`.
            mbstd_num_channels: Statistics per group; 0 leaves the layer out.
            mbstd_grouping: `contiguous` or, as in the official checkpoints, `strided`.
            conv_clamp: Clamp of convolution outputs; None: unbounded.
            num_bf16_res: How many of the highest resolutions compute in bfloat16.
            formulation: How it is computed, with the same results; None: as suits this platform.
            rngs: Source of the first weights.
        """
        formulation = formulation or platform_formulation()
        check_architecture(architecture)
        sizes = block_sizes(img_resolution, base_grid)
        self.resolutions = tuple(sizes)
        self.base_grid = base_grid
        self.grows = architecture == "progressive"
        channels = {
            res: channels_at(res, channel_base=channel_base, channel_max=channel_max)
            for res in self.resolutions
        }
        shared: dict[str, Any] = dict(
            img_channels=img_channels,
            architecture=architecture,
            conv_clamp=conv_clamp,
            formulation=formulation,
            rngs=rngs,
        )

        # Blocks b1024, b512, ..., b8, each at half the size of the one before.
        for res in self.resolutions[:0:-1]:
            block = DiscriminatorBlock(
                channels[res],
                channels[res // 2],
                size=sizes[res],
                is_first=res == img_resolution,
                act=act,
                resample_filter=resample_filter,
                dtype=compute_dtype(res, img_resolution, num_bf16_res),
                **shared,
            )
            setattr(self, f"b{res}", block)

        # The label's way to the logits: a mapping network without a latent.
        self.cmap_dim = (channels[4] if cmap_dim is None else cmap_dim) if c_dim > 0 else 0
        if self.cmap_dim > 0:
            self.mapping = Mapping(
                0,
                c_dim,
                self.cmap_dim,
                num_layers=mapping_layers,
                embed_features=embed_features,
                layer_features=layer_features,
                act=mapping_act,
                lr_multiplier=mapping_lr_multiplier,
                rngs=rngs,
            )

        # The end, on the base grid.
        mbstd = MinibatchStddev(
            group_size=mbstd_group_size,
            num_channels=mbstd_num_channels,
            grouping=mbstd_grouping,
        )
        self.b4 = DiscriminatorEpilogue(
            channels[4],
            base_grid=base_grid,
            cmap_dim=self.cmap_dim,
            act=epilogue_act,
            mbstd=mbstd,
            **shared,
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

        In the progressive architecture the image's own size says which blocks work, and `fade` is
        the share of the path that enters at half the size (None: not computed).

        Raises:
            ValueError: Images of a size that no block takes.
        """
        resolution = self.resolution_of(img, packing)
        blocks = growing_resolutions(self.resolutions, resolution, grows=self.grows)

        # From the image's own size down; `rest` is what skip blocks still read of the image.
        x = None
        rest = split_rows(repack(img, packing, self.packing_at(resolution)))
        for res in reversed(blocks[1:]):
            x, rest = split_rows(getattr(self, f"b{res}")(x, rest))
            if res == resolution and fade is not None:
                # While the first block grows in: the next one reads its output mixed with the
                # colours of the image at half the size (Karras et al. 2018, figure 2).
                small = average_pixels(depth_to_space(img, packing), 2)
                small = space_to_depth(small.astype(x.dtype), self.packing_at(res // 2))
                x = fade_to(x, getattr(self, f"b{res // 2}").fromrgb(small), fade)

        cmap = self.mapping(None, c) if self.cmap_dim > 0 else None  # [n, cmap_dim]
        return self.b4(x, rest, cmap), moving

    def packing_at(self, resolution: int) -> Packing:
        """Returns how the network holds images of a resolution."""
        return UNPACKED if resolution == 4 else getattr(self, f"b{resolution}").img_packing
