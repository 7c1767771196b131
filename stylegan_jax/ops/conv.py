"""Two-dimensional convolution with FIR up- and down-sampling."""

import math

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from stylegan_jax.ops.fir import Axes2, Taps, read_padding, resampling_padding, upfirdn2d
from stylegan_jax.ops.formulation import FORMULATIONS, Formulation
from stylegan_jax.ops.packing import UNPACKED, Packing, phase_conv2d
from stylegan_jax.ops.trilinear import convolve, convolve_transposed

Pads = tuple[int, int, int, int]


def conv2d(
    x: Float[Array, "n h w i"],
    weight: Float[Array, "kh kw ig o"],
    *,
    stride: int = 1,
    padding: Axes2 = 0,
    groups: int = 1,
    formulation: Formulation = FORMULATIONS["cpu"],
) -> Float[Array, "n oh ow o"]:
    """Correlates feature maps with a kernel; padding is `p`, `[x, y]` or `[x0, x1, y0, y1]`."""
    x0, x1, y0, y1 = read_padding(padding)
    if groups == 1:
        return convolve(x, weight, stride, ((y0, y1), (x0, x1)), formulation.patches_from)
    return lax.conv_general_dilated(
        x,
        weight.astype(x.dtype),
        (stride, stride),
        ((y0, y1), (x0, x1)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def conv2d_resample(
    x: Float[Array, "n h w i"],
    weight: Float[Array, "kh kw ig o"],
    taps: Taps = None,
    *,
    up: int = 1,
    down: int = 1,
    padding: Axes2 = 0,
    groups: int = 1,
    flip_filter: bool = False,
    packing: tuple[Packing, Packing] = (UNPACKED, UNPACKED),
    formulation: Formulation = FORMULATIONS["cpu"],
) -> Float[Array, "n oh ow co"]:
    """Convolution between FIR up-sampling and FIR down-sampling: `down(conv(up(x)))`.

    The kernel is correlated as it stands. Signals are zero outside the image at every stage.

    Args:
        x: Feature maps, float32 or bfloat16.
        weight: Kernel, used in x.dtype, while its gradient keeps its own; the equalised gain is
            already applied.
        taps: FIR filter that sums to 1, 1-D (separable) or 2-D; None: no filter.
        up: Integer zoom before the convolution.
        down: Integer decimation after it.
        padding: Zeros at the up-sampled rate, `p`, `[x, y]` or `[x0, x1, y0, y1]`; the
            centring of the filter is added to it.
        groups: Groups of channels that are convolved apart.
        flip_filter: True correlates with the taps, False convolves.
        packing: How input and output are packed (`ops/packing.py`), for separable taps and one
            group; shapes here are those of unpacked feature maps.
        formulation: How the platform computes it; the result is the same.

    Returns:
        `[n, h * up / down, w * up / down, o]` for a kernel centred by its padding, in x.dtype.

    Raises:
        ValueError: Channels do not fit the kernel, or packed maps meet what they do not support.

    Source: Karras et al. 2020 (StyleGAN2), appendix B.
    Checked: tests/parity, case `ops_conv2d_resample`.
    """
    kh, kw, in_channels, _ = weight.shape
    if x.shape[-1] != in_channels * groups * math.prod(packing[0]):
        raise ValueError(
            f"Input of {x.shape[-1]} channels, packed by {packing[0]}, for a kernel of "
            f"{in_channels} x {groups} groups."
        )
    filtered = up > 1 or down > 1
    pads = resampling_padding(taps, up=up, down=down, padding=padding) if filtered else padding
    pads = read_padding(pads)
    if packing != (UNPACKED, UNPACKED):
        if groups > 1 or not _is_separable(taps):
            raise ValueError("Packed feature maps need groups=1 and separable (1-D) taps.")
        static = _correlated(taps, flip_filter) if filtered else (1.0,)
        return _folded_conv2d(x, weight, static, up, down, pads, packing)
    fir = dict(flip_filter=flip_filter, formulation=formulation)
    conv = dict(groups=groups, formulation=formulation)
    if up > 1 and down == 1 and (kh, kw) == (1, 1):
        # A 1x1 convolution commutes with the filter and is cheaper before it.
        x = conv2d(x, weight, **conv)
        return upfirdn2d(x, taps, up=up, padding=pads, gain=up**2, **fir)
    if down > 1 and up == 1 and (kh, kw) == (1, 1):
        x = upfirdn2d(x, taps, down=down, padding=pads, **fir)
        return conv2d(x, weight, **conv)
    if (up > 1) != (down > 1) and groups == 1 and _is_separable(taps):
        static = _correlated(taps, flip_filter)
        finer_side = x.shape[1] * up
        if formulation.folds(finer_side):
            return _folded_conv2d(x, weight, static, up, down, pads, packing)
        return _strided_conv2d(x, weight, static, up, down, pads, formulation)
    if up > 1:
        x = upfirdn2d(x, taps, up=up, padding=pads, gain=up**2, **fir)
        x = conv2d(x, weight, **conv)
        return upfirdn2d(x, taps, down=down, **fir) if down > 1 else x
    if down > 1:
        x = upfirdn2d(x, taps, padding=pads, **fir)
        return conv2d(x, weight, stride=down, **conv)
    return conv2d(x, weight, padding=pads, **conv)


def _folded_conv2d(
    x: Array,
    weight: Array,
    taps: tuple[float, ...],
    up: int,
    down: int,
    pads: Pads,
    packing: tuple[Packing, Packing],
) -> Array:
    """The filter folded into the kernel: one plain convolution over phases of the finer side."""
    x0, x1, y0, y1 = pads
    pads_y, pads_x = (y0, y1), (x0, x1)
    if down == 1 or weight.shape[:2] != (1, 1) or packing == (UNPACKED, UNPACKED):
        statics = dict(up=(up, up), down=(down, down), pads=(pads_y, pads_x), packing=packing)
        return phase_conv2d(x, weight, (taps, taps), **statics)
    # Before a 1x1 kernel the filter is cheaper one axis after the other.
    pack_in, pack_out = packing
    between = (pack_out[0], pack_out[1] * down)
    identity = jnp.eye(weight.shape[2])[None, None]
    x = phase_conv2d(
        x,
        identity,
        (taps, (1.0,)),
        down=(down, 1),
        pads=(pads_y, (0, 0)),
        packing=(pack_in, between),
    )
    return phase_conv2d(
        x,
        weight,
        ((1.0,), taps),
        down=(1, down),
        pads=((0, 0), pads_x),
        packing=(between, pack_out),
    )


def _strided_conv2d(
    x: Array,
    weight: Array,
    taps: tuple[float, ...],
    up: int,
    down: int,
    pads: Pads,
    formulation: Formulation,
) -> Array:
    """The filter over the finer side, beside a strided or a transposed convolution."""
    fir = dict(flip_filter=True, formulation=formulation)
    if down > 1:
        x = upfirdn2d(x, taps, padding=pads, **fir)
        return conv2d(x, weight, stride=down, formulation=formulation)
    if min(pads) < 0:
        # What is cropped before the filter cannot be cropped behind it.
        x = upfirdn2d(x, taps, up=up, padding=pads, gain=up**2, **fir)
        return conv2d(x, weight, formulation=formulation)
    # The kernel and the filter trade places: both are convolutions at the fine rate.
    kh, kw = weight.shape[:2]
    flipped = weight[::-1, ::-1].swapaxes(2, 3)
    size = ((x.shape[1] - 1) * up + kh, (x.shape[2] - 1) * up + kw)
    unpadded = ((0, 0), (0, 0))
    y = convolve_transposed(x, flipped, up, unpadded, size, formulation.patches_from)
    x0, x1, y0, y1 = pads
    # Zeros that up-sampling puts behind the last pixel are not in the transposed convolution.
    inner = [x0 - kw + 1, x1 - kw + up, y0 - kh + 1, y1 - kh + up]
    return upfirdn2d(y, taps, padding=inner, gain=up**2, **fir)


def _is_separable(taps: Taps) -> bool:
    """True for 1-D filters, which both axes share."""
    return taps is None or np.ndim(taps) == 1


def _correlated(taps: Taps, flip_filter: bool) -> tuple[float, ...]:
    """Separable taps as static floats, in the order in which they are correlated."""
    static = (1.0,) if taps is None else tuple(float(t) for t in np.asarray(taps))
    return static if flip_filter else static[::-1]
