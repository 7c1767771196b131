"""Name and layout table between official PyTorch StyleGAN2 weights and our parameter trees."""

from collections.abc import Mapping
from typing import Any

import numpy as np


def params_from_official(
    arrays: Mapping[str, np.ndarray],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Turns one network's flat official tensors into nested parameters and buffers.

    The table is linear, so it also converts gradients and moments. Names stay; layouts change:
    OIHW kernels become HWIO, dense weights `[out, in]` become `[in, out]`, maps become NHWC. The
    generator's up-sampling kernels are stored flipped by the official code and are turned here.

    Args:
        arrays: `{"synthesis.b8.conv0.weight": ..., ...}` of a generator, or of a discriminator
            (`{"b8.conv0.weight": ..., ...}`).

    Returns:
        `(params, buffers)`: nested dicts keyed by the parts of the name. Buffers hold
        `mapping/w_avg` and `.../noise_const` `[1, h, w, 1]`; FIR filters are left out, since a
        model builds its own.

    Source: layout of the official StyleGAN2-ADA and StyleGAN3 state dicts.
    Checked: tests/parity, every `sg2_*` case goes through it.
    """
    params: dict[str, Any] = {}
    buffers: dict[str, Any] = {}
    for name, value in arrays.items():
        *path, leaf = name.split(".")
        if leaf == "resample_filter":
            continue
        # "synthesis.b8.conv0.weight" -> synthesis/b8/conv0/weight
        tree = buffers if leaf in ("w_avg", "noise_const") else params
        for part in path:
            tree = tree.setdefault(part, {})
        tree[leaf] = _to_ours(name, np.asarray(value))
    return params, buffers


def _to_ours(name: str, value: np.ndarray) -> np.ndarray:
    """Returns one tensor in our layout."""
    # Maps.
    if name.endswith("noise_const"):
        return value[None, :, :, None]  # [h, w] -> [1, h, w, 1]
    if name.endswith("const"):
        return value.transpose(1, 2, 0)  # [c, 4, 4] -> [4, 4, c]

    # Kernels, [o, i, kh, kw] -> [kh, kw, i, o].
    if value.ndim == 4:
        kernel = value.transpose(2, 3, 1, 0)
        is_up = name.startswith("synthesis.") and name.endswith("conv0.weight")
        return kernel[::-1, ::-1] if is_up else kernel

    # Dense layers, [out, in] -> [in, out].
    if name == "b4.fc.weight":
        # The flattening before this layer is channel-major there and channel-minor here.
        out_features, in_features = value.shape
        side = 4
        value = value.reshape(out_features, in_features // side**2, side, side)
        return value.transpose(2, 3, 1, 0).reshape(in_features, out_features)
    return value.T if value.ndim == 2 else value
