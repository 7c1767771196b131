import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from stylegan_jax.models.layers import (
    Conv2d,
    Dense,
    Mapping,
    MinibatchStddev,
    activate,
    block_sizes,
    channels_at,
    compute_dtype,
    image_packing,
    normalized,
)
from stylegan_jax.ops.formulation import FORMULATIONS
from stylegan_jax.ops.packing import UNPACKED


def test_sizes_of_blocks():
    assert block_sizes(16) == {4: (4, 4), 8: (8, 8), 16: (16, 16)}
    assert block_sizes(8, (6, 4)) == {4: (6, 4), 8: (12, 8)}
    for bad in (48, 2, 0):
        with pytest.raises(ValueError, match=f"img_resolution={bad}: give a power of two"):
            block_sizes(bad)
    # Each size has one base: these are larger or smaller than it.
    for bad in ((8, 8), (3, 4), (9, 12)):
        with pytest.raises(ValueError, match="give a shorter side of 4 to 7"):
            block_sizes(8, bad)
    sizes = dict(channel_base=16384, channel_max=512)
    assert [channels_at(res, **sizes) for res in (4, 32, 64, 1024)] == [512, 512, 256, 16]


def test_the_highest_resolutions_compute_in_bfloat16_but_none_below_8():
    def coarsest(num_bf16_res):
        is_half = [compute_dtype(r, 32, num_bf16_res) == jnp.bfloat16 for r in (4, 8, 16, 32)]
        assert is_half == sorted(is_half)
        return is_half.count(True)

    assert [coarsest(n) for n in (0, 1, 2, 3, 4, 9)] == [0, 1, 2, 3, 3, 3]


def test_taps_sum_to_one():
    assert normalized((1, 3, 3, 1)) == (0.125, 0.375, 0.375, 0.125)


def test_gain_scales_the_clamp_and_packed_maps_repeat_the_bias():
    x = jnp.asarray([3.0, -30.0, 1.0, 0.5]).reshape(1, 1, 1, 4)
    y = activate(x, jnp.asarray([1.0, 0.0]), act="linear", gain=0.5, clamp=2.0)
    np.testing.assert_allclose(y[0, 0, 0], [1.0, -1.0, 1.0, 0.25])
    y = activate(x[..., :2], jnp.asarray([1.0, 0.0]), act="lrelu", act_gain=1.0)
    np.testing.assert_allclose(y[0, 0, 0], [4.0, -6.0], rtol=1e-6)
    with pytest.raises(ValueError, match="Bias of 3"):
        activate(x, jnp.zeros(3), act="linear")
    with pytest.raises(ValueError, match="Unknown activation 'gelu'"):
        activate(x, None, act="gelu")


def test_dense_computes_the_same_at_any_lr_multiplier_and_its_gradients_shrink_with_it():
    x = jnp.asarray([[1.0, 2.0, -1.0, 0.5]])
    layers = [Dense(4, 3, lr_multiplier=m, bias_init=1.0, rngs=nnx.Rngs(0)) for m in (1.0, 0.01)]
    full, slow = (layer(x) for layer in layers)
    np.testing.assert_allclose(full, slow, rtol=1e-5)
    weight = np.asarray(layers[0].weight[...])
    np.testing.assert_allclose(full, np.asarray(x) @ weight / 2 + 1, rtol=1e-5)


def test_convolution_scales_its_weight_and_keeps_the_size():
    layer = Conv2d(2, 3, kernel_size=3, act="lrelu", rngs=nnx.Rngs(0))
    layer.bias[...] = jnp.asarray([0.0, 1.0, 2.0])
    x = np.zeros((1, 4, 4, 2), np.float32)
    x[0, 1, 2] = [1.0, 2.0]
    y = np.asarray(layer(jnp.asarray(x)))

    # A single pixel draws the kernel, mirrored, around itself.
    kernel = np.einsum("klio,i->klo", np.asarray(layer.weight[...]), [1.0, 2.0]) / np.sqrt(18)
    want = np.zeros((4, 4, 3))
    want[0:3, 1:4] = kernel[::-1, ::-1]
    want += [0.0, 1.0, 2.0]
    want = np.where(want >= 0, want, 0.2 * want) * np.sqrt(2)
    np.testing.assert_allclose(y[0], want, atol=1e-5)


def test_layers_know_how_their_size_is_packed():
    tpu = FORMULATIONS["tpu"]
    up = Conv2d(64, 32, kernel_size=1, up=2, size=(64, 96), formulation=tpu, rngs=nnx.Rngs(0))
    assert up.packing == (tpu.packing((32, 48), 64), tpu.packing((64, 96), 32))
    down = Conv2d(32, 64, kernel_size=1, down=2, size=(64, 96), formulation=tpu, rngs=nnx.Rngs(0))
    assert down.packing == up.packing[::-1] and up.packing[0] != up.packing[1]
    bare = Conv2d(32, 64, kernel_size=1, formulation=tpu, rngs=nnx.Rngs(0))
    assert bare.packing == (UNPACKED, UNPACKED)
    # Few colours: an image is packed wider than the feature maps beside it.
    assert image_packing(tpu, (64, 96), 3, 32)[1] > tpu.packing((64, 96), 32)[1]


def test_minibatch_stddev_shows_how_a_group_differs():
    x = jnp.asarray([1.0, 3.0, 5.0, 5.0]).reshape(4, 1, 1, 1) * jnp.ones((4, 2, 2, 3))
    layer = MinibatchStddev(group_size=2, num_channels=1, grouping="contiguous")
    y = layer(x)
    np.testing.assert_array_equal(y[..., :3], x)
    np.testing.assert_allclose(y[:, 0, 0, 3], [1, 1, 0, 0], atol=2e-4)
    without = MinibatchStddev(group_size=2, num_channels=0, grouping="contiguous")
    assert without(x) is x


def test_mapping_normalises_latent_and_label_apart():
    settings = dict(num_layers=2, embed_features=5, layer_features=6)
    mapping = Mapping(3, 2, 4, **settings, rngs=nnx.Rngs(0))
    assert (mapping.fc0.weight.shape, mapping.fc1.weight.shape) == ((8, 6), (6, 4))
    z = jax.random.normal(jax.random.key(0), (3, 3))
    c = jnp.eye(2)[jnp.asarray([0, 1, 1])]
    draw = jax.jit(lambda z, c: mapping(z, c))
    w = draw(z, c)
    assert w.shape == (3, 4) and w.dtype == jnp.float32
    # Neither the length of the latent nor that of the label matters.
    np.testing.assert_allclose(draw(5 * z, 3 * c), w, rtol=1e-5)
    only_labels = Mapping(0, 2, 4, num_layers=1, rngs=nnx.Rngs(0))
    assert only_labels(None, jnp.eye(2)).shape == (2, 4)
    with pytest.raises(ValueError, match="needs a latent or a label"):
        Mapping(0, 0, 4, rngs=nnx.Rngs(0))
