"""ProGAN, StyleGAN 1 and the progressive StyleGAN2: sizes, fades, what a level computes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from stylegan_jax.models import DISCRIMINATORS, GENERATORS, make_model
from stylegan_jax.models.blocks import broadcast_ws, make_noise
from stylegan_jax.ops.pyramid import average_pixels, repeat_pixels

SMALL = dict(c_dim=2, img_resolution=16, img_channels=3, channel_base=128, channel_max=8)
GENERATOR_SETTINGS = {
    "progan": dict(z_dim=8),
    "stylegan1": dict(z_dim=8, w_dim=6, mapping_layers=2),
    "stylegan2": dict(z_dim=8, w_dim=6, mapping_layers=2, architecture="progressive"),
}
DISCRIMINATOR_SETTINGS = {
    "progressive": dict(blur_filter=(1, 2, 1)),
    "stylegan2": dict(architecture="progressive", mapping_layers=1),
}


def count(init) -> int:
    shapes = jax.eval_shape(init, jax.random.key(0))
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(shapes))


def build(builders, name, settings):
    """The network with weights on which biases and noise show."""
    graphdef, init = make_model(builders[name], **SMALL, **settings)
    leaves, tree = jax.tree.flatten(jax.jit(init)(jax.random.key(0)))
    keys = jax.random.split(jax.random.key(1), len(leaves))
    leaves = [x + 0.1 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys)]
    return graphdef, jax.tree.unflatten(tree, leaves)


def test_parameter_totals_are_the_official_ones():
    common = dict(c_dim=0, img_resolution=1024, img_channels=3)
    progan = make_model(GENERATORS["progan"], z_dim=512, **common)
    stylegan1 = make_model(GENERATORS["stylegan1"], z_dim=512, w_dim=512, **common)
    D = make_model(DISCRIMINATORS["progressive"], **common)
    assert [count(model[1]) for model in (progan, stylegan1, D)] == [
        23_079_115,
        26_219_627,
        23_087_249,
    ]


@pytest.mark.parametrize("name", GENERATOR_SETTINGS)
def test_a_fade_leads_from_one_resolution_to_the_next(name):
    graphdef, params = build(GENERATORS, name, GENERATOR_SETTINGS[name])
    G = nnx.merge(graphdef, params)
    z = jax.random.normal(jax.random.key(2), (2, 8))
    c = jnp.eye(2)
    noise = make_noise(jax.random.key(3), 2, G.noise_layers, 16)
    ws = broadcast_ws(G.mapping(z, c), G.num_ws)

    @jax.jit
    def draw(params, fade):
        G = nnx.merge(graphdef, params)
        at = dict(resolution=8, fade=fade)
        return G.synthesis(ws, noise, {}, **at)[0], G.synthesis(ws, noise, {}, resolution=8)[0]

    @jax.jit
    def draw_coarse(params):
        return nnx.merge(graphdef, params).synthesis(ws, noise, {}, resolution=4)[0]

    coarse = draw_coarse(params)
    assert coarse.shape == (2, 4, 4, 3)
    begin, alone = draw(params, jnp.float32(1))
    np.testing.assert_allclose(begin, repeat_pixels(coarse, 2), atol=1e-5)
    half, _ = draw(params, jnp.float32(0.5))
    np.testing.assert_allclose(half, (alone + repeat_pixels(coarse, 2)) / 2, atol=1e-5)
    end, _ = draw(params, jnp.float32(0))
    np.testing.assert_array_equal(end, alone)


@pytest.mark.parametrize("name", DISCRIMINATOR_SETTINGS)
def test_a_faded_discriminator_sees_the_smaller_image(name):
    graphdef, params = build(DISCRIMINATORS, name, DISCRIMINATOR_SETTINGS[name])
    img = jax.random.normal(jax.random.key(2), (4, 16, 16, 3))
    c = jnp.eye(2)[jnp.asarray([0, 1, 1, 0])]

    @jax.jit
    def judge(params, img, fade):
        D = nnx.merge(graphdef, params)
        return D(img, c, {}, fade=fade)[0], D(img, c, {})[0]

    small = average_pixels(img, 2)
    begin, alone = judge(params, img, jnp.float32(1))
    np.testing.assert_allclose(begin, judge(params, small, None)[0], atol=1e-4)
    np.testing.assert_array_equal(judge(params, img, jnp.float32(0))[0], alone)
    assert float(jnp.max(jnp.abs(begin - alone))) > 1e-3
    other = judge(params, jnp.zeros_like(img), None)[0] - judge(params, small, None)[0]
    assert float(jnp.max(jnp.abs(other))) > 1e-3


@pytest.mark.parametrize("name", GENERATOR_SETTINGS)
def test_what_has_not_grown_has_no_gradient(name):
    graphdef, params = build(GENERATORS, name, GENERATOR_SETTINGS[name])
    G = nnx.merge(graphdef, params)
    ws = jax.random.normal(jax.random.key(2), (2, G.num_ws, G.w_dim))

    @jax.jit
    def grads(params):
        def total(params):
            G = nnx.merge(graphdef, params)
            img, _ = G.synthesis(ws, None, {}, resolution=8, fade=jnp.float32(0.5))
            return jnp.sum(img**2)

        return jax.grad(total)(params)["synthesis"]

    found = grads(params)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(found["b16"]))
    for block in ("b4", "b8"):
        assert np.any(found[block]["torgb"]["weight"]) and np.any(found[block]["conv1"]["weight"])


def test_rows_of_the_ablation_have_what_the_paper_gives_them():
    common = dict(z_dim=8, w_dim=6, **SMALL | dict(c_dim=0))

    def names(**settings):
        _, init = make_model(GENERATORS["stylegan1"], **common, **settings)
        paths = jax.tree_util.tree_leaves_with_path(jax.eval_shape(init, jax.random.key(0)))
        return " ".join(jax.tree_util.keystr(path) for path, _ in paths)

    baseline = dict(const_input=False, use_noise=False, use_styles=False, mapping_layers=0)
    rows = {
        "B": names(**baseline),
        "C": names(const_input=False, use_noise=False),
        "D": names(use_noise=False),
        "F": names(),
    }
    for row, has in (("B", ()), ("C", ("affine", "fc0")), ("D", ("affine", "const", "fc0")),
                     ("F", ("affine", "const", "fc0", "noise_strength"))):  # fmt: skip
        for part in ("affine", "const", "fc0", "noise_strength"):
            assert (part in rows[row]) == (part in has), (row, part)
    assert "['b4']['fc']" in rows["B"] and "['b4']['fc']" not in rows["D"]


def test_styles_without_a_mapping_are_normalised_latents():
    graphdef, init = make_model(
        GENERATORS["stylegan1"], z_dim=8, w_dim=6, mapping_layers=0, **SMALL
    )
    G = nnx.merge(graphdef, jax.jit(init)(jax.random.key(0)))
    assert G.w_dim == 16, "the label's embedding lies beside the latent"
    w = G.mapping(jax.random.normal(jax.random.key(1), (3, 8)), jnp.eye(2)[jnp.asarray([0, 1, 1])])
    np.testing.assert_allclose(jnp.mean(w**2, axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("name", ["progan", "stylegan1"])
def test_bfloat16_blocks_stay_close_to_float32(name):
    images = []
    for num_bf16_res in (0, 2):
        settings = GENERATOR_SETTINGS[name] | dict(num_bf16_res=num_bf16_res)
        graphdef, params = build(GENERATORS, name, settings)
        G = nnx.merge(graphdef, params)
        noise = make_noise(jax.random.key(3), 2, G.noise_layers, 16)
        z = jax.random.normal(jax.random.key(1), (2, 8))
        draw = jax.jit(lambda p, z, n, g=graphdef: nnx.merge(g, p)(z, jnp.eye(2), n, {}))
        images.append(draw(params, z, noise))
        assert images[-1].dtype == jnp.float32
    # Two blocks of 8-bit mantissas: a few percent on average.
    assert float(jnp.mean(jnp.abs(images[1] - images[0]))) < 0.04 * float(jnp.std(images[0]))
    assert np.any(images[0] != images[1])


def test_fixed_networks_refuse_to_work_below_full_size():
    settings = GENERATOR_SETTINGS["stylegan1"] | dict(grows=False)
    graphdef, params = build(GENERATORS, "stylegan1", settings)
    G = nnx.merge(graphdef, params)
    ws = jnp.zeros((1, G.num_ws, G.w_dim))
    with pytest.raises(ValueError, match="resolution=8: give 16: this network is fixed"):
        G.synthesis(ws, None, {}, resolution=8)
    graphdef, params = build(DISCRIMINATORS, "progressive", dict(grows=False))
    with pytest.raises(ValueError, match="resolution=8"):
        nnx.merge(graphdef, params)(jnp.zeros((4, 8, 8, 3)), jnp.zeros((4, 2)), {})
    grown = nnx.merge(*build(GENERATORS, "progan", GENERATOR_SETTINGS["progan"]))
    with pytest.raises(ValueError, match="resolution=12: give one of"):
        grown.synthesis(jnp.zeros((1, 1, 10)), None, {}, resolution=12)
