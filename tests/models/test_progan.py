import jax.numpy as jnp
import numpy as np
from flax import nnx

from stylegan_jax.models import progan
from stylegan_jax.models.progan import blend_colors
from stylegan_jax.ops.formulation import FORMULATIONS
from tests.models.small import activations, count, shapes


def test_parameter_total_is_the_official_one():
    G = shapes(progan.Generator, z_dim=512, c_dim=0, img_resolution=1024,
               channel_base=16384, channel_max=512)  # fmt: skip
    assert count(G) == 23_079_115


def test_latent_and_label_are_normalised_together():
    w = progan.Mapping()(jnp.asarray([[3.0, 0.0, 3.0]]), jnp.asarray([[0.0, 3.0]]))
    np.testing.assert_allclose(w, np.float32([[1, 0, 1, 0, 1]]) * np.sqrt(5 / 3), rtol=1e-6)


def test_the_only_style_is_the_latent():
    G = shapes(progan.Generator, z_dim=8)
    assert (G.num_ws, G.w_dim, G.has_styles, G.noise_layers) == (1, 10, False, ())


def test_every_activation_is_the_given_one():
    found = activations(shapes(progan.Generator, z_dim=8, act="relu"))
    assert found == dict.fromkeys(activations(shapes(progan.Generator, z_dim=8)), "relu")
    assert {"synthesis.b4", "synthesis.b4.conv1", "synthesis.b16.conv0"} < set(found)


def test_the_gain_lies_on_the_weight_whichever_the_activation():
    """sqrt(2) on every weight, a quarter of it on the first one, and none on what comes out."""
    block = progan.SynthesisBlock(
        0, 4, w_dim=2, size=(4, 4), img_channels=3, has_torgb=False, act="relu",
        dtype=jnp.dtype(jnp.float32), formulation=FORMULATIONS["plain"], rngs=nnx.Rngs(0),
    )  # fmt: skip
    w = np.asarray([[0.5, -2.0]], np.float32)
    # A 4x4 map of 1x1 kernels: the middle of each 3x3 kernel alone is kept.
    kernel = np.zeros_like(block.conv1.weight[...])
    kernel[1, 1] = middle = np.asarray(block.conv1.weight[...])[1, 1]
    block.conv1.weight[...] = jnp.asarray(kernel)

    def relu_and_norm(x):
        x = np.maximum(x, 0)
        return x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + 1e-8)

    x = relu_and_norm((w @ np.asarray(block.fc.weight[...])).reshape(1, 4, 4, 4) / 4)
    want = relu_and_norm(x @ middle * np.sqrt(2 / (9 * 4)))
    np.testing.assert_allclose(block(jnp.asarray(w)), want, atol=1e-5)


def test_colors_are_blended_as_the_paper_draws_it():
    class Double(nnx.Module):
        def colors(self, x):
            return 2 * x

    synthesis = nnx.Module()
    synthesis.b4 = synthesis.b8 = Double()
    fine, coarse = jnp.full((1, 8, 8, 1), 1.0), jnp.full((1, 4, 4, 1), 3.0)
    img = blend_colors(synthesis, 8, fine, coarse, jnp.float32(0.25))
    np.testing.assert_allclose(img, np.full((1, 8, 8, 1), 2 + 0.25 * (6 - 2)))
    np.testing.assert_allclose(blend_colors(synthesis, 8, fine, None, None), 2 * fine)
