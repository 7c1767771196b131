"""Transformers: activations, masks, positions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from stylegan_jax.models.pretrained.clip import TextSizes, TextTower, unit
from stylegan_jax.models.pretrained.dino import DINO
from stylegan_jax.models.pretrained.vit import (
    Embedding,
    LayerNorm,
    gelu,
    quick_gelu,
    resize_positions,
)
from tests.models.pretrained import narrow


def test_published_size():
    assert narrow.count(DINO)[0] == 21_665_664


def test_activations():
    # 1 * Phi(1) and 1 / (1 + exp(-1.702))
    np.testing.assert_allclose(gelu(jnp.ones(())), 0.8413447, rtol=1e-6)
    np.testing.assert_allclose(quick_gelu(jnp.ones(())), 0.8457958, rtol=1e-6)
    x = jnp.float32([[1, 2, 3, 6]])
    want = (np.asarray(x) - 3) / np.sqrt(3.5 + 1e-6)
    np.testing.assert_allclose(LayerNorm(4, eps=1e-6)(x), want, rtol=1e-5)
    np.testing.assert_allclose(unit(jnp.float32([[3, 4], [0, 0]])), [[0.6, 0.8], [0, 0]])


@pytest.mark.parametrize("rule", ["bilinear", "bicubic", "dino"])
def test_positions_keep_what_stands_before_them(rng, rule):
    pos = jnp.asarray(rng.normal(size=(1 + 3 * 5, 2)), jnp.float32)
    assert resize_positions(pos, (3, 5), (3, 5), rule) is pos
    got = resize_positions(pos, (3, 5), (6, 4), rule)
    assert got.shape == (1 + 6 * 4, 2)
    np.testing.assert_array_equal(got[0], pos[0])
    # A constant grid stays constant, to the left and right as well as inside.
    flat = resize_positions(jnp.ones((15, 2)), (3, 5), (7, 9), rule)
    np.testing.assert_allclose(flat, 1, rtol=1e-5)


def test_texts_end_where_they_end(rng):
    """What follows the end is never looked at, so texts may be cut."""
    sizes = TextSizes(8, vocab_size=10, width=8, num_layers=1, num_heads=2, hidden_features=8)
    graphdef, params = narrow.draw(TextTower, rng, sizes=sizes, embed_dim=4, act=gelu)

    @jax.jit
    def run(params, ids):
        tower = nnx.merge(graphdef, params)
        return tower(ids)["features"], tower(ids[:1, :3])["features"]

    ids = jnp.asarray([[8, 3, 9, 0, 0, 0, 0, 0], [8, 3, 9, 1, 2, 3, 4, 9]])
    got, short = run(params, ids)
    np.testing.assert_allclose(got[0], got[1], rtol=0, atol=1e-5)
    np.testing.assert_allclose(short, got[:1], rtol=0, atol=1e-5)
    # The start alone tells nothing of the text.
    assert np.abs(run(params, ids.at[:, 1].set(4))[0] - got).max() > 1e-2
    with pytest.raises(ValueError, match="texts of 9 tokens: at most 8 are read"):
        nnx.merge(graphdef, params)(jnp.zeros((1, 9), jnp.int32))


def test_images_that_patches_do_not_fill():
    embed = Embedding(4, 8, (2, 2), bias=True, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="images of 16x20 px, which patches of 8 px do not fill"):
        embed(jnp.zeros((1, 16, 20, 3)))
