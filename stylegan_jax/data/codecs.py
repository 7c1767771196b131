"""Image files as bytes: their format, decoding to arrays, encoding.

PNG and QOI go through imagecodecs (PNG in half of Pillow's time, 16 bits per channel too), all else
through Pillow.
"""

import dataclasses
import io
import struct
from typing import IO, cast

import imagecodecs
import numpy as np
from PIL import Image

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".qoi")
ENCODINGS = ("png", "qoi")

_PIL_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_CHANNELS_OF_MODE = {"1": 1, "L": 1, "RGB": 3, "RGBA": 4}
_PNG_CHANNELS = {0: 1, 2: 3, 6: 4}
# What files begin with.
_PNG = b"\x89PNG\r\n\x1a\n"
_QOI = b"qoif"
# Decoders do not miss the end of a file that is cut off after its last pixels, nor QOI's any part.
_ENDS = {_PNG: b"IEND\xaeB`\x82", _QOI: bytes(7) + b"\x01"}
_MAX_TRAILER = 4096
_WANTED_MODES = "wanted grey, RGB or RGBA of 8 or 16 bits"
_DECODE_ERRORS = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


class ImageFileError(ValueError):
    """The content of a file is no image that can be used; says why."""


@dataclasses.dataclass(frozen=True)
class ImageFormat:
    """Size and type of an image.

    Attributes:
        height: Rows.
        width: Columns.
        channels: 1 (grey), 3 (RGB) or 4 (RGBA).
        dtype: `"uint8"` or `"uint16"`.
    """

    height: int
    width: int
    channels: int
    dtype: str = "uint8"

    def __str__(self) -> str:
        """Returns such as `64x48 pixels, 3 channel(s), uint8`."""
        return f"{self.width}x{self.height} pixels, {self.channels} channel(s), {self.dtype}"


def read_format(file: IO[bytes] | io.IOBase) -> ImageFormat:
    """Reads the format of an image file from its header alone.

    Args:
        file: At the beginning of the content; seekable.

    Raises:
        ImageFileError: No readable image, or of a colour mode that is not supported.
    """
    # PNG and QOI have their sizes at fixed places.
    head = file.read(32)
    file.seek(0)
    if head.startswith(_PNG) and len(head) >= 26:
        width, height, depth, colour = struct.unpack(">IIBB", head[16:26])
        if depth == 16 and colour in _PNG_CHANNELS:
            return ImageFormat(height, width, _PNG_CHANNELS[colour], "uint16")
        # Grey with alpha, of which Pillow would make 8 bits.
        if depth == 16:
            raise ImageFileError(f"colour mode LA, {_WANTED_MODES}")
    if head.startswith(_QOI) and len(head) >= 14:
        width, height, channels = struct.unpack(">IIB", head[4:13])
        return ImageFormat(height, width, channels)
    try:
        with Image.open(cast(IO[bytes], file)) as image:
            mode = image.mode
            width, height = image.size
            # A palette stands for colours, with or without transparent ones.
            if mode in ("P", "PA"):
                mode = "RGBA" if mode == "PA" or "transparency" in image.info else "RGB"
    except _DECODE_ERRORS as error:
        raise ImageFileError("not a readable image") from error
    if mode not in _CHANNELS_OF_MODE:
        raise ImageFileError(f"colour mode {mode}, {_WANTED_MODES}")
    return ImageFormat(height, width, _CHANNELS_OF_MODE[mode])


def decode(encoded: bytes) -> np.ndarray:
    """Decodes an image file's content.

    Args:
        encoded: PNG, JPEG, WebP, BMP or QOI. Palettes become RGB or RGBA; a rotation that a camera
            noted beside the pixels is not applied.

    Returns:
        uint8 or uint16 [h, w, c], c as `read_format` tells.

    Raises:
        ImageFileError: The content is damaged or of a mode that is not supported.
    """
    form = read_format(io.BytesIO(encoded))
    for magic, end in _ENDS.items():
        if encoded.startswith(magic) and end not in encoded[-_MAX_TRAILER:]:
            raise ImageFileError("the image is damaged (the file is cut off)")
    try:
        pixels = _decode_fast(encoded)
        if pixels is not None and pixels.dtype == np.uint16 and pixels.ndim == 3:
            # A transparent colour (tRNS) became alpha.
            pixels = pixels[..., : form.channels]
        # Where imagecodecs does not know the kind, or makes other channels of it.
        if pixels is None or pixels.size != form.height * form.width * form.channels:
            with Image.open(io.BytesIO(encoded)) as image:
                pixels = np.array(image.convert(_PIL_MODES[form.channels]))
    # imagecodecs' errors are RuntimeErrors; a damaged size asks for more memory than there is.
    except (*_DECODE_ERRORS, RuntimeError, MemoryError) as error:
        raise ImageFileError(f"the image is damaged ({error})") from error
    return pixels.reshape(form.height, form.width, form.channels)


def _decode_fast(encoded: bytes) -> np.ndarray | None:
    """Decodes with imagecodecs; None where Pillow decides (palettes, 1 to 4 bits)."""
    if encoded.startswith(_QOI):
        return imagecodecs.qoi_decode(encoded)
    if encoded.startswith(_PNG) and encoded[24] >= 8 and encoded[25] in _PNG_CHANNELS:
        try:
            return imagecodecs.png_decode(_inflate_png(encoded))
        except (RuntimeError, ValueError, struct.error):
            # Says what is wrong, or makes the best of it.
            return imagecodecs.png_decode(encoded)
    return None


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
    view = memoryview(encoded)
    position = len(_PNG)
    before = [view[:position]]
    data = []
    after = []
    kind = b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", encoded, position)
        # Length, kind, data and checksum.
        chunk = view[position : position + length + 12]
        position += length + 12
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
        pixels: uint8 or uint16 [h, w, c], c being 1, 3 or 4.
        encoding: `"png"`, or `"qoi"`, which is read several times faster and holds uint8 with 3 or
            4 channels only.
        level: PNG's effort, 0 (stored) to 9.

    Raises:
        ValueError: The encoding does not hold such an image.
    """
    if encoding not in ENCODINGS:
        raise ValueError(f"encoding={encoding!r}: choose one of {', '.join(ENCODINGS)}.")
    if pixels.ndim != 3 or pixels.shape[2] not in _PIL_MODES:
        raise ValueError(f"Got an image of shape {pixels.shape}, wanted [h, w, 1, 3 or 4].")
    if encoding == "qoi" and (pixels.dtype != np.uint8 or pixels.shape[2] == 1):
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
