"""Transfer: the parameters of one network as the first ones of another of its family.

Blocks go by their resolution, so that a network of 256 px gives one of 512 px its blocks `b4` to
`b256`, whatever the shape of their images; layers of StyleGAN3 go by their number. Arrays of
another shape are fitted where there is a rule for it; all else keeps the first values of the new
network. The table says which was which.

    matches, left_out = match_params(found, wanted, grids=((4, 4), (6, 4)))
    params = fit_params(matches, found, wanted)
"""

import functools
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import traverse_util
from jaxtyping import Array, Float

from stylegan_jax.sizes import Size, describe_size

Kind = Literal["taken", "resized", "colours", "in part", "new"]
# `(found, first) -> values`: of an array of the old network and the first value of the new one.
Fit = Callable[[Array, Array], Array]


class Match(NamedTuple):
    """What becomes of one array of the new network.

    Attributes:
        path: Such as `synthesis/b4/const`.
        kind: `taken` as it is; `resized` to another base grid; `colours`: grey of colours or the
            reverse; `in part`: what both have; `new`: its own first value.
        reason: Why it is not taken as it is.
        fit: How it is made.
    """

    path: str
    kind: Kind
    reason: str
    fit: Fit


def match_params(
    found: Mapping[str, Any], wanted: Mapping[str, Any], *, grids: tuple[Size, Size]
) -> tuple[list[Match], list[str]]:
    """Decides array by array what a network takes from another one.

    Args:
        found: Parameters of the old network, nested, or their shapes.
        wanted: Those of the new one.
        grids: Base grids of both.

    Returns:
        `(matches, left_out)`: a match for each array of the new network in its order, and the paths
        of the old one that have no place in it.
    """
    there = _by_role(found)
    here = traverse_util.flatten_dict(wanted, sep="/")
    matches = [_match(path, there.get(_role(path)), leaf, grids) for path, leaf in here.items()]
    roles = set(map(_role, here))
    left_out = traverse_util.flatten_dict(found, sep="/")
    return matches, [path for path in left_out if _role(path) not in roles]


def fit_params(
    matches: list[Match], found: Mapping[str, Any], wanted: Mapping[str, Any]
) -> dict[str, Any]:
    """Makes the parameters that `match_params` decided on; a pure function of arrays."""
    there = _by_role(found)
    here: dict[str, Any] = traverse_util.flatten_dict(wanted, sep="/")
    fitted = {
        match.path: here[match.path]
        if match.kind == "new"
        else match.fit(jnp.asarray(there[_role(match.path)]), here[match.path])
        for match in matches
    }
    return traverse_util.unflatten_dict(fitted, sep="/")


def _by_role(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Arrays by what they do in their network."""
    flat: dict[str, Any] = traverse_util.flatten_dict(tree, sep="/")
    return {_role(path): leaf for path, leaf in flat.items()}


def _role(path: str) -> str:
    """A path without size and channels in the name of a layer: `L5_84_512` is `L5`."""
    return re.sub(r"(^|/)(L\d+)_\w+", r"\1\2", path)


def _match(path: str, found: Any, wanted: Any, grids: tuple[Size, Size]) -> Match:
    """Chooses the first rule that holds for an array."""
    if found is None:
        return Match(path, "new", "not in the checkpoint", _keep)
    shapes = f"{list(found.shape)} there, {list(wanted.shape)} here"
    # What lies next to the base grid is resized, also where the shapes happen to agree.
    resize = _RESIZED.get(_next_to_grid(path))
    if resize is not None and grids[0] != grids[1]:
        named = f"{describe_size(grids[0])} there, {describe_size(grids[1])} here"
        return Match(path, "resized", named, functools.partial(resize, grids=grids))
    if found.shape == wanted.shape:
        return Match(path, "taken", "", _take)
    if re.search(r"(^|/)(embed(/\w+)?|b4/out/\w+)$", path):
        # A class of one network is another one's by number alone.
        return Match(path, "new", f"other labels: {shapes}", _keep)
    if len(found.shape) != len(wanted.shape):
        return Match(path, "new", shapes, _keep)

    # The middle of a kernel is not its corner.
    if len(found.shape) == 4 and found.shape[:2] != wanted.shape[:2]:
        return Match(path, "new", f"other kernels: {shapes}", _keep)

    # Axis of the colours, where that alone differs. StyleGAN3 calls its last layer by number.
    colours = re.search(r"(^|/)((torgb|L\d+_\w+)/(weight|bias)|fromrgb/weight)$", path)
    if colours:
        axis = 2 if colours[2] == "fromrgb/weight" else len(wanted.shape) - 1
        counts = {found.shape[axis], wanted.shape[axis]}
        others = [a == b for a, b in zip(found.shape, wanted.shape)]
        if counts == {1, 3} and sum(others) == len(others) - 1:
            fit = _mix_read if colours[2] == "fromrgb/weight" else _mix_drawn
            return Match(path, "colours", shapes, fit)
    return Match(path, "in part", shapes, _overlap)


def _keep(found: Array, first: Array) -> Array:
    """The new network's own value."""
    del found
    return first


def _take(found: Array, first: Array) -> Array:
    """The old network's value."""
    del first
    return found


def _overlap(found: Array, first: Array) -> Array:
    """The old values where both networks have them, the new ones elsewhere."""
    common = tuple(slice(min(a, b)) for a, b in zip(found.shape, first.shape))
    return first.at[common].set(found[common])


def _mix_drawn(found: Float[Array, "... c"], first: Array) -> Float[Array, "... d"]:
    """Grey is the mean of the colours that were drawn; colours are the grey, three times."""
    del first
    if found.shape[-1] == 1:
        return jnp.repeat(found, 3, axis=-1)
    return jnp.mean(found, axis=-1, keepdims=True)


def _mix_read(found: Float[Array, "1 1 c o"], first: Array) -> Float[Array, "1 1 d o"]:
    """A grey image is read as the same one in colours was, and the reverse."""
    c, d = found.shape[2], first.shape[2]
    # A layer divides its weights by sqrt(c) at run time: equalised learning rate.
    gain = math.sqrt(d / c)
    if c == 1:
        return jnp.repeat(found / 3, 3, axis=2) * gain
    return jnp.sum(found, axis=2, keepdims=True) * gain


def _next_to_grid(path: str) -> str:
    """Which kind of layer next to the base grid a path is; empty: another."""
    match = re.search(r"(^|synthesis/)b4/(const|fc/weight)$", path)
    if match is None:
        return ""
    if match[2] == "const":
        return "const"
    return "drawn" if match[1] else "read"


def _resize_const(found: Float[Array, "h w c"], first: Array, *, grids: Any) -> Array:
    """The learned constant, as an image."""
    del grids
    height, width, _ = first.shape
    return _overlap(_resize(found, (height, width)), first)


def _resize_drawn(found: Float[Array, "z hwc"], first: Array, *, grids: Any) -> Array:
    """A dense layer that makes the first feature maps, `[z, h0 * w0 * c]`."""
    return _resize_columns(found.T, first.T, grids=grids).T


def _resize_read(found: Float[Array, "hwc o"], first: Array, *, grids: Any) -> Array:
    """A dense layer that reads the last feature maps, `[h0 * w0 * c, out]`."""
    # The sum over more pixels stays what it was; the layer divides by the root of their number.
    gain = math.sqrt(math.prod(grids[0]) / math.prod(grids[1]))
    return _resize_columns(found, first, grids=grids, gain=gain)


def _resize_columns(
    found: Float[Array, "hwc o"], first: Float[Array, "pqd m"], *, grids: Any, gain: float = 1.0
) -> Array:
    """Columns that are flattened maps, each resized as an image."""
    # [h0 * w0 * c, o] -> [h0, w0, c, o]
    maps = _resize(found.reshape(*grids[0], -1, found.shape[1]), grids[1]) * gain
    whole = _overlap(maps, first.reshape(*grids[1], -1, first.shape[1]))
    return whole.reshape(first.shape)


def _resize(x: Float[Array, "h w ..."], size: Size) -> Float[Array, "p q ..."]:
    """Interpolates linearly along height and width."""
    return jax.image.resize(x, (*size, *x.shape[2:]), "linear")


_RESIZED: dict[str, Any] = {
    "const": _resize_const,
    "drawn": _resize_drawn,
    "read": _resize_read,
}
