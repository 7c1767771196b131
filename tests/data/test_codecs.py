"""PNG files: every damage is found, and no bit is taken away."""

import struct
import zlib

import numpy as np
import pytest

from stylegan_jax.data.codecs import decode, encode


def test_no_damage_of_a_png_changes_its_pixels(rng):
    pixels = rng.integers(20, size=(8, 8, 3), dtype=np.uint8)
    content = encode(pixels)
    found = 0
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << rng.integers(8)
        try:
            np.testing.assert_array_equal(decode(bytes(damaged)), pixels)
        except ValueError:
            found += 1
    assert found >= len(content) - 8  # two checksums, where pixels are as they were


# Column, row and their steps of each pass.
WHOLE = [(0, 0, 1, 1)]
ADAM7 = [
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)),
    *((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
]


def png_chunk(kind, content):
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


@pytest.mark.parametrize("passes", [WHOLE, ADAM7], ids=["plain", "interlaced"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_png_in_many_chunks_with_others_around(rng, passes, dtype):
    pixels = rng.integers(np.iinfo(dtype).max, size=(13, 11, 3), dtype=dtype)
    rows = b""
    for column, row, columns, lines in passes:
        for line in pixels[row::lines, column::columns]:
            rows += b"\0" + line.astype(pixels.dtype.newbyteorder(">")).tobytes()
    packed = zlib.compress(rows)
    header = struct.pack(">IIBBBBB", 11, 13, pixels.itemsize * 8, 2, 0, 0, passes is ADAM7)
    chunks = [png_chunk(b"IHDR", header), png_chunk(b"tEXt", b"a\0b")]
    chunks += [png_chunk(b"IDAT", packed[i : i + 50]) for i in range(0, len(packed), 50)]
    chunks += [png_chunk(b"tEXt", b"c\0d"), png_chunk(b"IEND", b""), b"more"]
    np.testing.assert_array_equal(decode(b"\x89PNG\r\n\x1a\n" + b"".join(chunks)), pixels)


def _png16(channels_code, channels, *, transparent=False):
    """A PNG of 16 bits: its content and pixels."""
    pixels = np.random.default_rng(0).integers(2**16, size=(8, 8, channels)).astype(np.uint16)
    chunks = {b"IHDR": struct.pack(">IIBBBBB", 8, 8, 16, channels_code, 0, 0, 0)}
    if transparent:
        chunks[b"tRNS"] = struct.pack(f">{channels}H", *pixels[0, 0])
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    chunks |= {b"IDAT": zlib.compress(rows), b"IEND": b""}
    content = b"\x89PNG\r\n\x1a\n"
    for kind, data in chunks.items():
        content += struct.pack(">I", len(data)) + kind + data
        content += struct.pack(">I", zlib.crc32(kind + data))
    return content, pixels


@pytest.mark.parametrize(("code", "channels"), [(0, 1), (2, 3)])
def test_transparent_colour_takes_no_bits_away(code, channels):
    content, pixels = _png16(code, channels, transparent=True)
    np.testing.assert_array_equal(decode(content), pixels)


def test_grey_with_alpha_is_refused_in_16_bits_too():
    with pytest.raises(ValueError, match="colour mode LA"):
        decode(_png16(4, 2)[0])
