"""What every comparison of features wants: finite rows of numbers, as wide on either side."""

import jax.numpy as jnp
import numpy as np


def check_features(features: np.ndarray, name: str) -> None:
    """Refuses what is not a table of finite features.

    Args:
        features: One row per image.
        name: Whose they are, for the message.

    Raises:
        ValueError: Not [n, d], no rows, not numbers, or NaN and infinity among them.
    """
    # JAX's own question, since NumPy takes bfloat16 for no number.
    if features.ndim != 2 or 0 in features.shape or not jnp.issubdtype(features.dtype, jnp.number):
        raise ValueError(
            f"The {name} are {features.dtype} of shape {features.shape}; a row of numbers per "
            "image is wanted, [n, d]. Flatten each image's features, and give at least one image."
        )
    bad = int((~np.isfinite(features).all(axis=1)).sum())
    if bad:
        raise ValueError(
            f"{bad} of {len(features)} rows of the {name} are not finite. The network or its "
            "input has overflowed: look at these images, and compute features in float32."
        )


def check_pair(reals: np.ndarray, fakes: np.ndarray) -> None:
    """Refuses two sets of features that cannot be compared; see check_features.

    Raises:
        ValueError: One of them is no table of finite features, or widths differ.
    """
    check_features(reals, "real features")
    check_features(fakes, "fake features")
    if reals.shape[1] != fakes.shape[1]:
        raise ValueError(
            f"Real features have {reals.shape[1]} columns, fake ones {fakes.shape[1]}; both must "
            "come from one layer of one network."
        )
