"""FIR filters on images: filter design, and padding, resampling and filtering in one op."""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Float32

from stylegan_jax.ops.formulation import FORMULATIONS, Filter, Formulation
from stylegan_jax.ops.packing import UNPACKED, Packing, phase_conv2d
from stylegan_jax.ops.primitives import linear, make_primitive

# 1-D taps serve both axes, 2-D taps are [h, w], None is the identity.
Taps = np.ndarray | Sequence[float] | Sequence[Sequence[float]] | None
Axes2 = int | Sequence[int]

# 1-D filters with at least this many taps stay separable when they are prepared.
_MIN_SEPARABLE_TAPS = 8


def setup_filter(
    f: Taps | float,
    *,
    normalize: bool = True,
    flip_filter: bool = False,
    gain: float = 1.0,
    separable: bool | None = None,
) -> Float32[np.ndarray, "..."]:
    """Prepares FIR taps: one 2-D filter, or the 1-D filter that both axes share.

    Args:
        f: Taps, 1-D or 2-D; a scalar or None stands for the identity filter.
        normalize: Scale the taps to sum 1 (the image's mean survives).
        flip_filter: Reverse the taps along every axis.
        gain: Factor on the filtered image; a separable filter takes its square root per axis.
        separable: Keep 1-D taps 1-D. Default: with 8 taps or more.

    Returns:
        float32 taps, `[n]` (separable) or `[h, w]`.

    Raises:
        ValueError: `f` is empty, has more than two axes, or 2-D taps are asked to be separable.

    Source: Karras et al. 2020 (StyleGAN2), appendix B; the rule of 8 taps is the official code's.
    Checked: tests/parity, case `ops_setup_filter`.
    """
    taps = np.asarray(1.0 if f is None else f, dtype=np.float64)
    if taps.ndim > 2 or taps.size == 0:
        raise ValueError(f"FIR taps have shape {taps.shape}; give a scalar, [n] or [h, w].")
    if taps.ndim == 0:
        taps = taps[None]
    if separable is None:
        separable = taps.ndim == 1 and taps.size >= _MIN_SEPARABLE_TAPS
    if separable and taps.ndim == 2:
        raise ValueError("separable=True needs 1-D taps; these are 2-D.")
    if taps.ndim == 1 and not separable:
        taps = np.outer(taps, taps)
    if normalize:
        taps = taps / taps.sum()
    if flip_filter:
        taps = np.flip(taps)
    return np.asarray(taps * gain ** (taps.ndim / 2), dtype=np.float32)


def upfirdn2d(
    x: Float[Array, "n h w c"],
    taps: Taps,
    *,
    up: Axes2 = 1,
    down: Axes2 = 1,
    padding: Axes2 = 0,
    flip_filter: bool = False,
    gain: float = 1.0,
    formulation: Formulation = FORMULATIONS["cpu"],
) -> Float[Array, "n oh ow c"]:
    """Inserts zeros, pads, filters and decimates a batch of images.

    1. `up - 1` zeros follow every pixel. 2. The result is padded with zeros (negative: cropped).
    3. It is convolved with the taps, keeping only positions where the filter lies inside.
    4. Every `down`-th pixel is kept.

    Args:
        x: Images or feature maps.
        taps: 1-D (used along both axes) or 2-D `[h, w]` filter, None for none; not traced.
        up: Zoom, one number or `[x, y]`.
        down: Decimation, one number or `[x, y]`.
        padding: Pixels at the up-sampled rate: one number, `[x, y]` or `[x0, x1, y0, y1]`.
        flip_filter: True correlates, False (default) convolves.
        gain: Factor on the output.
        formulation: How the platform computes it; the result is the same.

    Returns:
        Array in x.dtype; each axis has `(n * up + pad0 + pad1 - len(taps)) // down + 1` pixels.

    Raises:
        ValueError: The filter is larger than the padded image, or a factor is below 1.

    Source: Karras et al. 2020 (StyleGAN2), appendix B.
    Checked: tests/parity, case `ops_upfirdn2d`; tests/ops/test_fir.py vs a NumPy loop.
    """
    up_x, up_y = _pair(up, "up")
    down_x, down_y = _pair(down, "down")
    x0, x1, y0, y1 = read_padding(padding)
    taps = np.asarray(1.0 if taps is None else taps, dtype=np.float64)
    taps = taps[None] if taps.ndim == 0 else taps
    if not flip_filter:
        taps = np.flip(taps)
    out_h = (x.shape[1] * up_y + y0 + y1 - taps.shape[0]) // down_y + 1
    out_w = (x.shape[2] * up_x + x0 + x1 - taps.shape[-1]) // down_x + 1
    if out_h < 1 or out_w < 1:
        raise ValueError(
            f"A filter of shape {taps.shape} does not fit an image of shape {x.shape[1:3]} "
            f"with up={up}, padding={padding}: pad more or use fewer taps."
        )
    way = formulation.fir(max(out_h, out_w, *x.shape[1:3]))
    out = None
    for column, row in _separable_terms(taps.tobytes(), taps.shape):
        y = _filter_axis(x, np.multiply(column, gain), 1, up_y, down_y, y0, out_h, way)
        y = _filter_axis(y, np.asarray(row), 2, up_x, down_x, x0, out_w, way)
        out = y if out is None else out + y
    assert out is not None
    return out


def filter2d(
    x: Float[Array, "n h w c"],
    taps: Taps,
    *,
    padding: Axes2 = 0,
    flip_filter: bool = False,
    gain: float = 1.0,
) -> Float[Array, "n oh ow c"]:
    """Filters images, keeping their size when `padding` is 0; `padding` adds to that size."""
    x0, x1, y0, y1 = read_padding(padding)
    fw, fh = _size(taps)
    same = [x0 + fw // 2, x1 + (fw - 1) // 2, y0 + fh // 2, y1 + (fh - 1) // 2]
    return upfirdn2d(x, taps, padding=same, flip_filter=flip_filter, gain=gain)


def upsample2d(
    x: Float[Array, "n h w c"],
    taps: Taps,
    *,
    up: Axes2 = 2,
    padding: Axes2 = 0,
    flip_filter: bool = False,
    gain: float = 1.0,
    packing: tuple[Packing, Packing] = (UNPACKED, UNPACKED),
    formulation: Formulation = FORMULATIONS["cpu"],
) -> Float[Array, "n oh ow co"]:
    """Zooms images by `up` with an interpolating filter; the mean brightness stays.

    `packing` says how input and output are packed (`ops/packing.py`), for separable taps and one
    zoom for both axes.
    """
    up_x, up_y = _pair(up, "up")
    same = resampling_padding(taps, up=(up_x, up_y), padding=padding)
    if packing != (UNPACKED, UNPACKED):
        return _resample_packed(x, taps, up_x, 1, same, flip_filter, gain, packing)
    return upfirdn2d(
        x,
        taps,
        up=up,
        padding=same,
        flip_filter=flip_filter,
        gain=gain * up_x * up_y,
        formulation=formulation,
    )


def downsample2d(
    x: Float[Array, "n h w c"],
    taps: Taps,
    *,
    down: Axes2 = 2,
    padding: Axes2 = 0,
    flip_filter: bool = False,
    gain: float = 1.0,
    packing: tuple[Packing, Packing] = (UNPACKED, UNPACKED),
    formulation: Formulation = FORMULATIONS["cpu"],
) -> Float[Array, "n oh ow co"]:
    """Shrinks images by `down` behind a low-pass filter; `packing` as in `upsample2d`."""
    same = resampling_padding(taps, down=_pair(down, "down"), padding=padding)
    if packing != (UNPACKED, UNPACKED):
        return _resample_packed(
            x, taps, 1, _pair(down, "down")[0], same, flip_filter, gain, packing
        )
    return upfirdn2d(
        x,
        taps,
        down=down,
        padding=same,
        flip_filter=flip_filter,
        gain=gain,
        formulation=formulation,
    )


def _resample_packed(
    x: Array,
    taps: Taps,
    up: int,
    down: int,
    pads: tuple[int, int, int, int],
    flip_filter: bool,
    gain: float,
    packing: tuple[Packing, Packing],
) -> Array:
    """Resamples packed images: a convolution whose kernel is the identity over colours."""
    static = tuple(float(t) for t in np.asarray(taps, np.float64))
    weight = gain * jnp.eye(x.shape[-1] // math.prod(packing[0]))[None, None]
    static = static if flip_filter else static[::-1]
    x0, x1, y0, y1 = pads
    return phase_conv2d(
        x,
        weight,
        (static, static),
        up=(up, up),
        down=(down, down),
        pads=((y0, y1), (x0, x1)),
        packing=packing,
    )


def blur2d(
    x: Float[Array, "n h w c"], taps: Taps, *, formulation: Formulation = FORMULATIONS["cpu"]
) -> Float[Array, "n h w c"]:
    """Correlates images with taps scaled to sum 1 and keeps their size.

    An even filter's extra pixel of zero padding lies behind the image (`filter2d`: before it).

    Source: Karras et al. 2019 (StyleGAN), section 2 (bilinear resampling, taps 1 2 1).
    Checked: tests/parity, case `sg1_ops`.
    """
    taps = np.asarray(taps, dtype=np.float64)
    taps = taps / taps.sum()
    fw, fh = _size(taps)
    same = [(fw - 1) // 2, fw // 2, (fh - 1) // 2, fh // 2]
    return upfirdn2d(x, taps, padding=same, flip_filter=True, formulation=formulation)


def resampling_padding(
    taps: Taps, *, up: Axes2 = 1, down: Axes2 = 1, padding: Axes2 = 0
) -> tuple[int, int, int, int]:
    """The padding `[x0, x1, y0, y1]` that centres a filter for up- and down-sampling.

    Counted at the up-sampled rate and added to `padding`; an axis that is not resampled keeps
    what it was given plus the centring of its filter.
    """
    pads = list(read_padding(padding))
    for axis, (n, u, d) in enumerate(zip(_size(taps), _pair(up, "up"), _pair(down, "down"))):
        if u > 1 or d == 1:
            pads[2 * axis] += (n + u - 1) // 2
            pads[2 * axis + 1] += (n - u) // 2
        if d > 1:
            pads[2 * axis] += (n - d + 1) // 2
            pads[2 * axis + 1] += (n - d) // 2
    return (pads[0], pads[1], pads[2], pads[3])


def _filter_axis(
    x: Array, taps: np.ndarray, axis: int, up: int, down: int, pad0: int, n: int, way: Filter
) -> Array:
    """Correlates one axis, `n` output pixels."""
    shape = (*x.shape[:axis], n, *x.shape[axis + 1 :])
    statics = dict(taps=tuple(float(t) for t in taps), axis=axis, up=up, down=down, pad0=pad0)
    return _filter_axis_p.bind(x, shape=shape, dtype=x.dtype, way=way, **statics)


def _filter_transposed(
    y: Array,
    wanted: tuple[int, ...],
    *,
    shape: tuple[int, ...],
    taps: tuple[float, ...],
    up: int,
    down: int,
    pad0: int,
    **statics: Any,
) -> Array:
    """The transpose of `_filter_axis`: a filter of reversed taps that zooms where it decimated."""
    del shape
    swapped = dict(taps=taps[::-1], up=down, down=up, pad0=len(taps) - 1 - pad0)
    return _filter_axis_p.bind(y, shape=wanted, **swapped, **statics)


def _compute_filter(x: Array, *, way: Filter, dtype: Any, **statics: Any) -> Array:
    """Filters an axis in the way that was chosen for its length."""
    del dtype  # that of x
    return _FILTERS[way](x, **statics)


def _filter_by_matrix(
    x: Array,
    *,
    shape: tuple[int, ...],
    taps: tuple[float, ...],
    axis: int,
    up: int,
    down: int,
    pad0: int,
) -> Array:
    """Correlates one axis by a product with a banded matrix."""
    matrix = jnp.asarray(_band_matrix(taps, x.shape[axis], up, down, pad0, shape[axis]), x.dtype)
    return jnp.einsum("ph,nhwc->npwc" if axis == 1 else "qw,nhwc->nhqc", matrix, x)


@lru_cache(maxsize=256)
def _band_matrix(
    taps: tuple[float, ...], n_in: int, up: int, down: int, pad0: int, n_out: int
) -> np.ndarray:
    """The matrix `[n_out, n_in]` that pads, up-samples, filters and decimates one axis."""
    out, tap = np.indices((n_out, len(taps)))
    position = out * down + tap - pad0
    inside = (position % up == 0) & (position >= 0) & (position < n_in * up)
    matrix = np.zeros((n_out, n_in))
    np.add.at(matrix, (out[inside], position[inside] // up), np.asarray(taps)[tap[inside]])
    return matrix


def _filter_by_shifts(
    x: Array,
    *,
    shape: tuple[int, ...],
    taps: tuple[float, ...],
    axis: int,
    up: int,
    down: int,
    pad0: int,
) -> Array:
    """Correlates one axis by shift-and-add over its output phases."""
    n = shape[axis]
    # One output phase per residue of the up-sampled position: y[q * up + a] for a < up.
    phases = [(np.arange(len(taps)) + a - pad0) for a in range(up)]
    shifts = [[(int(p // up), k) for k, p in enumerate(ps) if p % up == 0] for ps in phases]
    n_full = (n - 1) * down + 1
    n_phase = -(-n_full // up)
    lo = min((s for row in shifts for s, _ in row), default=0)
    hi = max((s for row in shifts for s, _ in row), default=0)
    # The barrier keeps what computes the image from being repeated for every tap.
    x = lax.optimization_barrier(_pad_axis(x, axis, -lo, hi + n_phase - x.shape[axis]))
    stride = down if up == 1 else 1
    outs = []
    for row in shifts:
        y = None
        for shift, k in row:
            if taps[k] == 0:
                continue
            part = lax.slice_in_dim(x, shift - lo, shift - lo + n_phase, stride, axis)
            part = part if taps[k] == 1 else part * np.asarray(taps[k], x.dtype)
            y = part if y is None else y + part
        if y is None:
            y = jnp.zeros_like(lax.slice_in_dim(x, 0, n_phase, stride, axis))
        outs.append(y)
    if up == 1:
        return outs[0]
    y = jnp.stack(outs, axis + 1)
    y = y.reshape(*x.shape[:axis], n_phase * up, *x.shape[axis + 1 :])
    return lax.slice_in_dim(y, 0, n_full, down, axis)


def _filter_depthwise(
    x: Array,
    *,
    shape: tuple[int, ...],
    taps: tuple[float, ...],
    axis: int,
    up: int,
    down: int,
    pad0: int,
) -> Array:
    """Correlates one axis by a convolution that keeps the channels apart."""
    n = shape[axis]
    spatial = 0 if axis == 1 else 1
    size, factors, stride, pads = [1, 1], [1, 1], [1, 1], [(0, 0), (0, 0)]
    size[spatial], factors[spatial], stride[spatial] = len(taps), up, down
    dilated = (x.shape[axis] - 1) * up + 1
    pads[spatial] = (pad0, (n - 1) * down + len(taps) - dilated - pad0)
    channels = x.shape[-1]
    kernel = jnp.broadcast_to(jnp.asarray(taps, x.dtype).reshape(*size, 1, 1), (*size, 1, channels))
    return lax.conv_general_dilated(
        x,
        kernel,
        stride,
        pads,
        lhs_dilation=factors,
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


@lru_cache(maxsize=256)
def _separable_terms(data: bytes, shape: tuple[int, ...]) -> tuple[tuple[tuple, tuple], ...]:
    """Splits a filter into outer products: one for 1-D and rank-1 taps, `rank` in general."""
    taps = np.frombuffer(data, dtype=np.float64).reshape(shape)
    if taps.ndim == 1:
        return ((tuple(taps), tuple(taps)),)
    u, s, vt = np.linalg.svd(taps, full_matrices=False)
    # float32 taps of an outer product leave singular values at 1e-8 of the largest.
    rank = int((s > 1e-6 * s[0]).sum())
    return tuple((tuple(u[:, r] * s[r]), tuple(vt[r])) for r in range(rank))


_FILTERS = {
    "matrix": _filter_by_matrix,
    "shifts": _filter_by_shifts,
    "depthwise": _filter_depthwise,
}
_filter_axis_p = make_primitive("filter_axis", _compute_filter)
linear(_filter_axis_p, _filter_transposed)


def _pair(value: Axes2, name: str) -> tuple[int, int]:
    """Reads one factor for both axes or `[x, y]`."""
    x, y = (value, value) if isinstance(value, int) else value
    if x < 1 or y < 1:
        raise ValueError(f"{name}={value}: give an integer of at least 1 (or a pair [x, y]).")
    return int(x), int(y)


def read_padding(padding: Axes2) -> tuple[int, int, int, int]:
    """Reads `p`, `[x, y]` or `[x0, x1, y0, y1]`."""
    p = [padding] if isinstance(padding, int) else list(padding)
    if len(p) not in (1, 2, 4):
        raise ValueError(f"padding={padding}: give p, [x, y] or [x0, x1, y0, y1].")
    x0, x1, y0, y1 = {1: p * 4, 2: [p[0], p[0], p[-1], p[-1]], 4: p}[len(p)]
    return int(x0), int(x1), int(y0), int(y1)


def _size(taps: Taps) -> tuple[int, int]:
    """Width and height of a filter."""
    shape = (1,) if taps is None else np.shape(taps)
    return shape[-1], shape[0]
