"""LPIPS of a narrow trunk."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from stylegan_jax.models.pretrained.frozen_layers import normalize_colours
from stylegan_jax.models.pretrained.lpips import LPIPS, lpips_distance, lpips_features
from tests.models.pretrained import narrow


def test_distance_gradient_and_features(rng):
    graphdef, params = narrow.draw(LPIPS, rng, channels=narrow.VGG16)
    params |= {f"lin{k}": np.abs(params[f"lin{k}"]) for k in range(5)}
    # In one layer no pixel has any feature above zero, and so no direction.
    params["trunk"]["conv7"]["bias"] = np.full(3, -1e6, np.float32)

    @jax.jit
    def run(params, a, b):
        module = nnx.merge(graphdef, params)
        return {
            "distance": lpips_distance(module, a, b),
            "same": lpips_distance(module, a, a),
            "gradient": jax.grad(lambda x: lpips_distance(module, x, b).sum())(a),
            "a": lpips_features(module, a),
            "b": lpips_features(module, b),
            "first": module.trunk(normalize_colours(a))[0],
        }

    a = jnp.asarray(rng.uniform(0, 255, (2, 17, 35, 3)), jnp.float32)
    got = run(params, a, jnp.asarray(rng.uniform(0, 255, (1, 17, 35, 3)), jnp.float32))
    va, vb = np.float64(got["a"]), np.float64(got["b"])
    np.testing.assert_allclose(got["distance"], np.sum((va - vb) ** 2, axis=1), rtol=1e-4)
    np.testing.assert_array_equal(got["same"], [0, 0])
    assert np.all(np.isfinite(got["gradient"])) and np.all(got["distance"] > 1e-4)
    assert np.all(np.any(got["gradient"] != 0, axis=(1, 2, 3)))
    # The first layer by hand: directions, times the roots of weights over the number of pixels.
    first = np.float64(got["first"][0])
    first /= np.sqrt(np.sum(first**2, axis=-1, keepdims=True)) + 1e-10
    want = np.moveaxis(first * np.sqrt(params["lin0"] / (17 * 35)), -1, 0).ravel()
    np.testing.assert_allclose(va[0, : want.size], want, rtol=0, atol=1e-6)


def test_bad_images(rng):
    module = nnx.merge(*narrow.draw(LPIPS, rng, channels=narrow.VGG16))
    with pytest.raises(ValueError, match="images of 15x64 px: LPIPS needs 16 px"):
        lpips_distance(module, jnp.zeros((1, 15, 64, 3)), jnp.zeros((1, 15, 64, 3)))
    with pytest.raises(ValueError, match="Images of 2 channels"):
        lpips_features(module, jnp.zeros((1, 16, 16, 2)))
