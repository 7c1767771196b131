"""Motions of whole images: what a network is told, frame by frame."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from stylegan_jax.inference.transforms import make_transform

# Shifts reach this far from the middle, in sides of the image.
_REACH = 0.2

# Name -> the share of the period that has passed to `(translate, rotate)`; each comes back to where
# it began.
_MOTIONS: dict[str, Callable[[float], tuple[tuple[float, float], float]]] = {
    "rotate": lambda t: ((0.0, 0.0), 360 * t),
    "translate": lambda t: ((_REACH * np.sin(2 * np.pi * t), 0.0), 0.0),
    "circle": lambda t: ((_REACH * np.sin(2 * np.pi * t), -_REACH * np.cos(2 * np.pi * t)), 0.0),
}
MOTIONS = tuple(_MOTIONS)


def make_motion(name: str, period: int) -> Callable[[np.ndarray], Float[np.ndarray, "n 3 3"]]:
    """Returns the transforms of frames, as `Generator.synthesis` takes them.

    Args:
        name: `rotate`, once around to the left; `translate`, to the right, to the left and back;
            `circle`, around the middle without turning.
        period: Frames after which the motion is where it began.

    Raises:
        ValueError: An unknown motion.
    """
    if name not in _MOTIONS:
        raise ValueError(f"motion={name!r}: choose one of {', '.join(MOTIONS)}.")
    at = _MOTIONS[name]

    def transforms(frames: np.ndarray) -> np.ndarray:
        return np.stack([make_transform(*at(frame / period)) for frame in frames])

    return transforms
