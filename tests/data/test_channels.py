"""Channels that say nothing: found, told and dropped; what shows is never lost."""

import numpy as np
import pytest

from stylegan_jax.data.channels import (
    can_drop,
    describe_silent,
    drop_channels,
    join_channels,
    useful_channels,
)

COLOURS = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 3)
GREY = np.repeat(COLOURS[..., :1], 3, axis=2)


def with_alpha(pixels, alpha=None):
    full = np.iinfo(pixels.dtype).max if alpha is None else alpha
    return np.concatenate([pixels, np.full((*pixels.shape[:2], 1), full, pixels.dtype)], axis=2)


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (COLOURS, 3),
        (GREY, 1),
        (GREY[..., :1], 1),
        (with_alpha(COLOURS), 3),
        (with_alpha(GREY), 1),
        (with_alpha(GREY, 254), 2),
        (with_alpha(COLOURS, 254), 4),
        (with_alpha(GREY[..., :1]), 1),
        (with_alpha(GREY[..., :1], 254), 2),
        (np.repeat(GREY, 2, axis=2), 6),
        (with_alpha(COLOURS.astype(np.uint16)), 3),
        (with_alpha(COLOURS.astype(np.uint16), 255), 4),
    ],
)
def test_channels_that_an_image_needs(pixels, expected):
    given = pixels.shape[2]
    assert useful_channels(pixels) == expected
    for channels in range(1, given):
        if not can_drop(given, channels):
            continue
        # Grey with alpha is no part of RGB, nor RGB of it.
        if join_channels([channels, expected]) != channels:
            with pytest.raises(ValueError, match="do not hold"):
                drop_channels(pixels, channels)
        else:
            left = [0, 3] if (given, channels) == (4, 2) else range(channels)
            np.testing.assert_array_equal(drop_channels(pixels, channels), pixels[..., list(left)])
    assert drop_channels(pixels, given) is pixels


@pytest.mark.parametrize(
    ("useful", "expected"),
    [([1, 2], 2), ([2, 3], 4), ([1, 3], 3), ([1], 1), ([3, 4, 1], 4), ([6, 6], 6)],
)
def test_channels_that_images_need_together(useful, expected):
    assert join_channels(useful) == expected


def test_which_channels_may_be_dropped():
    pairs = [(a, b) for a in range(1, 17) for b in range(1, 17) if a != b and can_drop(a, b)]
    assert pairs == [(2, 1), (3, 1), (4, 1), (4, 2), (4, 3)]


def test_what_is_said():
    whole = describe_silent(4, [3] * 630, 630)
    assert whole.startswith("all 630 images have an alpha channel that is opaque everywhere: ")
    assert "--channels=3 drops it" in whole and "--config.data.channels=3" in whole
    part = describe_silent(3, [1] * 64, 70000)
    assert part.startswith("all 64 of 70000 images that were looked at have the same red, green")
    assert "--channels=1 drops" in part and "--channels=1 " in describe_silent(4, [1], 1)
    assert describe_silent(4, [3, 4], 2) == describe_silent(3, [1, 3], 2) == ""
    assert "--channels=2 drops" in describe_silent(4, [1, 2], 2)
    assert "alpha channel that is opaque everywhere: --channels=1" in describe_silent(2, [1], 1)
    assert describe_silent(4, [2, 3], 2) == describe_silent(6, [6], 1) == ""
    assert describe_silent(1, [1], 1) == describe_silent(3, [], 0) == ""
