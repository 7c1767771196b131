"""Classifiers of attributes, smaller than the official ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from stylegan_jax.models.pretrained.attributes import ATTRIBUTES, AttributeClassifier, classify
from stylegan_jax.ops.pyramid import average_pixels
from tests.models.pretrained import narrow


def test_names():
    assert len(set(ATTRIBUTES)) == 40
    assert (ATTRIBUTES[0], ATTRIBUTES[26], ATTRIBUTES[39]) == (
        "male",
        "narrow-eyes",
        "wearing-necktie",
    )


def test_probabilities(rng):
    sizes = dict(img_resolution=8, channel_base=32, channel_max=8)
    graphdef, params = narrow.draw(AttributeClassifier, rng, **sizes)
    # Statistics of the batch would be another channel.
    assert params["b4"]["conv"]["weight"].shape == (3, 3, 8, 8)

    @jax.jit
    def run(params, img):
        module = nnx.merge(graphdef, params)
        small = average_pixels(img, 2)
        return classify(module, img), classify(module, small), module.logits(small)

    got, same, logits = run(params, jnp.asarray(rng.uniform(-1, 1, (3, 16, 16, 3)), jnp.float32))
    # softmax(l, -l)
    np.testing.assert_allclose(got[:, :1], 1 / (1 + np.exp(-2 * logits)), rtol=1e-5)
    np.testing.assert_allclose(got.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(same, got, rtol=1e-5)
    for shape in ((1, 4, 4, 3), (1, 8, 16, 3), (1, 8, 8, 1)):
        with pytest.raises(ValueError, match="square RGB images of 8 px or more"):
            classify(nnx.merge(graphdef, params), jnp.zeros(shape))
