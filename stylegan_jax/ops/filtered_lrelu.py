"""Leaky ReLU between an up- and a down-sampling filter: the nonlinearity without aliasing.

The zoomed map in between is several times as large as what goes in and comes out. Only a code of
one byte per pixel is kept of it: the slope that it met, which is all that derivatives need. The
derivative of the op is the same op again with known slopes, and so is its transpose, with the
filters in each other's place. A primitive tells JAX so (`trilinear.py` says what that is).
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float

from stylegan_jax.ops import phases
from stylegan_jax.ops.bias_act import bias_act
from stylegan_jax.ops.fir import Axes2, Resampling, Taps, plan_resampling, resample
from stylegan_jax.ops.formulation import Filter, Formulation, platform_formulation
from stylegan_jax.ops.precision import wide


class _Leaky(NamedTuple):
    """The activation, and its slope as a code of one byte."""

    gain: float
    slope: float
    clamp: float | None

    def act(self, x: Array) -> Array:
        """The activation."""
        y = jnp.where(x >= 0, x * self.gain, x * (self.gain * self.slope))
        return y if self.clamp is None else jnp.clip(y, -self.clamp, self.clamp)

    def code(self, y: Array) -> Array:
        """0 where the result was clipped, 1 where it is negative, else 2."""
        sign = jnp.where(y >= 0, np.int8(2), np.int8(1))
        if self.clamp is None:
            return sign
        return jnp.where(jnp.abs(y) < self.clamp, sign, np.int8(0))

    def weigh(self, x: Array, code: Array) -> Array:
        """The tangent of the activation."""
        negative = jnp.where(code == 1, x * (self.gain * self.slope), jnp.zeros_like(x))
        return jnp.where(code == 2, x * self.gain, negative)


class _Way(NamedTuple):
    """Everything that is static: `shrink(act(zoom(x)))`, and how it is computed."""

    zoom: Resampling
    shrink: Resampling
    leaky: _Leaky
    # By axes in this way; None: by phases.
    fir: Filter | None
    one_by_one: bool

    def by_images(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, image by image where that is the way."""
        if not self.one_by_one:
            return function

        def one(args):
            return jax.tree.map(lambda y: y[0], function(*(x[None] for x in args)))

        return lambda *args: lax.map(one, args)

    def transposed(self, size: tuple[int, int]) -> "_Way":
        """For the transpose, whose results have `size`."""
        return self._replace(
            zoom=self.shrink.transposed(self.zoom.size), shrink=self.zoom.transposed(size)
        )


# ----------------------------------------------------------------------------------------------
# What is computed


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _filtered(x: Array, way: _Way) -> Array:
    """The value alone."""
    if way.fir is None:
        return phases.value(x, way.zoom, way.shrink, way.leaky.act)
    fir = way.fir
    return way.by_images(lambda x: _by_axes(x, way, fir)[0])(x)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _filtered_with_codes(x: Array, way: _Way) -> tuple[Array, phases.Codes]:
    """The value, and the slopes that it met."""
    if way.fir is None:
        return phases.value_and_codes(x, way.zoom, way.shrink, way.leaky.act, way.leaky.code)
    fir = way.fir
    return way.by_images(lambda x: _by_axes(x, way, fir))(x)


def _weighed(x: Array, *codes: Array, way: _Way) -> Array:
    """Zooms, multiplies by the slopes and shrinks: linear in x."""
    fir = way.fir
    if fir is None:
        return phases.weighed(x, codes, way.zoom, way.shrink, way.leaky.weigh)

    def run(x, code):
        y = way.leaky.weigh(wide(resample(x, way.zoom, fir)), code)
        return resample(y.astype(x.dtype), way.shrink, fir)

    return way.by_images(run)(x, *codes)


def _by_axes(x: Array, way: _Way, fir: Filter) -> tuple[Array, phases.Codes]:
    """Value and slopes, the zoomed maps whole."""
    y = way.leaky.act(wide(resample(x, way.zoom, fir))).astype(x.dtype)
    return resample(y, way.shrink, fir), (way.leaky.code(y),)


# ----------------------------------------------------------------------------------------------
# What JAX does with it, rule by rule


@_filtered.defjvp
def _filtered_jvp(way: _Way, primals: Any, tangents: Any) -> tuple[Array, Array]:
    """Codes are found with the value."""
    y, codes = _filtered_with_codes(*primals, way)
    return y, _weighed_p.bind(*tangents, *codes, way=way)


@_filtered_with_codes.defjvp
def _filtered_with_codes_jvp(way: _Way, primals: Any, tangents: Any) -> tuple[Any, Any]:
    """The same; codes are constant almost everywhere."""
    y, codes = _filtered_with_codes(*primals, way)
    none = tuple(np.zeros(code.shape, jax.dtypes.float0) for code in codes)
    return (y, codes), (_weighed_p.bind(*tangents, *codes, way=way), none)


def _result(x: Any, *_: Any, way: _Way) -> ShapedArray:
    """Shape and dtype."""
    return ShapedArray((x.shape[0], *way.shrink.size, x.shape[3]), x.dtype)


def _tangent(primals: Any, tangents: Any, *, way: _Way) -> tuple[Any, Any]:
    """Linear in the images; codes, being whole numbers, have no tangents."""
    _, *codes = primals
    return _weighed_p.bind(*primals, way=way), _weighed_p.bind(tangents[0], *codes, way=way)


def _transposed(cotangent: Any, x: Any, *codes: Any, way: _Way) -> list[Any]:
    """The cotangent of the images; codes have none."""
    none = [None] * len(codes)
    if isinstance(cotangent, ad.Zero):
        return [ad.Zero(x.aval), *none]
    turned = way.transposed(x.aval.shape[1:3])
    return [_weighed_p.bind(cotangent, *codes, way=turned), *none]


def _weighed_mapped(args: Any, axes: Any, *, way: _Way) -> tuple[Array, int]:
    """Under `vmap` JAX maps what it is computed with."""
    return jax.vmap(functools.partial(_weighed, way=way), axes)(*args), 0


_weighed_p = Primitive("weighed_resampling")
_weighed_p.def_abstract_eval(_result)
_weighed_p.def_impl(jax.jit(_weighed, static_argnames="way"))
mlir.register_lowering(_weighed_p, mlir.lower_fun(_weighed, multiple_results=False))
batching.primitive_batchers[_weighed_p] = _weighed_mapped
ad.primitive_jvps[_weighed_p] = _tangent
ad.primitive_transposes[_weighed_p] = _transposed


# ----------------------------------------------------------------------------------------------
# The op


def filtered_lrelu(
    x: Float[Array, "n h w c"],
    bias: Float[Array, " c"] | None = None,
    *,
    up_taps: Taps = None,
    down_taps: Taps = None,
    up: int = 1,
    down: int = 1,
    padding: Axes2 = 0,
    gain: float = math.sqrt(2),
    slope: float = 0.2,
    clamp: float | None = None,
    flip_filter: bool = False,
    formulation: Formulation | None = None,
) -> Float[Array, "n oh ow c"]:
    """Adds a bias, zooms, pads, filters, applies a leaky ReLU, filters and decimates.

    1. `up - 1` zeros follow every pixel of `x + bias`. 2. The result is padded with zeros
    (negative: cropped). 3. It is convolved with `up_taps`, times `up` per axis, keeping only
    positions where the filter lies inside. 4. `clip(gain * lrelu(x), -clamp, clamp)`. 5. The
    result is convolved with `down_taps` in the same way. 6. Every `down`-th pixel is kept.

    Args:
        x: Feature maps, float32 or bfloat16.
        bias: Added to every pixel, those of padding not included.
        up_taps: Filter that sums to 1: 1-D (used along both axes), 2-D `[h, w]`, None for none.
        down_taps: The same, after the activation.
        up: Integer zoom before the activation.
        down: Integer decimation after it.
        padding: Pixels at the up-sampled rate: `p`, `[x, y]` or `[x0, x1, y0, y1]`.
        gain: Factor on the activation.
        slope: Of the activation below zero.
        clamp: Largest magnitude after the activation; None: any.
        flip_filter: True correlates with the filters, False (default) convolves.
        formulation: How it is computed, with the same result; None: as suits this platform.

    Returns:
        Feature maps in x.dtype; each axis has
        `(n * up + pad0 + pad1 - len(up_taps) - len(down_taps) + 1) // down + 1` pixels.

    Raises:
        ValueError: A filter is larger than what it filters, a factor is below 1, a clamp is not
            above 0, or the bias has other channels than x.

    Source: Karras et al. 2021 (StyleGAN3), sections 3.1 and 3.2.
    Checked: tests/parity, case `ops_filtered_lrelu`; tests/ops/test_filtered_lrelu.py.
    """
    if clamp is not None and clamp <= 0:
        raise ValueError(f"clamp={clamp}: give a number above 0, or None.")
    # Before and after the activation.
    zoom = plan_resampling(
        (x.shape[1], x.shape[2]),
        up_taps,
        up=up,
        padding=padding,
        flip_filter=flip_filter,
        gain=float(up**2),
    )
    shrink = plan_resampling(zoom.size, down_taps, down=down, flip_filter=flip_filter)
    x = bias_act(x, bias)
    act = {"act": "lrelu", "alpha": slope, "gain": gain, "clamp": clamp}

    # Nothing between which the activation could stand, as in ToRGB.
    if up_taps is None and down_taps is None and up == down == 1 and padding == 0:
        return bias_act(x, **act)
    formulation = formulation or platform_formulation()
    # Codes are read from the result's sign, which a slope of 0 loses.
    if slope <= 0 or gain <= 0:
        fir = formulation.fir(max(zoom.size))
        return resample(bias_act(resample(x, zoom, fir), **act), shrink, fir)
    leaky = _Leaky(gain, slope, clamp)
    side = max(zoom.size)
    fir = None if formulation.by_phases(side) else formulation.filtered
    return _filtered(x, _Way(zoom, shrink, leaky, fir, formulation.one_by_one(side)))
