"""Packed feature maps: neighbouring pixels held as channels, and convolutions between them.

Packing by (2, 2) holds `[n, h, w, c]` as `[n, h / 2, w / 2, 4 c]`, channels ordered (phase_y,
phase_x, c). Layers of few channels fill a matrix unit with it that would idle; parameters and
results stay what they are.
"""

import math
from functools import lru_cache

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


def space_to_depth(x: Shaped[Array | np.ndarray, "n h w c"], packing: Packing):
    """Moves neighbours into channels, `[n, h / py, w / px, py * px * c]`; pads with zeros.

    Also packs NumPy arrays, which stay such.
    """
    if packing == UNPACKED:
        return x
    py, px = packing
    n, h, w, c = x.shape
    if h % py or w % px:
        x = jnp.pad(x, ((0, 0), (0, -h % py), (0, -w % px), (0, 0)))
    h, w = x.shape[1] // py, x.shape[2] // px
    x = x.reshape(n, h, py, w, px, c).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(n, h, w, py * px * c)


def depth_to_space(x: Float[Array, "n h w cf"], packing: Packing) -> Float[Array, "n p q c"]:
    """Inverse of `space_to_depth`."""
    if packing == UNPACKED:
        return x
    py, px = packing
    n, h, w, c = x.shape
    x = x.reshape(n, h, w, py, px, c // (py * px)).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(n, h * py, w * px, c // (py * px))


def repack(
    x: Float[Array, "n h w ci"], packed: Packing, wanted: Packing
) -> Float[Array, "n p q co"]:
    """Changes how feature maps are packed; nothing happens where it is as wanted."""
    return x if packed == wanted else space_to_depth(depth_to_space(x, packed), wanted)


def packing_of(x: Float[Array, "n h w cf"], channels: int) -> Packing:
    """How square feature maps of so many channels are packed, by their shape."""
    _, h, w, c = x.shape
    py = math.isqrt(c * w // (channels * h))
    return py, c // (channels * py)


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
        lies behind the end is not zero.

    Source: polyphase identities; the formula is that of `_phase_table`.
    Checked: tests/ops/test_packing.py, tests/ops/test_conv.py.
    """
    pack_in, pack_out = packing
    # Coarse pixels of input and output must cover the same area, or zeros would be multiplied.
    widen_in = [max(o * d // (i * u), 1) for i, o, u, d in zip(pack_in, pack_out, up, down)]
    widen_out = [max(i * u // (o * d), 1) for i, o, u, d in zip(pack_in, pack_out, up, down)]
    if weight.shape[:2] == (1, 1) and taps == ((1.0,), (1.0,)):
        # What fills channels that would idle is free.
        channels = x.shape[3] * math.prod(widen_in)
        while 2 * channels <= _LANES and x.shape[2] % (2 * widen_in[1]) == 0:
            channels, widen_in[1], widen_out[1] = 2 * channels, 2 * widen_in[1], 2 * widen_out[1]
    tables, padding, sizes = [], [], []
    for axis in range(2):
        n_in, k = x.shape[1 + axis], weight.shape[axis]
        wide_in, wide_out = pack_in[axis] * widen_in[axis], pack_out[axis] * widen_out[axis]
        table, lo = _phase_table(
            taps[axis], up[axis], down[axis], pads[axis][0], k, wide_in, wide_out
        )
        extent = len(taps[axis]) + k - 2
        n_out = (n_in * pack_in[axis] * up[axis] + sum(pads[axis]) - extent - 1) // down[axis] + 1
        coarse_in, coarse_out = -(-n_in // widen_in[axis]), -(-n_out // wide_out)
        tables.append(
            table.reshape(len(table), widen_in[axis], pack_in[axis], widen_out[axis], -1, k)
        )
        padding.append((-lo, coarse_out + len(table) - 1 + lo - coarse_in))
        sizes.append(-(-n_out // pack_out[axis]))
    # e f: coarse taps, k l: taps of the stored kernel. Input phases: v w of widening, p q of
    # packing; output phases: x y of widening, a b of packing.
    kernel = jnp.einsum(
        "evpxak,fwqybl,klio->efvwpqixyabo",
        *(jnp.asarray(table, weight.dtype) for table in tables),
        weight,
    )
    channels = x.shape[3] * math.prod(widen_in), math.prod(widen_out) * math.prod(pack_out)
    kernel = kernel.reshape(*kernel.shape[:2], channels[0], channels[1] * weight.shape[3])
    x = space_to_depth(x, tuple(widen_in))
    y = convolve(x, kernel, 1, (padding[0], padding[1]), patches_from=None)
    return depth_to_space(y, tuple(widen_out))[:, : sizes[0], : sizes[1]]


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
    entries = []
    for a in range(pack_out):
        for p in range(pack_in):
            for k in range(kernel_size):
                for i, tap in enumerate(taps):
                    e, rest = divmod(down * a + k + i - pad - up * p, pitch)
                    if rest == 0:
                        entries.append((e, p, a, k, up * tap))
    lo = min(e for e, *_ in entries)
    table = np.zeros((max(e for e, *_ in entries) - lo + 1, pack_in, pack_out, kernel_size))
    for e, p, a, k, value in entries:
        table[e - lo, p, a, k] += value
    return table, lo
