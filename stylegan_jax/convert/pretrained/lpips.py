"""Names of LPIPS's tensors: heads and trunk in two files, or both in NVIDIA's `vgg16.pt`."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from stylegan_jax.convert.pretrained.naming import from_torch, rename
from stylegan_jax.convert.pretrained.vgg16 import TRUNK
from stylegan_jax.convert.readers.records import CheckpointFileError

_NAMES = TRUNK | {
    r"lin([0-4])\.model\.1\.weight": r"lin\1",
    r"lpips([0-4])": r"lin\1",
    # The dense layers behind the convolutions.
    r"(classifier\.\d|layers\.fc\d)\.(weight|bias)": None,
}


def params_from_official(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Turns official tensors into parameters of `models.pretrained.lpips.LPIPS`.

    Args:
        arrays: `{"lin0.model.1.weight": [1, c, 1, 1], ...}` of the LPIPS package beside a trunk,
            or `{"lpips0": [c, 1, 1], ...}` of NVIDIA; the trunk under names of `vgg16.py`.

    Raises:
        CheckpointFileError: A name is none of these, or a weight is negative, of which no
            distance can be made.
    """
    renamed = rename(arrays, _NAMES)
    for name in [name for name in renamed if name.startswith("lin")]:
        renamed[name] = renamed[name].reshape(-1)
        if not np.all(renamed[name] >= 0):
            raise CheckpointFileError(f"{name} has weights below 0: these are no LPIPS heads.")
    return from_torch(renamed)
