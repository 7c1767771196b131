"""What a network takes from another: by name, by rule, in part or not at all."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from stylegan_jax.convert.transfer import fit_params, match_params
from stylegan_jax.models import DISCRIMINATORS, GENERATORS
from stylegan_jax.models.layers import Conv2d, Dense
from tests.models.small import build, shapes

SQUARE = (4, 4)
SG2 = dict(z_dim=6, w_dim=5, mapping_layers=1)


def params_of(network):
    return nnx.to_pure_dict(nnx.state(network, nnx.Param))


def kinds(found, wanted, grids=(SQUARE, SQUARE)):
    """`{path: kind}` of all that is not taken, and what is left out."""
    matches, left_out = match_params(params_of(found), params_of(wanted), grids=grids)
    return {m.path: m.kind for m in matches if m.kind != "taken"}, left_out


def test_the_same_network_is_taken_as_it_is():
    _, params = build(GENERATORS["stylegan2"], **SG2)
    first = jax.tree.map(jnp.zeros_like, params)
    matches, left_out = match_params(params, first, grids=(SQUARE, SQUARE))
    assert {m.kind for m in matches} == {"taken"} and not left_out
    fitted = fit_params(matches, params, first)
    jax.tree.map(np.testing.assert_array_equal, fitted, params)


def test_other_resolutions_shapes_channels_and_labels():
    G = GENERATORS["stylegan2"]
    small = shapes(G, **SG2)
    found, left_out = kinds(small, shapes(G, **SG2 | dict(img_resolution=32)))
    assert found and all(p.startswith("synthesis/b32") and k == "new" for p, k in found.items())
    assert not left_out
    found, left_out = kinds(small, shapes(G, **SG2 | dict(img_resolution=8)))
    assert not found and all(path.startswith("synthesis/b16") for path in left_out)
    assert kinds(small, shapes(G, **SG2, base_grid=(6, 4)), (SQUARE, (6, 4))) == (
        {"synthesis/b4/const": "resized"},
        [],
    )
    found, _ = kinds(small, shapes(G, **SG2 | dict(img_channels=1)))
    assert set(found.values()) == {"colours"} and len(found) == 6  # three ToRGB layers
    found, _ = kinds(small, shapes(G, **SG2 | dict(img_channels=4)))
    assert set(found.values()) == {"in part"} and len(found) == 6
    found, _ = kinds(small, shapes(G, **SG2 | dict(c_dim=5)))
    assert found == {"mapping/embed/weight": "new"}
    found, left_out = kinds(small, shapes(G, **SG2 | dict(c_dim=0)))
    assert found == {"mapping/fc0/weight": "in part"}
    assert left_out == ["mapping/embed/bias", "mapping/embed/weight"]


def test_layers_of_stylegan3_go_by_their_number():
    G = GENERATORS["stylegan3"]
    few = SG2 | dict(num_layers=3, margin_size=4, channel_base=256)
    small = shapes(G, **few)
    # Another size and base: the same layers, of other sizes and channels.
    other = shapes(G, **few | dict(img_resolution=32, channel_max=4))
    found, left_out = kinds(small, other)
    assert not left_out and set(found.values()) == {"in part"}
    assert kinds(small, shapes(G, **few | dict(img_resolution=32))) == ({}, [])
    grey, _ = kinds(small, shapes(G, **few | dict(img_channels=1)))
    assert grey == {f"synthesis/L3_16_1/{leaf}": "colours" for leaf in ("bias", "weight")}
    # Kernels of R have no part in those of T.
    found, _ = kinds(small, shapes(G, **few, conv_kernel=1))
    assert len(found) == 3 and set(found.values()) == {"new"}
    matches, _ = match_params(small.init_moving(), other.init_moving(), grids=(SQUARE, SQUARE))
    moving = jax.tree.map(lambda x: x * 3, small.init_moving())
    fitted = fit_params(matches, moving, other.init_moving())
    assert {float(x) for x in jax.tree.leaves(fitted)} == {3.0}


def test_discriminators():
    D = DISCRIMINATORS["progressive"]
    small = shapes(D)
    assert kinds(small, shapes(D, base_grid=(4, 7)), (SQUARE, (4, 7)))[0] == {
        "b4/fc/weight": "resized"
    }
    # The shapes agree here, their meaning does not.
    tall, wide = shapes(D, base_grid=(4, 7)), shapes(D, base_grid=(7, 4))
    assert kinds(tall, wide, ((4, 7), (7, 4)))[0] == {"b4/fc/weight": "resized"}
    # A score for each class.
    found, _ = kinds(small, shapes(D, c_dim=3))
    assert found == {"b4/out/bias": "new", "b4/out/weight": "new"}


def test_what_is_resized_means_the_same_on_even_maps():
    """A map that is the same everywhere is drawn, and read, as before."""
    rngs = nnx.Rngs(0)
    grids = ((4, 4), (6, 5))
    old, new = (Dense(2 * h * w, 3, rngs=rngs) for h, w in grids)
    even = jnp.asarray([0.5, -2.0])
    read = {"b4": {"fc": params_of(old)}}, {"b4": {"fc": params_of(new)}}
    # Its columns are even, too: of others an average is not the same over other pixels.
    read[0]["b4"]["fc"]["weight"] = jnp.tile(jnp.arange(6.0).reshape(2, 3), (16, 1))
    matches, _ = match_params(*read, grids=grids)
    fitted = fit_params(matches, *read)["b4"]["fc"]
    nnx.update(new, fitted)
    nnx.update(old, read[0]["b4"]["fc"])
    np.testing.assert_allclose(new(jnp.tile(even, 30)), old(jnp.tile(even, 16)), rtol=1e-5)

    drawn = [{"synthesis": {"b4": {"fc": {"weight": jnp.zeros((3, h * w * 2))}}}} for h, w in grids]
    drawn[0]["synthesis"]["b4"]["fc"]["weight"] = jnp.tile(jnp.arange(6.0).reshape(3, 2), (1, 16))
    matches, _ = match_params(*drawn, grids=grids)
    fitted = fit_params(matches, *drawn)["synthesis"]["b4"]["fc"]["weight"]
    np.testing.assert_allclose(fitted, jnp.tile(jnp.arange(6.0).reshape(3, 2), (1, 30)), rtol=1e-6)


def test_the_constant_is_resized_as_an_image():
    ramp = jnp.broadcast_to(jnp.arange(4.0)[:, None, None], (4, 4, 2))
    found = {"synthesis": {"b4": {"const": ramp}}}
    wanted = {"synthesis": {"b4": {"const": jnp.full((8 - 1, 4, 3), 9.0)}}}
    matches, _ = match_params(found, wanted, grids=(SQUARE, (7, 4)))
    const = fit_params(matches, found, wanted)["synthesis"]["b4"]["const"]
    assert matches[0].reason == "4x4 there, 7x4 here"
    assert bool(jnp.all(jnp.diff(const[:, :, 0], axis=0)[1:-1] > 0)), "still a ramp"
    np.testing.assert_array_equal(const[:, :, 2], 9.0)  # a channel more: its own first value


def test_grey_is_read_and_drawn_as_colours_were():
    rngs = nnx.Rngs(0)
    grey = jax.random.normal(jax.random.key(0), (2, 4, 4, 1))
    for c, d in ((3, 1), (1, 3)):
        old, new = (Conv2d(n, 5, kernel_size=1, rngs=rngs) for n in (c, d))
        found, wanted = ({"b8": {"fromrgb": params_of(layer)}} for layer in (old, new))
        matches, _ = match_params(found, wanted, grids=(SQUARE, SQUARE))
        nnx.update(new, fit_params(matches, found, wanted)["b8"]["fromrgb"])
        there, here = (jnp.tile(grey, (1, 1, 1, n)) for n in (c, d))
        np.testing.assert_allclose(new(here), old(there), atol=1e-6)

        old, new = (Conv2d(5, n, kernel_size=1, rngs=rngs) for n in (c, d))
        old.bias[...] = jnp.arange(c) + 1.0
        found, wanted = ({"b8": {"torgb": params_of(layer)}} for layer in (old, new))
        matches, _ = match_params(found, wanted, grids=(SQUARE, SQUARE))
        nnx.update(new, fit_params(matches, found, wanted)["b8"]["torgb"])
        x = jax.random.normal(jax.random.key(1), (2, 4, 4, 5))
        want = jnp.mean(old(x), axis=-1, keepdims=True)
        np.testing.assert_allclose(new(x), jnp.tile(want, (1, 1, 1, d)), atol=1e-6)
