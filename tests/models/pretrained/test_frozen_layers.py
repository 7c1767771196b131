"""Layers against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from stylegan_jax.models.pretrained.frozen_layers import (
    BatchNorm,
    Conv,
    Dense,
    DepthwiseConv,
    normalize_colours,
)


@pytest.mark.parametrize(("size", "kernel_size", "before"), [(6, 3, 0), (7, 3, 1), (8, 5, 1)])
def test_padding_is_that_of_tensorflow(rng, size, kernel_size, before):
    """At even sizes a stride of 2 has one more zero behind than before."""
    shape = dict(kernel_size=kernel_size, stride=2, rngs=nnx.Rngs(0))
    conv, depthwise = Conv(2, 2, bias=False, **shape), DepthwiseConv(2, **shape)
    x = rng.normal(size=(1, size, size, 2)).astype(np.float32)
    weight = np.asarray(depthwise.weight[...])  # [k, k, 1, 2]
    # The same as a convolution of all channels.
    conv.weight[...] = jnp.asarray(weight * np.eye(2, dtype=np.float32))
    padded = np.pad(x, ((0, 0), (before, 9), (before, 9), (0, 0)))
    want = np.zeros((1, -(-size // 2), -(-size // 2), 2))
    for i in range(want.shape[1]):
        for j in range(want.shape[2]):
            patch = padded[0, 2 * i : 2 * i + kernel_size, 2 * j : 2 * j + kernel_size]
            want[0, i, j] = np.sum(patch * weight[:, :, 0], axis=(0, 1))
    for layer in (conv, depthwise):
        got = jax.jit(lambda x, f=layer: f(x))(jnp.asarray(x))
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-5)


def test_what_is_normalised(rng):
    norm = BatchNorm(3, eps=1e-3)
    x = rng.normal(size=(2, 4, 4, 3)).astype(np.float32)
    values = rng.uniform(0.5, 2, size=(4, 3)).astype(np.float32)
    names = ("weight", "bias", "running_mean", "running_var")
    for name, value in zip(names, values, strict=True):
        getattr(norm, name)[...] = jnp.asarray(value)
    weight, bias, mean, var = values
    want = (x - mean) / np.sqrt(var + 1e-3) * weight + bias
    np.testing.assert_allclose(norm(jnp.asarray(x)), want, rtol=0, atol=1e-5)
    assert norm(jnp.asarray(x, jnp.bfloat16)).dtype == jnp.bfloat16


def test_colours_and_dense(rng):
    got = normalize_colours(jnp.full((1, 1, 1, 3), 255.0))
    want = [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    np.testing.assert_allclose(got[0, 0, 0], want, rtol=1e-6)
    dense = Dense(3, 2, rngs=nnx.Rngs(0))
    x = rng.normal(size=(4, 3)).astype(np.float32)
    want = x @ np.asarray(dense.weight[...]) + np.asarray(dense.bias[...])
    np.testing.assert_allclose(dense(jnp.asarray(x)), want, rtol=0, atol=1e-6)


def test_sums_have_full_precision():
    """Accelerators would take fewer bits for float32."""
    conv = Conv(3, 4, kernel_size=3, rngs=nnx.Rngs(0))
    dense = Dense(3, 4, rngs=nnx.Rngs(0))
    for layer, shape in ((conv, (1, 4, 4, 3)), (dense, (1, 3))):
        assert "HIGHEST" in str(jax.make_jaxpr(lambda x, f=layer: f(x))(jnp.zeros(shape)))
