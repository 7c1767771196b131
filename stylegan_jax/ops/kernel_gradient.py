"""Gradients of convolution kernels on CPUs: matrix products with gathered patches.

The compiler's convolution for a kernel's gradient makes the batch its innermost axis, which a few
images do not fill; and it multiplies bfloat16 six times slower than float32. Patches buy a fifth of
a training step of config F at 64 px on two cores, and cost nothing at 32 px.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from stylegan_jax.ops.precision import wide

# From so many pixels on, of all images, patches are faster.
MIN_PIXELS = 2048
# Gathered patches that are multiplied at once: what the cache of a core holds.
_PATCH_BYTES = 2**20


def kernel_from_patches(
    x: Float[Array, "n h w i"],
    y: Float[Array, "n oh ow o"],
    shape: tuple[int, ...],
    stride: int,
    pads: tuple[tuple[int, int], tuple[int, int]],
) -> Float[Array, "kh kw i o"]:
    """Computes `w[k, i, o] = sum over n, p of x[n, p * stride + k - pad, i] y[n, p, o]`.

    Args:
        x: Images.
        y: What the gradient of the convolution's output is.
        shape: Of the kernel.
        stride: Pixels of x from one pixel of y to the next.
        pads: Zeros ((y0, y1), (x0, x1)) around x, negative: cropped.

    Returns:
        The kernel, at least float32.

    Checked: tests/ops/test_kernel_gradient.py, against the compiler's.
    """
    kh, kw, in_channels, out_channels = shape
    n, out_h, out_w, _ = y.shape
    # What computes the images must not be repeated where they are gathered or transposed.
    x, y = lax.optimization_barrier((x, y))
    x = wide(x)
    y = wide(y)
    x = lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), (*pads[0], 0), (*pads[1], 0), (0, 0, 0)))
    width = kh * kw * in_channels
    if (kh, kw, stride) == (1, 1, 1):
        # A patch is a pixel.
        total = _sum_of_outer_products(y.reshape(-1, out_channels), x.reshape(-1, width))
        return total.T[None, None]

    # Strips of as many rows as fit into the cache.
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
            pixels = pixels[:, ::stride, ::stride]  # [n, rows, ow, i]
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
    """Computes `left^T right` over many pixels; fastest if the narrow operand is transposed."""
    swapped = left.shape[1] > right.shape[1]
    left, right = (right, left) if swapped else (left, right)
    # The barrier keeps the compiler from swapping them again for a transpose that follows.
    product = lax.optimization_barrier(left.T @ right)
    return product.T if swapped else product
