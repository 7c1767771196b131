"""Two-dimensional convolution with FIR up- and down-sampling."""

from collections.abc import Sequence
from functools import lru_cache

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from stylegan_jax.ops.fir import Axes2, Taps, read_padding, resampling_padding, upfirdn2d


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
    return lax.conv_general_dilated(
        x,
        weight,
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
) -> Float[Array, "n oh ow o"]:
    """Convolution between FIR up-sampling and FIR down-sampling: `down(conv(up(x)))`.

    The kernel is correlated as it stands. Signals are zero outside the image at every stage.

    Args:
        x: Feature maps, float32 or bfloat16.
        weight: Kernel, cast to x.dtype; the equalised gain is already applied.
        taps: FIR filter that sums to 1, 1-D (separable) or 2-D; None: no filter.
        up: Integer zoom before the convolution.
        down: Integer decimation after it.
        padding: Zeros at the up-sampled rate, `p`, `[x, y]` or `[x0, x1, y0, y1]`; the
            centring of the filter is added to it.
        groups: Groups of channels that are convolved apart.
        flip_filter: True correlates with the taps, False convolves.

    Returns:
        `[n, h * up / down, w * up / down, o]` for a kernel centred by its padding, in x.dtype.

    Raises:
        ValueError: Channels do not fit the kernel.

    Source: Karras et al. 2020 (StyleGAN2), appendix B.
    Checked: tests/parity, case `ops_conv2d_resample`.
    """
    kh, kw, in_channels, _ = weight.shape
    if x.shape[-1] != in_channels * groups:
        raise ValueError(
            f"Input of {x.shape[-1]} channels for a kernel of {in_channels} x {groups} groups."
        )
    weight = weight.astype(x.dtype)
    filtered = up > 1 or down > 1
    pads = resampling_padding(taps, up=up, down=down, padding=padding) if filtered else padding
    if up > 1 and down == 1 and (kh, kw) == (1, 1):
        # A 1x1 convolution commutes with the filter and is cheaper before it.
        x = conv2d(x, weight, groups=groups)
        return upfirdn2d(x, taps, up=up, padding=pads, flip_filter=flip_filter, gain=up**2)
    if down > 1 and up == 1 and (kh, kw) == (1, 1):
        x = upfirdn2d(x, taps, down=down, padding=pads, flip_filter=flip_filter)
        return conv2d(x, weight, groups=groups)
    if (up > 1) != (down > 1) and groups == 1 and _is_separable(taps):
        return _polyphase_conv2d(x, weight, taps, up, down, pads, flip_filter)
    if up > 1:
        x = upfirdn2d(x, taps, up=up, padding=pads, flip_filter=flip_filter, gain=up**2)
        x = conv2d(x, weight, groups=groups)
        return upfirdn2d(x, taps, down=down, flip_filter=flip_filter) if down > 1 else x
    if down > 1:
        x = upfirdn2d(x, taps, padding=pads, flip_filter=flip_filter)
        return conv2d(x, weight, stride=down, groups=groups)
    return conv2d(x, weight, padding=pads, groups=groups)


def _polyphase_conv2d(
    x: Array, weight: Array, taps: Taps, up: int, down: int, pads: Sequence[int], flip_filter: bool
) -> Array:
    """Convolution before or behind FIR resampling, folded into one kernel over phases.

    Down-sampling reads `down * down` input phases and up-sampling writes `up * up` output phases,
    each as extra channels of a plain convolution on the coarse grid. The filter never runs over
    an image, no inserted zero is multiplied, and every derivative is a plain convolution too.
    Measured in benchmarks/resampling.py.
    """
    taps = (1.0,) if taps is None else tuple(float(t) for t in np.asarray(taps))
    taps = taps if flip_filter else taps[::-1]
    n, h, w, in_channels = x.shape
    kh, kw, _, out_channels = weight.shape
    x0, x1, y0, y1 = pads
    rows, row_lo = _phase_table(taps, up, down, y0, kh)
    cols, col_lo = _phase_table(taps, up, down, x0, kw)
    # e f: coarse taps, p q: input phases, a b: output phases, k l: taps of the stored kernel.
    kernel = jnp.einsum(
        "epak,fqbl,klio->efpqiabo", jnp.asarray(rows, x.dtype), jnp.asarray(cols, x.dtype), weight
    )
    kernel = kernel.reshape(len(rows), len(cols), down * down * in_channels, up * up * out_channels)
    out_h = (h * up + y0 + y1 - (len(taps) - 1) - kh) // down + 1
    out_w = (w * up + x0 + x1 - (len(taps) - 1) - kw) // down + 1
    x = space_to_depth(x, down)
    coarse_h, coarse_w = -(-out_h // up), -(-out_w // up)
    pad_y = [-row_lo, coarse_h + len(rows) - 1 + row_lo - x.shape[1]]
    pad_x = [-col_lo, coarse_w + len(cols) - 1 + col_lo - x.shape[2]]
    y = conv2d(x, kernel, padding=[*pad_x, *pad_y])
    return depth_to_space(y, up)[:, :out_h, :out_w]


def space_to_depth(x: Float[Array, "n h w c"], factor: int) -> Float[Array, "n p q cf"]:
    """Moves `factor * factor` phases into channels (phase_y, phase_x, c); pads with zeros."""
    if factor == 1:
        return x
    n, h, w, c = x.shape
    x = jnp.pad(x, ((0, 0), (0, -h % factor), (0, -w % factor), (0, 0)))
    h, w = x.shape[1] // factor, x.shape[2] // factor
    x = x.reshape(n, h, factor, w, factor, c).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(n, h, w, factor * factor * c)


def depth_to_space(x: Float[Array, "n h w cf"], factor: int) -> Float[Array, "n p q c"]:
    """Inverse of `space_to_depth`."""
    if factor == 1:
        return x
    n, h, w, c = x.shape
    x = x.reshape(n, h, w, factor, factor, c // factor**2).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(n, h * factor, w * factor, c // factor**2)


@lru_cache(maxsize=256)
def _phase_table(
    taps: tuple[float, ...], up: int, down: int, pad: int, kernel_size: int
) -> tuple[np.ndarray, int]:
    """`(T[e, p, a, k], lo)`: weight of input phase p at coarse tap e for output phase a, tap k."""
    # Output q * up + a reads kernel tap k through filter tap i at the up-sampled position
    # a + k + i - pad (relative to q), which holds an input pixel where up divides it.
    entries = [
        (*divmod((a + k + i - pad) // up, down), a, k, up * tap)
        for a in range(up)
        for k in range(kernel_size)
        for i, tap in enumerate(taps)
        if (a + k + i - pad) % up == 0
    ]
    lo = min(e for e, *_ in entries)
    table = np.zeros((max(e for e, *_ in entries) - lo + 1, down, up, kernel_size))
    for e, p, a, k, value in entries:
        table[e - lo, p, a, k] += value
    return table, lo


def _is_separable(taps: Taps) -> bool:
    """True for 1-D filters, which both axes share."""
    return taps is None or np.ndim(taps) == 1
