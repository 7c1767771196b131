"""TIFF files: pages, samples, byte orders, and damage. Pillow writes some, a writer here others."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from stylegan_jax.data.codecs import ImageFileError, ImageFormat, decode, read_format

SUBFILE, BITS, PHOTOMETRIC, SAMPLES, EXTRA, KIND = 254, 258, 262, 277, 338, 339
GREY, RGB, PLANAR = 1, 2, 2


def tiff(*pages, order="<", big=False, planar=False, **tags):
    """A TIFF of arrays [h, w, c], stored; tags of all pages by the names above."""
    offset, count = ("Q", "Q") if big else ("I", "H")
    wide = struct.calcsize(offset)
    head = b"II" if order == "<" else b"MM"
    if big:
        content = head + struct.pack(f"{order}HHHQ", 43, 8, 0, 16)
    else:
        content = head + struct.pack(f"{order}HI", 42, 8)
    for number, page in enumerate(pages):
        height, width, channels = page.shape
        stored = np.moveaxis(page, 2, 0) if planar else page
        data = stored.astype(page.dtype.newbyteorder(order)).tobytes()
        strips = channels if planar else 1
        values = {
            SUBFILE: [0],
            256: [width],
            257: [height],
            BITS: [page.dtype.itemsize * 8] * channels,
            259: [1],
            PHOTOMETRIC: [GREY],
            273: None,
            SAMPLES: [channels],
            278: [height],
            279: [len(data) // strips] * strips,
            284: [PLANAR if planar else 1],
            EXTRA: [0] * max(1, channels - 1),
            KIND: [1] * channels,
        } | {globals()[name]: value for name, value in tags.items()}
        # The directory, behind it values that do not fit into it, then pixels.
        size = struct.calcsize(f"{order}{count}") + len(values) * (4 + 2 * wide) + wide
        more = len(content) + size
        pixels = more + sum(4 * len(v or [0] * strips) for v in values.values())
        values[273] = [pixels + i * len(data) // strips for i in range(strips)]
        entries, behind = b"", b""
        for tag, numbers in sorted(values.items()):
            packed = struct.pack(f"{order}{len(numbers)}I", *numbers)
            place = packed.ljust(wide, b"\0")
            if len(packed) > wide:
                place = struct.pack(order + offset, more + len(behind))
                behind += packed
            entries += struct.pack(f"{order}HH{offset}", tag, 4, len(numbers)) + place
        behind = behind.ljust(pixels - more, b"\0")
        end = len(content) + size + len(behind) + len(data)
        following = end if number + 1 < len(pages) else 0
        content += struct.pack(order + count, len(values)) + entries
        content += struct.pack(order + offset, following) + behind + data
    return content


def noise(channels, dtype="uint8", shape=(7, 5)):
    top = np.iinfo(dtype).max
    return np.random.default_rng(channels).integers(top, size=(*shape, channels), dtype=dtype)


def assert_reads(content, expected):
    np.testing.assert_array_equal(decode(content), expected)
    form = ImageFormat(*expected.shape, dtype=expected.dtype.name)
    assert read_format(io.BytesIO(content)) == form


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 16])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("planar", [False, True])
def test_samples_are_channels(channels, dtype, planar):
    pixels = noise(channels, dtype)
    assert_reads(tiff(pixels, planar=planar), pixels)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_byte_orders_and_large_files(order, big):
    pixels = noise(6, "uint16")
    assert_reads(tiff(pixels, order=order, big=big), pixels)


def test_pages_are_channels():
    pages = [noise(1), noise(3), noise(2)]
    assert_reads(tiff(*pages), np.concatenate(pages, axis=2))
    file = io.BytesIO()
    images = [Image.fromarray(page.squeeze()) for page in pages[:2]]
    images[0].save(file, "TIFF", save_all=True, append_images=images[1:], compression="tiff_lzw")
    assert_reads(file.getvalue(), np.concatenate(pages[:2], axis=2))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK"])
def test_what_pillow_writes(mode):
    picture = Image.fromarray(noise(3, shape=(16, 16)))
    if mode == "I;16":
        picture = Image.fromarray(noise(1, "uint16", shape=(16, 16))[..., 0])
    elif mode == "LA":
        picture = picture.convert("L").convert("LA")
    else:
        picture = picture.convert(mode)
    file = io.BytesIO()
    picture.save(file, "TIFF", compression="tiff_deflate")
    becomes = {"1": "L", "P": "RGB", "CMYK": "RGB"}.get(mode)
    expected = np.asarray(picture.convert(becomes) if becomes else picture)
    content = file.getvalue()
    if mode == "CMYK":
        with pytest.raises(ImageFileError, match="colour mode CMYK.*which `prepare` makes"):
            decode(content)
    np.testing.assert_array_equal(decode(content, convert=True).squeeze(), expected)


def test_white_as_zero_is_turned_over():
    pixels = noise(2)
    expected = pixels.copy()
    expected[..., 0] = 255 - expected[..., 0]
    assert_reads(tiff(pixels, PHOTOMETRIC=[0]), expected)


def test_colours_that_are_multiplied_with_alpha():
    pixels = np.array([[[10, 20, 0, 51], [0, 0, 0, 0], [7, 8, 9, 255]]], np.uint8)
    expected = [[[50, 100, 0, 51], [0, 0, 0, 0], [7, 8, 9, 255]]]
    assert decode(tiff(pixels, PHOTOMETRIC=[RGB], EXTRA=[1])).tolist() == expected
    assert_reads(tiff(pixels, PHOTOMETRIC=[RGB], EXTRA=[2]), pixels)


def test_thumbnails_are_no_channels():
    content = tiff(noise(3), noise(3, shape=(3, 2)))
    with pytest.raises(ImageFileError, match="pages of several sizes or types .7x5 .*3x2"):
        decode(content)
    # The tag of the second page, behind its count.
    position = content.rfind(struct.pack("<HHI", SUBFILE, 4, 1))
    small = content[: position + 8] + b"\1" + content[position + 9 :]
    assert_reads(small, noise(3))


def endless():
    """The second page is followed by the first."""
    content = bytearray(tiff(noise(1), noise(1)))
    second = struct.unpack_from("<I", content, 8 + 2 + 13 * 12)[0]
    struct.pack_into("<I", content, second + 2 + 13 * 12, 8)
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"II*\0", "a TIFF that is cut off"),
        (b"II*\0\xff\xff\xff\xff", "a TIFF that is cut off"),
        (b"II*\0\0\0\0\0", "a TIFF of 0 pages"),
        (b"MM\0+\0\0", "a TIFF that is cut off"),
        (tiff(noise(3))[:60], "a TIFF that is cut off"),
        (endless(), "a TIFF of more than 256 pages, or without an end"),
        (tiff(noise(17)), "17 channels, wanted 1 to 16"),
        (tiff(*[noise(1)] * 17), "17 channels, wanted 1 to 16"),
        (tiff(noise(1), noise(1, "uint16")), "pages of several sizes or types"),
        (tiff(noise(3), KIND=[3, 3, 3]), "signed or floating point"),
        (tiff(noise(6), BITS=[12] * 6), "samples of 12 bits, 6 to a pixel"),
        (tiff(noise(1), noise(1), PHOTOMETRIC=[3]), "2 pages of which 0 are grey or RGB"),
        (tiff(noise(2), PHOTOMETRIC=[RGB]), "2 channels, wanted 3 to 16"),
        (tiff(noise(1, shape=(0, 5))), "a TIFF with a damaged header"),
    ],
)
def test_headers_that_cannot_be_used(content, message):
    for read in (decode, lambda content: read_format(io.BytesIO(content))):
        with pytest.raises(ImageFileError, match=message):
            read(content)


def test_a_file_that_is_cut_off_is_damaged_wherever_it_ends():
    content = tiff(noise(6, shape=(16, 16)))
    for length in range(8, len(content), 13):
        with pytest.raises(ImageFileError):
            decode(content[:length])


def test_flipped_bits_raise_nothing_else(rng):
    content = tiff(noise(5), noise(1))
    refused = 0
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << rng.integers(8)
        try:
            assert decode(bytes(damaged)).dtype in (np.uint8, np.uint16)
        except ImageFileError:
            refused += 1
    assert refused
