"""Layers of networks that are never trained: plain weights, full precision.

Distances between features are compared across papers, so nothing here is computed in bfloat16 or
TF32, which is what accelerators take for float32 unless told otherwise.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

_PRECISION = lax.Precision.HIGHEST

# (x / 255 - mean) / std, of most networks that were trained on ImageNet.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def normalize_colours(
    img: Float[Array, "n h w 3"],
    mean: tuple[float, ...] = IMAGENET_MEAN,
    std: tuple[float, ...] = IMAGENET_STD,
) -> Float[Array, "n h w 3"]:
    """Maps 0..255 to what a network was trained with: `(x / 255 - mean) / std`."""
    return (img / 255 - jnp.float32(mean)) / jnp.float32(std)


class Conv(nnx.Module):
    """Convolution, `[n, h, w, in] -> [n, p, q, out]`."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: int,
        stride: int = 1,
        bias: bool = True,
        padding: Literal["SAME", "VALID"] = "SAME",
        rngs: nnx.Rngs,
    ):
        """Builds the layer.

        Args:
            in_channels: Channels of the input.
            out_channels: Channels of the output.
            kernel_size: Side of the square kernel.
            stride: Step of the output in input pixels.
            bias: Add a bias.
            padding: As in TensorFlow: SAME makes ceil(n / stride) pixels of n, and where the zeros
                are odd in number one more of them stands behind.
            rngs: Source of the first weights, N(0, 2 / fan_in).
        """
        shape = (kernel_size, kernel_size, in_channels, out_channels)
        std = (2 / (shape[0] * shape[1] * shape[2])) ** 0.5
        self.weight = nnx.Param(std * jax.random.normal(rngs.params(), shape))
        if bias:
            self.bias = nnx.Param(jnp.zeros((out_channels,)))
        self.has_bias = bias
        self.stride = stride
        self.padding = padding

    def __call__(self, x: Float[Array, "n h w i"]) -> Float[Array, "n p q o"]:
        """Convolves."""
        x = lax.conv_general_dilated(
            x,
            self.weight[...].astype(x.dtype),
            (self.stride, self.stride),
            self.padding,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            precision=_PRECISION,
        )
        return x + self.bias[...].astype(x.dtype) if self.has_bias else x


class DepthwiseConv(nnx.Module):
    """Convolution of each channel by itself, `[n, h, w, c] -> [n, h / s, w / s, c]`, padded SAME.

    A sum of shifted images: on a CPU a tenth of the time that XLA's grouped convolution takes (the
    layers of EfficientNet-Lite0 7 ms for an image of 224 px, not 78).
    """

    def __init__(self, channels: int, *, kernel_size: int, stride: int, rngs: nnx.Rngs):
        """Builds the layer; arguments as for `Conv`."""
        shape = (kernel_size, kernel_size, 1, channels)
        std = (2 / kernel_size**2) ** 0.5
        self.weight = nnx.Param(std * jax.random.normal(rngs.params(), shape))
        self.stride = stride

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n p q c"]:
        """Convolves."""
        weight = self.weight[...].astype(x.dtype)
        kernel_size, stride = weight.shape[0], self.stride
        out = [-(-length // stride) for length in x.shape[1:3]]
        # SAME: what the windows need beyond the image, the larger half behind.
        missing = [
            max((o - 1) * stride + kernel_size - length, 0)
            for o, length in zip(out, x.shape[1:3], strict=True)
        ]
        pads = [(m // 2, m - m // 2) for m in missing]
        x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
        total = jnp.zeros((), x.dtype)
        for i in range(kernel_size):
            for j in range(kernel_size):
                rows = slice(i, i + (out[0] - 1) * stride + 1, stride)
                columns = slice(j, j + (out[1] - 1) * stride + 1, stride)
                total = total + x[:, rows, columns] * weight[i, j, 0]
        return total


class BatchNorm(nnx.Module):
    """Normalisation with the statistics of the training set, `[..., c] -> [..., c]`."""

    def __init__(self, channels: int, *, eps: float):
        """Builds the layer, which changes nothing at first but for `eps`."""
        self.weight = nnx.Param(jnp.ones((channels,)))
        self.bias = nnx.Param(jnp.zeros((channels,)))
        self.running_mean = nnx.Param(jnp.zeros((channels,)))
        self.running_var = nnx.Param(jnp.ones((channels,)))
        self.eps = eps

    def __call__(self, x: Float[Array, "... c"]) -> Float[Array, "... c"]:
        """Normalises; statistics are float32 whatever x is."""
        scale = self.weight[...] * lax.rsqrt(self.running_var[...] + self.eps)
        return ((x - self.running_mean[...]) * scale + self.bias[...]).astype(x.dtype)


class Dense(nnx.Module):
    """Fully connected layer, `[..., in] -> [..., out]`."""

    def __init__(self, in_features: int, out_features: int, *, bias: bool = True, rngs: nnx.Rngs):
        """Builds the layer; first weights are N(0, 1 / in_features)."""
        weight = jax.random.normal(rngs.params(), (in_features, out_features))
        self.weight = nnx.Param(weight * in_features**-0.5)
        if bias:
            self.bias = nnx.Param(jnp.zeros((out_features,)))
        self.has_bias = bias

    def __call__(self, x: Float[Array, "... i"]) -> Float[Array, "... o"]:
        """Applies the layer in x.dtype."""
        x = jnp.matmul(x, self.weight[...].astype(x.dtype), precision=_PRECISION)
        return x + self.bias[...].astype(x.dtype) if self.has_bias else x
