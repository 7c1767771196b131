"""Styles, noise and moving values, and what every generator of blocks does as it grows."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from stylegan_jax.models import GENERATORS, make_model
from stylegan_jax.models.blocks import (
    BaseGenerator,
    NoiseLayer,
    apply_block,
    broadcast_ws,
    growing_resolutions,
    make_noise,
    truncate,
)
from stylegan_jax.ops.pyramid import repeat_pixels
from tests.models.small import SIZES, build, shapes

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
    layers = (
        NoiseLayer("b4", "conv1", 4, (6, 4)),
        NoiseLayer("b8", "conv0", 8, (12, 8)),
        NoiseLayer("b8", "conv1", 8, (12, 8)),
        NoiseLayer("b16", "conv0", 16, (24, 16)),
    )
    noise = make_noise(jax.random.key(0), 3, layers, 16)
    assert list(noise) == ["b4", "b8", "b16"] and list(noise["b4"]) == ["conv1"]
    assert noise["b16"]["conv0"].shape == (3, 24, 16, 1)
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


class Growth:
    """A generator, what it draws from, and what it draws as 8x8 fades in."""

    def __init__(self, name):
        self.name = name
        self.graphdef, self.params = build(GENERATORS[name], **GROWING[name])
        G = nnx.merge(self.graphdef, self.params)
        self.ws = jax.random.normal(jax.random.key(2), (2, G.num_ws, G.w_dim))
        self.noise = make_noise(jax.random.key(3), 2, G.noise_layers, 16)
        self.by_fade = {fade: self.draw(self.params, jnp.float32(fade)) for fade in (0, 0.5, 1)}

    # The emitters that users have round what a program holds twice alike; the older ones do not.
    @functools.partial(
        jax.jit, static_argnums=0, compiler_options={"xla_cpu_use_fusion_emitters": True}
    )
    def draw(self, params, fade):
        """Images at 4x4, at 8x8, and at 8x8 with a fade; moved values and gradients of the last."""

        def faded(params):
            G = nnx.merge(self.graphdef, params)
            moving = {"kept": jnp.float32(7)}
            img, moved = G.synthesis(self.ws, self.noise, moving, resolution=8, fade=fade)
            return jnp.sum(img**2), (img, moved)

        G = nnx.merge(self.graphdef, params)
        coarse, _ = G.synthesis(self.ws, self.noise, {}, resolution=4)
        alone, _ = G.synthesis(self.ws, self.noise, {}, resolution=8)
        grads, (img, moved) = jax.grad(faded, has_aux=True)(params)
        return coarse, alone, img, moved, grads["synthesis"]


@pytest.fixture(params=GROWING, scope="module")
def growth(request):
    return Growth(request.param)


def test_a_fade_leads_from_one_resolution_to_the_next(growth):
    for fade, (coarse, alone, img, moved, _) in growth.by_fade.items():
        assert coarse.shape == (2, 4, 4, 3) and alone.dtype == jnp.float32
        want = alone * (1 - fade) + repeat_pixels(coarse, 2) * fade
        # Two roundings of numbers of order 1.
        np.testing.assert_allclose(img, want, atol=1e-5)
        assert moved == {"kept": 7}
    np.testing.assert_array_equal(growth.by_fade[0][2], growth.by_fade[0][1])


def test_what_has_not_grown_has_no_gradient(growth):
    *_, grads = growth.by_fade[0.5]
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


def test_bfloat16_blocks_stay_close_to_float32(growth):
    graphdef, _ = make_model(
        GENERATORS[growth.name], **SIZES, **GROWING[growth.name], num_bf16_res=2
    )

    @jax.jit
    def draw(params):
        G = nnx.merge(graphdef, params)
        assert G.synthesis.b4.dtype == jnp.float32 and G.synthesis.b8.dtype == jnp.bfloat16
        return G.synthesis(growth.ws, growth.noise, {}, resolution=8)[0]

    img = draw(growth.params)
    _, alone, *_ = growth.by_fade[0]
    assert img.dtype == alone.dtype == jnp.float32
    # A block of 8-bit mantissas: a few percent on average.
    assert float(jnp.mean(jnp.abs(img - alone))) < 0.04 * float(jnp.std(alone))
    assert np.any(img != alone)
