"""A FIR filter along one axis of images, computed in three ways with the same result.

With `u[p] = x[p / up]` where `up` divides p, and zero elsewhere and outside the image,

    y[q] = sum_k taps[k] * u[q * down + k - pad]        q = 0 ... size - 1

Its transpose is a filter too: of reversed taps, zooming where this one decimates. JAX is told so by
a primitive (`trilinear.py` says what that is); by itself it would transpose every shift into a
padded copy of the image, which costs a training step on CPUs 12 per cent and its compilation 15 to
20.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float

from stylegan_jax.ops.formulation import Filter


def filter_axis(
    x: Float[Array, "n h w c"],
    taps: tuple[float, ...],
    *,
    axis: int,
    up: int,
    down: int,
    pad: int,
    size: int,
    way: Filter,
) -> Float[Array, "n oh ow c"]:
    """Zooms, pads, correlates and decimates axis 1 or 2 to `size` pixels, in x.dtype.

    `pad` counts zeros before the first pixel, at the up-sampled rate (negative: cropped). The other
    axis stays as it is.
    """
    return _filter_axis_p.bind(
        x, taps=taps, axis=axis, up=up, down=down, pad=pad, size=size, way=way
    )


def _by_matrix(
    x: Array, taps: tuple[float, ...], axis: int, up: int, down: int, pad: int, size: int
) -> Array:
    """A product with a banded matrix."""
    matrix = jnp.asarray(_band_matrix(taps, x.shape[axis], up, down, pad, size), x.dtype)
    return jnp.einsum("ph,nhwc->npwc" if axis == 1 else "qw,nhwc->nhqc", matrix, x)


@functools.lru_cache(maxsize=256)
def _band_matrix(
    taps: tuple[float, ...], size_in: int, up: int, down: int, pad: int, size: int
) -> np.ndarray:
    """The matrix `[size, size_in]` that zooms, pads, filters and decimates one axis."""
    out, tap = np.indices((size, len(taps)))
    # p = q * down + k - pad, and pixel p / up where there is one.
    position = out * down + tap - pad
    is_pixel = (position % up == 0) & (position >= 0) & (position < size_in * up)
    matrix = np.zeros((size, size_in))
    np.add.at(matrix, (out[is_pixel], position[is_pixel] // up), np.asarray(taps)[tap[is_pixel]])
    return matrix


def _by_shifts(
    x: Array, taps: tuple[float, ...], axis: int, up: int, down: int, pad: int, size: int
) -> Array:
    """Shift and add: every output phase is a sum of shifted images, each times a tap."""
    # Output position q * up + a reads tap k from pixel q + shift, shift * up = a + k - pad, where
    # that is whole: one list of (shift, tap) per phase a.
    phases = []
    for a in range(up):
        offsets = [(a + k - pad, tap) for k, tap in enumerate(taps)]
        phases.append([(offset // up, tap) for offset, tap in offsets if offset % up == 0])
    shifts = [shift for phase in phases for shift, _ in phase]
    lo = min(shifts, default=0)
    hi = max(shifts, default=0)

    # Pixels before decimation, all phases together and of each.
    full = (size - 1) * down + 1
    per_phase = -(-full // up)

    # The barrier keeps what computes the image from being repeated for every tap.
    x = lax.optimization_barrier(_pad_axis(x, axis, -lo, hi + per_phase - x.shape[axis]))
    # A single phase is decimated where it is read, several after they are interleaved.
    stride = down if up == 1 else 1

    outs = []
    for phase in phases:
        y = None
        for shift, tap in phase:
            if tap == 0:
                continue
            part = lax.slice_in_dim(x, shift - lo, shift - lo + per_phase, stride, axis)
            part = part if tap == 1 else part * np.asarray(tap, x.dtype)
            y = part if y is None else y + part
        if y is None:
            y = jnp.zeros_like(lax.slice_in_dim(x, 0, per_phase, stride, axis))
        outs.append(y)
    if up == 1:
        return outs[0]

    # Interleaved: [..., per_phase, up, ...] is [..., per_phase * up, ...].
    y = jnp.stack(outs, axis + 1)
    y = y.reshape(*x.shape[:axis], per_phase * up, *x.shape[axis + 1 :])
    return lax.slice_in_dim(y, 0, full, down, axis)


def _depthwise(
    x: Array, taps: tuple[float, ...], axis: int, up: int, down: int, pad: int, size: int
) -> Array:
    """A convolution that keeps the channels apart."""
    channels = x.shape[-1]
    spatial = 0 if axis == 1 else 1
    kernel_size, stride, dilation, pads = [1, 1], [1, 1], [1, 1], [(0, 0), (0, 0)]
    kernel_size[spatial] = len(taps)
    stride[spatial] = down
    dilation[spatial] = up
    # `size` outputs read (size - 1) * down + len(taps) positions.
    dilated = (x.shape[axis] - 1) * up + 1
    pads[spatial] = (pad, (size - 1) * down + len(taps) - dilated - pad)

    kernel = jnp.asarray(taps, x.dtype).reshape(*kernel_size, 1, 1)
    return lax.conv_general_dilated(
        x,
        jnp.broadcast_to(kernel, (*kernel_size, 1, channels)),
        stride,
        pads,
        lhs_dilation=dilation,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=channels,
    )


def _pad_axis(x: Array, axis: int, lo: int, hi: int) -> Array:
    """Zero-pads (or crops, when negative) one axis."""
    if lo == 0 and hi == 0:
        return x
    config = [(0, 0, 0)] * x.ndim
    config[axis] = (lo, hi, 0)
    return lax.pad(x, np.zeros((), x.dtype), config)


# ----------------------------------------------------------------------------------------------
# What JAX does with it, rule by rule


_WAYS = {"matrix": _by_matrix, "shifts": _by_shifts, "depthwise": _depthwise}
_STATICS = ("taps", "axis", "up", "down", "pad", "size", "way")


def _compute(x: Array, *, way: Filter, **statics: Any) -> Array:
    """The filter in the way that was chosen."""
    return _WAYS[way](x, **statics)


def _result(x: Any, *, axis: int, size: int, **_: Any) -> ShapedArray:
    """Shape and dtype."""
    return ShapedArray((*x.shape[:axis], size, *x.shape[axis + 1 :]), x.dtype)


def _transposed(cotangent: Any, x: Any, **statics: Any) -> list[Any]:
    """The cotangent of the image."""
    if isinstance(cotangent, ad.Zero):
        return [ad.Zero(x.aval)]
    taps = statics["taps"]
    swapped = dict(
        taps=taps[::-1],
        up=statics["down"],
        down=statics["up"],
        pad=len(taps) - 1 - statics["pad"],
        size=x.aval.shape[statics["axis"]],
    )
    return [filter_axis(cotangent, **(statics | swapped))]


def _compute_mapped(args: Any, axes: Any, **statics: Any) -> tuple[Array, int]:
    """Under `vmap` JAX maps what the filter is computed with."""
    return jax.vmap(functools.partial(_compute, **statics), axes)(*args), 0


_filter_axis_p = Primitive("filter_axis")
_filter_axis_p.def_abstract_eval(_result)
_filter_axis_p.def_impl(jax.jit(_compute, static_argnames=_STATICS))
mlir.register_lowering(_filter_axis_p, mlir.lower_fun(_compute, multiple_results=False))
batching.primitive_batchers[_filter_axis_p] = _compute_mapped
ad.deflinear2(_filter_axis_p, _transposed)
