"""Image files: every damage is found, no bit is taken away, and errors say why."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from stylegan_jax.data.codecs import (
    ImageFileError,
    ImageFormat,
    decode,
    encode,
    keeps_bytes,
    read_format,
)


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


def test_grey_with_alpha_of_16_bits():
    content, pixels = _png16(4, 2)
    np.testing.assert_array_equal(decode(content), pixels)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_png_holds_one_to_four_channels(rng, channels, dtype):
    pixels = rng.integers(np.iinfo(dtype).max, size=(7, 5, channels), dtype=dtype)
    content = encode(pixels)
    np.testing.assert_array_equal(decode(content), pixels)
    assert read_format(io.BytesIO(content)) == ImageFormat(7, 5, channels, dtype)
    image = Image.open(io.BytesIO(content))
    assert len(image.getbands()) == channels or dtype == "uint16"


@pytest.mark.parametrize(
    ("channels", "encoding", "message"),
    [(5, "png", "wanted .h, w, 1 to 4"), (2, "qoi", "QOI holds .*not 2"), (1, "qoi", "not 1 chan")],
)
def test_channels_that_an_encoding_does_not_hold(channels, encoding, message):
    with pytest.raises(ValueError, match=message):
        encode(np.zeros((4, 4, channels), np.uint8), encoding)


@pytest.mark.parametrize(("suffix", "kept"), [("png", True), ("npy", False), ("tiff", False)])
def test_records_keep_pictures_alone_as_they_are(suffix, kept):
    content = io.BytesIO()
    if suffix == "npy":
        np.save(content, np.zeros((4, 4), np.uint8))
    else:
        Image.new("LA", (4, 4)).save(content, suffix)
    assert keeps_bytes(content.getvalue()) == kept


LONG = bytes(2 * PngImagePlugin.MAX_TEXT_CHUNK)


def save_png(image, **options):
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA"])
@pytest.mark.parametrize("kind", ["text", "profile"])
def test_what_stands_beside_a_png_is_passed_over_whatever_its_length(rng, mode, kind):
    image = Image.fromarray(rng.integers(256, size=(9, 7, 3), dtype=np.uint8)).convert(mode)
    text = PngImagePlugin.PngInfo()
    text.add_text("comment", LONG.decode(), zip=True)
    options = {"icc_profile": LONG} if kind == "profile" else {"pnginfo": text}
    content = save_png(image, **options)
    # Pillow takes it for no image at all.
    with pytest.raises(ValueError, match="too large"):
        Image.open(io.BytesIO(content))
    np.testing.assert_array_equal(decode(content), decode(save_png(image)))
    assert read_format(io.BytesIO(content)) == read_format(io.BytesIO(save_png(image)))


def test_damage_beside_the_pixels_of_a_png_is_found():
    text = PngImagePlugin.PngInfo()
    text.add_text("comment", "hello")
    content = save_png(Image.new("RGB", (8, 8)), pnginfo=text)
    with pytest.raises(ImageFileError, match="damaged .wrong checksum of the chunk b'tEXt'"):
        decode(content.replace(b"hello", b"jello"))


def png_header(width, height, depth=8, colour=2):
    fields = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", fields)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"not a readable image \(it is empty\)"),
        (b"hello", r"not a readable image$"),
        (png_header(8, 8)[:30], "a PNG that is cut off"),
        (png_header(8, 8, colour=3), "a PNG that is cut off"),
        (png_header(0, 8), "a PNG with a damaged header"),
        (png_header(8, 8, depth=3), "a PNG with a damaged header"),
        (png_header(8, 8, colour=5), "a PNG with a damaged header"),
        (png_header(8, 8)[:-1] + b"\0", "a PNG with a damaged header"),
        (png_header(2**30, 2**30), "1073741824x1073741824 pixels, more than the 178956970 that"),
        (b"qoif" + struct.pack(">IIBB", 2**30, 2**30, 3, 0), "more than the 178956970 that"),
        (b"qoif" + bytes(4), "a QOI that is cut off"),
        (b"qoif" + bytes(10), "a QOI with a damaged header"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n", "readable image$"),
    ],
)
def test_a_header_that_cannot_be_used_is_explained(content, message):
    for read in (lambda: read_format(io.BytesIO(content)), lambda: decode(content)):
        with pytest.raises(ImageFileError, match=message):
            read()


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_pillows_reasons_are_passed_on():
    content = io.BytesIO()
    Image.new("1", (8, 8)).save(content, "BMP")
    damaged = bytearray(content.getvalue())
    damaged[18:26] = struct.pack("<ii", 2**15, 2**15)
    with pytest.raises(ImageFileError, match="not a readable image .Image size .1073741824 pix"):
        read_format(io.BytesIO(damaged))


@pytest.mark.parametrize("channels", [3, 4])
def test_a_qoi_that_ends_early_is_damaged_wherever_it_ends(rng, channels):
    # Noise, slopes, and few colours: every kind of chunk stands at an end.
    shape = (60, 1, 5, channels)
    noise = rng.integers(256, size=shape)
    slopes = np.cumsum(rng.integers(-9, 10, size=shape), axis=2)
    few = rng.integers(2, size=shape) * 254
    for pixels in np.concatenate([noise, slopes, few]).astype(np.uint8):
        content = encode(pixels, "qoi")
        np.testing.assert_array_equal(decode(content + b"more"), pixels)
        for cut in range(1, len(content) - 21):
            with pytest.raises(ImageFileError, match="damaged .the data end before the last"):
                decode(content[: -8 - cut] + content[-8:])


def test_a_qoi_of_one_pixel():
    for value in (0, 7, 254, 255):
        pixels = np.full((1, 1, 4), value, np.uint8)
        np.testing.assert_array_equal(decode(encode(pixels, "qoi")), pixels)
