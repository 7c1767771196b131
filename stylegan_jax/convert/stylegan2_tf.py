"""Names and layouts of TensorFlow's StyleGAN2 and StyleGAN2-ADA, as those of the PyTorch versions.

What comes out goes on through `stylegan2.py`: one table of names leads to ours.
"""

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from stylegan_jax.convert.networks import check_names
from stylegan_jax.convert.readers.records import CheckpointFileError
from stylegan_jax.convert.readers.trees import FlatNetwork

# Layer within a resolution -> ours.
_LAYERS = {
    "Conv0_up": "conv0",
    "Conv0": "conv0",
    "Conv1": "conv1",
    "Conv1_down": "conv1",
    "ToRGB": "torgb",
    "FromRGB": "fromrgb",
    "Skip": "skip",
}
# Settings of sizes -> those of the PyTorch version.
_SIZES = {
    "latent_size": "z_dim",
    "label_size": "c_dim",
    "dlatent_size": "w_dim",
    "resolution": "img_resolution",
    "num_channels": "img_channels",
}
# Variables of a modulated convolution -> theirs in PyTorch.
_LEAVES = {"mod_weight": "affine.weight", "mod_bias": "affine.bias"}

_RANKS = {"weight": 4, "bias": 1, "mod_weight": 2, "mod_bias": 1, "noise_strength": 0}
_G_LAYERS = r"(4x4/(Conv|ToRGB)|\d+x\d+/(Conv0_up|Conv1|ToRGB|Skip)|ToRGB_lod\d{1,2})"
_G_RANKS: dict[str, int | None] = {
    "lod": 0,
    "dlatent_avg": 1,
    r"G_synthesis/lod": 0,
    r"G_mapping/(LabelEmbed|LabelConcat|Dense\d+)/weight": 2,
    r"G_mapping/(LabelEmbed|Dense\d+)/bias": 1,
    r"G_synthesis/noise\d{1,2}": 4,
    r"G_synthesis/4x4/Const/const": 4,
    **{rf"G_synthesis/{_G_LAYERS}/{leaf}": rank for leaf, rank in _RANKS.items()},
}
_D_LAYERS = r"(\d+x\d+/(FromRGB|Conv0|Conv1_down|Skip)|4x4/Conv|FromRGB_lod\d{1,2})"
_D_RANKS: dict[str, int | None] = {
    "lod": 0,
    rf"{_D_LAYERS}/weight": 4,
    rf"{_D_LAYERS}/bias": 1,
    r"(LabelEmbed|Mapping\d+|4x4/Dense0|Output)/weight": 2,
    r"(LabelEmbed|Mapping\d+|4x4/Dense0|Output)/bias": 1,
}


def generator_to_torch(network: FlatNetwork) -> FlatNetwork:
    """Renames a generator's variables and settings.

    Raises:
        CheckpointFileError: Names are not those of the official networks, or labels are joined to
            the latent before both are normalised, as StyleGAN2 did until ADA.
    """
    check_names(network.arrays, _G_RANKS)
    if "G_mapping/LabelConcat/weight" in network.arrays:
        raise CheckpointFileError(
            "A StyleGAN2 with labels, from before ADA: it normalises latent and label together, "
            "which no network here does."
        )
    given = network.kwargs
    return FlatNetwork(
        network.class_name,
        _rename(network.arrays, _generator_name),
        _settings(given, is_progressive="G_synthesis/ToRGB_lod1/weight" in network.arrays),
        {
            "synthesis.b4.conv1.activation": given.get("nonlinearity", "lrelu"),
            "synthesis.b4.conv1.conv_clamp": given.get("conv_clamp"),
            "mapping.fc0.activation": given.get("mapping_nonlinearity", "lrelu"),
            "mapping.fc0.bias_gain": given.get("mapping_lrmul", 0.01),
        },
    )


def discriminator_to_torch(network: FlatNetwork) -> FlatNetwork:
    """Renames a discriminator's variables and settings; as `generator_to_torch`.

    Raises:
        CheckpointFileError: Names are not those of the official networks, or the label picks one
            of several scores, as in StyleGAN2 until ADA.
    """
    check_names(network.arrays, _D_RANKS)
    arrays = _rename(network.arrays, _discriminator_name)
    outputs = arrays["b4.out.weight"].shape[0] if "b4.out.weight" in arrays else 1
    if outputs > 1 and "mapping.embed.weight" not in arrays:
        raise CheckpointFileError(
            "A StyleGAN2 with labels, from before ADA: its label picks one of several scores, "
            "which no StyleGAN2 discriminator here does."
        )
    given = network.kwargs
    act = given.get("nonlinearity", "lrelu")
    sides = [int(m[1]) for name in arrays if (m := re.match(r"b(\d+)\.", name))]
    return FlatNetwork(
        network.class_name,
        arrays,
        _settings(given, is_progressive="FromRGB_lod1/weight" in network.arrays),
        {
            f"b{max(sides, default=4)}.fromrgb.activation": act,
            "b4.conv.activation": act,
            "b4.conv.conv_clamp": given.get("conv_clamp"),
            # The network's own default, whatever other converters take.
            "b4.mbstd.group_size": given.get("mbstd_group_size", 4),
            "mapping.fc0.activation": given.get("mapping_nonlinearity", "lrelu"),
            "mapping.fc0.bias_gain": given.get("mapping_lrmul", 0.1),
        },
    )


def _settings(given: dict[str, Any], *, is_progressive: bool) -> dict[str, Any]:
    """Arguments that no layer shows, under the names of the PyTorch version."""
    fmap_base = given.get("fmap_base", 16384)
    kwargs = {
        # Counted from the block before there.
        "channel_base": 2 * fmap_base if type(fmap_base) is int else fmap_base,
        "channel_max": given.get("fmap_max", 512),
        # None: pixels are repeated, and averaged.
        "resample_filter": given.get("resample_kernel", [1, 3, 3, 1]) or [1, 1],
    }
    kwargs |= {ours: given[theirs] for theirs, ours in _SIZES.items() if theirs in given}
    return kwargs | ({"architecture": "progressive"} if is_progressive else {})


def _rename(
    arrays: dict[str, np.ndarray], name_of: Callable[[str, int], str]
) -> dict[str, np.ndarray]:
    """Turns every variable but the level of detail, which the image counter gives."""
    sides = [int(m[1]) for name in arrays if (m := re.search(r"(\d+)x\1/", name))]
    resolution = max(sides, default=4)
    return {
        name_of(name, resolution): _to_torch(name, value)
        for name, value in arrays.items()
        if not name.endswith("lod")
    }


def _generator_name(name: str, resolution: int) -> str:
    """Returns the PyTorch version's name of a generator's variable."""
    if name == "dlatent_avg":
        return "mapping.w_avg"
    # "G_mapping/Dense0/weight" -> mapping.fc0.weight
    component, _, rest = name.partition("/")
    if component == "G_mapping":
        rest = rest.replace("LabelEmbed", "embed").replace("Dense", "fc")
        return "mapping." + rest.replace("/", ".")
    # noise0 is that of 4x4, noise1 and noise2 those of 8x8 ...
    if match := re.fullmatch(r"noise(\d+)", rest):
        index = int(match[1]) + 1
        return f"synthesis.b{4 << index // 2}.conv{index % 2}.noise_const"
    return "synthesis." + _block_name(rest, resolution)


def _discriminator_name(name: str, resolution: int) -> str:
    """Returns the PyTorch version's name of a discriminator's variable."""
    layer, _, leaf = name.rpartition("/")
    if layer in ("4x4/Conv", "4x4/Dense0", "Output"):
        ours = {"4x4/Conv": "conv", "4x4/Dense0": "fc", "Output": "out"}[layer]
        return f"b4.{ours}.{leaf}"
    if match := re.fullmatch(r"LabelEmbed|Mapping(\d+)", layer):
        return f"mapping.{'embed' if match[1] is None else 'fc' + match[1]}.{leaf}"
    return _block_name(name, resolution)


def _block_name(name: str, resolution: int) -> str:
    """Returns the name of a variable of a resolution: `8x8/Conv0_up/weight`."""
    if name == "4x4/Const/const":
        return "b4.const"
    scope, _, leaf = name.rpartition("/")
    leaf = _LEAVES.get(leaf, leaf)
    # "ToRGB_lod2/weight": lod 0 is full size, each further one half as large.
    if match := re.fullmatch(r"(ToRGB|FromRGB)_lod(\d+)", scope):
        return f"b{resolution >> int(match[2])}.{_LAYERS[match[1]]}.{leaf}"
    size, _, layer = scope.partition("/")
    ours = "conv1" if layer == "Conv" else _LAYERS[layer]
    return f"b{size.partition('x')[0]}.{ours}.{leaf}"


def _to_torch(name: str, value: np.ndarray) -> np.ndarray:
    """Returns one variable in the PyTorch version's layout."""
    if name.endswith("/const"):
        return value[0]  # [1, c, 4, 4] -> [c, 4, 4]
    if re.search(r"noise\d+$", name):
        return value[0, 0]  # [1, 1, h, w] -> [h, w]
    if name.endswith("mod_bias"):
        return value + 1  # added at run time there
    if value.ndim == 4:
        # The PyTorch version stores what it up-samples with turned round.
        is_up = name.endswith("Conv0_up/weight")
        is_up |= name.startswith("G_synthesis/") and name.endswith("Skip/weight")
        value = value[::-1, ::-1] if is_up else value
        return value.transpose(3, 2, 0, 1)  # [kh, kw, i, o] -> [o, i, kh, kw]
    return value.T if value.ndim == 2 else value  # [in, out] -> [out, in]
