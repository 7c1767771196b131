"""Name and layout table between official StyleGAN3 generators and our parameter trees."""

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from flax import traverse_util

from stylegan_jax.convert.networks import (
    LoadedNetwork,
    check_names,
    check_stated,
    count_layers,
    make_loaded,
    number,
    tensor,
)
from stylegan_jax.convert.readers.records import CheckpointFileError
from stylegan_jax.convert.readers.trees import FlatNetwork
from stylegan_jax.convert.stylegan2 import MAPPING_RANKS, SIZES, mapping_kwargs
from stylegan_jax.models.stylegan3 import layer_filters
from stylegan_jax.models.stylegan3_schedule import LayerPlan, plan_layers
from stylegan_jax.sizes import SQUARE_BASE, describe_size

# Layers of square images, and of any that are made here.
_LAYER = r"synthesis\.(L\d+_\d+_\d+)\."
_ANY_LAYER = r"synthesis\.L\d+_\d+(x\d+)?_\d+"
# Names of the tensors and their numbers of axes. Filters are 1-D, or 2-D where they are radial.
_RANKS: dict[str, int | None] = MAPPING_RANKS | {
    r"mapping\.w_avg": 1,
    r"synthesis\.input\.(weight|transform|freqs)": 2,
    r"synthesis\.input\.phases": 1,
    rf"{_ANY_LAYER}\.weight": 4,
    rf"{_ANY_LAYER}\.bias": 1,
    rf"{_ANY_LAYER}\.magnitude_ema": 0,
    rf"{_ANY_LAYER}\.(up|down)_filter": None,
    rf"(synthesis\.input|{_ANY_LAYER})\.affine\.weight": 2,
    rf"(synthesis\.input|{_ANY_LAYER})\.affine\.bias": 1,
}
# What a model makes itself; `transform` is an argument here.
_MADE_HERE = ("up_filter", "down_filter", "transform")
# Values that a network moves.
_BUFFERS = ("w_avg", "magnitude_ema")
# Options of the schedule that its tensors do not state, whose names are the same there.
_SCHEDULE = (
    "num_critical",
    "first_cutoff",
    "first_stopband",
    "last_stopband_rel",
    "filter_size",
    "lrelu_upsampling",
)
# Filters that are designed in float64 agree to the rounding of float32.
_FILTER_TOLERANCE = 1e-6
# Longer ones are those of a damaged file, and would ask for much memory.
_MOST_TAPS = 512


def is_generator(names: Iterable[str]) -> bool:
    """Tells a StyleGAN3 generator by the names of its layers' tensors."""
    return any(re.match(_ANY_LAYER, name) for name in names)


def params_from_official(
    arrays: Mapping[str, np.ndarray],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Turns a generator's flat official tensors into nested parameters and buffers.

    The table is linear, so it also converts gradients and moments. Names stay; kernels OIHW become
    HWIO, dense weights `[out, in]` become `[in, out]`.

    Args:
        arrays: `{"synthesis.L0_36_512.weight": ..., ...}`.

    Returns:
        `(params, buffers)`: nested dicts keyed by the parts of the name. Buffers hold
        `mapping/w_avg` and `synthesis/L.../magnitude_ema`; frequencies and phases are parameters;
        filters are left out, since a model designs its own.

    Source: layout of the official StyleGAN3 state dict.
    Checked: tests/parity, every `sg3_*` case goes through it.
    """
    params: dict[str, Any] = {}
    buffers: dict[str, Any] = {}
    for name, value in arrays.items():
        *path, leaf = name.split(".")
        if leaf in _MADE_HERE:
            continue
        tree = buffers if leaf in _BUFFERS else params
        for part in path:
            tree = tree.setdefault(part, {})
        tree[leaf] = _turn(leaf, np.asarray(value))
    return params, buffers


def _turn(leaf: str, value: np.ndarray) -> np.ndarray:
    """Returns one tensor in our layout."""
    if leaf != "weight":
        return value
    # [o, i, kh, kw] -> [kh, kw, i, o], [out, in] -> [in, out]
    return value.transpose(2, 3, 1, 0) if value.ndim == 4 else value.T


def _turn_back(leaf: str, value: np.ndarray) -> np.ndarray:
    """Returns one array in the official layout."""
    if leaf != "weight":
        return value
    return value.transpose(3, 2, 0, 1) if value.ndim == 4 else value.T


def official_from_params(
    params: Mapping[str, Any], buffers: Mapping[str, Any], plans: tuple[LayerPlan, ...]
) -> dict[str, np.ndarray]:
    """Turns a generator into the flat tensors that the official code has of it.

    The inverse of `params_from_official`, with what the original keeps as buffers: filters, and a
    transform that does nothing.

    Args:
        params: Nested.
        buffers: `mapping/w_avg` and `synthesis/L.../magnitude_ema`.
        plans: Of its layers.

    Returns:
        Float32 arrays in C order.

    Checked: tests/convert/test_stylegan3.py, bit for bit on all stored networks.
    """
    flat: dict[str, Any] = traverse_util.flatten_dict(params, sep=".")
    flat |= traverse_util.flatten_dict(buffers, sep=".")
    arrays = {n: _turn_back(n.split(".")[-1], np.asarray(value)) for n, value in flat.items()}
    arrays["synthesis.input.transform"] = np.eye(3)
    arrays |= dict(_designed_filters(plans))
    return {name: np.array(value, np.float32, order="C") for name, value in arrays.items()}


def _designed_filters(plans: tuple[LayerPlan, ...]) -> Iterator[tuple[str, np.ndarray]]:
    """Yields the filters of all layers under their official names."""
    for plan in plans:
        for kind, taps in zip(("up_filter", "down_filter"), layer_filters(plan)):
            if taps is not None:
                yield f"synthesis.{plan.name}.{kind}", np.asarray(taps)


def load_generator(network: FlatNetwork) -> LoadedNetwork:
    """Makes a generator of official StyleGAN3 tensors.

    Sizes are those of the tensors; what no tensor shows (clamp, learning rates, cutoffs) is what
    the file says of its making, or as in the original; the filters tell whether it was.

    Raises:
        CheckpointFileError: Names or shapes are not those of a StyleGAN3 generator, or its layers
            follow another schedule.
    """
    arrays = network.arrays
    check_names(arrays, _RANKS)
    _check_transform(arrays)
    names = _layer_names(arrays)
    first, last = (tensor(arrays, f"synthesis.{name}.weight") for name in (names[0], names[-1]))
    w_dim = tensor(arrays, f"synthesis.{names[0]}.affine.weight").shape[1]
    fc0_in = tensor(arrays, "mapping.fc0.weight").shape[1]
    embed = arrays["mapping.embed.weight"].shape if "mapping.embed.weight" in arrays else (0, 0)
    if fc0_in <= embed[0]:
        raise CheckpointFileError("A generator that maps labels alone: no network here does.")
    clamp = _option(network, f"synthesis.{names[0]}.conv_clamp", "conv_clamp", 256.0)
    kwargs = dict(
        z_dim=fc0_in - embed[0],
        c_dim=embed[1],
        w_dim=w_dim,
        img_resolution=int(names[-1].split("_")[1]),
        img_channels=last.shape[0],
        **mapping_kwargs(network, w_dim),
        num_layers=len(names) - 1,
        conv_kernel=first.shape[2],
        use_radial_filters=any(a.ndim == 2 for n, a in arrays.items() if n.endswith("_filter")),
        output_scale=number(
            _option(network, "synthesis.output_scale", "output_scale", 0.25), "output_scale"
        ),
        conv_clamp=None if clamp is None else number(clamp, "conv_clamp"),
    )
    check_stated(kwargs, network.kwargs, SIZES)
    kwargs |= _fit_schedule(network, names, kwargs)
    params, buffers = params_from_official(arrays)
    return make_loaded("stylegan3", kwargs, params, _state_buffers(buffers), is_generator=True)


def _layer_names(arrays: Mapping[str, np.ndarray]) -> list[str]:
    """Returns the names of the layers in their order."""
    found = {m[1] for name in arrays if (m := re.match(_LAYER, name))}
    if len(found) != count_layers(arrays, r"synthesis\.L(\d+)_\d+_\d+\.weight") or len(found) < 2:
        raise CheckpointFileError("Layers of a StyleGAN3 generator are missing, or there twice.")
    return sorted(found, key=lambda name: int(name[1:].split("_")[0]))


def _check_transform(arrays: Mapping[str, np.ndarray]) -> None:
    """Refuses a network that was saved while its images were moved."""
    transform = arrays.get("synthesis.input.transform", np.eye(3))
    if transform.shape != (3, 3) or not np.allclose(transform, np.eye(3), rtol=0, atol=1e-6):
        raise CheckpointFileError(
            "synthesis.input.transform is not the identity: save the network with it as it was "
            "made; here a transform is an argument of drawing."
        )


def _option(network: FlatNetwork, fact: str, argument: str, default: Any) -> Any:
    """Returns what a part says of itself, else what the network was made with, else a default."""
    if fact in network.facts:
        return network.facts[fact]
    return network.kwargs.get(argument, default)


def _fit_schedule(network: FlatNetwork, names: list[str], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Finds the options with which a network has layers of these names and filters.

    Raises:
        CheckpointFileError: There are none.
    """
    sizes, channels = zip(*(map(int, name.split("_")[1:]) for name in names))
    given: dict[str, Any] = {n: network.kwargs[n] for n in _SCHEDULE if n in network.kwargs}
    given = {n: number(value, n) for n, value in given.items() if value is not None}
    # How many layers are critically sampled shows in channels and filters alone.
    stated = _option(network, "synthesis.num_critical", "num_critical", None)
    critical = [stated] if type(stated) is int else sorted(range(len(names) - 1), key=_nearest_2)
    last_error: Any = "no layers"
    for num_critical in critical:
        options = given | dict(num_critical=num_critical)
        try:
            options |= _fit_sizes(network, kwargs | options, sizes[0], channels)
            _compare_plans(plan_layers(**_plan_arguments(kwargs | options)), names, network.arrays)
        except (ValueError, TypeError, ArithmeticError) as error:
            last_error = last_error if last_error != "no layers" else error
            continue
        defaults = inspect.signature(plan_layers).parameters
        return {n: v for n, v in options.items() if v != defaults[n].default}
    raise CheckpointFileError(
        f"Its layers follow no schedule that is known here ({last_error}). Give the pickle, which "
        "says how the network was made."
    )


def _nearest_2(num_critical: int) -> int:
    """Orders guesses: 2, as the original has it, then its neighbours."""
    return abs(num_critical - 2)


def _fit_sizes(
    network: FlatNetwork, kwargs: Mapping[str, Any], size: int, channels: tuple[int, ...]
) -> dict[str, int]:
    """Finds the margin of the first layer's size, and the base and limit of its channels."""
    most = max(channels[:-1])
    # With as many feature maps as can be, the schedule shows rates and cutoffs.
    trial: dict[str, Any] = dict(channel_base=2**24, channel_max=most, margin_size=0)
    trial = _plan_arguments(kwargs) | trial
    plans = plan_layers(**trial)
    margin_size = (size - plans[0].source.rate) // 2 if len(plans) > 2 else 0
    stated = (network.kwargs.get("channel_base"), network.kwargs.get("channel_max"))
    for base, limit in (stated, (32768, 512), (_fit_base(plans, channels), most)):
        if type(base) is int and type(limit) is int:
            ruled = [round(min(base / 2 / plan.target.cutoff, limit)) for plan in plans[:-1]]
            if ruled == list(channels[:-1]):
                return dict(channel_base=base, channel_max=limit, margin_size=margin_size)
    raise ValueError(f"channels {list(channels)} by layer are no min(base / 2 / cutoff, max)")


def _fit_base(plans: tuple[LayerPlan, ...], channels: tuple[int, ...]) -> int:
    """Returns the roundest whole base with which cutoffs give the channels."""
    most = max(channels[:-1])
    pairs = [(plan.target.cutoff, c) for plan, c in zip(plans, channels[:-1])]
    # c - 1/2 <= base / 2 / cutoff <= c + 1/2; layers of the limit have at least so many.
    low = max(2 * cutoff * (c - 0.5) for cutoff, c in pairs)
    high = min((2 * cutoff * (c + 0.5) for cutoff, c in pairs if c < most), default=2 * low)
    for step in (2**k for k in range(24, -1, -1)):
        base = -int(-low // step) * step
        if low <= base <= high:
            return base
    return round(low)


def _plan_arguments(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Returns those arguments of a generator that its schedule has."""
    known = inspect.signature(plan_layers).parameters
    return {name: value for name, value in kwargs.items() if name in known}


def _compare_plans(
    plans: tuple[LayerPlan, ...], names: list[str], arrays: Mapping[str, np.ndarray]
) -> None:
    """Sees to it that planned layers have these names, and filters that are stored."""
    planned = [plan.name for plan in plans]
    if planned != names:
        odd = next(pair for pair in zip(names, planned) if pair[0] != pair[1])
        raise ValueError(f"layer {odd[0]} would be {odd[1]}")
    if max(max(plan.up_taps, plan.down_taps) for plan in plans) > _MOST_TAPS:
        raise ValueError(f"filters of more than {_MOST_TAPS} taps")
    made = dict(_designed_filters(plans))
    for name, stored in arrays.items():
        if not name.endswith("_filter"):
            continue
        wanted = made.get(name, np.zeros(0))
        if stored.shape != wanted.shape or np.max(np.abs(stored - wanted)) > _FILTER_TOLERANCE:
            raise ValueError(f"{name} is another filter")


def to_official(network: LoadedNetwork) -> dict[str, np.ndarray]:
    """Returns the tensors of a network as the official code names and shapes them."""
    buffers = {
        "mapping": {"w_avg": network.buffers["w_avg"]},
        "synthesis": network.buffers["moving"]["synthesis"],
    }
    plans = plan_layers(**_plan_arguments(network.kwargs))
    return official_from_params(network.params, buffers, plans)


def from_official(
    arrays: Mapping[str, np.ndarray], kwargs: dict[str, Any], *, is_generator: bool
) -> LoadedNetwork:
    """Makes a network whose arguments are known of what `to_official` returned."""
    params, buffers = params_from_official(arrays)
    state = _state_buffers(buffers)
    return make_loaded("stylegan3", kwargs, params, state, is_generator=is_generator)


def foreign_notes(network: LoadedNetwork) -> list[str]:
    """What the official code could not make of a network, a sentence each."""
    if network.base_grid == SQUARE_BASE:
        return []
    return [f"Images of {describe_size(network.size)} px: the original makes squares."]


def _state_buffers(buffers: dict[str, Any]) -> dict[str, Any]:
    """Buffers as the training state has them."""
    moving = {"moving": {"synthesis": buffers["synthesis"]}} if "synthesis" in buffers else {}
    return buffers.get("mapping", {}) | moving
