"""Image files as bytes: their format, decoding to arrays, encoding.

PNG and QOI go through imagecodecs (PNG in half of Pillow's time, 16 bits per channel too), TIFF and
NumPy's files through modules of their own, all else through Pillow. Of a PNG only what makes its
pixels is read: Pillow stops at long texts and profiles.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from typing import IO, NamedTuple, cast

import imagecodecs
import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from stylegan_jax.data.formats import BinaryFile, ImageFileError, ImageFormat, check_format
from stylegan_jax.data.numpy_files import decode_array, is_array_file, read_array_format
from stylegan_jax.data.tiff import decode_tiff, is_tiff, read_tiff_format

# Arrays count as images where there are no pictures: beside those they hold something else.
PICTURE_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".qoi"),
    *(".tif", ".tiff"),
)
ARRAY_SUFFIXES = (".npy", ".npz")
IMAGE_SUFFIXES = PICTURE_SUFFIXES + ARRAY_SUFFIXES
# What each encoding holds.
ENCODINGS = {"png": (1, 2, 3, 4), "qoi": (3, 4)}

_PIL_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_CHANNELS_OF_MODE = {"1": 1, "L": 1, "LA": 2, "RGB": 3, "RGBA": 4}
# What preparing makes of others: ink becomes RGB.
_CONVERTED = {"CMYK": 3}
# PNG's kinds of colours, the depths that each may have, and the channels that are stored.
_PNG_MODES = {0: "L", 2: "RGB", 3: "P", 4: "LA", 6: "RGBA"}
_PNG_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_PNG_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}
# Chunks that make the pixels.
_PNG_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
# What files begin with.
_PNG = b"\x89PNG\r\n\x1a\n"
_QOI = b"qoif"
# Decoders do not miss the end of a file that is cut off after its last pixels.
_ENDS = {_PNG: b"IEND\xaeB`\x82", _QOI: bytes(7) + b"\x01"}
_MAX_TRAILER = 4096
# Pillow knows formats that start other programs, which no file of a data set shall do.
_PIL_FORMATS = ("BMP", "DIB", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
_WANTED_MODES = "wanted grey or RGB, with or without alpha, of 8 or 16 bits"


class _Header(NamedTuple):
    """Size, Pillow's name of the colour mode, and type."""

    height: int
    width: int
    mode: str
    dtype: str = "uint8"


def read_format(file: BinaryFile, *, convert: bool = False) -> ImageFormat:
    """Reads the format of an image file from its header alone.

    Args:
        file: At the beginning of the content; seekable.
        convert: Take CMYK for RGB.

    Raises:
        ImageFileError: No readable image, or of a colour mode that is not supported.
    """
    # These tell their channels themselves; a TIFF of another kind is Pillow's to read.
    own = _read_own_format(file)
    if own is not None:
        return own
    header = _read_header(file)
    known = _CHANNELS_OF_MODE | _CONVERTED if convert else _CHANNELS_OF_MODE
    if header.mode not in known:
        advice = ", which `prepare` makes" if header.mode in _CONVERTED else ""
        raise ImageFileError(f"colour mode {header.mode}, {_WANTED_MODES}{advice}")
    return ImageFormat(header.height, header.width, known[header.mode], header.dtype)


def keeps_bytes(encoded: bytes) -> bool:
    """Tells whether a record may keep an image file as it is: PNG, JPEG and others of that kind.

    Arrays and TIFF are not what readers of records know; what is converted is another image.
    """
    head = encoded[:16]
    if is_array_file(head) or is_tiff(head):
        return False
    return _read_header(io.BytesIO(encoded)).mode not in _CONVERTED


def _read_own_format(file: BinaryFile) -> ImageFormat | None:
    """Reads the format of an array, or of a TIFF that is not left to Pillow; None of others."""
    head = file.read(16)
    file.seek(0)
    form = None
    if is_array_file(head):
        form = read_array_format(file)
    elif is_tiff(head):
        form = read_tiff_format(file)
        file.seek(0)
    return form


def _read_header(file: BinaryFile) -> _Header:
    """Reads size and colour mode of any image file."""
    # PNG and QOI have their sizes at fixed places.
    head = file.read(33)
    file.seek(0)
    if head.startswith(_PNG):
        header = _read_png_header(head, file)
    elif head.startswith(_QOI):
        header = _read_qoi_header(head)
    else:
        header = _read_other_header(head, file)
    check_format(ImageFormat(header.height, header.width, 1))
    return header


def _read_png_header(head: bytes, file: BinaryFile) -> _Header:
    """Reads the first chunk, and of a palette whether it has transparent colours."""
    if len(head) < 33 or head[8:16] != b"\0\0\0\rIHDR":
        raise ImageFileError("not a readable image (a PNG that is cut off or damaged)")
    width, height, depth, colour = struct.unpack_from(">IIBB", head, 16)
    is_known = depth in _PNG_DEPTHS.get(colour, ()) and width and height
    if not is_known or zlib.crc32(head[12:29]) != int.from_bytes(head[29:33], "big"):
        raise ImageFileError("not a readable image (a PNG with a damaged header)")
    mode = _PNG_MODES[colour]
    # A palette stands for colours, with or without transparent ones.
    if mode == "P":
        mode = "RGBA" if _has_transparent_colours(file) else "RGB"
    return _Header(height, width, mode, "uint16" if depth == 16 else "uint8")


def _has_transparent_colours(file: BinaryFile) -> bool:
    """Tells whether a PNG has a chunk of alpha before its pixels."""
    file.seek(len(_PNG))
    kind = b""
    while kind not in (b"tRNS", b"IDAT", b"IEND"):
        frame = file.read(8)
        if len(frame) < 8:
            raise ImageFileError("not a readable image (a PNG that is cut off or damaged)")
        length, kind = struct.unpack(">I4s", frame)
        # Data and checksum.
        file.seek(length + 4, io.SEEK_CUR)
    return kind == b"tRNS"


def _read_qoi_header(head: bytes) -> _Header:
    """Reads the first bytes of a QOI."""
    if len(head) < 14:
        raise ImageFileError("not a readable image (a QOI that is cut off)")
    width, height, channels, _ = struct.unpack_from(">IIBB", head, 4)
    if not width or not height:
        raise ImageFileError("not a readable image (a QOI with a damaged header)")
    # Another number than 3 and 4 is damage, which the decoder tells.
    return _Header(height, width, "RGBA" if channels == 4 else "RGB")


def _read_other_header(head: bytes, file: BinaryFile) -> _Header:
    """Lets Pillow read a header."""
    try:
        with Image.open(cast(IO[bytes], file), formats=_PIL_FORMATS) as image:
            mode = image.mode
            width, height = image.size
            if mode in ("P", "PA"):
                mode = "RGBA" if mode == "PA" or "transparency" in image.info else "RGB"
    except UnidentifiedImageError as error:
        what = "" if head.strip(b"\0") else " (it is empty)"
        raise ImageFileError(f"not a readable image{what}") from error
    # Damage makes Pillow's readers raise anything.
    except Exception as error:
        raise ImageFileError(f"not a readable image ({_reason(error)})") from error
    return _Header(height, width, mode)


def _reason(error: Exception) -> str:
    """Returns what an error of a library says, or its name where that is all."""
    return str(error) or type(error).__name__


def is_to_be_turned(encoded: bytes) -> bool:
    """Tells whether a camera noted that the image is to be turned or mirrored, which is not done.

    Args:
        encoded: A file that `read_format` reads.
    """
    exif = Image.Exif()
    try:
        if encoded.startswith(_PNG):
            notes = (chunk[8:-4] for kind, chunk in _png_chunks(encoded) if kind == b"eXIf")
            exif.load(bytes(next(notes, b"")))
        elif not encoded.startswith(_QOI):
            with Image.open(io.BytesIO(encoded), formats=_PIL_FORMATS) as image:
                exif = image.getexif()
        return exif.get(ExifTags.Base.Orientation, 1) in range(2, 9)
    # What cannot be read says nothing.
    except Exception:
        return False


def decode(encoded: bytes, *, convert: bool = False) -> np.ndarray:
    """Decodes an image file's content.

    Args:
        encoded: PNG, JPEG, WebP, BMP, QOI, TIFF, NPY or NPZ. Palettes become RGB or RGBA; a
            rotation that a camera noted beside the pixels is not applied, nor is a colour profile.
        convert: Make RGB of CMYK.

    Returns:
        uint8 or uint16 [h, w, c], c as `read_format` tells.

    Raises:
        ImageFileError: The content is damaged or of a mode that is not supported.
    """
    form = read_format(io.BytesIO(encoded), convert=convert)
    for magic, end in _ENDS.items():
        if encoded.startswith(magic) and end not in encoded[-_MAX_TRAILER:]:
            raise ImageFileError("the image is damaged (the file is cut off)")
    try:
        if encoded.startswith(_PNG):
            encoded = _strip_png(encoded)
        pixels = _decode_fast(encoded)
        if pixels is not None and pixels.ndim == 3:
            pixels = _fit_channels(pixels, form)
        # Where imagecodecs does not know the kind, or makes other channels of it.
        if pixels is None or pixels.size != form.height * form.width * form.channels:
            with Image.open(io.BytesIO(encoded), formats=_PIL_FORMATS) as image:
                pixels = np.array(image.convert(_PIL_MODES[form.channels]))
    except ImageFileError:
        raise
    # Other damage makes decoders raise anything.
    except Exception as error:
        raise ImageFileError(f"the image is damaged ({_reason(error)})") from error
    return pixels.reshape(form.height, form.width, form.channels)


def _fit_channels(pixels: np.ndarray, form: ImageFormat) -> np.ndarray:
    """Makes the channels that are wanted of those that imagecodecs gives, where it knows how."""
    # A transparent colour (tRNS) became alpha; of 8 bits Pillow decides.
    return pixels[..., : form.channels] if pixels.dtype == np.uint16 else pixels


def _decode_fast(encoded: bytes) -> np.ndarray | None:
    """Decodes without Pillow; None where it decides (palettes, 1 to 4 bits)."""
    if is_array_file(encoded[:16]):
        return decode_array(encoded)
    if is_tiff(encoded[:16]):
        return decode_tiff(encoded)
    if encoded.startswith(_QOI):
        return _decode_qoi(encoded)
    if encoded.startswith(_PNG) and encoded[24] >= 8 and encoded[25] in _PNG_CHANNELS:
        try:
            return imagecodecs.png_decode(_inflate_png(encoded))
        except (RuntimeError, ValueError, struct.error):
            # Says what is wrong, or makes the best of it.
            return imagecodecs.png_decode(encoded)
    return None


def _decode_qoi(encoded: bytes) -> np.ndarray:
    """Decodes a QOI.

    The decoder repeats a pixel where there are no data left. More data are put behind the others:
    pixels that show them have none of their own.

    Raises:
        ValueError: The data end before the pixels.
        RuntimeError: It is damaged.
    """
    # Valid data never look like their end. Three times QOI_OP_RUN, as the chunk before may lack
    # as many bytes.
    data = encoded[: encoded.find(_ENDS[_QOI], 14)]
    end = b"\xfd" * 3 + _ENDS[_QOI]
    pixels = imagecodecs.qoi_decode(data + b"\xfe" * 16 + end)
    # If in doubt, whether other data give other pixels.
    if _may_be_added(pixels):
        others = imagecodecs.qoi_decode(data + b"\xff" * 16 + end)
        if not np.array_equal(pixels, others):
            raise ValueError("the data end before the last pixel")
    return pixels


def _may_be_added(pixels: np.ndarray) -> bool:
    """Tells whether the bytes that `_decode_qoi` adds may have made the last pixel."""
    tail = pixels.reshape(-1, pixels.shape[2])[-2:].tolist()
    before, last = tail if len(tail) == 2 else ([0] * 4, *tail)
    # QOI_OP_RGB and QOI_OP_RGBA hold the values themselves.
    if 0xFE in last or 0xFD in last:
        return True
    # QOI_OP_LUMA: dr - dg and db - dg, each plus 8, are the halves of its second byte.
    red, green, blue = (a - b for a, b in zip(last[:3], before))
    return (red - green + 8) % 256 == 0xF and (blue - green + 8) % 256 == 0xE


def _png_chunks(encoded: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Yields kind and bytes of each chunk: length, kind, data, checksum.

    Raises:
        struct.error: The file ends before its last chunk.
    """
    view = memoryview(encoded)
    position = len(_PNG)
    kind = b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", encoded, position)
        yield kind, view[position : position + length + 12]
        position += length + 12


def _strip_png(encoded: bytes) -> bytes:
    """Takes away what makes no pixels: texts and profiles, of any length.

    Raises:
        ValueError, struct.error: A chunk is damaged or cut off.
    """
    kept: list[bytes | memoryview] = [_PNG]
    for kind, chunk in _png_chunks(encoded):
        # Decoders look at the checksums of those that are kept.
        if kind in _PNG_PIXELS:
            kept.append(chunk)
        elif zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:], "big"):
            raise ValueError(f"wrong checksum of the chunk {kind!r}")
    return b"".join(kept)


def _inflate_png(encoded: bytes) -> bytes:
    """Returns the same PNG, not compressed.

    libpng spends four fifths of its time in zlib; libdeflate needs less than half of that.

    Raises:
        RuntimeError, ValueError, struct.error: It is damaged, or interlaced.
    """
    # Bytes of the pixels: each row has one in front that names its filter.
    width, height, depth, colour = struct.unpack_from(">IIBB", encoded, 16)
    size = height * (1 + width * _PNG_CHANNELS[colour] * depth // 8)

    # Chunks of pixels, and those that stand before and after them.
    before = [memoryview(_PNG)]
    data = []
    after = []
    for kind, chunk in _png_chunks(encoded):
        if kind == b"IDAT":
            data.append(chunk[8:-4])
        else:
            (after if data else before).append(chunk)

    # One chunk with the same rows, stored.
    rows = imagecodecs.deflate_decode(b"".join(data), out=size)
    if len(rows) != size:
        raise ValueError(f"{len(rows)} bytes of pixels, wanted {size}")
    stored = b"IDAT" + imagecodecs.deflate_encode(rows, level=0)
    length = struct.pack(">I", len(stored) - 4)
    checksum = struct.pack(">I", imagecodecs.deflate_crc32(stored))
    return b"".join([*before, length, stored, checksum, *after])


def encode(pixels: np.ndarray, encoding: str = "png", *, level: int | None = None) -> bytes:
    """Encodes an image without loss.

    Args:
        pixels: uint8 or uint16 [h, w, c], c being 1 to 4.
        encoding: `"png"`, or `"qoi"`, which is read several times faster and holds uint8 with 3 or
            4 channels only.
        level: PNG's effort, 0 (stored) to 9.

    Raises:
        ValueError: The encoding does not hold such an image.
    """
    if encoding not in ENCODINGS:
        raise ValueError(f"encoding={encoding!r}: choose one of {', '.join(ENCODINGS)}.")
    if pixels.ndim != 3 or pixels.shape[2] not in ENCODINGS["png"]:
        raise ValueError(f"Got an image of shape {pixels.shape}, wanted [h, w, 1 to 4].")
    if pixels.shape[2] not in ENCODINGS[encoding] or encoding == "qoi" and pixels.dtype != np.uint8:
        raise ValueError(
            f"QOI holds RGB and RGBA of 8 bits, not {pixels.shape[2]} channel(s) of {pixels.dtype}:"
            " take png."
        )
    pixels = np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    if encoding == "qoi":
        return bytes(imagecodecs.qoi_encode(pixels))
    # Filters prepare pixels for compression; without it they only cost, ten times the time.
    no_filter = imagecodecs.PNG.FILTER.NO if level == 0 else None
    return bytes(imagecodecs.png_encode(pixels, level=level, filter=no_filter))
