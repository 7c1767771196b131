"""EfficientNet-Lite0: an ImageNet classifier that a pip package brings the weights of."""

from typing import NamedTuple

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Num

from stylegan_jax.models.pretrained.frozen_layers import (
    BatchNorm,
    Conv,
    Dense,
    DepthwiseConv,
    normalize_colours,
)
from stylegan_jax.models.pretrained.images import to_rgb
from stylegan_jax.ops.resize import resize_bilinear

RESOLUTION = 224
_BN_EPS = 1e-3
# Colours in [-1, 1]: `(x / 255 - 0.5) / 0.5`.
_HALF = (0.5, 0.5, 0.5)


class Stage(NamedTuple):
    """A row of the network's table: kernel, stride, widening, channels, blocks."""

    kernel_size: int
    stride: int
    expand: int
    channels: int
    num_blocks: int


STAGES = (
    Stage(3, 1, 1, 16, 1),
    Stage(3, 2, 6, 24, 2),
    Stage(5, 2, 6, 40, 2),
    Stage(3, 2, 6, 80, 3),
    Stage(5, 1, 6, 112, 3),
    Stage(5, 2, 6, 192, 4),
    Stage(3, 1, 6, 320, 1),
)
# Stages after which feature maps are looked at, by how much smaller these are than the image.
_STRIDES = {4: 1, 8: 2, 16: 4, 32: 6}


def relu6(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Cuts below 0 and above 6, so that Lite networks can be quantised."""
    return jnp.clip(x, 0, 6)


class SeparableBlock(nnx.Module):
    """Depthwise and pointwise convolution, `[n, h, w, in] -> [n, h, w, out]`."""

    def __init__(self, in_channels: int, stage: Stage, stride: int, *, rngs: nnx.Rngs):
        """Builds the block."""
        self.conv_dw = DepthwiseConv(
            in_channels, kernel_size=stage.kernel_size, stride=stride, rngs=rngs
        )
        self.bn1 = BatchNorm(in_channels, eps=_BN_EPS)
        self.conv_pw = _pointwise(in_channels, stage.channels, rngs)
        self.bn2 = BatchNorm(stage.channels, eps=_BN_EPS)
        self.has_skip = stride == 1 and in_channels == stage.channels

    def __call__(self, x: Float[Array, "n h w i"]) -> Float[Array, "n p q o"]:
        """Applies the block."""
        y = self.bn2(self.conv_pw(relu6(self.bn1(self.conv_dw(x)))))
        return x + y if self.has_skip else y


class InvertedBlock(nnx.Module):
    """Widens, convolves each channel, narrows, `[n, h, w, in] -> [n, h / s, w / s, out]`.

    Source: Sandler et al. 2018 (MobileNetV2), section 3.
    """

    def __init__(self, in_channels: int, stage: Stage, stride: int, *, rngs: nnx.Rngs):
        """Builds the block."""
        width = in_channels * stage.expand
        self.conv_pw = _pointwise(in_channels, width, rngs)
        self.bn1 = BatchNorm(width, eps=_BN_EPS)
        self.conv_dw = DepthwiseConv(width, kernel_size=stage.kernel_size, stride=stride, rngs=rngs)
        self.bn2 = BatchNorm(width, eps=_BN_EPS)
        self.conv_pwl = _pointwise(width, stage.channels, rngs)
        self.bn3 = BatchNorm(stage.channels, eps=_BN_EPS)
        self.has_skip = stride == 1 and in_channels == stage.channels

    def __call__(self, x: Float[Array, "n h w i"]) -> Float[Array, "n p q o"]:
        """Applies the block; nothing is cut where channels are few."""
        y = relu6(self.bn1(self.conv_pw(x)))
        y = relu6(self.bn2(self.conv_dw(y)))
        y = self.bn3(self.conv_pwl(y))
        return x + y if self.has_skip else y


def _pointwise(in_channels: int, out_channels: int, rngs: nnx.Rngs) -> Conv:
    """A convolution of each pixel by itself."""
    return Conv(in_channels, out_channels, kernel_size=1, bias=False, rngs=rngs)


class EfficientNetLite(nnx.Module):
    """EfficientNet without squeeze and excitation, `[n, h, w, 3]` in [-1, 1] -> features.

    Layers have timm's names, `stage1.block0.conv_pw` for `blocks.1.0.conv_pw`.

    Source: Tan and Le 2019, table 1, in its Lite variant. Convolutions are padded as TensorFlow
    does, on which its weights depend.
    Checked: tests/parity, cases `feat_efflite0_*`.
    """

    def __init__(
        self,
        stages: tuple[Stage, ...] = STAGES,
        *,
        stem_channels: int = 32,
        head_channels: int = 1280,
        num_classes: int = 1000,
        rngs: nnx.Rngs,
    ):
        """Builds the network; defaults are Lite0's."""
        self.conv_stem = Conv(3, stem_channels, kernel_size=3, stride=2, bias=False, rngs=rngs)
        self.bn1 = BatchNorm(stem_channels, eps=_BN_EPS)
        width, names = stem_channels, []
        for s, stage in enumerate(stages):
            build = SeparableBlock if stage.expand == 1 else InvertedBlock
            for j in range(stage.num_blocks):
                names.append((s, f"stage{s}_block{j}"))
                # The first block of a stage changes size and width.
                stride = stage.stride if j == 0 else 1
                setattr(self, names[-1][1], build(width, stage, stride, rngs=rngs))
                width = stage.channels
        self.block_names = tuple(names)
        self.conv_head = _pointwise(width, head_channels, rngs)
        self.bn2 = BatchNorm(head_channels, eps=_BN_EPS)
        self.classifier = Dense(head_channels, num_classes, rngs=rngs)

    def stages(self, x: Float[Array, "n h w 3"]) -> dict[str, Float[Array, "n _ _ _"]]:
        """Returns the feature maps after the stem and after each stage, `{"stem", "stage0", ...}`.

        Args:
            x: Normalised images, of any size.
        """
        x = relu6(self.bn1(self.conv_stem(x)))
        found = {"stem": x}
        for s, name in self.block_names:
            x = found[f"stage{s}"] = getattr(self, name)(x)
        return found

    def __call__(self, x: Float[Array, "n h w 3"]) -> dict[str, Array]:
        """Returns `stride4` to `stride32` [n, h / s, w / s, c], `pooled` [n, 1280] and `logits`."""
        found = self.stages(x)
        maps: dict[str, Array] = {f"stride{s}": found[f"stage{i}"] for s, i in _STRIDES.items()}
        last = found[f"stage{self.block_names[-1][0]}"]
        pooled = jnp.mean(relu6(self.bn2(self.conv_head(last))), axis=(1, 2))
        return maps | {"pooled": pooled, "logits": self.classifier(pooled)}


def apply(module: EfficientNetLite, img: Num[Array, "n h w c"]) -> dict[str, Array]:
    """Returns `features [n, 1280]` (pooled) and `logits [n, 1000]`.

    Args:
        module: The network.
        img: [n, h, w, c] in 0..255, of 1 or 3 channels and any size; larger ones are averaged as
            they are reduced, so that nothing aliases.
    """
    img = resize_bilinear(to_rgb(img), RESOLUTION, RESOLUTION, antialias=True)
    found = module(normalize_colours(img, _HALF, _HALF))
    return {"features": found["pooled"], "logits": found["logits"]}
