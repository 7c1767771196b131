"""Images of networks as pictures of Pillow."""

import numpy as np
from PIL import Image


def to_pil(images: np.ndarray) -> list[Image.Image]:
    """Wraps images for Pillow: grey, grey with alpha, RGB or RGBA by their channels.

    Args:
        images: uint8 `[n, h, w, c]`. Of more than 4 channels the first three are shown.

    Raises:
        ValueError: Another type or shape.
    """
    if images.dtype != np.uint8 or images.ndim != 4:
        raise ValueError(
            f"Got images of {images.dtype} and shape {list(images.shape)}; wanted uint8 "
            "[n, h, w, c], as synthesis(ws) gives them."
        )
    shown = images[..., :3] if images.shape[-1] > 4 else images
    # Pillow has no axis for one channel.
    return [Image.fromarray(img[..., 0] if img.shape[-1] == 1 else img) for img in shown]
