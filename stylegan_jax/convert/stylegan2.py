"""Name and layout table between official PyTorch StyleGAN2 weights and our parameter trees."""

import re
from collections.abc import Mapping
from typing import Any

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
from stylegan_jax.sizes import RESOLUTIONS, SQUARE_BASE


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


# Names of the tensors and their numbers of axes. Filters are 1-D or 2-D.
_MAPPING_RANKS = {
    r"mapping\.(embed|fc\d+)\.weight": 2,
    r"mapping\.(embed|fc\d+)\.bias": 1,
}
_G_RANKS = _MAPPING_RANKS | {
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
_D_RANKS = _MAPPING_RANKS | {
    r"b\d+\.(fromrgb|conv0|conv1|skip|conv)\.weight": 4,
    r"b\d+\.(fromrgb|conv0|conv1|conv)\.bias": 1,
    r"b4\.(fc|out)\.weight": 2,
    r"b4\.(fc|out)\.bias": 1,
    r"b\d+\..*resample_filter": None,
}


# Arguments that have the same name there.
_SIZES = {name: name for name in ("z_dim", "c_dim", "w_dim", "img_resolution", "img_channels")}


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
    mapping = _mapping_kwargs(network, w_dim)
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
    check_stated(kwargs, network.kwargs, _SIZES)
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
        labels = dict(cmap_dim=cmap_dim) | _mapping_kwargs(network, cmap_dim)
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
    check_stated(kwargs, network.kwargs, _SIZES)
    params, _ = params_from_official(arrays)
    return make_loaded("stylegan2", kwargs, params, {}, is_generator=False)


def _resolution(arrays: Mapping[str, np.ndarray], pattern: str) -> int:
    """Returns the image's resolution from the blocks' names."""
    return check_resolutions(int(m[1]) for name in arrays if (m := re.fullmatch(pattern, name)))


def _mapping_kwargs(network: FlatNetwork, w_dim: int) -> dict[str, Any]:
    """Arguments of a mapping network whose output has `w_dim` numbers."""
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


def _state_buffers(buffers: dict[str, Any]) -> dict[str, Any]:
    """Buffers as the training state has them."""
    noise = {
        block: {layer: leaf["noise_const"] for layer, leaf in layers.items()}
        for block, layers in buffers.get("synthesis", {}).items()
    }
    return buffers.get("mapping", {}) | ({"noise_const": noise} if noise else {})
