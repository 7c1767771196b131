"""Features of images that are spread over devices: what of them is brought together, and how."""

import jax
import numpy as np
from jax.experimental import multihost_utils


def gather_features(features: jax.Array) -> np.ndarray:
    """Returns features of all devices and processes as one array on this host.

    Images stay on the devices that made them; features are the only thing worth sending. Where
    several processes share the array, all of them must call this, and all get the same numbers.

    Args:
        features: [n, d], or any array; its first axis may be split over devices and processes.

    Returns:
        The whole array, in the order of its indices.
    """
    # A copy of it all lies on this process's devices: nothing has to be sent.
    if features.is_fully_addressable or features.is_fully_replicated:
        return np.asarray(features)
    # `tiled`: parts are joined along their axis, not stacked on a new one.
    return np.asarray(multihost_utils.process_allgather(features, tiled=True))
