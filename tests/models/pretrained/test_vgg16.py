"""A narrow VGG-16; the published sizes by shapes alone."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from stylegan_jax.models.pretrained import vgg16
from stylegan_jax.models.pretrained.frozen_layers import normalize_colours
from stylegan_jax.ops.resize import resize_tf1
from tests.models.pretrained import narrow


def test_published_size():
    assert narrow.count(vgg16.VGG16)[0] == 138_357_544


def test_features(rng):
    sizes = dict(channels=narrow.VGG16, resolution=64, hidden_features=5, num_classes=2)
    graphdef, params = narrow.draw(vgg16.VGG16, rng, **sizes)
    # Grey is repeated, images are resized as TensorFlow 1 does.
    img = jnp.asarray(rng.integers(0, 256, (2, 50, 70, 1), dtype=np.uint8))
    x = normalize_colours(resize_tf1(jnp.repeat(img, 3, axis=3), 64, 64))

    @jax.jit
    def run(params, img, x):
        module = nnx.merge(graphdef, params)
        return vgg16.apply(module, img)["features"], module(x)

    features, got = run(params, img, x)
    np.testing.assert_allclose(features, got["fc2"], rtol=0, atol=1e-5)
    # The first dense layer reads channel by channel.
    flat = np.asarray(got["pool5"]).transpose(0, 3, 1, 2).reshape(2, -1)
    fc1 = np.maximum(flat @ params["fc1"]["weight"] + params["fc1"]["bias"], 0)
    np.testing.assert_allclose(got["fc1"], fc1, rtol=0, atol=1e-5)
    assert got["pool5"].shape == (2, 2, 2, 3) and np.all(got["fc2"] >= 0)


def test_maxima_leave_out_an_odd_border(rng):
    x = rng.normal(size=(1, 5, 7, 2)).astype(np.float32)
    want = x[:, :4, :6].reshape(1, 2, 2, 3, 2, 2).max(axis=(2, 4))
    np.testing.assert_array_equal(vgg16.max_pixels(jnp.asarray(x)), want)
