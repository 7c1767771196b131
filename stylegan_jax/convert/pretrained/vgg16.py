"""Names of VGG-16's tensors: torchvision's, and those of NVIDIA's `vgg16.pt`."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from stylegan_jax.convert.pretrained.naming import from_torch, rename

# Positions of the convolutions among torchvision's layers.
_CONVS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
_CLASSIFIER = (0, 3, 6)
_LEAF = r"\.(weight|bias)"

TRUNK: dict[str, str | None] = {
    **{rf"features\.{at}{_LEAF}": rf"trunk.conv{i + 1}.\1" for i, at in enumerate(_CONVS)},
    rf"layers\.(conv\d+){_LEAF}": r"trunk.\1.\2",
}
_NAMES = TRUNK | {
    **{rf"classifier\.{at}{_LEAF}": rf"fc{i + 1}.\1" for i, at in enumerate(_CLASSIFIER)},
    rf"layers\.(fc[123]){_LEAF}": r"\1.\2",
    # What LPIPS weighs channels with lies in the same file.
    r"lpips[0-4]": None,
}


def params_from_official(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Turns official tensors into parameters of `models.pretrained.vgg16.VGG16`.

    The table is linear, so it also converts gradients.

    Args:
        arrays: `{"features.0.weight": ..., "classifier.0.weight": ...}` of torchvision, or
            `{"layers.conv1.weight": ..., "layers.fc1.weight": ...}` of NVIDIA.

    Raises:
        CheckpointFileError: A name is neither's.
    """
    return from_torch(rename(arrays, _NAMES))
