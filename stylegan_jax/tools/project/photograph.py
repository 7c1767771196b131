"""A photograph as a network would have drawn it: its size, its channels."""

import numpy as np
from etils import epath

from stylegan_jax.data.codecs import decode, is_to_be_turned
from stylegan_jax.data.formats import WITH_ALPHA, ImageFileError
from stylegan_jax.data.preparation.transforms import TooSmallError, Transform
from stylegan_jax.files import as_path
from stylegan_jax.run.images import to_uint8
from stylegan_jax.sizes import Size

# Rec. 601: how bright red, green and blue look.
_LUMA = np.asarray([0.299, 0.587, 0.114], np.float32)


def read_photograph(
    path: epath.PathLike, size: Size, channels: int, *, crop: str = "center-crop"
) -> np.ndarray:
    """Reads an image file, cropped and resized.

    Args:
        path: PNG, JPEG, WebP, BMP, QOI, TIFF or NPY.
        size: Height and width that are wanted.
        channels: How many are wanted; see `fit_channels`.
        crop: As in `Transform`.

    Returns:
        uint8 `[h, w, c]`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no image, is smaller than wanted, or has other channels.
    """
    file = as_path(path)
    if not file.is_file():
        raise FileNotFoundError(f"There is no file {path}: give a photograph as --target.")
    encoded = file.read_bytes()
    try:
        pixels = Transform(size, crop=crop)(decode(encoded, convert=True))
        fitted = fit_channels(to_uint8(pixels), channels)
    except TooSmallError as error:
        message = str(error).partition(":")[0]
        raise ValueError(f"--target={path}: {message}: give a larger photograph.") from error
    except (ImageFileError, ValueError) as error:
        raise ValueError(f"--target={path}: {error}") from error
    if is_to_be_turned(encoded):
        print(f"NOTE: {path} notes a rotation, which is not applied: turn it first if it lies.")
    return fitted


def fit_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    """Makes grey or RGB, with alpha or without, of one another.

    What is transparent lies on white where alpha is not wanted; alpha that is wanted is opaque.

    Args:
        pixels: uint8 `[h, w, 1 to 16]`.
        channels: How many are wanted.

    Raises:
        ValueError: More than 4 channels, which may mean anything, and not as many as wanted.
    """
    given = pixels.shape[-1]
    if given == channels:
        return pixels
    if max(given, channels) > 4:
        raise ValueError(f"{given} channel(s), and the network draws {channels}: give as many.")

    # Colours and alpha, 0 to 1.
    values = pixels.astype(np.float32) / 255
    has_alpha = given in WITH_ALPHA
    colours = values[..., :-1] if has_alpha else values
    alpha = values[..., -1:] if has_alpha else np.ones_like(values[..., :1])
    keeps_alpha = channels in WITH_ALPHA
    if not keeps_alpha:
        colours = colours * alpha + (1 - alpha)

    # Grey to RGB, or the reverse.
    if channels <= 2 and colours.shape[-1] == 3:
        colours = (colours * _LUMA).sum(axis=-1, keepdims=True)
    elif channels >= 3 and colours.shape[-1] == 1:
        colours = np.repeat(colours, 3, axis=-1)
    fitted = np.concatenate([colours, alpha], axis=-1) if keeps_alpha else colours
    return np.rint(fitted * 255).astype(np.uint8)
