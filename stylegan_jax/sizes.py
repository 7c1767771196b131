"""Sizes of images `(height, width)`: which ones the networks make, and those of their blocks.

A network begins with a base grid (h0, w0), 4 x 4 for squares of 4, 8, 16, ... px, and doubles it
from block to block. Blocks go by the side that they would have in a square, as in official
checkpoints:

    size_at(res) = (res * h0 / 4, res * w0 / 4),    res = 4, 8, 16, ..., img_resolution

So 48 x 32 px are a base of 6 x 4 and blocks `b4` (6 x 4) to `b32` (48 x 32). A size works where
both sides are the same power of two times a base whose shorter side has 4 to 7 px.
"""

import dataclasses
import re
from collections.abc import Iterator
from typing import Any

# Height and width in pixels.
Size = tuple[int, int]

SQUARE_BASE: Size = (4, 4)
# Sides that are made: the longest would not fit in memory.
SMALLEST_PX = 4
LARGEST_PX = 2**14
# Resolutions that a block may go by.
RESOLUTIONS = tuple(2**r for r in range(2, 15))

_NEAREST = 2


def size_at(resolution: int, base_grid: Size = SQUARE_BASE) -> Size:
    """Returns the size of the feature maps, and of the images, of the block of a resolution."""
    h0, w0 = base_grid
    return resolution * h0 // 4, resolution * w0 // 4


def divided(size: Size, factor: int) -> Size:
    """Returns the size of images that were shrunk by a whole factor."""
    return size[0] // factor, size[1] // factor


def find_base_grid(size: Size) -> tuple[int, Size]:
    """Finds how a network makes images of a size.

    Returns:
        `(img_resolution, base_grid)`: the resolution of the last block and the size of the first,
        with `size_at(img_resolution, base_grid) == size`.

    Raises:
        ValueError: No network makes them; says which sizes are near.
    """
    halvings = _halvings(size)
    if halvings is None:
        raise ValueError(describe_misfit(size))
    height, width = size
    return 4 << halvings, (height >> halvings, width >> halvings)


@dataclasses.dataclass(frozen=True)
class ImageShape:
    """What the data says about the networks: sizes of images and labels, the type of pixels."""

    height: int
    width: int
    channels: int
    c_dim: int
    dtype: str = "uint8"

    @property
    def size(self) -> Size:
        """Height and width of the images."""
        return self.height, self.width

    @property
    def img_resolution(self) -> int:
        """Resolution of the block that draws such images."""
        return find_base_grid(self.size)[0]

    @property
    def base_grid(self) -> Size:
        """Size of the first block."""
        return find_base_grid(self.size)[1]

    @property
    def img_channels(self) -> int:
        """Channels, as networks call them."""
        return self.channels


def is_made(size: Size) -> bool:
    """Tells whether networks make images of a size."""
    return _halvings(size) is not None


def _halvings(size: Size) -> int | None:
    """Returns how often a size is halved until the base grid; None where no network makes it."""
    short, long = sorted(size)
    if short < SMALLEST_PX or long > LARGEST_PX:
        return None
    # As often as 4 px of the shorter side are left.
    halvings = (short // 4).bit_length() - 1
    return None if short % (1 << halvings) or long % (1 << halvings) else halvings


def nearest_sizes(size: Size) -> list[Size]:
    """Lists the sizes that networks make and that a crop reaches, those that keep most first.

    At most two, squares for squares; none where a side is shorter than 4 px.
    """
    found = set(_cropped_squares(size[0]) if size[0] == size[1] else _cropped_sizes(size))
    return sorted(found, key=lambda near: (-near[0] * near[1], near))[:_NEAREST]


def _cropped_squares(side: int) -> Iterator[Size]:
    """Yields the squares within another one."""
    for resolution in RESOLUTIONS:
        for base in range(4, 8):
            made = size_at(resolution, (base, base))
            if made[0] <= min(side, LARGEST_PX):
                yield made


def _cropped_sizes(size: Size) -> Iterator[Size]:
    """Yields the largest size within another one for each number of halvings."""
    height, width = (min(side, LARGEST_PX) for side in size)
    for halvings in range(len(RESOLUTIONS)):
        h0 = height >> halvings
        w0 = width >> halvings
        if min(h0, w0) < 4:
            return
        # The shorter side of a base grid has at most 7 px.
        if min(h0, w0) > 7:
            h0, w0 = (7, w0) if h0 <= w0 else (h0, 7)
        yield h0 << halvings, w0 << halvings


def describe_misfit(size: Size) -> str:
    """Says why networks do not make images of a size, and how to reach one that they make."""
    rule = (
        "Networks make images whose sides are the same power of two times a base grid with 4 to 7 "
        f"px on its shorter side, up to {LARGEST_PX} px, such as 256x256, 48x32 or 1024x1792"
    )
    text = f"no network makes images of {describe_size(size)} px. {rule}"
    if near := nearest_sizes(size):
        flags = " or ".join(f"--resolution={name_size(other)}" for other in near)
        return f"{text}. The nearest: crop to {flags} with --crop=center-crop (or --crop=fit, pad)."
    return f"{text}; a side here is shorter than {SMALLEST_PX} px."


def describe_size(size: Size) -> str:
    """Returns such as `48x32`: height, then width, as all flags and messages have it."""
    return f"{size[0]}x{size[1]}"


def parse_size(value: Any) -> Size:
    """Reads a size.

    Args:
        value: The side of squares, `256` or `"256"`, or height and width, `"48x32"`.

    Raises:
        ValueError: Neither of them.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value, value
    match = re.fullmatch(r"(\d{1,6})(?:x(\d{1,6}))?", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(
            f"resolution={value!r}: give the side of square images, such as 256, or height x "
            "width, such as 48x32."
        )
    height = int(match[1])
    return height, int(match[2] or height)


def name_size(size: Size) -> str:
    """Returns such as `32` or `48x32`, as names of folders and settings have it."""
    return str(size[0]) if size[0] == size[1] else describe_size(size)


def describe_pixels(size: Size) -> str:
    """Returns such as `32x32 pixels`, or `48x32 pixels (height x width)` where the order counts."""
    order = "" if size[0] == size[1] else " (height x width)"
    return f"{describe_size(size)} pixels{order}"
