"""From an image of any size to a square of the training resolution: crop, resize, letterbox."""

import dataclasses

import numpy as np
from PIL import Image

from stylegan_jax.data.formats import MOST_CHANNELS, WITH_ALPHA

CROPS = ("none", "center-crop", "center-crop-wide", "pad")
FILTERS = {"lanczos": Image.Resampling.LANCZOS, "box": Image.Resampling.BOX}

_TYPES = (np.uint8, np.uint16)


class TooSmallError(ValueError):
    """An image would have to be enlarged, which a network would learn as blur."""


@dataclasses.dataclass(frozen=True)
class Transform:
    """How images become squares of one size.

    Attributes:
        resolution: Width and height of the result, in pixels.
        crop: `"none"`: the image must be square. `"center-crop"`: the central square of the shorter
            side. `"center-crop-wide"`: a picture of three quarters of the height between black
            bars, as LSUN Car is used (512x384 in 512x512). `"pad"`: the whole image between black
            bars.
        filter: `"lanczos"`, or `"box"`, the mean of the pixels whose centres lie in the area of one
            (the mean over that area where the sizes divide).

    `"center-crop-wide"` does what published LSUN Car sets were made with: of an image [h, w] the
    central round(resolution * h / w) rows are taken in their full width and resized to the
    picture, which changes its proportions where w is not `resolution`.

    Source: the data set tools of StyleGAN2-ADA and StyleGAN3, as their documentation has it.
    Checked: tests/data/preparation/test_transforms.py vs NumPy, 8 bits to 1.6 and 16 bits to 0.52
        of a level.
    """

    resolution: int
    crop: str = "none"
    filter: str = "lanczos"

    def __post_init__(self):
        """Checks the words and numbers.

        Raises:
            ValueError: One of them is not known or out of range.
        """
        if self.crop not in CROPS:
            raise ValueError(f"crop={self.crop!r}: choose one of {', '.join(CROPS)}.")
        if self.filter not in FILTERS:
            raise ValueError(f"filter={self.filter!r}: choose one of {', '.join(FILTERS)}.")
        if self.resolution < 1:
            raise ValueError(f"resolution={self.resolution}: give 1 pixel or more.")

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Applies the transform to one image.

        Args:
            pixels: uint8 or uint16 [h, w, c], c being 1 to 16; 2 and 4 are grey and RGB with
                alpha, colours not multiplied.

        Returns:
            [resolution, resolution, c] of the same type; the same values where nothing is to do.

        Raises:
            TooSmallError: The image would be enlarged.
            ValueError: The image is not square and `crop` is `"none"`.
        """
        height, width = pixels.shape[:2]
        if self.crop == "none" and height != width:
            raise ValueError(
                f"{width}x{height} pixels, not square: choose crop=center-crop or another."
            )
        # Which rows and columns are taken, and what size [rows, columns] they get.
        rows = height
        columns = width
        target = (self.resolution, self.resolution)
        if self.crop == "center-crop":
            rows = min(height, width)
            columns = rows
        elif self.crop == "center-crop-wide":
            # As many rows as a picture of the result's width would have.
            rows = round(self.resolution * height / width)
            target = (round(self.resolution * 3 / 4), self.resolution)
        elif self.crop == "pad":
            # The longer side fills the square.
            scale = self.resolution / max(height, width)
            target = (max(1, round(height * scale)), max(1, round(width * scale)))
        # Enlarged images are blurred, and a network would learn that.
        if rows < target[0] or columns < target[1]:
            raise TooSmallError(
                f"{width}x{height} pixels, too small for {target[1]}x{target[0]} (crop="
                f"{self.crop}): drop the image, or choose a lower resolution."
            )
        cropped = _crop_center(pixels, min(rows, height), columns)
        return _letterbox(resize(cropped, *target, filter=self.filter), self.resolution)


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


def _letterbox(pixels: np.ndarray, resolution: int) -> np.ndarray:
    """Puts an image into the middle of a black square, opaque where there is alpha."""
    height, width, channels = pixels.shape
    if (height, width) == (resolution, resolution):
        return pixels
    # Zeros are black, and would be transparent in alpha.
    canvas = np.zeros((resolution, resolution, channels), pixels.dtype)
    if channels in WITH_ALPHA:
        canvas[..., -1] = np.iinfo(pixels.dtype).max
    top = (resolution - height) // 2
    left = (resolution - width) // 2
    canvas[top : top + height, left : left + width] = pixels
    return canvas
