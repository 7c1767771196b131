"""Packed feature maps: neighbouring pixels held as channels, and convolutions between them.

Packing by (2, 2) holds `[n, h, w, c]` as `[n, h / 2, w / 2, 4 c]`, channels ordered (phase_y,
phase_x, c). Layers of few channels fill a matrix unit with it that would idle; parameters and
results stay what they are.
"""

import math
from functools import lru_cache
from typing import overload

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from stylegan_jax.ops.trilinear import convolve

# Neighbours in a channel along y and x; (1, 1): feature maps as they are.
Packing = tuple[int, int]
UNPACKED: Packing = (1, 1)
# Channels that a TPU works on at once.
_LANES = 128
Taps1d = tuple[float, ...]


@overload
def space_to_depth(x: Shaped[Array, "n h w c"], packing: Packing) -> Array: ...
@overload
def space_to_depth(x: Shaped[np.ndarray, "n h w c"], packing: Packing) -> np.ndarray: ...
def space_to_depth(
    x: Shaped[Array | np.ndarray, "n h w c"], packing: Packing
) -> Array | np.ndarray:
    """Moves neighbours into channels, `[n, h / py, w / px, py * px * c]`; pads with zeros.

    Also packs NumPy arrays, which stay such.
    """
    if packing == UNPACKED:
        return x
    py, px = packing
    n, h, w, c = x.shape
    if h % py or w % px:
        x = jnp.pad(x, ((0, 0), (0, -h % py), (0, -w % px), (0, 0)))
    h = x.shape[1] // py
    w = x.shape[2] // px
    x = x.reshape(n, h, py, w, px, c)
    x = x.transpose(0, 1, 3, 2, 4, 5)  # [n, h, w, py, px, c]
    return x.reshape(n, h, w, py * px * c)


def depth_to_space(x: Float[Array, "n h w cf"], packing: Packing) -> Float[Array, "n p q c"]:
    """Inverse of `space_to_depth`."""
    if packing == UNPACKED:
        return x
    py, px = packing
    n, h, w, c = x.shape
    c //= py * px
    x = x.reshape(n, h, w, py, px, c)
    x = x.transpose(0, 1, 3, 2, 4, 5)  # [n, h, py, w, px, c]
    return x.reshape(n, h * py, w * px, c)


def repack(
    x: Float[Array, "n h w ci"], packed: Packing, wanted: Packing
) -> Float[Array, "n p q co"]:
    """Changes how feature maps are packed; nothing happens where it is as wanted."""
    return x if packed == wanted else space_to_depth(depth_to_space(x, packed), wanted)


def tile_channels(x: Float[Array, "*b c"], packing: Packing) -> Float[Array, "*b cf"]:
    """Repeats per-channel numbers (styles, biases) for every phase of packed feature maps."""
    return x if packing == UNPACKED else jnp.tile(x, (1,) * (x.ndim - 1) + (math.prod(packing),))


def pack_map(
    x: Float[Array, "n h w 1"], packing: Packing, channels: int
) -> Float[Array, "n p q cf"]:
    """Packs a map that all channels share (noise) and repeats it for each of `channels`.

    A product with a matrix of ones does it: repeating along channels moves every number on TPU.
    """
    if packing == UNPACKED:
        return x
    return phase_conv2d(x, jnp.ones((1, 1, 1, channels)), packing=(UNPACKED, packing))


def phase_conv2d(
    x: Float[Array, "n h w ci"],
    weight: Float[Array, "kh kw i o"],
    taps: tuple[Taps1d, Taps1d] = ((1.0,), (1.0,)),
    *,
    up: tuple[int, int] = (1, 1),
    down: tuple[int, int] = (1, 1),
    pads: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0)),
    packing: tuple[Packing, Packing] = (UNPACKED, UNPACKED),
) -> Float[Array, "n p q co"]:
    """Convolution with FIR resampling, folded into one kernel between packed feature maps.

    The filter never runs over an image, no inserted zero is multiplied, and every derivative is a
    plain convolution too. Pairs hold the number of the y axis first.

    Args:
        x: Feature maps, packed by `packing[0]`.
        weight: Kernel of unpacked feature maps, correlated as it stands.
        taps: FIR taps per axis, correlated as they stand; `(1.0,)`: none.
        up: Integer zoom before the convolution; the filter's gain `up` is applied.
        down: Integer decimation after it.
        pads: Zeros before and after the up-sampled image.
        packing: How input and output are packed.

    Returns:
        Feature maps in x.dtype, packed by `packing[1]`; where that does not divide the size, what
        lies after the end is not zero.

    Source: polyphase identities; the formula is that of `_phase_table`.
    Checked: tests/ops/test_packing.py, tests/ops/test_conv.py.
    """
    pack_in, pack_out = packing
    # Coarse pixels of input and output must cover the same area, or zeros would be multiplied: the
    # one that covers less is packed wider for the convolution.
    pitch_in = [i * u for i, u in zip(pack_in, up)]
    pitch_out = [o * d for o, d in zip(pack_out, down)]
    widen_in = [max(o // i, 1) for i, o in zip(pitch_in, pitch_out)]
    widen_out = [max(i // o, 1) for i, o in zip(pitch_in, pitch_out)]
    if weight.shape[:2] == (1, 1) and taps == ((1.0,), (1.0,)):
        # What fills channels that would idle is free.
        channels = x.shape[3] * math.prod(widen_in)
        while 2 * channels <= _LANES and x.shape[2] % (2 * widen_in[1]) == 0:
            channels *= 2
            widen_in[1] *= 2
            widen_out[1] *= 2

    # Per axis: phases of the kernel, zeros around the coarse pixels, size of the result.
    tables = []
    padding = []
    sizes = []
    for axis in range(2):
        n_in = x.shape[1 + axis]
        k = weight.shape[axis]
        phases_in = pack_in[axis] * widen_in[axis]
        phases_out = pack_out[axis] * widen_out[axis]
        table, lo = _phase_table(
            taps[axis], up[axis], down[axis], pads[axis][0], k, phases_in, phases_out
        )
        shape = (len(table), widen_in[axis], pack_in[axis], widen_out[axis], pack_out[axis], k)
        tables.append(table.reshape(shape))

        # Filter and kernel together reach over len(taps) + k - 2 further pixels.
        padded = n_in * pack_in[axis] * up[axis] + sum(pads[axis])
        n_out = (padded - len(taps[axis]) - k + 1) // down[axis] + 1
        coarse_in = -(-n_in // widen_in[axis])
        coarse_out = -(-n_out // phases_out)
        padding.append((-lo, coarse_out + len(table) - 1 + lo - coarse_in))
        sizes.append(-(-n_out // pack_out[axis]))

    # e f: coarse taps, k l: taps of the stored kernel. Input phases: v w of widening, p q of
    # packing; output phases: x y of widening, a b of packing.
    kernel = jnp.einsum(
        "evpxak,fwqybl,klio->efvwpqixyabo",
        *(jnp.asarray(table, weight.dtype) for table in tables),
        weight,
    )
    in_channels = x.shape[3] * math.prod(widen_in)
    out_channels = math.prod(widen_out) * math.prod(pack_out) * weight.shape[3]
    kernel = kernel.reshape(*kernel.shape[:2], in_channels, out_channels)

    x = space_to_depth(x, (widen_in[0], widen_in[1]))
    y = convolve(x, kernel, 1, (padding[0], padding[1]))
    return depth_to_space(y, (widen_out[0], widen_out[1]))[:, : sizes[0], : sizes[1]]


@lru_cache(maxsize=256)
def _phase_table(
    taps: Taps1d, up: int, down: int, pad: int, kernel_size: int, pack_in: int, pack_out: int
) -> tuple[np.ndarray, int]:
    """`(T[e, p, a, k], lo)`: weight of input phase p at coarse tap e for output phase a, tap k.

    Output pixel `pack_out * q + a` reads tap k through filter tap i at the up-sampled position
    `down * (pack_out * q + a) + k + i - pad`; input pixel `pack_in * m + p` lies at
    `up * (pack_in * m + p)`. A coarse pixel spans `pitch = pack_in * up = pack_out * down` of it.
    """
    pitch = pack_in * up
    assert pitch == pack_out * down

    # (e, p, a, k, weight), for every pair of an output and an input phase that some tap joins.
    entries = []
    for a in range(pack_out):
        for p in range(pack_in):
            for k in range(kernel_size):
                for i, tap in enumerate(taps):
                    # pitch * (m - q) = down * a + k + i - pad - up * p, and e = m - q is whole.
                    e, rest = divmod(down * a + k + i - pad - up * p, pitch)
                    if rest == 0:
                        entries.append((e, p, a, k, up * tap))

    # Several filter taps may meet at one entry. Taps of zoomed images carry the gain `up`.
    lo = min(e for e, *_ in entries)
    hi = max(e for e, *_ in entries)
    table = np.zeros((hi - lo + 1, pack_in, pack_out, kernel_size))
    for e, p, a, k, value in entries:
        table[e - lo, p, a, k] += value
    return table, lo
