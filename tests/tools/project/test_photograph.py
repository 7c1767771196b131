"""Photographs of any size and channels as a network wants them."""

import numpy as np
import pytest
from PIL import Image

from stylegan_jax.tools.project.photograph import fit_channels, read_photograph


def test_a_photograph_is_cropped_and_resized(tmp_path, rng):
    pixels = np.zeros((40, 64, 3), np.uint8)
    pixels[:, 16:48] = (10, 20, 30)  # a border that the crop takes away
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    got = read_photograph(tmp_path / "wide.png", (20, 16), 3)
    assert got.shape == (20, 16, 3) and np.all(got == (10, 20, 30))
    exact = rng.integers(0, 256, (12, 8, 3), dtype=np.uint8)
    Image.fromarray(exact).save(tmp_path / "exact.png")
    np.testing.assert_array_equal(read_photograph(tmp_path / "exact.png", (12, 8), 3), exact)
    np.testing.assert_array_equal(
        read_photograph(tmp_path / "exact.png", (12, 8), 1), fit_channels(exact, 1)
    )


def test_channels():
    grey = np.uint8([[[100]]])
    half = np.uint8([[[100, 128]]])
    colour = np.uint8([[[200, 100, 0]]])
    clear = np.uint8([[[200, 100, 0, 0]]])
    cases = [
        (grey, 3, [100, 100, 100]),
        (grey, 2, [100, 255]),
        (grey, 4, [100, 100, 100, 255]),
        # 0.299 * 200 + 0.587 * 100 = 118.5
        (colour, 1, [118]),
        (colour, 4, [200, 100, 0, 255]),
        # What is transparent is white, unless alpha is wanted.
        (clear, 3, [255, 255, 255]),
        (clear, 2, [118, 0]),
        # 100 * 128 / 255 + 255 * 127 / 255 = 177.2
        (half, 1, [177]),
        (half, 3, [177] * 3),
        (half, 4, [100, 100, 100, 128]),
    ]
    for pixels, channels, want in cases:
        got = fit_channels(pixels, channels)[0, 0]
        assert got.dtype == np.uint8 and np.abs(got.astype(int) - want).max() <= (118 in want)
    many = np.zeros((1, 1, 6), np.uint8)
    assert fit_channels(many, 6) is many
    for pixels, channels in ((many, 3), (colour, 6)):
        with pytest.raises(ValueError, match=f"the network draws {channels}: give as many"):
            fit_channels(pixels, channels)


def test_what_is_no_photograph(tmp_path, capsys):
    with pytest.raises(FileNotFoundError, match="no file .*gone.png: give a photograph"):
        read_photograph(tmp_path / "gone.png", (16, 16), 3)
    (tmp_path / "text.png").write_text("text")
    with pytest.raises(ValueError, match="--target=.*text.png: not a readable image"):
        read_photograph(tmp_path / "text.png", (16, 16), 3)
    Image.new("RGB", (8, 30)).save(tmp_path / "small.png")
    with pytest.raises(ValueError, match="30x8 pixels.*too small for 16x16.*a larger photograph"):
        read_photograph(tmp_path / "small.png", (16, 16), 3)
    with pytest.raises(ValueError, match="not square: choose crop=center-crop"):
        read_photograph(tmp_path / "small.png", (16, 16), 3, crop="none")
    assert not capsys.readouterr().out
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.new("RGB", (16, 16)).save(tmp_path / "turned.jpg", exif=exif)
    read_photograph(tmp_path / "turned.jpg", (16, 16), 3)
    assert "a rotation, which is not applied" in capsys.readouterr().out
