"""Channels that say nothing: an alpha that is opaque everywhere, grey that is stored as RGB."""

from collections.abc import Iterable

import numpy as np

_SILENT = {
    (4, 3): "an alpha channel that is opaque everywhere",
    (4, 1): "an alpha channel that is opaque everywhere and the same red, green and blue",
    (3, 1): "the same red, green and blue: they are grey",
}


def useful_channels(pixels: np.ndarray) -> int:
    """Returns how many channels an image needs: as many as it has, or fewer.

    Args:
        pixels: uint8 or uint16 [h, w, c].

    Returns:
        3 for RGBA that is opaque everywhere, 1 for RGB whose channels are equal, and for both.
    """
    channels = pixels.shape[2]
    if channels == 4:
        if (pixels[..., 3] != np.iinfo(pixels.dtype).max).any():
            return 4
        channels = 3
    if channels == 3 and (pixels[..., :1] == pixels[..., 1:3]).all():
        return 1
    return channels


def drop_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    """Takes away channels that say nothing; a view.

    Args:
        pixels: uint8 or uint16 [h, w, c].
        channels: How many are wanted, not more than there are.

    Raises:
        ValueError: What would be lost is seen in the image.
    """
    useful = useful_channels(pixels)
    if useful > channels:
        what = "a transparent part" if useful == 4 else "colours"
        raise ValueError(f"{what}, which {channels} channel(s) do not hold")
    return pixels[..., :channels]


def describe_silent(stored: int, useful: Iterable[int], total: int) -> str:
    """Says what could be dropped of some images of a data set.

    Args:
        stored: Channels that all have.
        useful: `useful_channels` of those that were looked at.
        total: Images of the data set.

    Returns:
        A sentence; empty if nothing can be dropped.
    """
    seen = list(useful)
    needed = max(seen, default=stored)
    if needed >= stored:
        return ""
    count = f"all {total} images" if len(seen) == total else f"all {len(seen)} of {total} images"
    looked = "" if len(seen) == total else " that were looked at"
    return (
        f"{count}{looked} have {_SILENT[stored, needed]}: --channels={needed} drops it when "
        f"preparing, --config.data.channels={needed} in training."
    )
