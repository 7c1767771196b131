"""Two-dimensional convolution with FIR up- and down-sampling: its definition, and faster forms."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from stylegan_jax.ops.fir import Axes2, Taps, read_padding, resampling_padding, upfirdn2d
from stylegan_jax.ops.formulation import Formulation, platform_formulation
from stylegan_jax.ops.packing import UNPACKED, Packing, phase_conv2d
from stylegan_jax.ops.trilinear import convolve, convolve_transposed


def conv2d(
    x: Float[Array, "n h w i"],
    weight: Float[Array, "kh kw ig o"],
    *,
    stride: int = 1,
    padding: Axes2 = 0,
    groups: int = 1,
) -> Float[Array, "n oh ow o"]:
    """Correlates feature maps with a kernel; padding is `p`, `[x, y]` or `[x0, x1, y0, y1]`."""
    x0, x1, y0, y1 = read_padding(padding)
    if groups == 1:
        return convolve(x, weight, stride, ((y0, y1), (x0, x1)))
    return lax.conv_general_dilated(
        x,
        weight.astype(x.dtype),
        (stride, stride),
        ((y0, y1), (x0, x1)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


class _Resampling(NamedTuple):
    """What every form is told; `pads` are `[x0, x1, y0, y1]`, the filter's centring included."""

    taps: Taps
    up: int
    down: int
    pads: tuple[int, int, int, int]
    groups: int
    flip_filter: bool
    packing: tuple[Packing, Packing]
    formulation: Formulation

    @property
    def fir(self) -> dict:
        """What filters are told."""
        return {"flip_filter": self.flip_filter, "formulation": self.formulation}


def _is_separable(taps: Taps) -> bool:
    """True for 1-D filters, which both axes share."""
    return taps is None or np.ndim(taps) == 1


def _correlated(taps: Taps, flip_filter: bool) -> tuple[float, ...]:
    """Separable taps as static floats, in the order in which they are correlated."""
    static = (1.0,) if taps is None else tuple(float(t) for t in np.asarray(taps))
    return static if flip_filter else static[::-1]


def _by_definition(x: Array, weight: Array, how: _Resampling) -> Array:
    """Up-samples, convolves, down-samples: what all other forms equal."""
    # [n, h, w, i] -> [n, up h, up w, i]: of every up^2 pixels one is not zero, hence the gain.
    taps_up = how.taps if how.up > 1 else None
    x = upfirdn2d(x, taps_up, up=how.up, padding=how.pads, gain=how.up**2, **how.fir)
    # -> [n, up h, up w, o]
    x = conv2d(x, weight, groups=how.groups)
    # -> [n, up h / down, up w / down, o]
    return upfirdn2d(x, how.taps, down=how.down, **how.fir) if how.down > 1 else x


def _unfiltered(x: Array, weight: Array, how: _Resampling) -> Array:
    """No resampling, no filter."""
    return conv2d(x, weight, padding=how.pads, groups=how.groups)


def _pointwise_then_up(x: Array, weight: Array, how: _Resampling) -> Array:
    """A 1x1 kernel commutes with the filter and costs `up^2` times less before it."""
    x = conv2d(x, weight, groups=how.groups)  # [n, h, w, o]
    return upfirdn2d(x, how.taps, up=how.up, padding=how.pads, gain=how.up**2, **how.fir)


def _down_then_pointwise(x: Array, weight: Array, how: _Resampling) -> Array:
    """A 1x1 kernel commutes with the filter and costs `down^2` times less after it."""
    x = upfirdn2d(x, how.taps, down=how.down, padding=how.pads, **how.fir)  # [n, oh, ow, i]
    return conv2d(x, weight, groups=how.groups)


def _strided(x: Array, weight: Array, how: _Resampling) -> Array:
    """Filter and kernel trade places, so that the kernel sees only pixels that are kept."""
    # The filter runs at the full rate, over the input channels: cheap beside the kernel.
    x = upfirdn2d(x, how.taps, padding=how.pads, **how.fir)
    return conv2d(x, weight, stride=how.down, groups=how.groups)


def _transposed(x: Array, weight: Array, how: _Resampling) -> Array:
    """Filter and kernel trade places, so that the kernel never meets an inserted zero."""
    up = how.up
    kh, kw = weight.shape[:2]
    x0, x1, y0, y1 = how.pads

    # Zero-stuffing and a full correlation are the transpose of a strided correlation with the
    # flipped kernel, [kh, kw, o, i].
    flipped = weight[::-1, ::-1].swapaxes(2, 3)
    size = ((x.shape[1] - 1) * up + kh, (x.shape[2] - 1) * up + kw)
    y = convolve_transposed(x, flipped, up, ((0, 0), (0, 0)), size)  # [n, *size, o]

    # The full correlation already holds k - 1 pixels of padding on each side, but lacks the up - 1
    # zeros that up-sampling puts after the last pixel.
    pads = [x0 - kw + 1, x1 - kw + up, y0 - kh + 1, y1 - kh + up]
    return upfirdn2d(y, how.taps, padding=pads, gain=up**2, **how.fir)


def _folded(x: Array, weight: Array, how: _Resampling) -> Array:
    """The filter folded into the kernel: one plain convolution over phases of the finer side."""
    # Taps serve resampling; a layer that keeps its size has none.
    is_filtered = how.up > 1 or how.down > 1
    taps = _correlated(how.taps, how.flip_filter) if is_filtered else (1.0,)
    x0, x1, y0, y1 = how.pads
    return phase_conv2d(
        x,
        weight,
        (taps, taps),
        up=(how.up, how.up),
        down=(how.down, how.down),
        pads=((y0, y1), (x0, x1)),
        packing=how.packing,
    )


def _folded_by_axis(x: Array, weight: Array, how: _Resampling) -> Array:
    """Before a 1x1 kernel the filter is cheaper along y by itself, then along x with the kernel."""
    taps = _correlated(how.taps, how.flip_filter)
    down = how.down
    x0, x1, y0, y1 = how.pads
    pack_in, pack_out = how.packing

    # In between a packed pixel holds the columns of `down` packed pixels of the result.
    between = (pack_out[0], pack_out[1] * down)
    identity = jnp.eye(weight.shape[2])[None, None]  # [1, 1, i, i]
    x = phase_conv2d(
        x,
        identity,
        (taps, (1.0,)),
        down=(down, 1),
        pads=((y0, y1), (0, 0)),
        packing=(pack_in, between),
    )
    return phase_conv2d(
        x,
        weight,
        ((1.0,), taps),
        down=(1, down),
        pads=((0, 0), (x0, x1)),
        packing=(between, pack_out),
    )


def _choose_form(
    x: Array, weight: Array, how: _Resampling
) -> Callable[[Array, Array, _Resampling], Array]:
    """The form that is fastest for these shapes on this platform; the result is the same."""
    is_pointwise = weight.shape[:2] == (1, 1)
    is_separable = how.groups == 1 and _is_separable(how.taps)
    finer_side = min(x.shape[1:3]) * how.up

    # Between packed maps everything is one plain convolution.
    if how.packing != (UNPACKED, UNPACKED):
        return _folded_by_axis if is_pointwise and how.down > 1 else _folded

    # Nothing to be gained.
    if how.up == how.down == 1:
        return _unfiltered
    if how.up > 1 and how.down > 1:
        return _by_definition

    # The kernel meets as few pixels as there are, on the coarse side.
    if is_pointwise:
        return _pointwise_then_up if how.up > 1 else _down_then_pointwise
    if is_separable and how.formulation.folds(finer_side):
        return _folded
    if how.down > 1:
        return _strided
    # What is cropped before the filter cannot be cropped after it.
    return _transposed if is_separable and min(how.pads) >= 0 else _by_definition


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
    formulation: Formulation | None = None,
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
        formulation: How it is computed, with the same result; None: as suits this platform.

    Returns:
        `[n, h * up / down, w * up / down, o]` for a kernel centred by its padding, in x.dtype.

    Raises:
        ValueError: Channels do not fit the kernel, or packed maps meet what they do not support.

    Source: Karras et al. 2020 (StyleGAN2), appendix B.
    Checked: tests/parity, case `ops_conv2d_resample`; tests/ops/test_conv.py, every form.
    """
    # What was given fits together.
    in_channels = weight.shape[2] * groups
    if x.shape[-1] != in_channels * math.prod(packing[0]):
        raise ValueError(
            f"Input of {x.shape[-1]} channels, packed by {packing[0]}, for a kernel of "
            f"{weight.shape[2]} x {groups} groups."
        )
    if packing != (UNPACKED, UNPACKED) and (groups > 1 or not _is_separable(taps)):
        raise ValueError("Packed feature maps need groups=1 and separable (1-D) taps.")

    # The filter is centred by further padding; where nothing is resampled there is no filter.
    if up > 1 or down > 1:
        pads = resampling_padding(taps, up=up, down=down, padding=padding)
    else:
        pads = read_padding(padding)

    formulation = formulation or platform_formulation()
    how = _Resampling(taps, up, down, pads, groups, flip_filter, packing, formulation)
    return _choose_form(x, weight, how)(x, weight, how)
