import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from stylegan_jax.models import stylegan1
from tests.models.small import activations, count, paths, shapes


def test_parameter_total_is_the_official_one():
    G = shapes(stylegan1.Generator, z_dim=512, w_dim=512, c_dim=0, img_resolution=1024,
               channel_base=16384, channel_max=512)  # fmt: skip
    assert count(G) == 26_219_627


# Karras et al. 2019, table 1.
BASELINE = dict(const_input=False, use_noise=False, use_styles=False, mapping_layers=0)
ROWS = {
    "B": (BASELINE, ()),
    "C": (dict(const_input=False, use_noise=False), ("affine", "fc0")),
    "D": (dict(use_noise=False), ("affine", "const", "fc0")),
    "F": ({}, ("affine", "const", "fc0", "noise_strength")),
}


@pytest.mark.parametrize("row", ROWS)
def test_rows_of_the_ablation_have_what_the_paper_gives_them(row):
    settings, has = ROWS[row]
    names = paths(shapes(stylegan1.Generator, z_dim=8, w_dim=6, c_dim=0, **settings))
    for part in ("affine", "const", "fc0", "noise_strength"):
        assert (part in names) == (part in has), part
    assert ("['b4']['fc']" in names) == ("const" not in has)


def test_styles_without_a_mapping_are_normalised_latents():
    G = shapes(stylegan1.Generator, z_dim=8, w_dim=6, mapping_layers=0)
    assert G.w_dim == 16, "the label's embedding lies beside the latent"
    mapping = stylegan1.Mapping(
        8, 2, 6, num_layers=0, layer_features=None, act="lrelu", lr_multiplier=0.01,
        rngs=nnx.Rngs(0),
    )  # fmt: skip
    w = mapping(jax.random.normal(jax.random.key(1), (3, 8)), jnp.eye(2)[jnp.asarray([0, 1, 1])])
    np.testing.assert_allclose(jnp.mean(w**2, axis=1), 1, rtol=1e-5)


def test_the_mapping_has_an_activation_of_its_own():
    G = shapes(stylegan1.Generator, z_dim=8, w_dim=6, mapping_layers=2, mapping_act="relu")
    assert activations(G) == {"mapping.fc0": "relu", "mapping.fc1": "relu"}
    assert G.synthesis.b8.epilogue0.switches.act == "lrelu"
    mapping = stylegan1.Mapping(
        4, 0, 6, num_layers=1, layer_features=None, act="relu", lr_multiplier=0.1, rngs=nnx.Rngs(0)
    )
    w = mapping(jnp.asarray([[1.0, -1.0, 1.0, 1.0]]), None)
    # He's gain lies on the weight, and the multiplier: w_hat = w * sqrt(2 / 4) * 0.1.
    weight = np.asarray(mapping.fc0.weight[...]) * np.sqrt(2 / 4) * 0.1
    want = np.maximum(np.asarray([1.0, -1.0, 1.0, 1.0]) @ weight, 0)
    np.testing.assert_allclose(w[0], want, atol=1e-5)


def test_the_epilogue_is_adain_after_noise_and_activation():
    switches = stylegan1.Switches(
        act="linear",
        const_input=True,
        use_noise=True,
        use_pixel_norm=False,
        use_instance_norm=True,
        use_styles=True,
        blur_filter=None,
    )
    layer = stylegan1.Epilogue(2, w_dim=1, switches=switches, rngs=nnx.Rngs(0))
    layer.noise_strength[...] = jnp.asarray([1.0, 0.0])
    layer.affine.weight[...] = jnp.asarray([[1.0, 0.0, 5.0, 0.0]])  # y_s - 1, y_b of each channel
    x = jnp.asarray([1.0, -1.0, 1.0, -1.0]).reshape(1, 2, 2, 1) * jnp.asarray([1.0, 2.0])
    noise = jnp.asarray([0.0, 2.0, 0.0, -2.0]).reshape(1, 2, 2, 1)
    y = layer(x, jnp.asarray([[1.0]]), noise)

    # Channel 0: noise comes in, scale 2, shift 5; channel 1: neither.
    first = np.asarray([1.0, 1.0, 1.0, -3.0]).reshape(2, 2)
    np.testing.assert_allclose(y[0, :, :, 0], first / np.sqrt(3) * 2 + 5, rtol=1e-5)
    np.testing.assert_allclose(y[0, :, :, 1], x[0, :, :, 1] / 2, rtol=1e-5)


def test_wrong_number_of_styles():
    G = shapes(stylegan1.Generator, z_dim=8, w_dim=6)
    with pytest.raises(ValueError, match="5 styles given, 6 wanted"):
        G.synthesis(jnp.zeros((1, 5, 6)), None, {})
