"""Inception's own parts; its numbers are compared in tests/parity."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from stylegan_jax.models.pretrained.inception import (
    BLOCKS,
    Block,
    Conv,
    Inception,
    Layer,
    Mixed,
    apply_tf1,
    apply_torch,
    average_pool,
    max_pool,
)
from tests.models.pretrained.shapes import structure


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (4, 3)])
def test_pools_do_not_count_what_lies_outside(size, rng):
    x = rng.normal(size=(2, *size, 3)).astype(np.float32)
    average, largest = average_pool(jnp.asarray(x)), max_pool(jnp.asarray(x), 1)
    for i in range(size[0]):
        for j in range(size[1]):
            window = x[:, max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2]
            np.testing.assert_allclose(average[:, i, j], window.mean((1, 2)), atol=1e-6)
            np.testing.assert_array_equal(largest[:, i, j], window.max((1, 2)))
    if size == (4, 3):
        np.testing.assert_array_equal(
            max_pool(jnp.asarray(x), 2)[:, 0, 0], x[:, :3, :3].max((1, 2))
        )


def test_a_layer_is_convolution_bias_and_relu(rng):
    layer = Conv(2, Layer(3, (1, 3), 2, is_padded=False), rngs=nnx.Rngs(0))
    layer.bias[...] = jnp.asarray([0.5, -0.5, 0.0])
    x = rng.normal(size=(1, 3, 7, 2)).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(x[0, ::2], 3, axis=1)[:, ::2]
    want = np.einsum("hwik,kio->hwo", windows, layer.weight[...][0]) + layer.bias[...]
    np.testing.assert_allclose(layer(jnp.asarray(x))[0], np.maximum(want, 0), atol=1e-5)


def test_number_of_parameters():
    """Those of the published file, normalisation folded."""
    sizes = [x.size for x in jax.tree.leaves(structure(Inception)[1])]
    assert len(sizes) == 2 * 94 + 2
    # 21,751,136 in kernels, a bias for each of their 17,216 channels, and the classes.
    assert sum(sizes) == 21_751_136 + 17_216 + 2048 * 1008 + 1008


def test_what_is_shown(rng):
    """Both protocols by hand, at the size of the network, where nothing is resized."""
    img = rng.integers(0, 256, (1, 299, 299, 1), np.uint8)
    seen = lambda x: {"seen": x}  # noqa: E731
    colours = np.repeat(img, 3, axis=3).astype(np.float64)
    got = apply_tf1(seen, jnp.asarray(img))["seen"]
    np.testing.assert_allclose(got, (colours - 128) / 128, atol=1e-6)
    got = apply_torch(seen, jnp.asarray(img, jnp.float32))["seen"]
    np.testing.assert_allclose(got, 2 * colours / 255 - 1, atol=1e-6)


def test_blocks_in_bfloat16_and_their_gradients(rng):
    """A block with a fork, in half the bits, and what reaches its input."""
    x = jnp.asarray(rng.uniform(0, 1, (1, 4, 3, 8)), jnp.float32)
    branches = {name: BLOCKS["mixed_7c"].branches[name] for name in ("branch3x3", "branch_pool")}
    block = Block(branches, "average")
    made = [
        nnx.split(Mixed(8, block, shrink=32, dtype=dtype, rngs=nnx.Rngs(0)))
        for dtype in (jnp.float32, jnp.bfloat16)
    ]

    @jax.jit
    def run(x):
        whole, half = (nnx.merge(*parts)(x) for parts in made)
        return whole, half, jax.grad(lambda x: jnp.sum(nnx.merge(*made[0])(x)))(x)

    whole, half, gradient = run(x)
    assert whole.shape == (1, 4, 3, (2 * 384 + 192) // 32) and half.dtype == jnp.bfloat16
    error = float(jnp.max(jnp.abs(half.astype(jnp.float32) - whole)))
    assert 0 < error < 0.03 * float(jnp.max(whole))  # 8 bits, two layers deep
    assert float(jnp.min(jnp.linalg.norm(gradient, axis=3))) > 0
