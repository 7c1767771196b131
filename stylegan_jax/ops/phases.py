"""Zoom, weigh and shrink images on CPUs, phase by phase, so that nothing is ever interleaved.

A zoomed image is held as `P x P` smaller ones, its phases: pixel `(P i + a, P j + b)` is pixel
(i, j) of phase (a, b). A filter that zooms or decimates is then a sum of shifted phases, without
strides and without zeros in between.

On CPUs XLA merges element-wise work into what reads it, and repeats it for every tap; `_apart` says
where it may not. Images are computed one by one, so that a zoomed one stays in the cache.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental.xla_metadata import set_xla_metadata
from jaxtyping import Array, Float, Int8

from stylegan_jax.ops.fir import Resampling
from stylegan_jax.ops.precision import wide
from stylegan_jax.sizes import Size

Taps1d = tuple[float, ...]
# Small numbers beside a zoomed image, as many arrays as a formulation holds it in.
Codes = tuple[Int8[Array, "n zh zw c"], ...]


# (phase that is read, shift, tap) of everything that one phase of a result sums.
_Sum = list[tuple[int, int, float]]


def _sums(taps: Taps1d, num_phases: int, up: int, down: int, pad: int) -> list[_Sum]:
    """What each phase of the result sums, for an input of `num_phases`."""
    sums = []
    for a in range(num_phases * up // down):
        pixels = [(a * down + k - pad, tap) for k, tap in enumerate(taps)]
        read = [(pixel // up, tap) for pixel, tap in pixels if pixel % up == 0]
        sums.append([(p % num_phases, p // num_phases, tap) for p, tap in read])
    return sums


class _Axis(NamedTuple):
    """One axis of the work: what is summed, by term, and which pixels that needs."""

    zoom: list[list[_Sum]]
    shrink: list[list[_Sum]]
    # Pixels of each phase of the zoomed image, from `start` on, and of the result.
    start: int
    zoomed: int
    result: int
    # Zeros before x (negative: cropped), pixels of padded x, and phases that it is split into.
    before: int
    padded: int
    split: int


def _plan(zoom: Resampling, shrink: Resampling, size: Size | None = None) -> tuple[_Axis, _Axis]:
    """What is done along y and x; given the `size` of x, for what its transpose zooms as well."""
    y, x = (_plan_axis(zoom, shrink, axis) for axis in (0, 1))
    if size is None:
        return y, x
    backward = _plan(shrink.transposed(zoom.size), zoom.transposed(size))
    spans = []
    for axis, other in zip((y, x), backward):
        start = min(axis.start, other.start)
        spans.append((start, max(axis.start + axis.zoomed, other.start + other.zoomed) - start))
    return _plan_axis(zoom, shrink, 0, spans[0]), _plan_axis(zoom, shrink, 1, spans[1])


def _plan_axis(
    zoom: Resampling, shrink: Resampling, axis: int, pixels: tuple[int, int] | None = None
) -> _Axis:
    """Follows the pixels of the result back to those of x.

    `pixels`: first and number of those of the zoomed image; None: as many as the result needs.
    """
    phases = math.lcm(zoom.up[axis], shrink.down[axis])
    split = phases // zoom.up[axis]
    in_zoom = [_sums(t[axis], split, zoom.up[axis], 1, zoom.pads[axis]) for t in zoom.terms]
    in_shrink = [
        _sums(t[axis], phases, 1, shrink.down[axis], shrink.pads[axis]) for t in shrink.terms
    ]
    lo, hi = _span(in_zoom)
    start, end = _span(in_shrink)
    result = -(-shrink.size[axis] * shrink.down[axis] // phases)
    zoomed = result + end - start
    if pixels is not None:
        start, zoomed = pixels
    return _Axis(
        zoom=in_zoom,
        shrink=in_shrink,
        start=start,
        zoomed=zoomed,
        result=result,
        before=-(start + lo) * split,
        padded=(zoomed + hi - lo) * split,
        split=split,
    )


def _span(terms: list[list[_Sum]]) -> tuple[int, int]:
    """The least and the greatest shift."""
    shifts = [shift for term in terms for phase in term for _, shift, _ in phase]
    return min(shifts, default=0), max(shifts, default=0)


def value(
    x: Float[Array, "n h w c"],
    zoom: Resampling,
    shrink: Resampling,
    act: Callable[[Array], Array],
) -> Float[Array, "n oh ow c"]:
    """Computes `shrink(act(zoom(x)))`, in float32 and rounded once."""
    axes = _plan(zoom, shrink)
    return lax.map(lambda image: _shrunk(_zoomed(image, axes, act), axes, shrink, x.dtype), x)


def value_and_codes(
    x: Float[Array, "n h w c"],
    zoom: Resampling,
    shrink: Resampling,
    act: Callable[[Array], Array],
    code: Callable[[Array], Array],
) -> tuple[Float[Array, "n oh ow c"], Codes]:
    """Also returns `code(act(zoom(x)))`, an array for each phase of the zoomed image."""
    axes = _plan(zoom, shrink, (x.shape[1], x.shape[2]))

    def one(image):
        grid = _zoomed(image, axes, act)
        codes = tuple(_apart(code)(phase) for row in grid for phase in row)
        return _shrunk(grid, axes, shrink, x.dtype), codes

    return lax.map(one, x)


def weighed(
    x: Float[Array, "n h w c"],
    codes: Codes,
    zoom: Resampling,
    shrink: Resampling,
    weigh: Callable[[Array, Array], Array],
) -> Float[Array, "n oh ow c"]:
    """Computes `shrink(weigh(zoom(x), codes))`, with codes of the same image or its transpose."""
    axes = _plan(zoom, shrink, (x.shape[1], x.shape[2]))

    def one(args):
        image, codes = args
        return _shrunk(_zoomed(image, axes, weigh, codes), axes, shrink, x.dtype)

    return lax.map(one, (x, codes))


def _zoomed(
    image: Float[Array, "h w c"],
    axes: tuple[_Axis, _Axis],
    act: Callable[..., Array],
    beside: Sequence[Array] | None = None,
) -> list[list[Array]]:
    """`act` of the phases of the zoomed image, `[y][x]`; with `beside`, of pairs of both."""
    along_y, along_x = axes
    first_y, first_x = (_span(axis.zoom)[0] for axis in axes)
    # [phase of columns][term][phase of rows]
    tall = [
        [_sum([sums], [column], first_y, along_y.zoomed, 0) for sums in along_y.zoom]
        for column in zip(*_split(image, axes))
    ]
    grid = []
    width = len(along_x.zoom[0])
    for a in range(len(along_y.zoom[0])):
        read = [[terms[r][a] for terms in tall] for r in range(len(along_y.zoom))]
        codes = None if beside is None else beside[a * width : (a + 1) * width]
        grid.append(_sum(along_x.zoom, read, first_x, along_x.zoomed, 1, act, codes))
    return grid


def _shrunk(
    grid: list[list[Array]], axes: tuple[_Axis, _Axis], shrink: Resampling, dtype: Any
) -> Float[Array, "oh ow c"]:
    """Filters and decimates a zoomed image, along x term by term, then along y."""
    along_y, along_x = axes
    narrow = [
        [
            _join(_sum([sums], [row], along_x.start, along_x.result, 1), 1, shrink.size[1])
            for row in grid
        ]
        for sums in along_x.shrink
    ]
    out = _sum(along_y.shrink, narrow, along_y.start, along_y.result, 0, lambda y: y.astype(dtype))
    return _join(out, 0, shrink.size[0])


def _split(image: Array, axes: tuple[_Axis, _Axis]) -> list[list[Array]]:
    """The phases of the padded image, `[y][x]`, at least float32."""
    splits_y, splits_x = (axis.split for axis in axes)

    def run(image):
        pads = [(a.before, a.padded - a.before - n, 0) for a, n in zip(axes, image.shape)]
        image = wide(image)
        image = lax.pad(image, np.zeros((), image.dtype), (*pads, (0, 0, 0)))
        return [[image[a::splits_y, b::splits_x] for b in range(splits_x)] for a in range(splits_y)]

    return _apart(run)(image)


def _sum(
    terms: list[list[_Sum]],
    read: Sequence[Sequence[Array]],
    first: int,
    size: int,
    axis: int,
    act: Callable[..., Array] = lambda v: v,
    beside: Sequence[Array] | None = None,
) -> list[Array]:
    """Every phase of a result: the sum over terms of shifted phases times taps.

    `first`: the shift of what is read from its pixel 0 on.
    """

    def run(read, beside):
        results = []
        for a in range(len(terms[0])):
            total = None
            for term, phases in zip(terms, read):
                for phase, shift, tap in term[a]:
                    part = lax.slice_in_dim(
                        phases[phase], shift - first, shift - first + size, 1, axis
                    )
                    part = part * np.asarray(tap, part.dtype)
                    total = part if total is None else total + part
            if total is None:
                total = jnp.zeros_like(lax.slice_in_dim(read[0][0], 0, size, 1, axis))
            results.append(act(total) if beside is None else act(total, beside[a]))
        return results

    return _apart(run)(list(read), beside)


def _join(phases: Sequence[Array], axis: int, size: int) -> Array:
    """Interleaves phases, and cuts what lies beyond the image."""
    joined = jnp.stack(phases, axis + 1) if len(phases) > 1 else phases[0]
    shape = list(phases[0].shape)
    shape[axis] *= len(phases)
    return lax.slice_in_dim(joined.reshape(shape), 0, size, 1, axis)


def _apart(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that the compiler does not merge with what surrounds it."""

    # What it calls is merged: JAX marks everything that is traced within, and parts of a sum that
    # are apart would each compute it.
    def whole(*args):
        with set_xla_metadata(inlineable="true"):
            return function(*args)

    @functools.wraps(function)
    def run(*args):
        with set_xla_metadata(inlineable="false"):
            return jax.jit(whole, inline=False)(*args)

    return run
