"""Inception-v3 as FID has it: the graph "inception-2015-12-05", which is not torchvision's.

    images -> 299 x 299 -> stem [147, 147, 64] -> mixed_5b..5d [35, 35, 288]
           -> mixed_6a..6e [17, 17, 768] -> mixed_7a..7c [8, 8, 2048] -> mean [2048] -> 1008 classes

Three things differ from other Inceptions: averages over 3 x 3 pixels do not count what lies outside
of the image, the last block takes maxima instead of averages, and there are 1008 classes.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jaxtyping import Array, Float, Num

from stylegan_jax.models.pretrained.images import to_rgb
from stylegan_jax.ops.precision import wide
from stylegan_jax.ops.resize import resize_bilinear, resize_tf1

# Side of the square that images are resized to.
RESOLUTION = 299
NUM_CLASSES = 1008
# sFID: features of mixed_6d that keep their place, 7 * 17 * 17 numbers.
_NUM_SPATIAL = 7


class Layer(NamedTuple):
    """A convolution: channels and kernel; those of stride 2 have no padding, others keep sizes."""

    channels: int
    kernel: tuple[int, int]
    stride: int = 1
    is_padded: bool = True

    def narrowed(self, shrink: int) -> "Layer":
        """Divides its width."""
        return self._replace(channels=self.channels // shrink)


# Two layers side by side on the same input.
Fork = tuple[Layer, Layer]


def _same(channels: int, *kernel: int) -> Layer:
    """A layer that keeps the size."""
    return Layer(channels, (kernel[0], kernel[-1]))


def _halving(channels: int) -> Layer:
    """A layer that halves the size."""
    return Layer(channels, (3, 3), 2, is_padded=False)


# Szegedy et al. 2016 (Inception-v3), table 1.
STEM: dict[str, Layer] = {
    "conv2d_1a_3x3": _halving(32),
    "conv2d_2a_3x3": Layer(32, (3, 3), is_padded=False),
    "conv2d_2b_3x3": _same(64, 3),
    # 3 x 3 maxima of stride 2
    "conv2d_3b_1x1": _same(80, 1),
    "conv2d_4a_3x3": Layer(192, (3, 3), is_padded=False),
    # and once more
}


class Block(NamedTuple):
    """Branches of convolutions beside each other, and what the last branch pools with."""

    branches: dict[str, tuple[Layer | Fork, ...]]
    pool: str


def _block_a(pooled: int) -> Block:
    """Figure 5 of the paper: 5 x 5 as two 3 x 3, and beside it a true 5 x 5."""
    return Block(
        {
            "branch1x1": (_same(64, 1),),
            "branch5x5": (_same(48, 1), _same(64, 5)),
            "branch3x3dbl": (_same(64, 1), _same(96, 3), _same(96, 3)),
            "branch_pool": (_same(pooled, 1),),
        },
        "average",
    )


def _block_c(inner: int) -> Block:
    """Figure 6: 7 x 7 as rows and columns."""
    row, column = _same(inner, 1, 7), _same(inner, 7, 1)
    return Block(
        {
            "branch1x1": (_same(192, 1),),
            "branch7x7": (_same(inner, 1), row, _same(192, 7, 1)),
            "branch7x7dbl": (_same(inner, 1), column, row, column, _same(192, 1, 7)),
            "branch_pool": (_same(192, 1),),
        },
        "average",
    )


def _block_e(pool: str) -> Block:
    """Figure 7: rows and columns side by side."""
    fork = (_same(384, 1, 3), _same(384, 3, 1))
    return Block(
        {
            "branch1x1": (_same(320, 1),),
            "branch3x3": (_same(384, 1), fork),
            "branch3x3dbl": (_same(448, 1), _same(384, 3), fork),
            "branch_pool": (_same(192, 1),),
        },
        pool,
    )


BLOCKS: dict[str, Block] = {
    "mixed_5b": _block_a(32),
    "mixed_5c": _block_a(64),
    "mixed_5d": _block_a(64),
    "mixed_6a": Block(
        {
            "branch3x3": (_halving(384),),
            "branch3x3dbl": (_same(64, 1), _same(96, 3), _halving(96)),
        },
        "halving",
    ),
    "mixed_6b": _block_c(128),
    "mixed_6c": _block_c(160),
    "mixed_6d": _block_c(160),
    "mixed_6e": _block_c(192),
    "mixed_7a": Block(
        {
            "branch3x3": (_same(192, 1), _halving(320)),
            "branch7x7x3": (_same(192, 1), _same(192, 1, 7), _same(192, 7, 1), _halving(192)),
        },
        "halving",
    ),
    "mixed_7b": _block_e("average"),
    "mixed_7c": _block_e("maximum"),
}


def layer_names(branch: str, layers: tuple[Layer | Fork, ...]) -> list[tuple[str, ...]]:
    """Returns the official names of a branch's layers, one for each step, two where it forks."""
    if len(layers) == 1:
        return [(branch,)]
    return [
        (f"{branch}_{i}",) if isinstance(layer, Layer) else (f"{branch}_{i}a", f"{branch}_{i}b")
        for i, layer in enumerate(layers, 1)
    ]


def average_pool(x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
    """Averages 3 x 3 pixels around each one, of those that lie in the image."""
    total = lax.reduce_window(wide(x), 0.0, lax.add, (1, 3, 3, 1), (1, 1, 1, 1), "SAME")
    # Neighbours and itself, of a row of n.
    rows, columns = (
        np.minimum(np.arange(n) + 1, n - 1) - np.maximum(np.arange(n) - 1, 0) + 1
        for n in x.shape[1:3]
    )
    share = (1 / np.outer(rows, columns)).astype(np.float32)[..., None]  # [h, w, 1]
    return (total * share).astype(x.dtype)


def max_pool(x: Float[Array, "n h w c"], stride: int) -> Float[Array, "n oh ow c"]:
    """Takes maxima of 3 x 3 pixels: of stride 1 around each one, else without padding."""
    padding = "SAME" if stride == 1 else "VALID"
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, stride, stride, 1), padding)


class Conv(nnx.Module):
    """Convolution, batch normalisation and ReLU, `[n, h, w, in] -> [n, oh, ow, channels]`.

    The normalisation is folded into weight and bias: with fixed statistics it is a factor and a sum
    for each channel. So it costs nothing, and in bfloat16 nothing is rounded between the two.
    """

    def __init__(self, in_channels: int, layer: Layer, *, dtype: Any = jnp.float32, rngs: nnx.Rngs):
        """Builds the layer; `dtype` is that of images and products, sums are float32."""
        shape = (*layer.kernel, in_channels, layer.channels)
        scale = np.sqrt(2 / np.prod(shape[:3]))
        self.weight = nnx.Param(jax.random.normal(rngs.params(), shape) * scale)
        self.bias = nnx.Param(jnp.zeros(layer.channels))
        self.stride = layer.stride
        self.padding = "SAME" if layer.is_padded else "VALID"
        self.dtype = jnp.dtype(dtype)

    def __call__(self, x: Float[Array, "n h w i"]) -> Float[Array, "n oh ow o"]:
        """Applies it."""
        y = lax.conv_general_dilated(
            x.astype(self.dtype),
            self.weight[...].astype(self.dtype),
            (self.stride, self.stride),
            self.padding,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            # Distances between features are compared to three digits: no rounding of float32.
            precision=lax.Precision.HIGHEST,
            preferred_element_type=jnp.float32,
        )
        return jax.nn.relu(y + self.bias[...]).astype(self.dtype)


class Mixed(nnx.Module):
    """Branches side by side, joined along channels."""

    def __init__(self, in_channels: int, block: Block, *, shrink: int, dtype: Any, rngs: nnx.Rngs):
        """Builds the branches of a row of `BLOCKS`, their widths divided by `shrink`."""
        # [branch][step][side by side] -> attribute
        self.paths = tuple(
            tuple(layer_names(branch, layers)) for branch, layers in block.branches.items()
        )
        self.pool = block.pool
        self.out_channels = in_channels if block.pool == "halving" else 0
        for path, layers in zip(self.paths, block.branches.values()):
            width = in_channels
            for names, step in zip(path, layers):
                steps = (step,) if isinstance(step, Layer) else step
                layers_here = [layer.narrowed(shrink) for layer in steps]
                for name, layer in zip(names, layers_here):
                    setattr(self, name, Conv(width, layer, dtype=dtype, rngs=rngs))
                width = sum(layer.channels for layer in layers_here)
            self.out_channels += width

    def __call__(self, x: Float[Array, "n h w i"]) -> Float[Array, "n oh ow o"]:
        """Applies all branches to the same feature maps."""
        outputs = []
        for path in self.paths:
            y = x
            if path[0] == ("branch_pool",):
                y = average_pool(x) if self.pool == "average" else max_pool(x, 1)
            for names in path:
                y = jnp.concatenate([getattr(self, name)(y) for name in names], axis=3)
            outputs.append(y)
        if self.pool == "halving":
            outputs.append(max_pool(x, 2))
        return jnp.concatenate(outputs, axis=3)


class Inception(nnx.Module):
    """Inception-v3 of FID, images of about -1 to 1 -> features and logits.

    Source: Szegedy et al. 2016, and TensorFlow's graph inception-2015-12-05.
    Checked: tests/parity, case `inception_fid`.
    """

    def __init__(
        self,
        *,
        num_classes: int = NUM_CLASSES,
        shrink: int = 1,
        dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
    ):
        """Builds the network.

        Args:
            num_classes: Logits.
            shrink: Divisor of all widths, of 1 to 16: for tests.
            dtype: Of feature maps and products, float32 or bfloat16; means of features and logits
                are float32 anyway.
            rngs: Source of weights that show nothing.
        """
        width = 3
        for name, layer in STEM.items():
            layer = layer.narrowed(shrink)
            setattr(self, name, Conv(width, layer, dtype=dtype, rngs=rngs))
            width = layer.channels
        for name, block in BLOCKS.items():
            setattr(self, name, Mixed(width, block, shrink=shrink, dtype=dtype, rngs=rngs))
            width = getattr(self, name).out_channels
        self.fc = Classifier(width, num_classes, rngs=rngs)

    def __call__(self, x: Float[Array, "n h w 3"]) -> dict[str, Float[Array, "n _"]]:
        """Returns everything that metrics look at; what is not used is not computed under jit.

        Args:
            x: Normalised images of at least 75 px; the metrics' have 299.

        Returns:
            `features` [n, 2048]; `logits` [n, 1008], and `logits_unbiased` without the bias, whose
            softmax the inception score takes; `spatial` [n, 2023], what sFID takes; `features_64`,
            `features_192` and `features_768`, means of earlier feature maps.
        """
        outputs = {}
        for name in STEM:
            x = getattr(self, name)(x)
            if name in ("conv2d_2b_3x3", "conv2d_4a_3x3"):
                x = max_pool(x, 2)
                outputs["features_64" if name == "conv2d_2b_3x3" else "features_192"] = _mean(x)
        for name in BLOCKS:
            block = getattr(self, name)
            if name == "mixed_6d":
                outputs["spatial"] = _spatial(block.branch1x1(x))
            x = block(x)
            if name == "mixed_6e":
                outputs["features_768"] = _mean(x)
        features = _mean(x)
        logits = self.fc(features)
        bias = self.fc.bias[...]
        return outputs | {
            "features": features,
            "logits": logits + bias,
            "logits_unbiased": logits,
        }


class Classifier(nnx.Module):
    """The last layer without its bias, `[n, in] -> [n, classes]`, in float32."""

    def __init__(self, in_features: int, num_classes: int, *, rngs: nnx.Rngs):
        """Builds the layer."""
        shape = (in_features, num_classes)
        self.weight = nnx.Param(jax.random.normal(rngs.params(), shape) / np.sqrt(in_features))
        self.bias = nnx.Param(jnp.zeros(num_classes))

    def __call__(self, x: Float[Array, "n i"]) -> Float[Array, "n o"]:
        """Multiplies."""
        return jnp.dot(x, self.weight[...], precision=lax.Precision.HIGHEST)


def _spatial(x: Float[Array, "n h w c"]) -> Float[Array, "n d"]:
    """First channels of feature maps, channels before pixels (Nash et al. 2021, section 4.1)."""
    maps = wide(x[..., :_NUM_SPATIAL])  # [n, 17, 17, 7]
    return maps.transpose(0, 3, 1, 2).reshape(len(x), -1)


def _mean(x: Float[Array, "n h w c"]) -> Float[Array, "n c"]:
    """Means over pixels, in float32."""
    return jnp.mean(wide(x), axis=(1, 2))


# What is shown to a network, and what it gives.
Shown = Callable[[Float[Array, "n h w 3"]], dict[str, Array]]


def apply_tf1(module: Shown, img: Num[Array, "n h w c"]) -> dict[str, Array]:
    """Features as the official metrics take them: TF1's bilinear resize, `(x - 128) / 128`."""
    return module((resize_tf1(to_rgb(img), RESOLUTION, RESOLUTION) - 128) / 128)


def apply_torch(module: Shown, img: Num[Array, "n h w c"]) -> dict[str, Array]:
    """Features as pytorch-fid takes them: half-pixel centres, `2 x / 255 - 1`."""
    return module(resize_bilinear(to_rgb(img), RESOLUTION, RESOLUTION) * (2 / 255) - 1)
