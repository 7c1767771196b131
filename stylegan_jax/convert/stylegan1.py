"""Name and layout table between official ProGAN and StyleGAN 1 weights and our parameter trees."""

import re
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from stylegan_jax.convert.networks import (
    LoadedNetwork,
    activation,
    check_names,
    check_resolutions,
    check_stated,
    count_layers,
    filter_taps,
    fit_channels,
    make_loaded,
    number,
    tensor,
)
from stylegan_jax.convert.readers.records import CheckpointFileError
from stylegan_jax.convert.readers.trees import FlatNetwork

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


# Names of the variables and their numbers of axes.
_COLOURS = {r"(To|From)RGB_lod\d{1,2}/weight": 4, r"(To|From)RGB_lod\d{1,2}/bias": 1}
_G_SCOPE = r"G_synthesis/\d+x\d+/(Const|Dense|Conv|Conv0_up|Conv1)"
_STYLEGAN1_RANKS = {
    "lod": 0,
    "dlatent_avg": 1,
    r"G_mapping/(LabelConcat|Dense\d+)/weight": 2,
    r"G_mapping/Dense\d+/bias": 1,
    "G_synthesis/lod": 0,
    r"G_synthesis/noise\d{1,2}": 4,
    "G_synthesis/4x4/Const/const": 4,
    "G_synthesis/4x4/Dense/weight": 2,
    r"G_synthesis/\d+x\d+/(Conv|Conv0_up|Conv1)/weight": 4,
    rf"{_G_SCOPE}/bias": 1,
    rf"{_G_SCOPE}/Noise/weight": 1,
    rf"{_G_SCOPE}/StyleMod/weight": 2,
    rf"{_G_SCOPE}/StyleMod/bias": 1,
    **{f"G_synthesis/{pattern}": rank for pattern, rank in _COLOURS.items()},
}
_PROGAN_RANKS = _COLOURS | {
    "lod": 0,
    "4x4/Dense/weight": 2,
    r"\d+x\d+/(Conv|Conv0|Conv0_up|Conv1)/weight": 4,
    r"\d+x\d+/(Dense|Conv|Conv0|Conv0_up|Conv1)/bias": 1,
}
_D_RANKS = _COLOURS | {
    "lod": 0,
    r"\d+x\d+/(Conv|Conv0|Conv1|Conv1_down)/weight": 4,
    r"\d+x\d+/(Conv|Conv0|Conv1|Conv1_down)/bias": 1,
    r"4x4/Dense[01]/weight": 2,
    r"4x4/Dense[01]/bias": 1,
}


# Settings of sizes, under their names and ours.
_SIZES = {
    "latent_size": "z_dim",
    "label_size": "c_dim",
    "dlatent_size": "w_dim",
    "resolution": "img_resolution",
    "num_channels": "img_channels",
}


def load_generator(network: FlatNetwork) -> LoadedNetwork:
    """Makes a generator of official StyleGAN 1 variables.

    Sizes are those of the variables; what none shows is what the file's settings say, or the
    original's default.

    Raises:
        CheckpointFileError: Names or shapes are not those of a StyleGAN 1 generator.
    """
    arrays, given = network.arrays, network.kwargs
    check_names(arrays, _STYLEGAN1_RANKS)
    w_dim = len(tensor(arrays, "dlatent_avg"))
    colours = tensor(arrays, "G_synthesis/ToRGB_lod0/weight")
    c_dim, embed = arrays.get("G_mapping/LabelConcat/weight", np.zeros((0, 0))).shape
    num_layers = count_layers(arrays, r"G_mapping/Dense(\d+)/weight")
    mapping: dict[str, Any] = {"mapping_layers": num_layers}
    z_dim = w_dim - embed
    if num_layers:
        first = arrays["G_mapping/Dense0/weight"]
        z_dim = first.shape[0] - embed
        mapping["layer_features"] = first.shape[1]
    fused_scale = _fused_scale(given, "auto")
    params, buffers = _convert(arrays, "stylegan1_G", fused_scale)
    kwargs = dict(
        z_dim=z_dim,
        c_dim=c_dim,
        w_dim=w_dim,
        img_channels=colours.shape[3],
        **mapping,
        mapping_lr_multiplier=number(given.get("mapping_lrmul", 0.01), "mapping_lrmul"),
        **_sizes(params["synthesis"], given, "conv1", axis=3),
        act=activation(given.get("nonlinearity", "lrelu")),
        const_input="G_synthesis/4x4/Const/const" in arrays,
        use_noise=any(name.endswith("Noise/weight") for name in arrays),
        use_pixel_norm=bool(given.get("use_pixel_norm", False)),
        use_instance_norm=bool(given.get("use_instance_norm", True)),
        use_styles=any(name.endswith("StyleMod/weight") for name in arrays),
        blur_filter=_blur_filter(given, [1, 2, 1]),
    )
    if z_dim < 1:
        raise CheckpointFileError("A mapping network without a latent: the file is damaged.")
    check_stated(kwargs, given, _SIZES)
    return make_loaded("stylegan1", kwargs, params, buffers, is_generator=True)


def load_progan_generator(network: FlatNetwork) -> LoadedNetwork:
    """Makes a generator of ProGAN's variables, as the StyleGAN repository has them."""
    arrays, given = network.arrays, network.kwargs
    check_names(arrays, _PROGAN_RANKS)
    c_dim = int(number(given.get("label_size", 0), "label_size"))
    params, _ = _convert(arrays, "progan_G", True)
    kwargs = dict(
        z_dim=tensor(arrays, "4x4/Dense/weight").shape[0] - c_dim,
        c_dim=c_dim,
        img_channels=tensor(arrays, "ToRGB_lod0/weight").shape[3],
        **_sizes(params["synthesis"], given, "conv1", axis=3),
    )
    if c_dim < 0 or kwargs["z_dim"] < 1:
        raise CheckpointFileError("A generator without a latent: the file is damaged.")
    check_stated(kwargs, given, _SIZES)
    return make_loaded("progan", kwargs, params, {}, is_generator=True)


def load_discriminator(network: FlatNetwork, *, is_progan: bool) -> LoadedNetwork:
    """Makes a discriminator of StyleGAN 1 (`is_progan`: of ProGAN)."""
    arrays, given = network.arrays, network.kwargs
    check_names(arrays, _D_RANKS)
    fc = tensor(arrays, "4x4/Dense0/weight")
    if fc.shape[0] % 16:
        raise CheckpointFileError("The end of the discriminator is not that of 4x4 feature maps.")
    fused_scale = _fused_scale(given, True if is_progan else "auto")
    params, _ = _convert(arrays, "D", fused_scale)
    scores = tensor(arrays, "4x4/Dense1/weight").shape[1]
    num_channels = _count(given, "mbstd_num_features", 1)
    group_size = _count(given, "mbstd_group_size", 4)
    kwargs = dict(
        # One score per class; a single class has one, too.
        c_dim=scores if scores > 1 else min(_count(given, "label_size", 0), 1),
        img_channels=tensor(arrays, "FromRGB_lod0/weight").shape[2],
        **_sizes(params, given, "conv0", axis=2, more={2: fc.shape[1]}),
        blur_filter=_blur_filter(given, None if is_progan else [1, 2, 1]),
        score_by_label=not is_progan,
        mbstd_group_size=group_size,
        # Groups of one are left out there.
        mbstd_num_channels=num_channels if group_size > 1 else 0,
        mbstd_grouping="strided",
    )
    check_stated(kwargs, given, _SIZES if not is_progan else {"resolution": "img_resolution"})
    if is_progan:
        kwargs |= dict(c_dim=0, fused_scale=bool(fused_scale))
    return make_loaded("progressive", kwargs, params, {}, is_generator=False)


def _convert(
    arrays: Mapping[str, np.ndarray],
    network: Literal["progan_G", "stylegan1_G", "D"],
    fused_scale: bool | Literal["auto"],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Converts variables whose names are known, once what is reshaped is seen to be whole."""
    for name, array in arrays.items():
        if name.endswith("4x4/Dense/weight") and array.shape[1] % 16:
            raise CheckpointFileError(f"{name} does not make 4x4 feature maps.")
    if not any("4x4/" in name for name in arrays):
        raise CheckpointFileError("The layers of 4x4 px are missing: the file is damaged.")
    return params_from_official(arrays, network=network, fused_scale=fused_scale)


def _sizes(
    blocks: dict[str, Any],
    given: Mapping[str, Any],
    layer: str,
    *,
    axis: int,
    more: Mapping[int, int] | None = None,
) -> dict[str, Any]:
    """Reads resolution, widths and growth off the blocks.

    Args:
        blocks: Parameters by block.
        given: Settings of the file.
        layer: Layer of each block, and `axis` of its kernel, that has the block's width.
        axis: See `layer`.
        more: Widths by resolution that are known otherwise.
    """
    resolution = check_resolutions(int(name[1:]) for name in blocks)
    channels = dict(more or {})
    growing = 0
    for name, block in blocks.items():
        kernel = block.get(layer, block.get("conv", {})).get("weight")
        if kernel is None or kernel.ndim != 4:
            raise CheckpointFileError(f"The layer {name}/{layer} is missing: the file is damaged.")
        # The last convolution of D sees the minibatch statistics, too.
        channels[int(name[1:])] = kernel.shape[axis if layer in block else 3]
        growing += bool({"torgb", "fromrgb"} & set(block))
    fmap_base = given.get("fmap_base", 8192)
    base = 2 * fmap_base if type(fmap_base) is int else None
    return dict(
        img_resolution=resolution,
        **fit_channels(channels, (base, given.get("fmap_max", 512))),
        # Colours at every resolution, as growing leaves them.
        grows=growing == len(blocks),
    )


def _fused_scale(given: Mapping[str, Any], default: Any) -> Any:
    """The setting of that name."""
    value = given.get("fused_scale", default)
    if value not in (True, False, "auto"):
        raise CheckpointFileError(f"fused_scale is {str(value)[:80]!r}, not true, false or auto.")
    return value


def _blur_filter(given: Mapping[str, Any], default: Any) -> tuple[float, ...] | None:
    """The taps of the blur; None: there is none."""
    taps = given.get("blur_filter", default)
    return filter_taps(taps) if taps else None


def _count(given: Mapping[str, Any], name: str, default: int) -> int:
    """A setting that is a count."""
    value = given.get(name, default)
    if type(value) is not int or not 0 <= value < 2**20:
        raise CheckpointFileError(f"{name} is {str(value)[:80]!r}, which is no count.")
    return value
