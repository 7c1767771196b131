"""From an image of any size to one of the size to train at: crop, resize, letterbox."""

import dataclasses
from typing import Any

import numpy as np
from PIL import Image

from stylegan_jax.data.formats import MOST_CHANNELS, WITH_ALPHA
from stylegan_jax.sizes import Size, describe_pixels, describe_size, name_size

CROPS = ("none", "center-crop", "center-crop-wide", "fit", "pad")
FILTERS = {"lanczos": Image.Resampling.LANCZOS, "box": Image.Resampling.BOX}

_TYPES = (np.uint8, np.uint16)


class TooSmallError(ValueError):
    """An image would have to be enlarged, which a network would learn as blur."""


@dataclasses.dataclass(frozen=True)
class Transform:
    """How images [H, W] become images of one size [h, w].

    Attributes:
        size: Height and width of the result, in pixels.
        crop: `"none"`: the image must have the result's proportions, H w = W h. `"center-crop"`:
            the largest central part of these proportions: all columns and round(W h / w) rows of a
            tall image, all rows and round(H w / h) columns of a wide one. `"center-crop-wide"`: a
            picture of three quarters of the height between black bars, as LSUN Car is used (384x512
            in 512x512); squares only. `"fit"`: the whole image, stretched or squeezed to the
            result. `"pad"`: the whole image in its own proportions, round(s H) x round(s W) px with
            s = min(h / H, w / W), between black bars.
        filter: `"lanczos"`, or `"box"`, the mean of the pixels whose centres lie in the area of one
            (the mean over that area where the sizes divide).

    Numbers of rows and columns are rounded to the nearest, halves to even: a part is then resized
    by factors that differ between height and width by half a pixel of the part at most.

    `"center-crop-wide"` does what published LSUN Car sets were made with: of an image [H, W] the
    central round(w * H / W) rows are taken in their full width and resized to the picture, which
    changes its proportions where W is not w.

    Source: the data set tools of StyleGAN2-ADA and StyleGAN3, as their documentation has it.
    Checked: tests/data/preparation/test_transforms.py vs NumPy, 8 bits to 1.6 and 16 bits to 0.52
        of a level.
    """

    size: Size
    crop: str = "none"
    filter: str = "lanczos"

    def __post_init__(self):
        """Checks the words and numbers.

        Raises:
            ValueError: One of them is not known or out of range, or they do not go together.
        """
        if self.crop not in CROPS:
            raise ValueError(f"crop={self.crop!r}: choose one of {', '.join(CROPS)}.")
        if self.filter not in FILTERS:
            raise ValueError(f"filter={self.filter!r}: choose one of {', '.join(FILTERS)}.")
        if min(self.size) < 1:
            raise ValueError(f"resolution={name_size(self.size)}: give 1 pixel or more.")
        if self.crop == "center-crop-wide" and self.size[0] != self.size[1]:
            raise ValueError(
                f"crop=center-crop-wide makes squares, not {describe_pixels(self.size)}: choose "
                "crop=center-crop."
            )

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Applies the transform to one image.

        Args:
            pixels: uint8 or uint16 [H, W, c], c being 1 to 16; 2 and 4 are grey and RGB with
                alpha, colours not multiplied.

        Returns:
            [h, w, c] of the same type; the same values where nothing is to do.

        Raises:
            TooSmallError: The image would be enlarged, if only in height or in width.
            ValueError: The image has other proportions and `crop` is `"none"`.
        """
        given = pixels.shape[0], pixels.shape[1]
        rows, columns = self._choose_part(given)
        target = self._choose_target(given)
        # Enlarged images are blurred, and a network would learn that.
        if rows < target[0] or columns < target[1]:
            raise TooSmallError(
                f"{describe_pixels(given)}, too small for {describe_size(target)} (crop="
                f"{self.crop}): drop the image, or choose a lower resolution."
            )
        cropped = _crop_center(pixels, min(rows, given[0]), columns)
        return _letterbox(resize(cropped, *target, filter=self.filter), self.size)

    def facts(self) -> dict[str, Any]:
        """Returns what is noted of it, as releases that made squares only have written it."""
        height, width = self.size
        resolution = height if height == width else describe_size(self.size)
        return {"resolution": resolution, "crop": self.crop, "filter": self.filter}

    def _choose_part(self, given: Size) -> Size:
        """Returns how many of the central rows and columns of an image are taken.

        Raises:
            ValueError: All of them are meant, but have other proportions.
        """
        height, width = given
        h, w = self.size
        if self.crop == "none" and height * w != width * h:
            what = "not square" if h == w else f"other proportions than {describe_size(self.size)}"
            raise ValueError(
                f"{describe_pixels(given)}, {what}: choose crop=center-crop or another."
            )
        if self.crop == "center-crop":
            is_tall = height * w > width * h
            return (round(width * h / w), width) if is_tall else (height, round(height * w / h))
        if self.crop == "center-crop-wide":
            # As many rows as a picture of the result's width would have.
            return round(w * height / width), width
        return given

    def _choose_target(self, given: Size) -> Size:
        """Returns the size of the picture within the result."""
        h, w = self.size
        if self.crop == "center-crop-wide":
            return round(h * 3 / 4), w
        if self.crop == "pad":
            scale = min(h / given[0], w / given[1])
            return max(1, round(given[0] * scale)), max(1, round(given[1] * scale))
        return self.size


def resize(pixels: np.ndarray, height: int, width: int, *, filter: str) -> np.ndarray:
    """Resizes an image with Pillow.

    Grey and RGB of 8 bits go through Pillow's integer arithmetic, with which the usual data sets
    were made: within 2 levels of the exact value. Other images are resampled in float32 and
    rounded, grey and colours weighted by their alpha (of 2 and 4 channels), so that what is
    transparent does not bleed into the rest.

    Args:
        pixels: uint8 or uint16 [h, w, c], c being 1 to 16.
        height: Rows of the result.
        width: Columns of the result.
        filter: A key of `FILTERS`.

    Returns:
        [height, width, c] of the same type; `pixels` itself where its size is that.

    Raises:
        ValueError: The image is of another type or shape.
    """
    channels = pixels.shape[2] if pixels.ndim == 3 else 0
    if pixels.dtype not in _TYPES or not 1 <= channels <= MOST_CHANNELS:
        raise ValueError(
            f"Got an image of {pixels.dtype} and shape {pixels.shape}, wanted uint8 or uint16 "
            f"[h, w, 1 to {MOST_CHANNELS}]."
        )
    if pixels.shape[:2] == (height, width):
        return pixels

    # 8 bits, as they are.
    if pixels.dtype == np.uint8 and channels in (1, 3):
        image = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
        resized = np.array(image.resize((width, height), FILTERS[filter]))
        return resized.reshape(height, width, channels)

    # Others plane by plane, the colours weighted by alpha.
    values = pixels.astype(np.float32)
    if channels in WITH_ALPHA:
        values[..., :-1] *= values[..., -1:]
    planes = [
        Image.fromarray(plane).resize((width, height), FILTERS[filter])
        for plane in np.moveaxis(values, 2, 0)
    ]
    resized = np.stack([np.asarray(plane) for plane in planes], axis=2)
    # The weights again out of the colours; what is wholly transparent becomes black.
    if channels in WITH_ALPHA:
        colours = resized[..., :-1]
        alpha = resized[..., -1:]
        resized[..., :-1] = np.divide(colours, alpha, out=np.zeros_like(colours), where=alpha > 0)
    # Lanczos overshoots at edges.
    return np.clip(np.rint(resized), 0, np.iinfo(pixels.dtype).max).astype(pixels.dtype)


def _crop_center(pixels: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Takes an image's central part; an odd margin has its larger half below and to the right."""
    top = (pixels.shape[0] - rows) // 2
    left = (pixels.shape[1] - columns) // 2
    return pixels[top : top + rows, left : left + columns]


def _letterbox(pixels: np.ndarray, size: Size) -> np.ndarray:
    """Puts an image into the middle of a black one, opaque where there is alpha."""
    height, width, channels = pixels.shape
    if (height, width) == size:
        return pixels
    # Zeros are black, and would be transparent in alpha.
    canvas = np.zeros((*size, channels), pixels.dtype)
    if channels in WITH_ALPHA:
        canvas[..., -1] = np.iinfo(pixels.dtype).max
    top = (size[0] - height) // 2
    left = (size[1] - width) // 2
    canvas[top : top + height, left : left + width] = pixels
    return canvas
