import jax.numpy as jnp
import numpy as np
from flax import nnx

from stylegan_jax.models import progan
from stylegan_jax.models.progan import blend_colors
from tests.models.small import count, shapes


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
