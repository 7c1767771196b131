"""Resizing of images, by the rules of the libraries that frozen networks are used with.

Each rule is linear and separable: `y = A x B^T` with one matrix of weights for each axis. They
differ in where an output pixel i of N looks among n input pixels, and in what it does at the
border; FID moves by more than 0.1 where one stands for another.

    TF1 bilinear            i * n / N: the official metrics; shifted by up to half a pixel
    torch, half pixels      (i + 0.5) * n / N - 0.5
    area                    mean over [floor(i * n / N), ceil((i + 1) * n / N))

`antialias` widens the kernel by n / N where images shrink, as Pillow does for every rule.
"""

import functools
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num, UInt8

from stylegan_jax.ops.precision import wide

PillowRule = Literal["box", "bilinear", "bicubic", "lanczos"]

# Pillow's weights are whole numbers of 2^-22: products with bytes then fit 32 bits.
_PILLOW_BITS = 22
# Slopes of cubic kernels: torch's without antialias, and Pillow's, which torch takes with it.
_CUBIC_PLAIN, _CUBIC_ANTIALIAS = -0.75, -0.5


def resize_tf1(img: Num[Array, "n h w c"], height: int, width: int) -> Float[Array, "n oh ow c"]:
    """Resizes as TensorFlow 1 did: bilinear, source `i * n / N`, clamped at the far border.

    Args:
        img: Images of any numbers and range.
        height: Of the result.
        width: Of the result.

    Returns:
        Images in float32.

    Raises:
        ValueError: No pixels are given or asked for; so of every function of this file.

    Source: `tf.image.resize_bilinear(align_corners=False)` of TensorFlow 1.
    Checked: tests/parity, cases `feat_resize_rules` and `inception_fid`.
    """
    return _resize(img, height, width, _tf1_weights)


def resize_bilinear(
    img: Num[Array, "n h w c"], height: int, width: int, *, antialias: bool = False
) -> Float[Array, "n oh ow c"]:
    """Resizes bilinearly with half-pixel centres, as `torch.nn.functional.interpolate`.

    Args:
        img: Images of any numbers and range.
        height: Of the result.
        width: Of the result.
        antialias: Average over all input pixels where images shrink.

    Checked: tests/parity, case `feat_resize_rules`.
    """
    weights = _wide_weights if antialias else _narrow_weights
    return _resize(img, height, width, functools.partial(weights, rule="bilinear", a=0.0))


def resize_bicubic(
    img: Num[Array, "n h w c"],
    height: int,
    width: int,
    *,
    antialias: bool,
    a: float | None = None,
) -> Float[Array, "n oh ow c"]:
    """Resizes with cubic kernels and half-pixel centres; results overshoot and are not clipped.

    Args:
        img: Images of any numbers and range.
        height: Of the result.
        width: Of the result.
        antialias: Average over all input pixels where images shrink.
        a: Slope of the kernel at 1; default: torch's, -0.75 without antialias and -0.5 with it.

    Source: Keys 1981, eq. 4 (a there is -0.5). Checked: tests/parity, case `feat_resize_rules`.
    """
    default = _CUBIC_ANTIALIAS if antialias else _CUBIC_PLAIN
    weights = _wide_weights if antialias else _narrow_weights
    a = default if a is None else float(a)
    return _resize(img, height, width, functools.partial(weights, rule="bicubic", a=a))


def resize_area(img: Num[Array, "n h w c"], height: int, width: int) -> Float[Array, "n oh ow c"]:
    """Resizes to means over the input pixels that an output pixel touches, all of equal weight.

    Source: `torch.nn.functional.interpolate(mode="area")`. Checked: case `feat_resize_rules`.
    """
    return _resize(img, height, width, _area_weights)


def resize_nearest(
    img: Num[Array, "n h w c"], height: int, width: int
) -> Float[Array, "n oh ow c"]:
    """Resizes by copying pixel `floor(i * n / N)`.

    Source: `torch.nn.functional.interpolate(mode="nearest")`. Checked: case `feat_resize_rules`.
    """
    return _resize(img, height, width, _nearest_weights)


def resize_pillow(
    img: UInt8[Array, "n h w c"], height: int, width: int, rule: PillowRule
) -> UInt8[Array, "n oh ow c"]:
    """Resizes bytes to exactly the bytes that Pillow gives, up to its version 12.

    Width first, then height, rounded to bytes after each; all in whole numbers. There is no
    gradient. Pillow 13 takes the other order for some images that are not square.

    Args:
        img: Images.
        height: Of the result.
        width: Of the result.
        rule: `Image.Resampling` in lower letters.

    Checked: tests/parity, case `feat_resize_rules`, bit for bit.
    """
    _check_sizes(img.shape, height, width)
    x = img.astype(jnp.int32)
    for axis, length in ((2, width), (1, height)):
        # Pillow leaves out the pass of an axis that keeps its length.
        if x.shape[axis] != length:
            weights = _pillow_weights(x.shape[axis], length, rule)
            x = _apply(weights, x, axis) + (1 << (_PILLOW_BITS - 1))
            x = jnp.clip(x >> _PILLOW_BITS, 0, 255)
    return x.astype(jnp.uint8)


def _resize(
    img: Array, height: int, width: int, weights: Callable[[int, int], np.ndarray]
) -> Array:
    """Applies a rule to both axes."""
    _check_sizes(img.shape, height, width)
    x = wide(img) if jnp.issubdtype(img.dtype, jnp.floating) else img.astype(jnp.float32)
    for axis, length in ((1, height), (2, width)):
        if x.shape[axis] != length:
            x = _apply(weights(x.shape[axis], length), x, axis)
    return x


def _apply(weights: np.ndarray, x: Array, axis: int) -> Array:
    """Multiplies an axis of images with a matrix [N, n], without rounding of factors."""
    rule = "oh,nhwc->nowc" if axis == 1 else "ow,nhwc->nhoc"
    return jnp.einsum(rule, weights.astype(x.dtype), x, precision=jax.lax.Precision.HIGHEST)


def _check_sizes(shape: tuple[int, ...], height: int, width: int) -> None:
    """Refuses images without pixels."""
    if min(*shape[1:3], height, width) < 1:
        raise ValueError(
            f"Images of {shape[1]}x{shape[2]} cannot be resized to {height}x{width}: give at "
            "least one pixel each way."
        )


# Matrices of weights [N, n], in float64 on the host.


def _interpolate(n: int, source: np.ndarray, kernel: Callable, reach: int) -> np.ndarray:
    """Returns weights of `2 * reach` neighbours of each source position; ends are repeated."""
    weights = np.zeros((len(source), n))
    first = np.floor(source).astype(int) - reach + 1
    for k in range(2 * reach):
        index = np.clip(first + k, 0, n - 1)
        np.add.at(weights, (np.arange(len(source)), index), kernel(first + k - source))
    return weights


@functools.lru_cache(maxsize=64)
def _tf1_weights(n: int, length: int) -> np.ndarray:
    """TensorFlow 1: no half pixels."""
    return _interpolate(n, np.arange(length) * (n / length), _triangle, 1)


@functools.lru_cache(maxsize=64)
def _narrow_weights(n: int, length: int, rule: str, a: float) -> np.ndarray:
    """Half-pixel centres, two or four neighbours however much images shrink."""
    source = (np.arange(length) + 0.5) * (n / length) - 0.5
    if rule == "bilinear":
        return _interpolate(n, source, _triangle, 1)
    return _interpolate(n, source, functools.partial(_cubic, a=a), 2)


@functools.lru_cache(maxsize=64)
def _wide_weights(n: int, length: int, rule: str, a: float) -> np.ndarray:
    """Half-pixel centres, kernels as wide as an output pixel; what lies outside has no weight."""
    kernels: dict[str, tuple[Callable, float]] = {
        "box": (_box, 0.5),
        "bilinear": (_triangle, 1.0),
        "bicubic": (functools.partial(_cubic, a=a), 2.0),
        "lanczos": (_lanczos, 3.0),
    }
    kernel, reach = kernels[rule]
    scale = max(n / length, 1.0)
    weights = np.zeros((length, n))
    for i in range(length):
        center = (i + 0.5) * (n / length)
        begin = max(int(center - reach * scale + 0.5), 0)
        end = min(int(center + reach * scale + 0.5), n)
        row = kernel((np.arange(begin, end) - center + 0.5) / scale)
        weights[i, begin:end] = row / row.sum()
    return weights


@functools.lru_cache(maxsize=64)
def _pillow_weights(n: int, length: int, rule: PillowRule) -> np.ndarray:
    """Whole numbers of 2^-22."""
    scaled = _wide_weights(n, length, rule, _CUBIC_ANTIALIAS) * 2**_PILLOW_BITS
    # Halves away from zero.
    return np.trunc(scaled + np.copysign(0.5, scaled)).astype(np.int32)


@functools.lru_cache(maxsize=64)
def _area_weights(n: int, length: int) -> np.ndarray:
    """Means over whole input pixels, in integers: no border may be missed by rounding."""
    weights = np.zeros((length, n))
    for i in range(length):
        begin, end = i * n // length, -(-(i + 1) * n // length)
        weights[i, begin:end] = 1 / (end - begin)
    return weights


@functools.lru_cache(maxsize=64)
def _nearest_weights(n: int, length: int) -> np.ndarray:
    """One input pixel each."""
    return np.eye(n)[np.arange(length) * n // length]


# Kernels at the distance x from their centre.


def _box(x: np.ndarray) -> np.ndarray:
    return ((x > -0.5) & (x <= 0.5)).astype(np.float64)


def _triangle(x: np.ndarray) -> np.ndarray:
    return np.maximum(1 - np.abs(x), 0)


def _cubic(x: np.ndarray, a: float) -> np.ndarray:
    """Keys 1981, eq. 4."""
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = a * (((x - 5) * x + 8) * x - 4)
    return np.where(x <= 1, near, np.where(x < 2, far, 0))


def _lanczos(x: np.ndarray) -> np.ndarray:
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)
