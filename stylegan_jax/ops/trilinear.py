"""Convolution as one trilinear form, so that every derivative can be formulated on its own.

`sum y[n, p, o] w[k, i, o] x[n, p * stride + k - pad, i]` is linear in the images x, the kernel w
and the output y. Leaving one of the three out gives the convolution (y), its transpose (x) or the
gradient of the kernel (w), and the derivatives of each of them are the other two: the family is
closed, to any order and in both modes of differentiation.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from stylegan_jax.ops.precision import wide
from stylegan_jax.ops.primitives import bilinear, make_primitive

Shape4 = tuple[int, ...]
# Zeros ((y0, y1), (x0, x1)) around the images, negative: cropped.
Pads = tuple[tuple[int, int], tuple[int, int]]

# Which two arguments each result is computed from.
_OPERANDS = {"y": ("x", "w"), "x": ("y", "w"), "w": ("x", "y")}
_DIMENSIONS = ("NHWC", "HWIO", "NHWC")

# Gathered patches that are multiplied at once: what the cache of a core holds.
_PATCH_BYTES = 2**20


def convolve(
    x: Float[Array, "n h w i"],
    weight: Float[Array, "kh kw i o"],
    stride: int,
    pads: Pads,
    patches_from: int | None,
) -> Float[Array, "n oh ow o"]:
    """Correlates zero-padded images with a kernel at every `stride`-th pixel, in x.dtype.

    The kernel may have a wider dtype, and its gradient has: the sum over images and pixels is never
    rounded to that of the images. `patches_from` is that of a `Formulation`.
    """
    size = tuple(
        (n + sum(pad) - k) // stride + 1 for n, k, pad in zip(x.shape[1:3], weight.shape, pads)
    )
    shape = (x.shape[0], *size, weight.shape[3])
    statics = dict(stride=stride, pads=pads, patches_from=patches_from)
    dtypes = (x.dtype, weight.dtype)
    return _bind("y", {"x": x, "w": weight}, shape, dtypes=dtypes, **statics)


def convolve_transposed(
    y: Float[Array, "n oh ow o"],
    weight: Float[Array, "kh kw i o"],
    stride: int,
    pads: Pads,
    size: tuple[int, int],
    patches_from: int | None,
) -> Float[Array, "n h w i"]:
    """The transpose of `convolve` on images of `size`, linear in `y`."""
    shape = (y.shape[0], *size, weight.shape[2])
    statics = dict(stride=stride, pads=pads, patches_from=patches_from)
    dtypes = (y.dtype, weight.dtype)
    return _bind("x", {"y": y, "w": weight}, shape, dtypes=dtypes, **statics)


def _bind(role: str, values: dict[str, Any], shape: Shape4, **statics: Any) -> Array:
    """Computes the argument named `role`, of `shape`, from the other two."""
    first, second = (values[name] for name in _OPERANDS[role])
    dtype = statics["dtypes"][role == "w"]
    return _trilinear_p.bind(first, second, role=role, shape=shape, dtype=dtype, **statics)


def _transpose(
    index: int,
    cotangent: Array,
    known: Array,
    wanted: Shape4,
    *,
    role: str,
    shape: Shape4,
    dtype: Any,
    **statics: Any,
) -> Array:
    """The cotangent of operand `index`: the form with that operand left out."""
    del shape, dtype
    names = _OPERANDS[role]
    values = {role: cotangent, names[1 - index]: known}
    return _bind(names[index], values, wanted, **statics)


def _by_compiler(
    first: Array, second: Array, *, role: str, shape: Shape4, stride: int, pads: Pads
) -> Array:
    """The convolution that the compiler is given for each result."""

    def form(x, w):
        return lax.conv_general_dilated(x, w, (stride, stride), pads, dimension_numbers=_DIMENSIONS)

    if role == "y":
        return form(first, second)
    if role == "x":
        unknown = jax.ShapeDtypeStruct(shape, first.dtype)
        return jax.linear_transpose(lambda x: form(x, second), unknown)(first)[0]
    # Images take the place of channels: the kernel is what is left of x under a window of y.
    spans = [(n - 1) * stride + 1 for n in second.shape[1:3]]
    windows = [
        (pad[0], k - 1 + span - n - pad[0])
        for pad, k, span, n in zip(pads, shape, spans, first.shape[1:3])
    ]
    return lax.conv_general_dilated(
        first,
        second,
        (1, 1),
        windows,
        rhs_dilation=(stride, stride),
        dimension_numbers=("CHWN", "IHWO", "HWNC"),
        preferred_element_type=jnp.promote_types(first.dtype, jnp.float32),
    )


def _compute(
    first: Array,
    second: Array,
    *,
    role: str,
    shape: Shape4,
    stride: int,
    pads: Pads,
    patches_from: int | None,
    dtype: Any,
    dtypes: tuple[Any, Any],
) -> Array:
    """As the compiler does it, but for gradients of kernels over so many pixels."""
    first, second = first.astype(dtypes[0]), second.astype(dtypes[0])
    if role == "w" and patches_from is not None:
        # What computes the images must not be repeated where they are gathered or transposed.
        first, second = lax.optimization_barrier((first, second))
        if first.shape[0] * first.shape[1] * first.shape[2] >= patches_from:
            return _kernel_from_patches(first, second, shape, stride, pads).astype(dtype)
    statics = dict(role=role, shape=shape, stride=stride, pads=pads)
    return _by_compiler(first, second, **statics).astype(dtype)


def _kernel_from_patches(
    x: Array, y: Array, shape: Shape4, stride: int, pads: Pads
) -> Float[Array, "kh kw i o"]:
    """Gradient of the kernel as a matrix product with gathered patches, a strip of rows at a time.

    The compiler's convolution makes the batch its innermost axis, which a few images do not fill.
    """
    kh, kw, in_channels, out_channels = shape
    n, out_h, out_w, _ = y.shape
    x, y = wide(x), wide(y)  # CPUs multiply bfloat16 matrices six times slower
    x = lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), (*pads[0], 0), (*pads[1], 0), (0, 0, 0)))
    width = kh * kw * in_channels
    if (kh, kw, stride) == (1, 1, 1):
        total = _sum_of_outer_products(y.reshape(-1, out_channels), x.reshape(-1, width))
        return total.T[None, None]
    row_bytes = n * out_w * width * x.dtype.itemsize
    fitting = [r for r in range(1, out_h + 1) if out_h % r == 0 and r * row_bytes <= _PATCH_BYTES]
    rows = max(fitting, default=1)
    span = (n, (rows - 1) * stride + 1, (out_w - 1) * stride + 1, in_channels)

    def add_strip(index: Any, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        """Adds products of output pixels and the patches below them."""
        total, patches = carry
        # Written one tap after the other into the same memory: concatenating would copy them twice.
        for tap, (a, b) in enumerate(np.ndindex(kh, kw)):
            pixels = lax.dynamic_slice(x, (0, index * rows * stride + a, b, 0), span)
            pixels = pixels[:, ::stride, ::stride]
            patches = lax.dynamic_update_slice_in_dim(patches, pixels, tap * in_channels, 3)
        left = lax.dynamic_slice_in_dim(y, index * rows, rows, 1).reshape(-1, out_channels)
        return total + _sum_of_outer_products(left, patches.reshape(-1, width)), patches

    total = jnp.zeros((out_channels, width), x.dtype)
    patches = jnp.zeros((n, rows, out_w, width), x.dtype)
    total, _ = lax.fori_loop(0, out_h // rows, add_strip, (total, patches))
    return total.reshape(out_channels, kh, kw, in_channels).transpose(1, 2, 3, 0)


def _sum_of_outer_products(
    left: Float[Array, "p a"], right: Float[Array, "p b"]
) -> Float[Array, "a b"]:
    """`left^T right` over many pixels; fastest where the narrow operand is the transposed one."""
    swapped = left.shape[1] > right.shape[1]
    left, right = (right, left) if swapped else (left, right)
    # The barrier keeps the compiler from swapping them again for a transpose that follows.
    product = lax.optimization_barrier(left.T @ right)
    return product.T if swapped else product


_trilinear_p = make_primitive("trilinear_convolution", _compute)
bilinear(_trilinear_p, _transpose)
