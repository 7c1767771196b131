"""Size and type of an image, whatever kind of file it comes from."""

import dataclasses
import io
from typing import IO

from stylegan_jax.sizes import Size, describe_pixels, describe_size

# What reads as a file: opened ones, members of a zip, bytes.
BinaryFile = IO[bytes] | io.IOBase

# Channels that an image may have.
MOST_CHANNELS = 16
# Channels of which the last is alpha: grey with it, and RGBA.
WITH_ALPHA = (2, 4)
# Pillow's limit, for all kinds of files: a header may ask for any amount of memory.
MOST_PIXELS = 178_956_970
# RGBA of as many pixels: more channels, fewer pixels.
_MOST_VALUES = 4 * MOST_PIXELS


class ImageFileError(ValueError):
    """The content of a file is no image that can be used; says why."""


@dataclasses.dataclass(frozen=True)
class ImageFormat:
    """Size and type of an image.

    Attributes:
        height: Rows.
        width: Columns.
        channels: 1 (grey), 2 (grey and alpha), 3 (RGB), 4 (RGBA), or up to 16 of any meaning.
        dtype: `"uint8"` or `"uint16"`.
    """

    height: int
    width: int
    channels: int
    dtype: str = "uint8"

    def __str__(self) -> str:
        """Returns such as `48x64 pixels (height x width), 3 channel(s), uint8`."""
        return f"{describe_pixels(self.size)}, {self.channels} channel(s), {self.dtype}"

    @property
    def size(self) -> Size:
        """Height and width."""
        return self.height, self.width


def check_format(form: ImageFormat) -> ImageFormat:
    """Refuses images that are too large, or of too many channels.

    Raises:
        ImageFileError: Says what is read.
    """
    pixels = form.height * form.width
    size = describe_size((form.height, form.width))
    if not 1 <= form.channels <= MOST_CHANNELS:
        raise ImageFileError(f"{form.channels} channels, wanted 1 to {MOST_CHANNELS}")
    if pixels > MOST_PIXELS:
        raise ImageFileError(f"{size} pixels, more than the {MOST_PIXELS} that are read")
    if pixels * form.channels > _MOST_VALUES:
        raise ImageFileError(
            f"{size} pixels of {form.channels} channels, more than the {_MOST_VALUES} values that "
            "are read"
        )
    return form
