"""Packed networks are the same functions, with the same derivatives, as unpacked ones."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from stylegan_jax.losses.regularizers import path_lengths, r1_penalty
from stylegan_jax.models import DISCRIMINATORS, GENERATORS, make_model
from stylegan_jax.models.blocks import make_noise
from stylegan_jax.ops.formulation import FORMULATIONS
from stylegan_jax.ops.packing import space_to_depth
from stylegan_jax.sizes import size_at

SIZES = dict(img_resolution=16, img_channels=3, c_dim=0, channel_base=128, channel_max=16)
# Channels are 16 at 4 and 8 px, and 8 at 16 px; packings there at 16 and at 8 px.
FORMULATION = {
    "plain": FORMULATIONS["plain"],
    "columns": dataclasses.replace(FORMULATIONS["tpu"], packed_channels=16, max_packing=4),
    "squares": dataclasses.replace(
        FORMULATIONS["tpu"], packed_channels=32, max_packing=4, recomputed_from=8
    ),
    "images": dataclasses.replace(FORMULATIONS["tpu"], packed_channels=12),
}
PACKINGS = {
    "plain": ((1, 1), (1, 1)),
    "columns": ((1, 2), (1, 1)),
    "squares": ((2, 2), (1, 2)),
    "images": ((1, 2), (1, 1)),  # alone: 8 channels are enough here
}


# Each architecture with another filter, of even and odd length, and another activation.
OPTIONS = {
    "skip": dict(resample_filter=(1, 4, 2, 3, 1), act="swish"),
    "resnet": dict(resample_filter=(1, 3, 3, 1), act="lrelu"),
    "progressive": dict(resample_filter=(1, 1), act="softplus"),
}


def check_equal(got, want):
    """float32 rounding through some thirty layers of order 1, and their second derivatives."""
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, atol=2e-5 * float(jnp.max(jnp.abs(b))) + 1e-7)


def make(models, name, architecture, **settings):
    settings |= SIZES | OPTIONS[architecture]
    settings |= dict(architecture=architecture, formulation=FORMULATION[name])
    return make_model(models["stylegan2"], **settings)


@pytest.mark.parametrize(
    ("architecture", "base_grid", "names"),
    [
        ("skip", (4, 5), ("columns", "squares", "images")),
        ("resnet", (4, 4), ("squares", "images")),
        ("progressive", (6, 4), ("columns", "images")),
    ],
)
def test_generator_and_path_lengths(architecture, base_grid, names):
    height, width = size_at(16, base_grid)
    ws_shape, fade = (2, 6, 8), jnp.float32(0.3)
    directions = jax.random.normal(jax.random.key(3), (2, height, width, 3))
    results = {}
    for name in ("plain", *names):
        sizes = dict(base_grid=base_grid, z_dim=8, w_dim=8, mapping_layers=1)
        graphdef, init = make(GENERATORS, name, architecture, **sizes)
        G = nnx.merge(graphdef, jax.eval_shape(init, jax.random.key(0)))
        packing = G.packing_at(16)
        assert (packing, G.packing_at(8)) == PACKINGS[name]
        params = jax.jit(init)(jax.random.key(0))
        params = jax.tree.map(lambda p: p + 0.1, params)  # noise strengths and biases begin at 0
        noise = make_noise(jax.random.key(1), 2, G.noise_layers, 16)
        ws = jax.random.normal(jax.random.key(2), ws_shape)
        where = {"fade": fade} if architecture == "progressive" else {}

        def penalty(params, ws, packing=packing, graphdef=graphdef, noise=noise, where=where):
            synthesis = nnx.merge(graphdef, params).synthesis
            lengths, _ = path_lengths(
                lambda ws: synthesis(ws, noise, {}, packing=packing, recompute=True, **where),
                ws,
                space_to_depth(directions, packing),
                num_pixels=height * width,
            )
            return jnp.sum((lengths - 1) ** 2), (lengths, synthesis(ws, noise, {}, **where)[0])

        results[name] = jax.jit(jax.grad(penalty, (0, 1), has_aux=True))(params, ws)
    assert results["plain"][1][1].shape == (2, height, width, 3)
    for name in names:
        check_equal(results[name], results["plain"])


@pytest.mark.parametrize(
    ("architecture", "base_grid", "names"),
    [
        ("resnet", (6, 4), ("columns", "squares", "images")),
        ("skip", (4, 5), ("images", "squares")),
        ("progressive", (4, 4), ("columns", "images")),
    ],
)
def test_discriminator_and_r1(architecture, base_grid, names):
    results = {}
    img = jax.random.normal(jax.random.key(1), (4, *size_at(16, base_grid), 3))
    for name in ("plain", *names):
        graphdef, init = make(DISCRIMINATORS, name, architecture, base_grid=base_grid)
        params = jax.jit(init)(jax.random.key(0))
        where = {"fade": jnp.float32(0.3)} if architecture == "progressive" else {}
        # Half of the tests give images as D holds them.
        packing = PACKINGS[name][0] if name == names[0] else (1, 1)

        def penalty(params, img, packing=packing, graphdef=graphdef, where=where):
            D = nnx.merge(graphdef, params)
            img = space_to_depth(img, packing)
            judge = functools.partial(D, c=None, moving={}, packing=packing, **where)
            penalties, logits, _ = r1_penalty(judge, img)
            return jnp.sum(penalties) + jnp.sum(jax.nn.softplus(-logits)), (penalties, logits)

        results[name] = jax.jit(jax.grad(penalty, (0, 1), has_aux=True))(params, img)
    for name in names:
        check_equal(results[name], results["plain"])
