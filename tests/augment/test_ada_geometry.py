"""Matrices of the geometric transformations, by hand and by how often they are not the identity."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stylegan_jax.augment.ada_draws import Draws, draw
from stylegan_jax.augment.ada_geometry import inverse_matrices
from stylegan_jax.augment.ada_pipe import PIPES, Pipe

SIZE = (20, 40)
matrices = jax.jit(inverse_matrices, static_argnums=(2, 3))


def matrix(pipe, gate=0.0, p=1.0, **values):
    """The matrix of one image."""
    values = {name: jnp.asarray([value], jnp.float32) for name, value in values.items()}
    gates = {name: jnp.asarray([gate], jnp.float32) for name in values}
    return np.asarray(inverse_matrices(Draws(values, gates, None), p, pipe, SIZE)[0])


def rotation(turns):
    c, s = np.cos(2 * np.pi * turns), np.sin(2 * np.pi * turns)
    return np.asarray([[c, -s, 0], [s, c, 0], [0, 0, 1]])


@pytest.mark.parametrize(
    ("name", "values", "wanted"),
    [
        ("xflip", {"xflip": 0.49}, np.eye(3)),
        ("xflip", {"xflip": 0.5}, np.diag([-1, 1, 1])),
        ("rotate90", {"rotate90": 0.3}, rotation(1 / 4)),
        ("rotate90", {"rotate90": 0.9}, rotation(3 / 4)),
        # 0.125 of 40 and of 20 pixels; 2.5 is rounded to an even number.
        ("xint", {"xint": [1.0, 0.0]}, [[1, 0, -5], [0, 1, 2], [0, 0, 1]]),
        ("scale", {"scale": 5.0}, np.diag([0.5, 0.5, 1])),
        ("aniso", {"aniso": -5.0}, np.diag([2, 0.5, 1])),
        ("xfrac", {"xfrac": [1.0, -0.5]}, [[1, 0, -5], [0, 1, 1.25], [0, 0, 1]]),
        ("rotate", {"rotate_pre": 0.75, "rotate_post": 0.5}, rotation(1 / 4)),
        ("rotate", {"rotate_pre": 0.75, "rotate_post": 0.75}, rotation(1 / 2)),
    ],
)
def test_each_transformation(name, values, wanted):
    np.testing.assert_allclose(matrix(Pipe(**{name: 1.0}), **values), wanted, atol=1e-6)
    np.testing.assert_array_equal(matrix(Pipe(**{name: 0.5}), gate=0.6, **values), np.eye(3))


def test_order_and_options():
    """Zoomed by two, turned a quarter, then moved by 5 to the right: where from is the reverse."""
    pipe = Pipe(scale=1, rotate=1, xfrac=1, scale_std=1, rotate_max=0.5, xfrac_std=0.0625)
    values = {"scale": 1.0, "rotate_pre": 1.0, "rotate_post": 0.5, "xfrac": [2.0, 0.0]}
    got = matrix(pipe, **values)
    move = np.asarray([[1, 0, -5], [0, 1, 0], [0, 0, 1]])
    np.testing.assert_allclose(got, np.diag([0.5, 0.5, 1]) @ rotation(1 / 4) @ move, atol=1e-6)


def test_probabilities():
    """Each happens with probability p; a flip changes half of the images, a turn three quarters."""
    p, n = 0.3, 4000
    for name, share in {"xflip": 0.5, "rotate90": 0.75, "aniso": 1.0, "rotate": 1.0}.items():
        pipe = Pipe(**{name: 1.0})
        G = matrices(draw(jax.random.key(0), n, pipe, SIZE, 1), p, pipe, SIZE)
        moved = np.any(np.abs(G - np.eye(3)) > 1e-6, axis=(1, 2))
        assert np.mean(moved) == pytest.approx(p * share, abs=0.03), name
    # Above 1 all gates are open.
    draws = draw(jax.random.key(0), 50, PIPES["bg"], SIZE, 1)
    G = [matrices(draws, p, PIPES["bg"], SIZE) for p in (1.0, 7.0)]
    np.testing.assert_array_equal(*G)
