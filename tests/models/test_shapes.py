"""Networks for images that are no squares: a network of H x W equals that of W x H, transposed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from stylegan_jax.models import DISCRIMINATORS, GENERATORS
from stylegan_jax.models.blocks import make_noise
from stylegan_jax.sizes import size_at
from tests.models.small import build, shapes

# b4 and b8 of 6 x 4 and 12 x 8; the network on its side has 4 x 6.
TALL = (6, 4)
SIZES = dict(img_resolution=8, channel_base=64, channel_max=4)
SMALL = dict(z_dim=6, mapping_layers=1)
# No mirror image of itself: an axis that is filtered the wrong way round shows.
FILTER = dict(resample_filter=(1, 3, 2))
GROWN = dict(fade=jnp.float32(0.3))


def transposed(params):
    """The parameters of the network on its side: heights and widths change places."""

    def swap(path, x):
        names = [entry.key for entry in path]
        # Dense layers next to the base grid, flattened [h0, w0, channels].
        h0, w0 = TALL
        if names[-2:] == ["fc", "weight"] and names[-3] == "b4":
            if x.shape[0] % (h0 * w0 * 4) == 0 and x.shape[0] > 10:  # D reads them
                maps = x.reshape(h0, w0, -1, x.shape[1])
                return maps.transpose(1, 0, 2, 3).reshape(x.shape)
            maps = x.reshape(x.shape[0], h0, w0, -1)  # G writes them
            return maps.transpose(0, 2, 1, 3).reshape(x.shape)
        # Kernels [kh, kw, i, o] and the constant [h0, w0, c].
        return jnp.swapaxes(x, 0, 1) if x.ndim in (3, 4) else x

    return jax.tree_util.tree_map_with_path(swap, params)


def check_equal(got, want):
    """Rounding of float32 through some ten layers, and their derivatives."""
    assert jax.tree.structure(got) == jax.tree.structure(want)
    largest = [float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(want)]
    for a, b, size in zip(jax.tree.leaves(got), jax.tree.leaves(want), largest):
        assert a.shape == b.shape
        # Some gradients are zero but for the rounding of the others.
        np.testing.assert_allclose(a, b, atol=2e-5 * size + 2e-7 * max(largest))


@pytest.mark.parametrize(
    ("name", "settings", "where"),
    [
        ("stylegan2", dict(architecture="skip", w_dim=5, **FILTER), {}),
        ("stylegan2", dict(architecture="resnet", w_dim=5), {}),
        ("stylegan1", dict(w_dim=5, const_input=False), GROWN),
        ("progan", {}, GROWN),
    ],
)
def test_generators_on_their_side(name, settings, where):
    settings = SIZES | SMALL | settings
    if name == "progan":
        del settings["mapping_layers"]
    tall, params = build(GENERATORS[name], base_grid=TALL, **settings)
    wide, _ = build(GENERATORS[name], base_grid=TALL[::-1], **settings)
    G = shapes(GENERATORS[name], base_grid=TALL, **settings)
    noise = make_noise(jax.random.key(1), 2, G.noise_layers, 8)
    weights = jax.random.normal(jax.random.key(2), (2, *size_at(8, TALL), 3))
    z = jax.random.normal(jax.random.key(3), (2, 6))

    @jax.jit
    def both(params, z):
        def loss(params, z, graphdef, noise, weights):
            img = nnx.merge(graphdef, params)(z, jnp.eye(2), noise, {}, **where)
            return jnp.sum(img * weights), img

        grad = jax.grad(loss, argnums=(0, 1), has_aux=True)
        (grads, grad_z), img = grad(params, z, tall, noise, weights)
        on_side = jax.tree.map(lambda x: jnp.swapaxes(x, 1, 2), (noise, weights))
        (grads_2, grad_z_2), img_2 = grad(transposed(params), z, wide, *on_side)
        want = (jnp.swapaxes(img, 1, 2), grad_z, transposed(grads))
        return (img_2, grad_z_2, grads_2), want

    got, want = both(params, z)
    assert got[0].shape == (2, 8, 12, 3)
    check_equal(got, want)


@pytest.mark.parametrize(
    ("name", "settings", "where"),
    [
        ("stylegan2", dict(architecture="skip", mapping_layers=1, **FILTER), {}),
        ("stylegan2", dict(architecture="resnet", mapping_layers=1), {}),
        ("progressive", {}, GROWN),
    ],
)
def test_discriminators_on_their_side(name, settings, where):
    """Logits, R1 and its gradients: what a step of D has."""
    settings = SIZES | dict(mbstd_group_size=2) | settings
    tall, params = build(DISCRIMINATORS[name], base_grid=TALL, **settings)
    wide, _ = build(DISCRIMINATORS[name], base_grid=TALL[::-1], **settings)
    img = jax.random.normal(jax.random.key(1), (4, *size_at(8, TALL), 3))
    c = jnp.eye(2)[jnp.asarray([0, 1, 1, 0])]

    @jax.jit
    def both(params, img):
        def penalty(params, img, graphdef):
            D = nnx.merge(graphdef, params)
            logits, vjp = jax.vjp(lambda img: D(img, c, {}, **where)[0], img)
            (grads,) = vjp(jnp.ones_like(logits))
            return jnp.sum(jnp.square(grads)) + jnp.sum(jnp.square(logits)), logits

        grad = jax.grad(penalty, argnums=(0, 1), has_aux=True)
        (grads, grad_img), logits = grad(params, img, tall)
        img_2 = jnp.swapaxes(img, 1, 2)
        (grads_2, grad_img_2), logits_2 = grad(transposed(params), img_2, wide)
        want = (logits, jnp.swapaxes(grad_img, 1, 2), transposed(grads))
        return (logits_2, grad_img_2, grads_2), want

    check_equal(*both(params, img))


def test_images_of_another_size_are_refused():
    D = shapes(DISCRIMINATORS["progressive"], base_grid=TALL, **SIZES)
    with pytest.raises(ValueError, match="Images of 8x12 px: this network takes 6x4, 12x8"):
        D(jnp.zeros((2, 8, 12, 3)), None, {})


@pytest.mark.parametrize("base_grid", [(4, 4), (5, 7)])
def test_a_base_grid_changes_the_base_alone(base_grid):
    """Every parameter has the shape of the square network's, but those next to the base."""
    square = shapes(GENERATORS["stylegan2"], w_dim=5, **SIZES, **SMALL)
    other = shapes(GENERATORS["stylegan2"], base_grid=base_grid, w_dim=5, **SIZES, **SMALL)
    differ = {
        jax.tree_util.keystr(path)
        for (path, a), b in zip(
            jax.tree_util.tree_leaves_with_path(nnx.to_pure_dict(nnx.state(square))),
            jax.tree.leaves(nnx.to_pure_dict(nnx.state(other))),
            strict=True,
        )
        if a.shape != b.shape
    }
    assert differ == (set() if base_grid == (4, 4) else {"['synthesis']['b4']['const']"})
