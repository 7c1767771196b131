"""Name and layout table between official ProGAN and StyleGAN 1 weights and our parameter trees."""

import re
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

# Official layer name -> ours, within a block.
_LAYERS = {
    "Conv0": "conv0",
    "Conv0_up": "conv0",
    "Conv1": "conv1",
    "Conv1_down": "conv1",
    "Conv": "conv",
    "Dense": "fc",
    "Dense0": "fc",
    "Dense1": "out",
}
# Up-sampling convolutions onto at least this resolution are fused under `fused_scale="auto"`.
_AUTO_FUSED = 128


def params_from_official(
    arrays: Mapping[str, np.ndarray],
    *,
    network: Literal["progan_G", "stylegan1_G", "D"],
    fused_scale: bool | Literal["auto"],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Turns one network's flat official tensors into nested parameters and buffers.

    The table is linear, so it also converts gradients. Kernels are stored HWIO there, too; maps
    become NHWC; dense layers next to the 4x4 maps are channel-major there and channel-minor here.
    A fused up-sampling convolution is a convolution there and a correlation here: its kernel is
    turned.

    Args:
        arrays: `{"8x8/Conv0_up/weight": ..., ...}` of ProGAN's generator or a discriminator, or
            `{"G_mapping/Dense0/weight": ..., "G_synthesis/4x4/Const/const": ..., ...}`.
        network: Whose tensors these are.
        fused_scale: The network's argument of that name.

    Returns:
        `(params, buffers)`: nested dicts. Buffers hold `w_avg` and `noise_const`, as the training
        state has them; the level of detail `lod` is left out, since the image counter gives it.

    Source: variable scopes of the official ProGAN and StyleGAN networks.
    Checked: tests/parity, every `pggan_*` and `sg1_*` case goes through it.
    """
    params: dict[str, Any] = {}
    buffers: dict[str, Any] = {}
    # "64x64/Conv0_up/weight": the largest side counts where names are by level of detail.
    sides = [int(m[1]) for name in arrays if (m := re.search(r"(\d+)x\1/", name))]
    for name, value in arrays.items():
        value = np.asarray(value)
        if name.endswith("lod"):
            continue
        # Buffers.
        if name == "dlatent_avg":
            buffers["w_avg"] = value
        elif match := re.search(r"noise(\d+)$", name):
            # noise0 and noise1 are those of 4x4, noise2 and noise3 of 8x8 ...
            side = 2 ** (int(match[1]) // 2 + 2)
            layer = f"conv{int(match[1]) % 2}"
            noise = buffers.setdefault("noise_const", {}).setdefault(f"b{side}", {})
            noise[layer] = value.transpose(0, 2, 3, 1)  # [1, 1, h, w] -> [1, h, w, 1]
        # Parameters.
        else:
            path = _path(name, network, max(sides))
            tree = params
            for part in path[:-1]:
                tree = tree.setdefault(part, {})
            tree[path[-1]] = _to_ours(name, value, network, fused_scale)
    return params, buffers


def _path(name: str, network: str, img_resolution: int) -> list[str]:
    """Returns our path of an official variable."""
    # "G_mapping/Dense0/weight" -> mapping/fc0/weight
    top, _, rest = name.partition("/")
    if top == "G_mapping":
        layer, leaf = rest.split("/")
        number = layer.removeprefix("Dense")
        return ["mapping", "embed"] if layer == "LabelConcat" else ["mapping", f"fc{number}", leaf]

    # "G_synthesis/ToRGB_lod2/weight": lod 0 is full size, each further one half as large.
    prefix = [] if network == "D" else ["synthesis"]
    scope, *rest = name.removeprefix("G_synthesis/").split("/")
    if match := re.match(r"(ToRGB|FromRGB)_lod(\d+)", scope):
        return [*prefix, f"b{img_resolution >> int(match[2])}", match[1].lower(), *rest]

    # "8x8/Conv0_up/weight" -> b8/conv0/weight
    block = f"b{scope.partition('x')[0]}"
    layer, *leaf = rest
    return [*prefix, block, *_layer_path(layer, leaf, network, is_first=block == "b4")]


def _layer_path(layer: str, leaf: list[str], network: str, *, is_first: bool) -> list[str]:
    """Returns our path below a block."""
    ours = _LAYERS.get(layer, "const")
    if network != "D" and ours == "conv":
        ours = "conv1"  # the 4x4 block's only one
    if network == "stylegan1_G":
        if leaf == ["const"]:
            return ["const"]
        # Bias, noise and style come after the convolution: here they are a layer of their own.
        if leaf != ["weight"]:
            epilogue = "epilogue1" if ours == "conv1" else "epilogue0"
            kinds = {"Noise": ["noise_strength"], "StyleMod": ["affine", leaf[-1]]}
            return [epilogue, *kinds.get(leaf[0], leaf)]
    if network == "progan_G" and ours == "fc" and leaf == ["bias"]:
        return ["bias"]  # added after the reshaping
    return [ours, *leaf]


def _to_ours(name: str, value: np.ndarray, network: str, fused_scale: bool | str) -> np.ndarray:
    """Returns one tensor in our layout."""
    if name.endswith("/const"):
        return value[0].transpose(1, 2, 0)  # [1, c, 4, 4] -> [4, 4, c]
    # ProGAN's first layer, [in, c * 4 * 4], and the last of D, [c * 4 * 4, out].
    if name.endswith("4x4/Dense/weight"):
        return value.reshape(len(value), -1, 4, 4).transpose(0, 2, 3, 1).reshape(value.shape)
    if name.endswith("4x4/Dense0/weight"):
        return value.reshape(-1, 4, 4, value.shape[1]).transpose(1, 2, 0, 3).reshape(value.shape)
    if name.endswith("Conv0_up/weight"):
        side = int(name.split("x")[0].rpartition("/")[2])
        is_fused = side >= _AUTO_FUSED if fused_scale == "auto" else fused_scale
        # ProGAN gives this name to fused layers alone.
        return value[::-1, ::-1] if is_fused or network == "progan_G" else value
    return value
