"""Kernel gradients from patches against the compiler's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from stylegan_jax.ops import trilinear
from stylegan_jax.ops.kernel_gradient import kernel_from_patches
from stylegan_jax.ops.trilinear import convolve


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    ("kernel", "pads"),
    [((3, 3), ((1, 1), (1, 1))), ((1, 1), ((0, 0), (0, 0))), ((3, 2), ((2, 0), (-1, 1)))],
)
def test_it_is_the_compilers_gradient(rng, stride, kernel, pads):
    x = jnp.asarray(rng.normal(size=(2, 12, 9, 3)), jnp.float32)
    shape = (*kernel, 3, 5)

    def form(weight):
        layout = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(x, weight, (stride, stride), pads, dimension_numbers=layout)

    y, pull = jax.vjp(form, jnp.zeros(shape))
    y = jnp.asarray(rng.normal(size=y.shape), jnp.float32)
    got = jax.jit(lambda x, y: kernel_from_patches(x, y, shape, stride, pads))(x, y)
    np.testing.assert_allclose(got, pull(y)[0], atol=1e-4)  # sums of some hundred products


@pytest.mark.parametrize("min_pixels", [0, 10**9])
@pytest.mark.parametrize("stride", [1, 2])
def test_kernels_keep_float32_gradients_under_bfloat16_images(rng, stride, min_pixels, monkeypatch):
    monkeypatch.setattr(trilinear, "MIN_PIXELS", min_pixels)
    x = jnp.asarray(rng.normal(size=(4, 16, 16, 3)), jnp.bfloat16)
    weight = jnp.asarray(rng.normal(size=(3, 3, 3, 4)), jnp.float32)
    weight = weight.astype(jnp.bfloat16).astype(jnp.float32)

    def loss(weight, x):
        y = convolve(x, weight, stride, ((1, 1), (1, 1)))
        return jnp.sum(y.astype(jnp.float32)), y

    compiled = jax.jit(lambda weight, x: jax.grad(loss, has_aux=True)(weight, x))
    grad, y = compiled(weight, x)
    want, _ = compiled(weight, x.astype(jnp.float32))
    assert y.dtype == jnp.bfloat16 and grad.dtype == jnp.float32
    # Products of bfloat16 numbers and ones are exact in float32; rounding the sum to bfloat16 would
    # be off by up to 4e-3 of it.
    np.testing.assert_allclose(grad, want, rtol=1e-5, atol=1e-5)


def test_only_cpus_gather_patches(rng):
    """And only for gradients of kernels over many pixels: a loop over strips shows it."""
    weight = jnp.zeros((3, 3, 3, 4))

    def text(side, platform):
        x = jnp.zeros((4, side, side, 3))
        grad = jax.jit(jax.grad(lambda w: jnp.sum(convolve(x, w, 1, ((1, 1), (1, 1))) ** 2)))
        return grad.trace(weight).lower(lowering_platforms=(platform,)).as_text()

    assert "stablehlo.while" in text(32, "cpu")
    assert "stablehlo.while" not in text(16, "cpu")
    assert "stablehlo.while" not in text(32, "tpu")
