"""Name and layout table between official PyTorch StyleGAN2 weights and our parameter trees."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from flax import traverse_util

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
from stylegan_jax.sizes import RESOLUTIONS, SQUARE_BASE, Size, describe_size

# Taps of layers that do not resample, and how many taps are kept along one axis.
_USUAL_TAPS = (1, 3, 3, 1)
_SEPARABLE_TAPS = 8


def params_from_official(
    arrays: Mapping[str, np.ndarray], *, base_grid: Size = SQUARE_BASE
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Turns one network's flat official tensors into nested parameters and buffers.

    The table is linear, so it also converts gradients and moments. Names stay; layouts change:
    OIHW kernels become HWIO, dense weights `[out, in]` become `[in, out]`, maps become NHWC. The
    generator's up-sampling kernels are stored flipped by the official code and are turned here.

    Args:
        arrays: `{"synthesis.b8.conv0.weight": ..., ...}` of a generator, or of a discriminator
            (`{"b8.conv0.weight": ..., ...}`).
        base_grid: Height and width of the last feature maps of a discriminator.

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
        tree[leaf] = _to_ours(name, np.asarray(value), base_grid)
    return params, buffers


def _to_ours(name: str, value: np.ndarray, base_grid: Size) -> np.ndarray:
    """Returns one tensor in our layout."""
    # Maps.
    if name.endswith("noise_const"):
        return value[None, :, :, None]  # [h, w] -> [1, h, w, 1]
    if name.endswith("const"):
        return value.transpose(1, 2, 0)  # [c, 4, 4] -> [4, 4, c]

    # Kernels, [o, i, kh, kw] -> [kh, kw, i, o].
    if value.ndim == 4:
        kernel = value.transpose(2, 3, 1, 0)
        return kernel[::-1, ::-1] if _is_up(name) else kernel

    # Dense layers, [out, in] -> [in, out].
    if name == "b4.fc.weight":
        # The flattening before this layer is channel-major there and channel-minor here.
        out_features, in_features = value.shape
        value = value.reshape(out_features, -1, *base_grid)
        return value.transpose(2, 3, 1, 0).reshape(in_features, out_features)
    return value.T if value.ndim == 2 else value


def official_from_params(
    params: Mapping[str, Any],
    buffers: Mapping[str, Any],
    *,
    base_grid: Size = SQUARE_BASE,
    resample_filter: Sequence[float],
) -> dict[str, np.ndarray]:
    """Turns a network into the flat tensors that the official code has of it.

    The inverse of `params_from_official`, with the FIR filters that the original keeps as buffers:
    names and shapes are those of its `state_dict()`.

    Args:
        params: Of a generator or a discriminator, nested.
        buffers: `mapping/w_avg` and `synthesis/.../noise_const`, as `params_from_official` gives
            them; empty for a discriminator.
        base_grid: Height and width of the last feature maps of a discriminator.
        resample_filter: FIR taps along one axis.

    Returns:
        Float32 arrays in C order.

    Checked: tests/convert/test_stylegan2.py, bit for bit on all stored networks.
    """
    flat: dict[str, Any] = traverse_util.flatten_dict(params, sep=".")
    flat |= traverse_util.flatten_dict(buffers, sep=".")
    arrays = {name: _to_official(name, np.asarray(x), base_grid) for name, x in flat.items()}
    filters = {
        f"{layer}.resample_filter": _square_filter(resample_filter if resamples else _USUAL_TAPS)
        for layer, resamples in _filtered_layers(arrays).items()
    }
    return {n: np.array(x, np.float32, order="C") for n, x in (arrays | filters).items()}


def _to_official(name: str, value: np.ndarray, base_grid: Size) -> np.ndarray:
    """Returns one array in the official layout."""
    # Maps.
    if name.endswith("noise_const"):
        return value[0, :, :, 0]  # [1, h, w, 1] -> [h, w]
    if name.endswith("const"):
        return value.transpose(2, 0, 1)  # [4, 4, c] -> [c, 4, 4]

    # Kernels, [kh, kw, i, o] -> [o, i, kh, kw].
    if value.ndim == 4:
        kernel = value[::-1, ::-1] if _is_up(name) else value
        return kernel.transpose(3, 2, 0, 1)

    # Dense layers, [in, out] -> [out, in].
    if name == "b4.fc.weight":
        in_features, out_features = value.shape
        value = value.reshape(*base_grid, -1, out_features)
        return value.transpose(3, 2, 0, 1).reshape(out_features, in_features)
    return value.T if value.ndim == 2 else value


def _is_up(name: str) -> bool:
    """Tells kernels that up-sample, which the official code turns round."""
    return name.startswith("synthesis.") and name.endswith("conv0.weight")


def _filtered_layers(names: Iterable[str]) -> dict[str, bool]:
    """Blocks and layers that keep a filter -> whether they resample with it."""
    layers: dict[str, bool] = {}
    for name in names:
        match = re.fullmatch(r"((synthesis\.)?b(\d+))\.(\w+)\.weight", name)
        if match is None or match[4] in ("torgb", "fc", "out"):
            continue
        block, is_generator, res, layer = match.groups()
        # The end of a discriminator is no block there.
        if is_generator or res != "4":
            layers[block] = True
        resampling = ("conv0", "skip") if is_generator else ("conv1", "skip")
        layers[f"{block}.{layer}"] = layer in resampling
    return layers


def _square_filter(taps: Sequence[float]) -> np.ndarray:
    """Returns taps as the official code keeps them: of two axes unless they are many, of sum 1."""
    kernel = np.asarray(taps, np.float32)
    if kernel.size < _SEPARABLE_TAPS:
        kernel = np.outer(kernel, kernel)
    return kernel / kernel.sum()


# Names of the tensors and their numbers of axes. Filters are 1-D or 2-D.
MAPPING_RANKS = {
    r"mapping\.(embed|fc\d+)\.weight": 2,
    r"mapping\.(embed|fc\d+)\.bias": 1,
}
_G_RANKS = MAPPING_RANKS | {
    r"mapping\.w_avg": 1,
    r"synthesis\.b\d+\.const": 3,
    r"synthesis\.b\d+\.(conv[01]|torgb|skip)\.weight": 4,
    r"synthesis\.b\d+\.(conv[01]|torgb)\.bias": 1,
    r"synthesis\.b\d+\.(conv[01]|torgb)\.affine\.weight": 2,
    r"synthesis\.b\d+\.(conv[01]|torgb)\.affine\.bias": 1,
    r"synthesis\.b\d+\.conv[01]\.noise_strength": 0,
    r"synthesis\.b\d+\.conv[01]\.noise_const": 2,
    r"synthesis\..*resample_filter": None,
}
_D_RANKS = MAPPING_RANKS | {
    r"b\d+\.(fromrgb|conv0|conv1|skip|conv)\.weight": 4,
    r"b\d+\.(fromrgb|conv0|conv1|conv)\.bias": 1,
    r"b4\.(fc|out)\.weight": 2,
    r"b4\.(fc|out)\.bias": 1,
    r"b\d+\..*resample_filter": None,
}


# Arguments that have the same name there.
SIZES = {name: name for name in ("z_dim", "c_dim", "w_dim", "img_resolution", "img_channels")}


def load_generator(network: FlatNetwork) -> LoadedNetwork:
    """Makes a generator of official StyleGAN2-ADA or StyleGAN3-repository tensors.

    Sizes are those of the tensors; what no tensor shows (clamp, activations, learning rates) is
    what the layers in the file say of themselves, or the arguments that it states.

    Raises:
        CheckpointFileError: Names or shapes are not those of a StyleGAN2 generator.
    """
    arrays = network.arrays
    check_names(arrays, _G_RANKS)
    resolution = _resolution(arrays, r"synthesis\.b(\d+)\..*")
    top = f"synthesis.b{resolution}"
    w_dim = tensor(arrays, "synthesis.b4.conv1.affine.weight").shape[1]
    mapping = mapping_kwargs(network, w_dim)
    fc0_in = tensor(arrays, "mapping.fc0.weight").shape[1]
    const = tensor(arrays, "synthesis.b4.const").shape

    blocks = {res: f"synthesis.b{res}" for res in RESOLUTIONS if res <= resolution}
    widths = {r: tensor(arrays, f"{b}.conv1.weight").shape[0] for r, b in blocks.items()}
    embed = arrays["mapping.embed.weight"].shape if "mapping.embed.weight" in arrays else (0, 0)
    if fc0_in <= embed[0]:
        raise CheckpointFileError("A generator that maps labels alone: no network here does.")
    kwargs = dict(
        z_dim=fc0_in - embed[0],
        c_dim=embed[1],
        w_dim=w_dim,
        img_resolution=resolution,
        img_channels=tensor(arrays, f"{top}.torgb.weight").shape[0],
        **mapping,
        **fit_channels(widths, _stated_channels(network)),
        architecture=_architecture(network, blocks, "torgb"),
        use_noise=any(name.endswith("noise_strength") for name in arrays),
        resample_filter=_resample_filter(network, f"{top}.resample_filter"),
        conv_clamp=_clamp(network, "synthesis.b4.conv1"),
        **_changed("act", _option(network, "synthesis.b4.conv1.activation", "activation", "lrelu")),
        **({} if const[1:] == SQUARE_BASE else {"base_grid": const[1:]}),
    )
    check_stated(kwargs, network.kwargs, SIZES)
    params, buffers = params_from_official(arrays)
    return make_loaded("stylegan2", kwargs, params, _state_buffers(buffers), is_generator=True)


def load_discriminator(network: FlatNetwork) -> LoadedNetwork:
    """Makes a discriminator; as `load_generator`.

    Layers that were frozen in the original are parameters here as all others.
    """
    arrays = network.arrays
    check_names(arrays, _D_RANKS)
    resolution = _resolution(arrays, r"b(\d+)\..*")
    b4_out, b4_in = tensor(arrays, "b4.conv.weight").shape[:2]
    blocks = {res: f"b{res}" for res in RESOLUTIONS if res <= resolution}
    widths = {
        res: b4_out if res == 4 else tensor(arrays, f"{block}.conv0.weight").shape[0]
        for res, block in blocks.items()
    }
    cmap_dim = tensor(arrays, "b4.out.weight").shape[0]
    labels: dict[str, Any] = {}
    if "mapping.embed.weight" in arrays:
        labels = dict(cmap_dim=cmap_dim) | mapping_kwargs(network, cmap_dim)
    if tensor(arrays, "b4.fc.weight").shape[1] != 4 * 4 * b4_out or b4_in < b4_out:
        raise CheckpointFileError("The end of the discriminator is not that of 4x4 feature maps.")
    facts = network.facts
    group_size = _nested(network, "epilogue_kwargs").get("mbstd_group_size", 4)
    kwargs = dict(
        c_dim=arrays["mapping.embed.weight"].shape[1] if labels else 0,
        img_resolution=resolution,
        img_channels=tensor(arrays, f"b{resolution}.fromrgb.weight").shape[1],
        **fit_channels(widths, _stated_channels(network)),
        architecture=_architecture(network, blocks, "fromrgb"),
        resample_filter=_resample_filter(network, f"b{resolution}.resample_filter"),
        **labels,
        mbstd_group_size=_group_size(facts.get("b4.mbstd.group_size", group_size)),
        mbstd_num_channels=b4_in - b4_out,
        # A group is every so manieth image there.
        mbstd_grouping="strided",
        conv_clamp=_clamp(network, "b4.conv"),
        **_changed("act", facts.get(f"b{resolution}.fromrgb.activation", "lrelu")),
        **_changed("epilogue_act", facts.get("b4.conv.activation", "lrelu")),
    )
    check_stated(kwargs, network.kwargs, SIZES)
    params, _ = params_from_official(arrays)
    return make_loaded("stylegan2", kwargs, params, {}, is_generator=False)


def _resolution(arrays: Mapping[str, np.ndarray], pattern: str) -> int:
    """Returns the image's resolution from the blocks' names."""
    return check_resolutions(int(m[1]) for name in arrays if (m := re.fullmatch(pattern, name)))


def mapping_kwargs(network: FlatNetwork, w_dim: int) -> dict[str, Any]:
    """Returns the arguments of a mapping network whose output has `w_dim` numbers."""
    arrays = network.arrays
    stated = _nested(network, "mapping_kwargs")
    kwargs: dict[str, Any] = {"mapping_layers": count_layers(arrays, r"mapping\.fc(\d+)\.weight")}
    if "mapping.fc0.weight" in arrays:
        # The bias is scaled by the multiplier and nothing else.
        rate = network.facts.get("mapping.fc0.bias_gain", stated.get("lr_multiplier", 0.01))
        kwargs["mapping_lr_multiplier"] = number(rate, "The mapping's learning rate")
        act = network.facts.get("mapping.fc0.activation", stated.get("activation", "lrelu"))
        kwargs |= _changed("mapping_act", act)
        hidden = arrays["mapping.fc0.weight"].shape[0]
        if kwargs["mapping_layers"] > 1 and hidden != w_dim:
            kwargs["layer_features"] = hidden
    if "mapping.embed.weight" in arrays and arrays["mapping.embed.weight"].shape[0] != w_dim:
        kwargs["embed_features"] = arrays["mapping.embed.weight"].shape[0]
    return kwargs


def _nested(network: FlatNetwork, name: str) -> dict[str, Any]:
    """Returns arguments that are themselves a dict."""
    nested = network.kwargs.get(name)
    return nested if isinstance(nested, dict) else {}


def _option(network: FlatNetwork, fact: str, argument: str, default: Any) -> Any:
    """Returns what a layer says of itself, else what the network was made with, else a default.

    StyleGAN2-ADA keeps the arguments of layers in dicts of their own, its successor does not.
    """
    if fact in network.facts:
        return network.facts[fact]
    for kwargs in (
        network.kwargs,
        _nested(network, "synthesis_kwargs"),
        _nested(network, "block_kwargs"),
    ):
        if argument in kwargs:
            return kwargs[argument]
    return default


def _changed(argument: str, act: Any) -> dict[str, str]:
    """Returns an argument for an activation that is not the usual one."""
    return {} if act == "lrelu" else {argument: activation(act)}


def _stated_channels(network: FlatNetwork) -> tuple[Any, Any]:
    """The channels that the file states; the defaults of the originals where it does not."""
    return (
        _option(network, "", "channel_base", 32768),
        _option(network, "", "channel_max", 512),
    )


def _clamp(network: FlatNetwork, layer: str) -> float | None:
    """The clamp of convolutions; weights alone do not show it, and then there is none."""
    clamp = _option(network, f"{layer}.conv_clamp", "conv_clamp", None)
    return None if clamp is None else number(clamp, "conv_clamp")


def _group_size(value: Any) -> int | None:
    """The group of the minibatch statistics; None: the whole batch."""
    return None if value is None else int(number(value, "The size of minibatch groups"))


def _architecture(network: FlatNetwork, blocks: dict[int, str], colours: str) -> str:
    """Tells the architecture from the layers that are there."""
    arrays = network.arrays
    if any(f"{block}.skip.weight" in arrays for block in blocks.values()):
        return "resnet"
    if not all(f"{block}.{colours}.weight" in arrays for block in blocks.values()):
        return "orig"
    # Both have colours everywhere.
    return "progressive" if network.kwargs.get("architecture") == "progressive" else "skip"


def _resample_filter(network: FlatNetwork, name: str) -> tuple[float, ...]:
    """The FIR taps along one axis: as stated, if the tensor says the same, else the tensor's."""
    taps = filter_taps(_option(network, "", "resample_filter", [1, 3, 3, 1]) or [1])
    stored = network.arrays.get(name)
    if stored is None:
        return taps
    # Two axes hold the product of the taps with themselves, of sum 1.
    own = np.asarray(stored, np.float64)
    own = filter_taps((own.sum(axis=0) if own.ndim == 2 else own).tolist())
    if len(own) == len(taps) and np.allclose(np.divide(taps, sum(taps)), own, rtol=0, atol=1e-6):
        return taps
    return own


def to_official(network: LoadedNetwork) -> dict[str, np.ndarray]:
    """Returns the tensors of a network as the official code in PyTorch names and shapes them.

    Raises:
        ValueError: There is no such network there.
    """
    if network.kwargs.get("input", "const") != "const":
        raise ValueError(
            "The original StyleGAN2 begins with a learned constant and has no names for Fourier "
            "features: write an export instead."
        )
    return official_from_params(
        network.params,
        _official_buffers(network.buffers),
        base_grid=network.base_grid,
        resample_filter=network.kwargs.get("resample_filter", _USUAL_TAPS),
    )


def from_official(
    arrays: Mapping[str, np.ndarray], kwargs: dict[str, Any], *, is_generator: bool
) -> LoadedNetwork:
    """Makes a network whose arguments are known of what `to_official` returned."""
    check_names(arrays, _G_RANKS if is_generator else _D_RANKS)
    base_grid = kwargs.get("base_grid", SQUARE_BASE)
    params, buffers = params_from_official(arrays, base_grid=base_grid)
    state = _state_buffers(buffers)
    return make_loaded("stylegan2", kwargs, params, state, is_generator=is_generator)


def foreign_notes(network: LoadedNetwork) -> list[str]:
    """What the official code could not make of a network, a sentence each."""
    notes = []
    if network.base_grid != SQUARE_BASE:
        notes.append(f"Images of {describe_size(network.size)} px: the original makes squares.")
    if network.kwargs.get("architecture") == "progressive":
        notes.append("Architecture 'progressive': the original has none of that name.")
    if network.kwargs.get("mbstd_grouping", "strided") != "strided":
        notes.append("Minibatch groups of neighbours: the original takes every so manieth image.")
    return notes


def _official_buffers(buffers: Mapping[str, Any]) -> dict[str, Any]:
    """Buffers of the training state as the original has them; the inverse of `_state_buffers`."""
    nested: dict[str, Any] = {}
    if "w_avg" in buffers:
        nested["mapping"] = {"w_avg": buffers["w_avg"]}
    for block, layers in buffers.get("noise_const", {}).items():
        synthesis = nested.setdefault("synthesis", {})
        synthesis[block] = {layer: {"noise_const": noise} for layer, noise in layers.items()}
    return nested


def _state_buffers(buffers: dict[str, Any]) -> dict[str, Any]:
    """Buffers as the training state has them."""
    noise = {
        block: {layer: leaf["noise_const"] for layer, leaf in layers.items()}
        for block, layers in buffers.get("synthesis", {}).items()
    }
    return buffers.get("mapping", {}) | ({"noise_const": noise} if noise else {})
