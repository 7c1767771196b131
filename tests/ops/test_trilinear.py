import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from stylegan_jax.ops.conv import conv2d
from stylegan_jax.ops.trilinear import convolve, convolve_transposed


def compiler(x, weight, stride, pads):
    """The same convolution with the compiler's derivatives."""
    layout = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, weight, (stride, stride), pads, dimension_numbers=layout)


def results(op, x, weight):
    """Value, gradients, gradients of a squared gradient, and a gradient's forward derivative."""

    def loss(x, weight):
        return jnp.sum(jnp.sin(op(x, weight)))

    def penalty(x, weight):
        return jnp.sum(jax.grad(loss)(x, weight) ** 2)

    def all_grads(x, weight):
        return jax.grad(loss, (0, 1))(x, weight)

    directions = (jnp.cos(x), jnp.cos(weight))
    forward = jax.jvp(all_grads, (x, weight), directions)
    return op(x, weight), jax.grad(penalty, (0, 1))(x, weight), forward


def assert_close(got, want):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert a.shape == b.shape
        # float32, sums of some hundred products; the second derivative goes through two of them.
        np.testing.assert_allclose(a, b, atol=2e-5 * float(jnp.max(jnp.abs(b))))


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("pads", [((0, 0), (0, 0)), ((1, 1), (1, 1)), ((2, 0), (-1, 1))])
def test_every_derivative_is_the_compilers(rng, stride, pads):
    x = jnp.asarray(rng.normal(size=(2, 9, 8, 3)), jnp.float32)
    weight = jnp.asarray(rng.normal(size=(3, 2, 3, 4)), jnp.float32)

    def ours(x, weight):
        return convolve(x, weight, stride, pads)

    def theirs(x, weight):
        return compiler(x, weight, stride, pads)

    got = jax.jit(lambda x, w: results(ours, x, w))(x, weight)
    want = jax.jit(lambda x, w: results(theirs, x, w))(x, weight)
    assert_close(got, want)


@pytest.mark.parametrize("stride", [1, 2])
def test_every_derivative_of_the_transpose_is_the_compilers(rng, stride):
    y = jnp.asarray(rng.normal(size=(2, 4, 5, 4)), jnp.float32)
    weight = jnp.asarray(rng.normal(size=(3, 2, 3, 4)), jnp.float32)
    pads, size = ((2, 0), (-1, 1)), (3 * stride + 1, 4 * stride + 2)

    def ours(y, weight):
        return convolve_transposed(y, weight, stride, pads, size)

    def theirs(y, weight):
        images = jnp.zeros((2, *size, 3))
        return jax.vjp(lambda x: compiler(x, weight, stride, pads), images)[1](y)[0]

    got = jax.jit(lambda y, w: results(ours, y, w))(y, weight)
    want = jax.jit(lambda y, w: results(theirs, y, w))(y, weight)
    assert_close(got, want)


def test_eager_mapped_and_bfloat16(rng):
    x = jnp.asarray(rng.normal(size=(5, 2, 6, 6, 3)), jnp.float32)
    weight = jnp.asarray(rng.normal(size=(1, 1, 3, 4)), jnp.float32)
    mapped = jax.vmap(conv2d, (0, None))(x, weight)
    np.testing.assert_allclose(mapped[3], conv2d(x[3], weight), rtol=1e-6)

    def loss(weight):
        return jnp.sum(conv2d(x[0].astype(weight.dtype), weight).astype(jnp.float32))

    grad = jax.grad(loss)(weight.astype(jnp.bfloat16))
    assert grad.dtype == jnp.bfloat16
    np.testing.assert_allclose(grad.astype(jnp.float32), jax.grad(loss)(weight), rtol=2e-2)
