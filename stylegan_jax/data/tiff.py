"""TIFF files of 1 to 16 channels: grey or RGB of 8 or 16 bits, in one page or several.

The pages of a file are the channels of one image: a grey page adds 1, an RGB page 3. Only the tags
that say so are read here; imagecodecs decodes. Other kinds of pixels (palettes, ink, single bits)
are left to Pillow.
"""

import io
import struct
from collections.abc import Iterator
from typing import NamedTuple

import imagecodecs
import numpy as np

from stylegan_jax.data.formats import (
    MOST_CHANNELS,
    BinaryFile,
    ImageFileError,
    ImageFormat,
    check_format,
)

# Byte order and version: 42, or 43 with offsets of 64 bits.
_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_BIG_VERSION = 43

# Tags, by their numbers in the specification (TIFF 6.0).
_SUBFILE, _WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC = 254, 256, 257, 258, 262
_SAMPLES, _PLANAR, _EXTRA, _KIND = 277, 284, 338, 339
_TAGS = (_SUBFILE, _WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _SAMPLES, _PLANAR, _EXTRA, _KIND)
# Their types: bytes, 16, 32 and 64 bits.
_TYPES = {1: "B", 3: "H", 4: "I", 16: "Q"}
# More pages, tags and values than any image here has.
_MOST_PAGES = 256
_MOST_TAGS = 4096
_MOST_VALUES = 64

# Photometric interpretations; white as zero is turned over.
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2
_COLOURS = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3}
# Kinds of numbers.
_UNSIGNED, _UNDEFINED = 1, 4
# An alpha with which the colours were multiplied.
_ASSOCIATED = 1


class _Page(NamedTuple):
    """A page that is decoded here.

    Attributes:
        index: Its place in the file.
        form: Its size and type.
        is_planar: The channels lie one after the other.
        is_inverted: White is zero.
        is_multiplied: The colours are multiplied with alpha.
    """

    index: int
    form: ImageFormat
    is_planar: bool
    is_inverted: bool
    is_multiplied: bool


def is_tiff(head: bytes) -> bool:
    """Tells whether a file begins as a TIFF."""
    return head.startswith(_MAGICS)


def read_tiff_format(file: BinaryFile) -> ImageFormat | None:
    """Reads the size and type of the image from the tags of all pages.

    Returns:
        The format; None of a single page that Pillow knows how to read.

    Raises:
        ImageFileError: The tags are damaged, or the pages do not make one image.
    """
    pages = _read_pages(file)
    return _join(pages) if pages else None


def decode_tiff(encoded: bytes) -> np.ndarray | None:
    """Decodes all pages of a file.

    Returns:
        uint8 or uint16 [h, w, c]; None of a single page that Pillow knows how to read.

    Raises:
        ImageFileError: As `read_tiff_format`.
        Exception: The pixels are damaged.
    """
    pages = _read_pages(io.BytesIO(encoded))
    if not pages:
        return None
    _join(pages)
    return np.concatenate([_decode_page(encoded, page) for page in pages], axis=2)


def _decode_page(encoded: bytes, page: _Page) -> np.ndarray:
    """Decodes a page, [h, w, c] with black as zero and colours as they are."""
    form = page.form
    pixels = imagecodecs.tiff_decode(encoded, index=page.index)
    if page.is_planar:
        pixels = np.moveaxis(pixels.reshape(form.channels, form.height, form.width), 0, 2)
    pixels = pixels.reshape(form.height, form.width, form.channels)
    if pixels.dtype != form.dtype:
        raise ImageFileError(f"pixels of {pixels.dtype}, but the header says {form.dtype}")
    full = np.iinfo(pixels.dtype).max
    if page.is_inverted:
        pixels = np.concatenate([full - pixels[..., :1], pixels[..., 1:]], axis=2)
    if page.is_multiplied:
        # x * alpha / alpha; what is wholly transparent stays black.
        alpha = pixels[..., -1:].astype(np.float32)
        colours = pixels[..., :-1] * np.float32(full) / np.maximum(alpha, 1)
        colours = np.minimum(np.rint(colours), full).astype(pixels.dtype)
        pixels = np.concatenate([colours, pixels[..., -1:]], axis=2)
    return pixels


def _join(pages: list[_Page]) -> ImageFormat:
    """Returns the format of the image that pages make."""
    first = pages[0].form
    for page in pages:
        form = page.form
        if (form.height, form.width, form.dtype) != (first.height, first.width, first.dtype):
            raise ImageFileError(
                f"pages of several sizes or types ({first}; {form}): the pages of a TIFF are the "
                "channels of one image, write others as files of their own"
            )
    channels = sum(page.form.channels for page in pages)
    return check_format(ImageFormat(first.height, first.width, channels, first.dtype))


def _read_pages(file: BinaryFile) -> list[_Page]:
    """Reads the tags of all pages but thumbnails; none where the one page is Pillow's to read."""
    try:
        described = list(enumerate(_read_tags(file)))
    except (struct.error, OverflowError, OSError) as error:
        raise ImageFileError("not a readable image (a TIFF that is cut off or damaged)") from error
    # Smaller copies of another page.
    described = [(i, tags) for i, tags in described if not tags.get(_SUBFILE, (0,))[0] & 1]
    pages = [_describe(index, tags) for index, tags in described]
    found = [page for page in pages if page is not None]
    if not pages or len(pages) > 1 and len(found) < len(pages):
        raise ImageFileError(
            f"a TIFF of {len(pages)} pages of which {len(found)} are grey or RGB of 8 or 16 bits: "
            "wanted such pages alone"
        )
    return found


def _describe(index: int, tags: dict[int, tuple[int, ...]]) -> _Page | None:
    """Makes a page of its tags; None where it is left to Pillow.

    Raises:
        ImageFileError: The samples are no pixels of 8 or 16 bits.
    """
    samples = tags.get(_SAMPLES, (1,))[0]
    photometric = tags.get(_PHOTOMETRIC, (_BLACK_IS_ZERO,))[0]
    bits = set(tags.get(_BITS, (1,)))
    kinds = set(tags.get(_KIND, (_UNSIGNED,)))
    if not kinds <= {_UNSIGNED, _UNDEFINED}:
        raise ImageFileError(
            "samples that are signed or floating point, wanted whole numbers of 8 or 16 bits"
        )
    if photometric not in _COLOURS or bits not in ({8}, {16}):
        # Pillow reads no more than ink and alpha, and of more than 8 bits the upper ones alone.
        if samples > 5 or max(bits) > 8:
            raise ImageFileError(
                f"samples of {max(bits)} bits, {samples} to a pixel, of photometric kind "
                f"{photometric}, wanted grey or RGB of 8 or 16 bits"
            )
        return None
    if not _COLOURS[photometric] <= samples <= MOST_CHANNELS:
        raise ImageFileError(f"{samples} channels, wanted {_COLOURS[photometric]} to 16")
    # Sizes that a page must have.
    height, width = (tags.get(tag, (0,))[0] for tag in (_HEIGHT, _WIDTH))
    if not height or not width:
        raise ImageFileError("not a readable image (a TIFF with a damaged header)")
    form = check_format(ImageFormat(height, width, samples, f"uint{bits.pop()}"))
    has_alpha = samples == _COLOURS[photometric] + 1
    return _Page(
        index,
        form,
        is_planar=samples > 1 and tags.get(_PLANAR, (1,))[0] == 2,
        is_inverted=photometric == _WHITE_IS_ZERO,
        is_multiplied=has_alpha and tags.get(_EXTRA, (0,))[0] == _ASSOCIATED,
    )


def _read_tags(file: BinaryFile) -> Iterator[dict[int, tuple[int, ...]]]:
    """Yields the tags of each page that matter here.

    Raises:
        struct.error, OverflowError, OSError: The file is cut off, or an offset leads nowhere.
        ImageFileError: The pages have no end.
    """
    head = file.read(16)
    order = "<" if head[:2] == b"II" else ">"
    is_big = struct.unpack_from(f"{order}H", head, 2)[0] == _BIG_VERSION
    # Offsets, the number of tags, and a tag: number, type, count, then values or their offset.
    offset = struct.Struct(order + ("Q" if is_big else "I"))
    count = struct.Struct(order + ("Q" if is_big else "H"))
    entry = struct.Struct(order + ("HHQ8s" if is_big else "HHI4s"))
    where = offset.unpack_from(head, 8 if is_big else 4)[0]
    seen = set()
    while where:
        if where in seen or len(seen) == _MOST_PAGES:
            raise ImageFileError(f"a TIFF of more than {_MOST_PAGES} pages, or without an end")
        seen.add(where)
        file.seek(where)
        size = count.unpack(file.read(count.size))[0]
        if size > _MOST_TAGS:
            raise ImageFileError("not a readable image (a TIFF with a damaged header)")
        entries = file.read(size * entry.size)
        where = offset.unpack(file.read(offset.size))[0]
        tags = {}
        for number, kind, length, values in entry.iter_unpack(entries):
            if number in _TAGS and kind in _TYPES and 1 <= length <= _MOST_VALUES:
                unpack = struct.Struct(f"{order}{length}{_TYPES[kind]}")
                # What does not fit in the place of an offset lies there.
                if unpack.size > len(values):
                    file.seek(offset.unpack(values)[0])
                    values = file.read(unpack.size)
                tags[number] = unpack.unpack_from(values)
        yield tags
