"""How images are to be moved: what StyleGAN3, and others that begin with waves, are told."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

# A matrix whose inverse has larger numbers is none that anything can be drawn by.
_LARGEST = 1e6


def make_transform(
    translate: Sequence[float] | np.ndarray = (0.0, 0.0), rotate: float = 0.0
) -> Float[np.ndarray, "3 3"]:
    """Returns what a network is told, so that its image is turned and then shifted.

    Args:
        translate: `(x, y)`, to the right and down; 1 is the shorter side of the image.
        rotate: Degrees, counter-clockwise about the middle.

    Returns:
        float32 `[3, 3]`: the inverse of what happens to the image.

    Raises:
        ValueError: Not two numbers, or some are not finite.

    Source: Karras et al. 2021 (StyleGAN3), section 3.2; signs as in the official tools.
    """
    shift = np.asarray(translate, np.float64)
    if shift.shape != (2,) or not np.all(np.isfinite(shift)):
        raise ValueError(
            f"translate={translate}: give x and y, two numbers; 1 is the image's side."
        )
    if not np.isfinite(rotate):
        raise ValueError(f"rotate={rotate}: give degrees.")
    angle = np.deg2rad(rotate)
    cos, sin = np.cos(angle), np.sin(angle)
    # y points down: this turns to the left on the screen.
    forward = np.array([[cos, sin, shift[0]], [-sin, cos, shift[1]], [0, 0, 1]])
    return np.linalg.inv(forward).astype(np.float32)


def check_transform(transform: np.ndarray, n: int) -> Float[np.ndarray, "n 3 3"]:
    """Returns one matrix per image, also where all have the same.

    Raises:
        ValueError: Another shape, or a matrix that moves no image: not finite, not affine, or
            without an inverse.
    """
    found = np.asarray(transform, np.float64)
    if found.shape not in ((3, 3), (n, 3, 3)):
        raise ValueError(
            f"transform has the shape {list(found.shape)}: give [3, 3] or [{n}, 3, 3], the inverse "
            "of what is to happen to the image."
        )
    if not np.all(np.isfinite(found)) or not np.all(found[..., 2, :] == [0, 0, 1]):
        raise ValueError("transform: give finite numbers, with 0, 0, 1 in the last row.")
    # The product of the singular values, and how small it may be beside them.
    scale = np.abs(found[..., :2, :2]).max(axis=(-1, -2))
    determinant = np.abs(np.linalg.det(found[..., :2, :2]))
    if np.any(determinant * _LARGEST <= scale**2) or np.any(scale == 0):
        raise ValueError(
            "transform has no inverse: it would draw the whole image from a line. Give a matrix "
            "that turns, shifts or scales."
        )
    return np.broadcast_to(found.astype(np.float32), (n, 3, 3))
