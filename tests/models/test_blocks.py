"""Styles, noise and moving values, and what every generator of blocks does as it grows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from stylegan_jax.models import GENERATORS
from stylegan_jax.models.blocks import (
    BaseGenerator,
    apply_block,
    broadcast_ws,
    growing_resolutions,
    make_noise,
    truncate,
)
from stylegan_jax.ops.pyramid import repeat_pixels
from tests.models.small import build, shapes

GROWING = {
    "progan": dict(z_dim=8),
    "stylegan1": dict(z_dim=8, w_dim=6, mapping_layers=1),
    "stylegan2": dict(z_dim=8, w_dim=6, mapping_layers=1, architecture="progressive"),
}


def test_truncation():
    ws = broadcast_ws(jnp.asarray([[1.0, 3.0]]), 4)
    w_avg = jnp.asarray([1.0, 1.0])
    np.testing.assert_allclose(truncate(ws, w_avg, 0.5), np.full((1, 4, 2), [1.0, 2.0]))
    cut = truncate(ws, w_avg, 0.0, 1)
    np.testing.assert_allclose(cut[0], [[1, 1], [1, 3], [1, 3], [1, 3]])
    each = truncate(jnp.concatenate([ws, ws]), w_avg, jnp.asarray([0.0, 1.0]))
    np.testing.assert_allclose(each[:, 0], [[1, 1], [1, 3]])


def test_noise_is_made_from_one_key_and_stays_the_same_as_the_network_grows():
    layers = (("b4", "conv1", 4), ("b8", "conv0", 8), ("b8", "conv1", 8), ("b16", "conv0", 16))
    noise = make_noise(jax.random.key(0), 3, layers, 16)
    assert list(noise) == ["b4", "b8", "b16"] and list(noise["b4"]) == ["conv1"]
    assert noise["b16"]["conv0"].shape == (3, 16, 16, 1)
    flat = [float(x[0, 0, 0, 0]) for x in jax.tree.leaves(noise)]
    assert len(set(flat)) == len(flat), "every layer draws its own"
    small = make_noise(jax.random.key(0), 3, layers, 8)
    assert small.keys() == {"b4", "b8"}
    np.testing.assert_array_equal(small["b8"]["conv1"], noise["b8"]["conv1"])


def test_the_blocks_that_work():
    assert growing_resolutions((4, 8, 16), None, grows=False) == (4, 8, 16)
    assert growing_resolutions((4, 8, 16), 8, grows=True) == (4, 8)
    with pytest.raises(ValueError, match=r"resolution=12: give one of \(4, 8, 16\)"):
        growing_resolutions((4, 8, 16), 12, grows=True)
    with pytest.raises(ValueError, match="resolution=8: give 16: this network is fixed"):
        growing_resolutions((4, 8, 16), 8, grows=False)


def test_a_block_that_is_computed_again_is_the_same_function():
    block = Scale()
    for recompute in (False, True):
        value, grad = jax.value_and_grad(lambda x, r=recompute: apply_block(block, x, recompute=r))(
            jnp.float32(2)
        )
        assert (float(value), float(grad)) == (12.0, 12.0)


class Scale(nnx.Module):
    """`3 x^2`."""

    def __init__(self):
        self.weight = nnx.Param(jnp.float32(3))

    def __call__(self, x):
        return self.weight[...] * x**2


class Counting(BaseGenerator):
    """An image of how often the network has drawn, which it counts, and of the first style."""

    num_ws = 2

    def init_moving(self):
        return {"count": jnp.float32(0)}

    def mapping(self, z, c):
        return z

    def synthesis(self, ws, noise, moving, *, resolution=None, fade=None):
        count = moving["count"] + 1
        return ws[:, :1, None, :1] + count, {"count": count}


def test_what_a_network_moves_goes_in_and_comes_out():
    G = Counting()
    z = jnp.asarray([[10.0], [20.0]])
    moving = G.init_moving()
    for want in (1, 2, 3):
        img = G(z, None, None, moving)
        np.testing.assert_array_equal(img[:, 0, 0, 0], [10 + want, 20 + want])
        # A drawing leaves the values as they were; a step takes what synthesis returns.
        np.testing.assert_array_equal(G(z, None, None, moving), img)
        _, moving = G.synthesis(broadcast_ws(z, 2), None, moving)
    assert float(moving["count"]) == 3
    truncated = G(z, None, None, moving, w_avg=jnp.asarray([0.0]), truncation_psi=0.5)
    np.testing.assert_array_equal(truncated[:, 0, 0, 0], [9, 14])


def test_families_of_today_move_nothing():
    for name, settings in GROWING.items():
        assert shapes(GENERATORS[name], **settings).init_moving() == {}


@pytest.fixture(params=GROWING, scope="module")
def growth(request):
    """Images at 4x4, at 8x8, and at 8x8 while that fades in, by `fade`; and gradients there."""
    graphdef, params = build(GENERATORS[request.param], **GROWING[request.param])
    G = nnx.merge(graphdef, params)
    ws = jax.random.normal(jax.random.key(2), (2, G.num_ws, G.w_dim))
    noise = make_noise(jax.random.key(3), 2, G.noise_layers, 16)
    moving = {"kept": jnp.float32(7)}

    @jax.jit
    def draw(params, fade):
        def faded(params):
            G = nnx.merge(graphdef, params)
            img, moved = G.synthesis(ws, noise, moving, resolution=8, fade=fade)
            return jnp.sum(img**2), (img, moved)

        G = nnx.merge(graphdef, params)
        alone, _ = G.synthesis(ws, noise, {}, resolution=8)
        coarse, _ = G.synthesis(ws, noise, {}, resolution=4)
        grads, (img, moved) = jax.grad(faded, has_aux=True)(params)
        return coarse, alone, img, moved, grads["synthesis"]

    return {fade: draw(params, jnp.float32(fade)) for fade in (0.0, 0.5, 1.0)}


def test_a_fade_leads_from_one_resolution_to_the_next(growth):
    for fade, (coarse, alone, img, moved, _) in growth.items():
        assert coarse.shape == (2, 4, 4, 3) and alone.dtype == jnp.float32
        want = alone * (1 - fade) + repeat_pixels(coarse, 2) * fade
        # Two roundings of numbers of order 1.
        np.testing.assert_allclose(img, want, atol=1e-5)
        assert moved == {"kept": 7}
    np.testing.assert_array_equal(growth[0.0][2], growth[0.0][1])


def test_what_has_not_grown_has_no_gradient(growth):
    *_, grads = growth[0.5]
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(grads["b16"]))
    for block in ("b4", "b8"):
        assert np.any(grads[block]["torgb"]["weight"]) and np.any(grads[block]["conv1"]["weight"])


def test_networks_refuse_a_resolution_that_they_cannot_draw():
    fixed = shapes(GENERATORS["stylegan1"], **GROWING["stylegan1"], grows=False)
    with pytest.raises(ValueError, match="resolution=8: give 16: this network is fixed"):
        fixed.synthesis(jnp.zeros((1, fixed.num_ws, 6)), None, {}, resolution=8)
    for name in ("progan", "stylegan2"):
        G = shapes(GENERATORS[name], **GROWING[name])
        with pytest.raises(ValueError, match="resolution=12: give one of"):
            G.synthesis(jnp.zeros((1, G.num_ws, G.w_dim)), None, {}, resolution=12)


@pytest.mark.parametrize("name", GROWING)
def test_bfloat16_blocks_stay_close_to_float32(name):
    settings = GROWING[name]
    if name == "stylegan2":
        settings = settings | dict(architecture="skip", conv_clamp=256.0)
    images = []
    for num_bf16_res in (0, 2):
        graphdef, params = build(
            GENERATORS[name], **settings, img_resolution=8, num_bf16_res=num_bf16_res
        )
        G = nnx.merge(graphdef, params)
        assert G.synthesis.b4.dtype == jnp.float32
        assert G.synthesis.b8.dtype == (jnp.bfloat16 if num_bf16_res else jnp.float32)
        noise = make_noise(jax.random.key(3), 2, G.noise_layers, 8)
        z = jax.random.normal(jax.random.key(1), (2, 8))
        draw = jax.jit(lambda p, z, n, g=graphdef: nnx.merge(g, p)(z, jnp.eye(2), n, {}))
        images.append(draw(params, z, noise))
        assert images[-1].dtype == jnp.float32
    # A block of 8-bit mantissas: a few percent on average.
    assert float(jnp.mean(jnp.abs(images[1] - images[0]))) < 0.04 * float(jnp.std(images[0]))
    assert np.any(images[0] != images[1])
