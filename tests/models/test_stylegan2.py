import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from stylegan_jax.models import DISCRIMINATORS, GENERATORS, make_model
from stylegan_jax.models.blocks import broadcast_ws, make_noise, truncate
from stylegan_jax.models.layers import block_resolutions

SMALL = dict(img_resolution=16, img_channels=3, c_dim=0, channel_base=128, channel_max=8)
SMALL_G = SMALL | dict(z_dim=8, w_dim=8, mapping_layers=2)


def count(init) -> int:
    shapes = jax.eval_shape(init, jax.random.key(0))
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(shapes))


@pytest.mark.parametrize(
    ("res", "base", "G_arch", "D_arch", "G_count", "D_count"),
    [
        (1024, 32768, "skip", "resnet", 30_370_060, 29_012_513),
        (1024, 16384, "orig", "orig", 23_596_292, 23_077_137),
        (1024, 16384, "skip", "skip", 24_900_764, 23_087_249),
        (1024, 16384, "resnet", "resnet", 24_557_316, 24_038_161),
        (512, 32768, "skip", "resnet", 30_276_583, 28_982_849),
        (256, 16384, "skip", "resnet", 24_767_458, 24_001_089),
        (32, 32768, "skip", "resnet", 21_523_475, 21_507_073),
    ],
)
def test_parameter_totals_are_the_official_ones(res, base, G_arch, D_arch, G_count, D_count):
    common = dict(c_dim=0, img_resolution=res, img_channels=3, channel_base=base)
    G = make_model(GENERATORS["stylegan2"], z_dim=512, w_dim=512, architecture=G_arch, **common)
    D = make_model(DISCRIMINATORS["stylegan2"], architecture=D_arch, **common)
    assert (count(G[1]), count(D[1])) == (G_count, D_count)


@pytest.mark.parametrize("architecture", ["orig", "skip", "resnet"])
def test_first_images_have_the_scale_of_images(architecture):
    """At initialisation every layer keeps unit variance: images of order 1, logits of order 1."""
    graphdef, init = make_model(GENERATORS["stylegan2"], architecture=architecture, **SMALL_G)
    params = jax.jit(init)(jax.random.key(0))
    z = jax.random.normal(jax.random.key(1), (64, 8))
    img = jax.jit(lambda p, z: nnx.merge(graphdef, p)(z, None, None, {}))(params, z)
    assert img.shape == (64, 16, 16, 3) and img.dtype == jnp.float32
    assert 0.2 < float(jnp.std(img)) < 3
    graphdef, init = make_model(DISCRIMINATORS["stylegan2"], architecture=architecture, **SMALL)
    logits = jax.jit(lambda p, x: nnx.merge(graphdef, p)(x, None, {})[0])(
        jax.jit(init)(jax.random.key(2)), img
    )
    assert logits.shape == (64, 1) and 0.01 < float(jnp.std(logits)) < 10


def test_noise_is_made_from_one_key_and_can_be_left_out():
    graphdef, init = make_model(GENERATORS["stylegan2"], **SMALL_G)
    layers = nnx.merge(graphdef, jax.eval_shape(init, jax.random.key(0))).noise_layers
    assert make_noise(jax.random.key(0), 1, layers, 8).keys() == {"b4", "b8"}
    noise = make_noise(jax.random.key(0), 3, layers, 16)
    assert list(noise) == ["b4", "b8", "b16"] and list(noise["b4"]) == ["conv1"]
    assert noise["b16"]["conv0"].shape == (3, 16, 16, 1)
    flat = [float(x[0, 0, 0, 0]) for x in jax.tree.leaves(noise)]
    assert len(set(flat)) == len(flat), "every layer draws its own"
    _, init = make_model(GENERATORS["stylegan2"], use_noise=False, **SMALL_G)
    paths = jax.tree_util.tree_leaves_with_path(jax.eval_shape(init, jax.random.key(0)))
    assert not any("noise_strength" in jax.tree_util.keystr(path) for path, _ in paths)


def test_truncation():
    ws = broadcast_ws(jnp.asarray([[1.0, 3.0]]), 4)
    w_avg = jnp.asarray([1.0, 1.0])
    np.testing.assert_allclose(truncate(ws, w_avg, 0.5), np.full((1, 4, 2), [1.0, 2.0]))
    cut = truncate(ws, w_avg, 0.0, 1)
    np.testing.assert_allclose(cut[0], [[1, 1], [1, 3], [1, 3], [1, 3]])


def test_bfloat16_blocks_stay_close_to_float32():
    z = jax.random.normal(jax.random.key(1), (4, 8))
    images = []
    for num_bf16_res in (0, 2):
        graphdef, init = make_model(
            GENERATORS["stylegan2"], num_bf16_res=num_bf16_res, conv_clamp=256.0, **SMALL_G
        )
        params = jax.jit(init)(jax.random.key(0))
        G = nnx.merge(graphdef, params)
        noise = make_noise(jax.random.key(3), 4, G.noise_layers, 16)
        assert G.synthesis.b4.dtype == jnp.float32
        assert G.synthesis.b16.dtype == (jnp.bfloat16 if num_bf16_res else jnp.float32)
        draw = jax.jit(lambda p, z, noise, g=graphdef: nnx.merge(g, p)(z, None, noise, {}))
        images.append(draw(params, z, noise))
    # Two blocks of 8-bit mantissas against images of order 1.
    np.testing.assert_allclose(images[1], images[0], atol=0.15)


def test_bad_sizes():
    with pytest.raises(ValueError, match="power of two"):
        block_resolutions(48)
    with pytest.raises(ValueError, match="architecture"):
        make_model(DISCRIMINATORS["stylegan2"], **SMALL, architecture="residual")


def test_models_run_in_the_announced_default_mode_of_nnx():
    """Modules as plain trees, which flax has announced as its default."""
    program = f"""
import jax
from flax import nnx
from stylegan_jax.models import DISCRIMINATORS, GENERATORS, make_model
for build, kwargs in ((GENERATORS, {SMALL_G}), (DISCRIMINATORS, {SMALL})):
    graphdef, init = make_model(build["stylegan2"], **kwargs)
    params = init(jax.random.key(0))
    assert nnx.merge(graphdef, params) is not None
"""
    env = os.environ | {"NNX_GRAPH_MODE": "false", "NNX_GRAPH_UPDATES": "false"}
    subprocess.run([sys.executable, "-c", program], env=env, check=True, timeout=120)
