import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from stylegan_jax.models.progressive_discriminator import Discriminator
from stylegan_jax.ops.pyramid import average_pixels
from tests.models.small import activations, build, count, shapes


def check_fade(graphdef, params):
    """A fade of 1 shows D the image at half its size alone, a fade of 0 the image alone."""
    img = jax.random.normal(jax.random.key(2), (4, 16, 16, 3))
    c = jnp.eye(2)[jnp.asarray([0, 1, 1, 0])]
    small = average_pixels(img, 2)

    @jax.jit
    def judge(params, fade):
        D = nnx.merge(graphdef, params)
        faded, _ = D(img, c, {}, fade=fade)
        return faded, *(D(x, c, {})[0] for x in (img, small, jnp.zeros_like(img)))

    begin, alone, at_half, of_grey = judge(params, jnp.float32(1))
    np.testing.assert_allclose(begin, at_half, atol=1e-4)
    np.testing.assert_array_equal(judge(params, jnp.float32(0))[0], alone)
    assert float(jnp.max(jnp.abs(begin - alone))) > 1e-3
    assert float(jnp.max(jnp.abs(of_grey - at_half))) > 1e-3


def test_parameter_total_is_the_official_one():
    sizes = dict(c_dim=0, img_resolution=1024, channel_base=16384, channel_max=512)
    assert count(shapes(Discriminator, **sizes)) == 23_087_249


def test_a_faded_discriminator_sees_the_smaller_image():
    check_fade(*build(Discriminator, blur_filter=(1, 2, 1)))


def test_the_label_picks_the_score_of_its_class():
    graphdef, params = build(Discriminator, blur_filter=(1, 2, 1))
    D = nnx.merge(graphdef, params)
    x = jax.random.normal(jax.random.key(0), (4, 4, 4, 8))
    labels = np.asarray([0, 1, 1, 0])
    first, second, own = (
        D.b4(x, jnp.eye(2)[c])[:, 0] for c in (0 * labels, 0 * labels + 1, labels)
    )
    assert not np.any(first == second)
    np.testing.assert_array_equal(own, np.where(labels == 0, first, second))
    assert shapes(Discriminator, score_by_label=False).b4.out.bias.shape == (1,)


def test_every_layer_but_the_last_has_the_activation_and_its_gain_on_the_weight():
    D = shapes(Discriminator, act="relu")
    blocks = ("b16", "b8")
    want = {f"{block}.{layer}" for block in blocks for layer in ("fromrgb", "conv0", "conv1")}
    want |= {"b4.fromrgb", "b4.conv", "b4.fc"}
    assert activations(D) == dict.fromkeys(want, "relu")
    assert D.b8.conv0.act_gain == D.b4.fc.act_gain == 1.0
    # sqrt(2 / fan_in), and no sqrt(2) before the logits.
    assert D.b8.conv0.weight_gain == pytest.approx(np.sqrt(2 / (9 * 8)))
    assert D.b4.out.weight_gain == pytest.approx(np.sqrt(1 / 8))


def test_a_fixed_discriminator_refuses_smaller_images():
    D = shapes(Discriminator, grows=False)
    with pytest.raises(ValueError, match="resolution=8"):
        D(jnp.zeros((4, 8, 8, 3)), jnp.zeros((4, 2)), {})
