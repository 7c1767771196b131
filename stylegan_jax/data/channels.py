"""Channels that say nothing: an alpha that is opaque everywhere, grey that is stored as RGB."""

from collections.abc import Iterable

import numpy as np

from stylegan_jax.data.formats import WITH_ALPHA

# What so many channels have, of which so many say something. Of more than 4 all do.
_SILENT = {
    (2, 1): "an alpha channel that is opaque everywhere",
    (4, 2): "the same red, green and blue: they are grey with alpha",
    (4, 3): "an alpha channel that is opaque everywhere",
    (4, 1): "an alpha channel that is opaque everywhere and the same red, green and blue",
    (3, 1): "the same red, green and blue: they are grey",
}


def useful_channels(pixels: np.ndarray) -> int:
    """Returns how many channels an image needs: as many as it has, or fewer.

    Args:
        pixels: uint8 or uint16 [h, w, c].

    Returns:
        3 for RGBA that is opaque everywhere, 2 for RGBA whose colours are equal, 1 for grey, in
        RGB or beside an alpha that is opaque. More than 4 channels may mean anything: all of them.
    """
    channels = pixels.shape[2]
    if channels > 4:
        return channels
    has_colours = channels >= 3 and bool((pixels[..., :1] != pixels[..., 1:3]).any())
    opaque = np.iinfo(pixels.dtype).max
    has_alpha = channels in WITH_ALPHA and bool((pixels[..., -1] != opaque).any())
    return (3 if has_colours else 1) + has_alpha


def join_channels(useful: Iterable[int]) -> int:
    """Returns how many channels several images need together: grey with alpha and RGB need RGBA."""
    seen = set(useful)
    if max(seen) > 4:
        return max(seen)
    return (3 if seen & {3, 4} else 1) + bool(seen & set(WITH_ALPHA))


def can_drop(channels: int, wanted: int) -> bool:
    """Tells whether images may have so many channels left when those that say nothing are gone."""
    return wanted == channels or (channels, wanted) in _SILENT


def drop_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    """Takes away channels that say nothing; a view.

    Args:
        pixels: uint8 or uint16 [h, w, c].
        channels: How many are wanted; `can_drop` tells whether that is possible.

    Raises:
        ValueError: What would be lost is seen in the image.
    """
    if channels == pixels.shape[2]:
        return pixels
    useful = useful_channels(pixels)
    if join_channels([useful, channels]) != channels:
        is_transparent = useful in WITH_ALPHA and channels not in WITH_ALPHA
        what = "a transparent part" if is_transparent else "colours"
        raise ValueError(f"{what}, which {channels} channel(s) do not hold")
    # Grey with alpha, of RGBA: red and alpha.
    return pixels[..., ::3] if channels == 2 else pixels[..., :channels]


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
    needed = join_channels(seen) if seen else stored
    if needed >= stored:
        return ""
    count = f"all {total} images" if len(seen) == total else f"all {len(seen)} of {total} images"
    looked = "" if len(seen) == total else " that were looked at"
    return (
        f"{count}{looked} have {_SILENT[stored, needed]}: --channels={needed} drops it when "
        f"preparing, --config.data.channels={needed} in training."
    )
