import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from stylegan_jax.models import make_model, stylegan2, stylegan2_layers
from stylegan_jax.models.blocks import NoiseLayer, make_noise
from tests.models.small import SIZES, activations, build, count, paths, shapes

SETTINGS = dict(z_dim=8, w_dim=8, mapping_layers=2)


@pytest.mark.parametrize(
    ("res", "base", "architecture", "total"),
    [
        (1024, 32768, "skip", 30_370_060),
        (1024, 16384, "orig", 23_596_292),
        (1024, 16384, "skip", 24_900_764),
        (1024, 16384, "resnet", 24_557_316),
        (512, 32768, "skip", 30_276_583),
        (256, 16384, "skip", 24_767_458),
        (32, 32768, "skip", 21_523_475),
    ],
)
def test_parameter_totals_are_the_official_ones(res, base, architecture, total):
    sizes = dict(c_dim=0, img_resolution=res, channel_base=base, channel_max=512)
    G = shapes(stylegan2.Generator, z_dim=512, w_dim=512, architecture=architecture, **sizes)
    assert count(G) == total


@pytest.mark.parametrize("architecture", ["orig", "skip", "resnet"])
def test_first_images_have_the_scale_of_images(architecture):
    """At initialisation every layer keeps unit variance: images are of order 1."""
    sizes = SIZES | dict(c_dim=0)
    graphdef, init = make_model(stylegan2.Generator, architecture=architecture, **sizes, **SETTINGS)

    @jax.jit
    def draw(z):
        return nnx.merge(graphdef, init(jax.random.key(0)))(z, None, None, {})

    img = draw(jax.random.normal(jax.random.key(1), (64, 8)))
    assert img.shape == (64, 16, 16, 3) and img.dtype == jnp.float32
    assert 0.2 < float(jnp.std(img)) < 3


def test_bfloat16_blocks_stay_close_to_float32():
    settings = SETTINGS | dict(img_resolution=8, conv_clamp=256.0)
    _, params = build(stylegan2.Generator, **settings)
    layers = (NoiseLayer("b4", "conv1", 4, (4, 4)), NoiseLayer("b8", "conv0", 8, (8, 8)))
    noise = make_noise(jax.random.key(3), 2, layers, 8)

    @jax.jit
    def draw(params, z):
        images = []
        for num_bf16_res in (0, 2):
            graphdef, _ = make_model(
                stylegan2.Generator, **SIZES | settings, num_bf16_res=num_bf16_res
            )
            G = nnx.merge(graphdef, params)
            assert G.synthesis.b8.dtype == (jnp.bfloat16 if num_bf16_res else jnp.float32)
            images.append(G(z, jnp.eye(2), noise, {}))
        return images

    exact, half = draw(params, jax.random.normal(jax.random.key(1), (2, 8)))
    assert half.dtype == jnp.float32
    # A block of 8-bit mantissas: a few percent on average.
    assert float(jnp.mean(jnp.abs(half - exact))) < 0.04 * float(jnp.std(exact))
    assert np.any(half != exact)


def test_every_layer_has_its_activation_and_what_is_linear_stays_so():
    G = shapes(
        stylegan2.Generator, act="tanh", mapping_act="elu", architecture="resnet", **SETTINGS
    )
    mapping = {f"mapping.fc{i}": "elu" for i in range(2)}
    convs = ("b4.conv1", "b8.conv0", "b8.conv1", "b16.conv0", "b16.conv1")
    assert activations(G) == mapping | {f"synthesis.{conv}": "tanh" for conv in convs}


@pytest.mark.parametrize(
    ("act", "function"),
    [
        ("tanh", np.tanh),
        ("swish", lambda x: np.sqrt(2) * x / (1 + np.exp(-x))),
        ("relu", lambda x: np.sqrt(2) * np.maximum(x, 0)),
    ],
)
def test_an_activation_with_its_own_gain_before_that_of_the_block(rng, act, function):
    layers = [
        stylegan2_layers.SynthesisLayer(
            3, 4, w_dim=2, size=(4, 4), act=name, conv_clamp=clamp, rngs=nnx.Rngs(0)
        )
        for name, clamp in (("linear", None), (act, 0.9))
    ]
    x = jnp.asarray(rng.normal(size=(2, 4, 4, 3)), jnp.float32)
    w = jnp.asarray(rng.normal(size=(2, 2)), jnp.float32)
    before, after = (np.asarray(layer(x, w, None, gain)) for layer, gain in zip(layers, (1, 0.5)))
    want = 0.5 * np.clip(function(before), -0.9, 0.9)
    np.testing.assert_allclose(after, want, atol=1e-6)
    assert 0 < np.mean(np.abs(after) == 0.45) < 1


def test_noise_inputs_from_low_resolution_to_high_and_none_without_them():
    G = shapes(stylegan2.Generator, **SETTINGS)
    assert G.noise_layers == (
        ("b4", "conv1", 4, (4, 4)),
        ("b8", "conv0", 8, (8, 8)),
        ("b8", "conv1", 8, (8, 8)),
        ("b16", "conv0", 16, (16, 16)),
        ("b16", "conv1", 16, (16, 16)),
    )
    assert G.num_ws == 6 and "noise_strength" in paths(G)
    without = shapes(stylegan2.Generator, use_noise=False, **SETTINGS)
    assert without.noise_layers == () and "noise_strength" not in paths(without)


def test_bad_settings():
    with pytest.raises(ValueError, match="architecture='residual': choose one of orig, skip"):
        shapes(stylegan2.Generator, **SETTINGS, architecture="residual")
    G = shapes(stylegan2.Generator, **SETTINGS)
    with pytest.raises(ValueError, match="5 styles given, 6 wanted"):
        G.synthesis(jnp.zeros((1, 5, 8)), None, {})


def test_fourier_features_in_place_of_the_constant():
    """Waves that are turned and shifted; all else is the same network."""
    fourier = SETTINGS | dict(input="fourier", img_resolution=8)
    graphdef, params = build(stylegan2.Generator, **fourier)
    G = nnx.merge(graphdef, params)
    const = shapes(stylegan2.Generator, **SETTINGS | dict(img_resolution=8))
    assert G.takes_transform and not const.takes_transform
    assert set(paths(const).split()) - set(paths(G).split()) == {"['synthesis']['b4']['const']"}
    assert G.synthesis.b4.input.size == (4, 4) and G.synthesis.b4.input.bandwidth == 2

    # Half a turn of the image is half a turn of the waves that it begins with.
    @jax.jit
    def draw(params, z, transform):
        G = nnx.merge(graphdef, params)
        features = G.synthesis.b4.input(G.mapping(z, jnp.eye(2)), transform)
        return features, G(z, jnp.eye(2), None, {}, transform=transform)

    z = jax.random.normal(jax.random.key(1), (2, 8))
    still, img = draw(params, z, jnp.eye(3))
    turned, turned_img = draw(params, z, jnp.diag(jnp.array([-1.0, -1.0, 1.0])))
    assert still.shape == (2, 4, 4, 8) and np.abs(turned_img - img).mean() > 0.05
    # The learned transform of a style comes after it: it has been shaken, and moves the waves.
    plain = jax.tree.map(lambda x: x, params)
    plain["synthesis"]["b4"]["input"]["affine"] = {
        "weight": jnp.zeros((8, 4)),
        "bias": jnp.array([1.0, 0, 0, 0]),
    }
    still, _ = draw(plain, z, jnp.eye(3))
    turned, _ = draw(plain, z, jnp.diag(jnp.array([-1.0, -1.0, 1.0])))
    np.testing.assert_allclose(turned, still[:, ::-1, ::-1], atol=1e-5)

    # At the highest frequency that the pixels hold nothing is divided by zero.
    grads = jax.jit(jax.grad(lambda params: jnp.sum(draw(params, z, jnp.eye(3))[1] ** 2)))(params)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(grads))
    assert np.any(grads["synthesis"]["b4"]["input"]["affine"]["weight"] != 0)


def test_what_cannot_be_moved():
    G = shapes(stylegan2.Generator, **SETTINGS)
    with pytest.raises(ValueError, match="constant cannot be moved: build it with input='fourier'"):
        G.synthesis(jnp.zeros((1, 6, 8)), None, {}, transform=jnp.eye(3))
    with pytest.raises(ValueError, match="input='waves': choose one of const, fourier"):
        shapes(stylegan2.Generator, **SETTINGS, input="waves")
