"""From converted tensors to a network of this package: what it is made with, and that they fit."""

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import numpy as np
from flax import nnx

from stylegan_jax.convert.readers.records import CheckpointFileError
from stylegan_jax.models import DISCRIMINATORS, GENERATORS
from stylegan_jax.models.layers import channels_at
from stylegan_jax.ops.bias_act import ACTIVATIONS
from stylegan_jax.sizes import RESOLUTIONS, SQUARE_BASE, Size, size_at

# Names that an error lists.
_MOST_SHOWN = 12
# Longest filter that is taken over.
_MOST_TAPS = 64
# More layers than any mapping network has.
MOST_LAYERS = 64


# Networks of a checkpoint.
NETWORKS = ("G", "D", "G_ema")


@dataclasses.dataclass(frozen=True)
class LoadedNetwork:
    """One network of a file, as this package has it.

    `make_model(GENERATORS[name], **kwargs)`, or `DISCRIMINATORS`, is its structure.

    Attributes:
        name: Key of `GENERATORS` or `DISCRIMINATORS`.
        kwargs: Arguments of its constructor, without `rngs`.
        params: Nested dict of float32 parameters.
        buffers: Of a generator `w_avg [w_dim]` and `noise_const`, `{block: {layer: [1, h, w, 1]}}`,
            where it has them; `moving`, what a network moves itself (`init_moving`), where it does.
    """

    name: str
    kwargs: dict[str, Any]
    params: dict[str, Any]
    buffers: dict[str, Any]

    @property
    def base_grid(self) -> Size:
        """Height and width of the feature maps of block `b4`."""
        return self.kwargs.get("base_grid", SQUARE_BASE)

    @property
    def size(self) -> Size:
        """Height and width of its images."""
        return size_at(self.kwargs["img_resolution"], self.base_grid)


@dataclasses.dataclass(frozen=True)
class LoadedCheckpoint:
    """What was read of a file or of a run's folder: all that drawing images needs.

    Attributes:
        networks: `G`, `D`, `G_ema`, those of them that are there and that were asked for.
        nimg: Images that they were trained on; None where nothing says so.
        augment_p: Strength of the adaptive augmentation; None where there is none.
        training_set: What is known of the data set.
        class_names: Names of the classes by number; empty where they have none.
        resolution: Block whose images a network draws that is still growing; None: the last.
        fade: Share of the resolution below, 1 to 0, that is mixed in there; None: none.
        origin: File or folder that the networks were first read from.
        notes: What a user should know, a sentence each.
    """

    networks: dict[str, LoadedNetwork]
    nimg: int | None = None
    augment_p: float | None = None
    training_set: dict[str, Any] = dataclasses.field(default_factory=dict)
    class_names: tuple[str, ...] = ()
    resolution: int | None = None
    fade: float | None = None
    origin: str = ""
    notes: tuple[str, ...] = ()

    @property
    def kimg(self) -> float | None:
        """Thousands of images that they were trained on."""
        return None if self.nimg is None else self.nimg / 1000


def check_names(arrays: Mapping[str, np.ndarray], ranks: Mapping[str, int | None]) -> None:
    """Sees to it that every tensor has a known name and as many axes as the original's.

    Args:
        arrays: Tensors by official name.
        ranks: Pattern of a whole name -> number of axes; None: any.

    Raises:
        CheckpointFileError: Names those that could not be placed.
    """
    patterns = [(re.compile(pattern), rank) for pattern, rank in ranks.items()]
    strange = []
    for name, array in arrays.items():
        fitting = [rank for pattern, rank in patterns if pattern.fullmatch(name)]
        if not array.size or not any(rank in (None, array.ndim) for rank in fitting):
            strange.append(f"{name} {list(array.shape)}")
    if strange:
        raise CheckpointFileError(
            f"{len(strange)} of {len(arrays)} tensors could not be placed: {shorten(strange)}. The "
            "network has other layers than the official ones, or is of a newer version."
        )


def shorten(names: Iterable[str]) -> str:
    """Lists names, at most a dozen of them."""
    names = sorted(names)
    more = f" and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else ""
    return ", ".join(name[:120] for name in names[:_MOST_SHOWN]) + more


def tensor(arrays: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """Returns a tensor that the network cannot do without."""
    if name not in arrays:
        raise CheckpointFileError(f"Tensor {name} is missing: the file is damaged or cut down.")
    return arrays[name]


def count_layers(arrays: Mapping[str, np.ndarray], pattern: str) -> int:
    """Counts layers that are numbered from 0; `pattern` has their number in a group."""
    numbers = {int(m[1]) for name in arrays if (m := re.fullmatch(pattern, name))}
    if numbers != set(range(len(numbers))) or len(numbers) > MOST_LAYERS:
        raise CheckpointFileError(f"Layers {shorten(map(str, numbers))}: not numbered from 0 on.")
    return len(numbers)


def check_resolutions(found: Iterable[int]) -> int:
    """Returns the image's resolution, given those of the blocks: 4, 8, 16 and so on."""
    resolutions = sorted(set(found))
    if tuple(resolutions) != RESOLUTIONS[: len(resolutions)] or not resolutions:
        raise CheckpointFileError(
            f"Blocks of {shorten(map(str, resolutions))} px: wanted are 4, 8, 16, ... without gap."
        )
    return resolutions[-1]


def fit_channels(channels: Mapping[int, int], stated: tuple[Any, Any]) -> dict[str, int]:
    """Finds `channel_base` and `channel_max` that give the widths of the feature maps.

    Args:
        channels: Width by resolution, as the tensors have it.
        stated: What the file's settings say, or None for what they do not.

    Raises:
        CheckpointFileError: The widths follow no such rule.
    """
    widest = max(channels.values())
    # Where the width is below the largest it tells the base, best at the highest resolution.
    bases = [c * res for res, c in channels.items() if c < widest]
    guess = (max(bases, default=max(channels) * widest), widest)
    for base, most in (stated, guess):
        if type(base) is int and type(most) is int:
            kwargs = dict(channel_base=base, channel_max=most)
            if all(channels_at(res, **kwargs) == c for res, c in channels.items()):
                return kwargs
    raise CheckpointFileError(
        f"Feature maps have the widths {dict(sorted(channels.items()))} by resolution, which "
        "follow no rule min(channel_base // resolution, channel_max): no network here has these."
    )


def activation(name: Any) -> str:
    """Returns the name of an activation, which is the same here and there."""
    if not isinstance(name, str) or name not in ACTIVATIONS:
        raise CheckpointFileError(
            f"Activation {str(name)[:80]!r} is not known; known are {', '.join(ACTIVATIONS)}."
        )
    return name


def number(value: Any, what: str) -> float:
    """Returns a finite number among the settings of a file."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not abs(value) <= 1e9:
        raise CheckpointFileError(f"{what} is {str(value)[:80]!r}, which is no number.")
    return value


def check_stated(
    kwargs: Mapping[str, Any], given: Mapping[str, Any], renamed: Mapping[str, str]
) -> None:
    """Sees to it that the sizes a file states are those that its tensors have.

    Args:
        kwargs: Our arguments, by the tensors.
        given: The file's settings.
        renamed: Their names -> ours.
    """
    for theirs, ours in renamed.items():
        stated = given.get(theirs)
        if type(stated) is int and ours in kwargs and stated != kwargs[ours]:
            raise CheckpointFileError(
                f"The file states {theirs}={stated}, but its tensors are those of "
                f"{kwargs[ours]}: it is damaged, or a network that is not known here."
            )


def filter_taps(value: Any) -> tuple[float, ...]:
    """Returns the taps of a filter among the settings of a file; they are scaled to sum 1 later."""
    if not isinstance(value, list) or not 0 < len(value) <= _MOST_TAPS:
        raise CheckpointFileError(f"A filter is {str(value)[:80]!r}, which is no list of taps.")
    taps = tuple(number(tap, "A filter's tap") for tap in value)
    if abs(sum(taps)) < 1e-6:
        raise CheckpointFileError(f"A filter has the taps {taps[:8]}, whose sum is 0.")
    return taps


def make_loaded(
    name: str,
    kwargs: dict[str, Any],
    params: Any,
    buffers: dict[str, Any],
    *,
    is_generator: bool,
) -> LoadedNetwork:
    """Sees to it that a network made with `kwargs` has exactly these arrays, as float32.

    Raises:
        CheckpointFileError: Says which are missing, left over, or of another shape.
    """
    build = _builder(name, is_generator)
    unknown = set(kwargs) - set(inspect.signature(build.__init__).parameters)
    if unknown:
        given = ", ".join(f"{key}={kwargs[key]!r}" for key in sorted(unknown))
        raise CheckpointFileError(f"The network has {given}: {name!r} here has no such option.")

    try:
        network = nnx.eval_shape(lambda: build(**kwargs, rngs=nnx.Rngs(0)))
    # What files state may be of any type.
    except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError) as error:
        raise CheckpointFileError(f"No {name!r} can be made with {kwargs}: {error}") from error
    wanted = _shapes(nnx.to_pure_dict(nnx.state(network, nnx.Param)))
    wanted |= _shapes({"moving": jax.eval_shape(network.init_moving)})
    if is_generator:
        wanted |= _buffer_shapes(network, kwargs)
    _compare(_shapes(params) | _shapes(buffers), wanted)

    # Copies in C order: what comes is a view of the file's bytes.
    own = jax.tree.map(lambda x: np.array(x, np.float32, order="C"), (params, buffers))
    return LoadedNetwork(name, kwargs, *own)


def fit_params(params: Any, wanted: Any) -> dict[str, Any]:
    """Sees to it that parameters are exactly those of a network, and copies them as float32.

    Args:
        params: Nested dict of arrays.
        wanted: The same of the network: arrays or their shapes.

    Raises:
        CheckpointFileError: Says which are missing, left over, or of another shape.
    """
    _compare(_shapes(params), _shapes(wanted))
    return jax.tree.map(lambda x: np.array(x, np.float32, order="C"), params)


def _builder(name: str, is_generator: bool) -> Callable[..., Any]:
    """Returns the class of a network."""
    return GENERATORS[name] if is_generator else DISCRIMINATORS[name]


def _buffer_shapes(network: Any, kwargs: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Shapes of a generator's buffers by their path."""
    base_grid = kwargs.get("base_grid", SQUARE_BASE)
    wanted: dict[str, tuple[int, ...]] = {}
    if network.has_styles:
        wanted["w_avg"] = (network.w_dim,)
    for block, layer, *_ in network.noise_layers:
        sides = size_at(int(block.removeprefix("b")), base_grid)
        wanted[f"noise_const/{block}/{layer}"] = (1, *sides, 1)
    return wanted


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    """Shapes of the leaves of nested dicts by their path."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {"/".join(str(key.key) for key in path): tuple(x.shape) for path, x in leaves}


def _compare(got: dict[str, tuple[int, ...]], wanted: dict[str, tuple[int, ...]]) -> None:
    """Raises where names or shapes differ."""
    parts = []
    if missing := set(wanted) - set(got):
        parts.append(f"missing are {shorten(missing)}")
    if left := set(got) - set(wanted):
        parts.append(f"left over are {shorten(left)}")
    both = set(got) & set(wanted)
    if odd := [f"{n} {got[n]} instead of {wanted[n]}" for n in both if got[n] != wanted[n]]:
        parts.append(f"of other shapes are {shorten(odd)}")
    if parts:
        raise CheckpointFileError(f"The tensors fit no network here: {'; '.join(parts)}.")
