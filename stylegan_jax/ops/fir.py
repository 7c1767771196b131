"""FIR filters on images: filter design, and padding, resampling and filtering in one op."""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32

from stylegan_jax.ops.fir_axis import filter_axis
from stylegan_jax.ops.formulation import Filter, Formulation, platform_formulation
from stylegan_jax.ops.packing import UNPACKED, Packing, phase_conv2d

# 1-D taps serve both axes, 2-D taps are [h, w], None is the identity.
Taps = np.ndarray | Sequence[float] | Sequence[Sequence[float]] | None
Axes2 = int | Sequence[int]

# 1-D filters with at least this many taps stay separable when they are prepared.
_MIN_SEPARABLE_TAPS = 8


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
    if len(p) == 1:
        p = [p[0], p[0]]
    if len(p) == 2:
        p = [p[0], p[0], p[1], p[1]]
    x0, x1, y0, y1 = p
    return int(x0), int(x1), int(y0), int(y1)


def _size(taps: Taps) -> tuple[int, int]:
    """Width and height of a filter."""
    shape = (1,) if taps is None else np.shape(taps)
    return shape[-1], shape[0]


def resampling_padding(
    taps: Taps, *, up: Axes2 = 1, down: Axes2 = 1, padding: Axes2 = 0
) -> tuple[int, int, int, int]:
    """The padding `[x0, x1, y0, y1]` that centres a filter for up- and down-sampling.

    Counted at the up-sampled rate and added to `padding`; an axis that is not resampled keeps
    what it was given plus the centring of its filter.
    """
    pads = list(read_padding(padding))
    for axis, (n, u, d) in enumerate(zip(_size(taps), _pair(up, "up"), _pair(down, "down"))):
        # The filter reaches over n - 1 further pixels, shared out so that its result is centred.
        if u > 1 or d == 1:
            pads[2 * axis] += (n + u - 1) // 2
            pads[2 * axis + 1] += (n - u) // 2
        if d > 1:
            pads[2 * axis] += (n - d + 1) // 2
            pads[2 * axis + 1] += (n - d) // 2
    return (pads[0], pads[1], pads[2], pads[3])


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

    # One axis or two.
    if separable is None:
        separable = taps.ndim == 1 and taps.size >= _MIN_SEPARABLE_TAPS
    if separable and taps.ndim == 2:
        raise ValueError("separable=True needs 1-D taps; these are 2-D.")
    if taps.ndim == 1 and not separable:
        taps = np.outer(taps, taps)  # [n, n]

    # Taps that act twice, once along each axis, take the root of the gain.
    if normalize:
        taps = taps / taps.sum()
    if flip_filter:
        taps = np.flip(taps)
    return np.asarray(taps * gain ** (taps.ndim / 2), dtype=np.float32)


@lru_cache(maxsize=256)
def _separable_terms(data: bytes, shape: tuple[int, ...]) -> tuple[tuple[tuple, tuple], ...]:
    """Splits a filter into outer products: one for 1-D and rank-1 taps, `rank` in general."""
    taps = np.frombuffer(data, dtype=np.float64).reshape(shape)
    if taps.ndim == 1:
        return ((tuple(taps), tuple(taps)),)
    # taps = sum_r s_r u_r v_r^T
    u, s, vt = np.linalg.svd(taps, full_matrices=False)
    # float32 taps of an outer product leave singular values at 1e-8 of the largest.
    rank = int((s > 1e-6 * s[0]).sum())
    return tuple((tuple(u[:, r] * s[r]), tuple(vt[r])) for r in range(rank))


class Resampling(NamedTuple):
    """Zooms by `up`, pads, correlates with a sum of outer products, and decimates by `down`.

    Pairs hold the number of the y axis first; `filter_axis` says what happens along each.
    """

    terms: tuple[tuple[tuple[float, ...], tuple[float, ...]], ...]
    up: tuple[int, int]
    down: tuple[int, int]
    # Zeros before the image at the up-sampled rate (negative: cropped), and size of the result.
    pads: tuple[int, int]
    size: tuple[int, int]

    def transposed(self, size: tuple[int, int]) -> "Resampling":
        """The transpose, whose results have `size`: it resamples too."""
        column, row = self.terms[0]
        return Resampling(
            terms=tuple((column[::-1], row[::-1]) for column, row in self.terms),
            up=self.down,
            down=self.up,
            pads=(len(column) - 1 - self.pads[0], len(row) - 1 - self.pads[1]),
            size=size,
        )


def plan_resampling(
    size: tuple[int, int],
    taps: Taps,
    *,
    up: Axes2 = 1,
    down: Axes2 = 1,
    padding: Axes2 = 0,
    flip_filter: bool = False,
    gain: float = 1.0,
) -> Resampling:
    """What `upfirdn2d` does with images of a size; arguments and errors are those of it."""
    up_x, up_y = _pair(up, "up")
    down_x, down_y = _pair(down, "down")
    x0, x1, y0, y1 = read_padding(padding)
    taps = np.asarray(1.0 if taps is None else taps, dtype=np.float64)
    taps = taps[None] if taps.ndim == 0 else taps
    # From here on taps are correlated.
    if not flip_filter:
        taps = np.flip(taps)

    # 1-D taps stand for both axes: their first and last axis are the same one.
    out_h = (size[0] * up_y + y0 + y1 - taps.shape[0]) // down_y + 1
    out_w = (size[1] * up_x + x0 + x1 - taps.shape[-1]) // down_x + 1
    if out_h < 1 or out_w < 1:
        raise ValueError(
            f"A filter of shape {taps.shape} does not fit an image of shape {size} "
            f"with up={up}, padding={padding}: pad more or use fewer taps."
        )
    terms = tuple(
        (tuple(float(tap * gain) for tap in column), row)
        for column, row in _separable_terms(taps.tobytes(), taps.shape)
    )
    return Resampling(terms, (up_y, up_x), (down_y, down_x), (y0, x0), (out_h, out_w))


def resample(
    x: Float[Array, "n h w c"], plan: Resampling, way: Filter
) -> Float[Array, "n oh ow c"]:
    """Resamples images as planned, one axis after the other."""
    # A filter is a sum of outer products; each acts along y, then along x.
    outs = []
    for taps in plan.terms:
        y = x
        for axis in (0, 1):
            y = filter_axis(
                y,
                taps[axis],
                axis=1 + axis,
                up=plan.up[axis],
                down=plan.down[axis],
                pad=plan.pads[axis],
                size=plan.size[axis],
                way=way,
            )
        outs.append(y)
    return sum(outs[1:], outs[0])


def upfirdn2d(
    x: Float[Array, "n h w c"],
    taps: Taps,
    *,
    up: Axes2 = 1,
    down: Axes2 = 1,
    padding: Axes2 = 0,
    flip_filter: bool = False,
    gain: float = 1.0,
    formulation: Formulation | None = None,
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
        formulation: How it is computed, with the same result; None: as suits this platform.

    Returns:
        Array in x.dtype; each axis has `(n * up + pad0 + pad1 - len(taps)) // down + 1` pixels.

    Raises:
        ValueError: The filter is larger than the padded image, or a factor is below 1.

    Source: Karras et al. 2020 (StyleGAN2), appendix B.
    Checked: tests/parity, case `ops_upfirdn2d`; tests/ops/test_fir.py vs a NumPy loop.
    """
    plan = plan_resampling(
        (x.shape[1], x.shape[2]),
        taps,
        up=up,
        down=down,
        padding=padding,
        flip_filter=flip_filter,
        gain=gain,
    )
    # How each axis is computed, by the longest side of what comes in and goes out.
    formulation = formulation or platform_formulation()
    return resample(x, plan, formulation.fir(max(*plan.size, *x.shape[1:3])))


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
    # fw - 1 and fh - 1 zeros in all; an even filter has its extra one before the image.
    fw, fh = _size(taps)
    pads = [x0 + fw // 2, x1 + (fw - 1) // 2, y0 + fh // 2, y1 + (fh - 1) // 2]
    return upfirdn2d(x, taps, padding=pads, flip_filter=flip_filter, gain=gain)


def blur2d(
    x: Float[Array, "n h w c"], taps: Taps, *, formulation: Formulation | None = None
) -> Float[Array, "n h w c"]:
    """Correlates images with taps scaled to sum 1 and keeps their size.

    An even filter's extra pixel of zero padding lies after the image (`filter2d`: before it).

    Source: Karras et al. 2019 (StyleGAN), section 2 (bilinear resampling, taps 1 2 1).
    Checked: tests/parity, case `sg1_ops`.
    """
    taps = np.asarray(taps, dtype=np.float64)
    taps = taps / taps.sum()
    # fw - 1 and fh - 1 zeros in all; an even filter has its extra one after the image.
    fw, fh = _size(taps)
    pads = [(fw - 1) // 2, fw // 2, (fh - 1) // 2, fh // 2]
    return upfirdn2d(x, taps, padding=pads, flip_filter=True, formulation=formulation)


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
    # Correlated, as `phase_conv2d` has it.
    static = tuple(float(t) for t in np.asarray(taps, np.float64))
    static = static if flip_filter else static[::-1]
    colours = x.shape[-1] // math.prod(packing[0])
    weight = gain * jnp.eye(colours)[None, None]  # [1, 1, c, c]
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


def upsample2d(
    x: Float[Array, "n h w c"],
    taps: Taps,
    *,
    up: Axes2 = 2,
    padding: Axes2 = 0,
    flip_filter: bool = False,
    gain: float = 1.0,
    packing: tuple[Packing, Packing] = (UNPACKED, UNPACKED),
    formulation: Formulation | None = None,
) -> Float[Array, "n oh ow co"]:
    """Zooms images by `up` with an interpolating filter; the mean brightness stays.

    `packing` says how input and output are packed (`ops/packing.py`), for separable taps and one
    zoom for both axes.
    """
    up_x, up_y = _pair(up, "up")
    pads = resampling_padding(taps, up=up, padding=padding)
    if packing != (UNPACKED, UNPACKED):
        return _resample_packed(x, taps, up_x, 1, pads, flip_filter, gain, packing)
    return upfirdn2d(
        x,
        taps,
        up=up,
        padding=pads,
        flip_filter=flip_filter,
        gain=gain * up_x * up_y,  # of every up_x * up_y pixels, one is not zero
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
    formulation: Formulation | None = None,
) -> Float[Array, "n oh ow co"]:
    """Shrinks images by `down` after a low-pass filter; `packing` as in `upsample2d`."""
    down_x, _ = _pair(down, "down")
    pads = resampling_padding(taps, down=down, padding=padding)
    if packing != (UNPACKED, UNPACKED):
        return _resample_packed(x, taps, 1, down_x, pads, flip_filter, gain, packing)
    return upfirdn2d(
        x,
        taps,
        down=down,
        padding=pads,
        flip_filter=flip_filter,
        gain=gain,
        formulation=formulation,
    )
