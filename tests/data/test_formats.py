"""Sizes and channels that are read."""

import pytest

from stylegan_jax.data.formats import ImageFileError, ImageFormat, check_format


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((8, 8, 0), "0 channels, wanted 1 to 16"),
        ((8, 8, 17), "17 channels, wanted 1 to 16"),
        ((2**15, 2**15, 1), "32768x32768 pixels, more than the 178956970 that are read"),
        ((2**13, 2**14, 6), "8192x16384 pixels of 6 channels, more than the 715827880 values"),
    ],
)
def test_what_is_not_read(shape, message):
    with pytest.raises(ImageFileError, match=message):
        check_format(ImageFormat(*shape))


def test_what_is_read():
    form = ImageFormat(2**13, 2**14, 4, "uint16")
    assert check_format(form) is form
    assert check_format(ImageFormat(1024, 1024, 16)).channels == 16
