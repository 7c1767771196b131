"""Convolution as one trilinear form, so that every derivative is a convolution that we choose.

`sum y[n, p, o] w[k, i, o] x[n, p * stride + k - pad, i]` is linear in the images x, the kernel w
and the output y. Leaving one of the three out gives the convolution (y), its transpose (x) or the
gradient of the kernel (w), and the derivatives of each of them are the other two: the family is
closed, to any order and in both modes of differentiation.

Why JAX's own derivatives are not enough: the gradient of a kernel of a transposed convolution is
formulated there over images with zeros in between, which XLA computes slowly on CPUs. Up-sampling
layers need it, and R1 does in down-sampling ones. CPU ms of training programs on two cores, in
alternating runs, with this file and with `lax.conv_general_dilated` alone:

    quickstart, 32 px         G  43 / 101    D  51 / 51     R1 43 / 103       iteration 100 / 161
    config F, 64 px, batch 4  G 405 / 1455   D 488 / 486    R1 470 / 1451     iteration 1073 / 2686

They compile equally fast. On CPUs, gradients of kernels over many pixels are formulated once more
(`kernel_gradient.py`), which buys another fifth at 64 px, and so are convolutions of large maps
(`winograd.py`). Besides, float32 kernels under bfloat16
images get float32 gradients here, which JAX would round to bfloat16.

How JAX is told: a `Primitive` is a node in a traced program, as `lax.dot_general_p` is one. It
needs a rule for each thing that JAX does with programs: shapes (`def_abstract_eval`), compilation
(`register_lowering`, from a function of ordinary JAX operations), eager calls (`def_impl`), `vmap`
(`primitive_batchers`) and derivatives. `ad.defbilinear` makes the forward one from linearity, and
the reverse one from the transposes that it is given.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float

from stylegan_jax.ops import winograd
from stylegan_jax.ops.kernel_gradient import MIN_PIXELS, kernel_from_patches

# Whole numbers; the number of images is a symbol in a program that is exported for any.
Shape4 = tuple[Any, ...]
# Zeros ((y0, y1), (x0, x1)) around the images, negative: cropped.
Pads = tuple[tuple[int, int], tuple[int, int]]

# Which two arguments each result is computed from.
_OPERANDS = {"y": ("x", "w"), "x": ("y", "w"), "w": ("x", "y")}
_DIMENSIONS = ("NHWC", "HWIO", "NHWC")
# What a form is told besides its operands.
_STATICS = ("role", "shape", "stride", "pads", "dtypes")


def convolve(
    x: Float[Array, "n h w i"], weight: Float[Array, "kh kw i o"], stride: int, pads: Pads
) -> Float[Array, "n oh ow o"]:
    """Correlates zero-padded images with a kernel at every `stride`-th pixel, in x.dtype.

    The kernel may have a wider dtype, and its gradient has: the sum over images and pixels is never
    rounded to that of the images.
    """
    # [oh, ow]
    size = tuple(
        (n + sum(pad) - k) // stride + 1 for n, k, pad in zip(x.shape[1:3], weight.shape, pads)
    )
    shape = (x.shape[0], *size, weight.shape[3])
    dtypes = (x.dtype, weight.dtype)
    return _bind("y", {"x": x, "w": weight}, shape, stride=stride, pads=pads, dtypes=dtypes)


def convolve_transposed(
    y: Float[Array, "n oh ow o"],
    weight: Float[Array, "kh kw i o"],
    stride: int,
    pads: Pads,
    size: tuple[int, int],
) -> Float[Array, "n h w i"]:
    """The transpose of `convolve` on images of `size`, linear in `y`."""
    shape = (y.shape[0], *size, weight.shape[2])
    dtypes = (y.dtype, weight.dtype)
    return _bind("x", {"y": y, "w": weight}, shape, stride=stride, pads=pads, dtypes=dtypes)


def _bind(role: str, values: dict[str, Any], shape: Shape4, **statics: Any) -> Array:
    """Computes the argument named `role`, of `shape`, from the other two."""
    first, second = (values[name] for name in _OPERANDS[role])
    return _trilinear_p.bind(first, second, role=role, shape=shape, **statics)


def _result(*_: Any, role: str, shape: Shape4, dtypes: tuple[Any, Any], **__: Any) -> ShapedArray:
    """Shape and dtype: images have the first of `dtypes`, kernels the second."""
    return ShapedArray(shape, dtypes[role == "w"])


def _compute(
    first: Array,
    second: Array,
    *,
    role: str,
    shape: Shape4,
    stride: int,
    pads: Pads,
    dtypes: tuple[Any, Any],
) -> Array:
    """The convolution that the compiler is given for each result."""
    # Products are those of the images' dtype, for kernels and their cotangents too.
    first = first.astype(dtypes[0])
    second = second.astype(dtypes[0])

    def form(x, w):
        return lax.conv_general_dilated(x, w, (stride, stride), pads, dimension_numbers=_DIMENSIONS)

    # y from (x, w), and x from (y, w)
    if role == "y":
        return form(first, second)
    if role == "x":
        unknown = jax.ShapeDtypeStruct(shape, dtypes[0])
        return jax.linear_transpose(lambda x: form(x, second), unknown)(first)[0]

    # w from (x, y). Images take the place of channels: the kernel is what is left of x under a
    # window of y, whose pixels lie `stride` apart. Its sums over images and pixels are float32.
    spans = [(n - 1) * stride + 1 for n in second.shape[1:3]]
    windows = [
        (pad[0], k - 1 + span - n - pad[0])
        for pad, k, span, n in zip(pads, shape, spans, first.shape[1:3])
    ]
    gradient = lax.conv_general_dilated(
        first,
        second,
        (1, 1),
        windows,
        rhs_dilation=(stride, stride),
        dimension_numbers=("CHWN", "IHWO", "HWNC"),
        preferred_element_type=jnp.promote_types(dtypes[0], jnp.float32),
    )
    return gradient.astype(dtypes[1])


def _compute_on_cpu(first: Array, second: Array, **statics: Any) -> Array:
    """As everywhere, but for large maps, and for gradients of kernels over many pixels."""
    role, shape, stride, pads, dtypes = (statics[k] for k in _STATICS)
    if role == "w":
        num_pixels = first.shape[0] * first.shape[1] * first.shape[2]
        if num_pixels < MIN_PIXELS:
            return _compute(first, second, **statics)
        first = first.astype(dtypes[0])
        second = second.astype(dtypes[0])
        return kernel_from_patches(first, second, shape, stride, pads).astype(dtypes[1])

    kernel, around = second, pads
    if role == "x":
        # At stride 1 the transpose is a correlation, too, with the flipped kernel.
        kernel = second[::-1, ::-1].swapaxes(2, 3)  # [kh, kw, o, i]
        around = [(k - 1 - p[0], k - 1 - p[1]) for k, p in zip(kernel.shape, pads)]
    if not winograd.is_suitable(kernel.shape, stride, first.shape[1:3], around):
        return _compute(first, second, **statics)
    first = first.astype(dtypes[0])
    kernel = kernel.astype(dtypes[0])
    return winograd.convolve_3x3(first, kernel, around).astype(dtypes[0])


def _cotangent(index: int, cotangent: Array, first: Any, second: Any, **statics: Any) -> Array:
    """The cotangent of operand `index`: the form with that operand left out."""
    role, _ = statics.pop("role"), statics.pop("shape")
    operands = (first, second)
    names = _OPERANDS[role]
    values = {role: cotangent, names[1 - index]: operands[1 - index]}
    return _bind(names[index], values, operands[index].aval.shape, **statics)


def _compute_mapped(args: Any, axes: Any, **statics: Any) -> tuple[Array, int]:
    """Under `vmap` JAX maps what the form is computed with."""
    return jax.vmap(functools.partial(_compute, **statics), axes)(*args), 0


# What JAX does with a node of this kind, rule by rule.
_trilinear_p = Primitive("trilinear_convolution")
_trilinear_p.def_abstract_eval(_result)
_trilinear_p.def_impl(jax.jit(_compute, static_argnames=_STATICS))
mlir.register_lowering(_trilinear_p, mlir.lower_fun(_compute, multiple_results=False))
mlir.register_lowering(
    _trilinear_p, mlir.lower_fun(_compute_on_cpu, multiple_results=False), platform="cpu"
)
batching.primitive_batchers[_trilinear_p] = _compute_mapped
ad.defbilinear(
    _trilinear_p,
    functools.partial(_cotangent, 0),
    functools.partial(_cotangent, 1),
)
