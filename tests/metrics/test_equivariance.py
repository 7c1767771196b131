"""Moves of generators that are a formula, and the ratio that is made of errors."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from stylegan_jax.metrics.equivariance import (
    KINDS,
    decibels,
    draw_move,
    plan_move,
    squared_errors,
)

SIZE = (48, 64)  # the shorter side is the unit


def draw(transform, cycles=2):
    """Waves [1, h, w, 1] at the transformed coordinates."""
    height, width = SIZE
    x = (np.arange(width) + 0.5 - width / 2) / min(SIZE)
    y = (np.arange(height) + 0.5 - height / 2) / min(SIZE)
    at = np.stack([*np.meshgrid(x, y), np.ones(SIZE)], -1) @ transform.T
    img = 0.5 * np.cos(2 * np.pi * cycles * (at[..., 0] + 0.5 * at[..., 1]))
    return jnp.asarray(img[None, ..., None], jnp.float32)


def ratio(kind, move, drawn=draw):
    plan = plan_move(kind, np.array(move), SIZE)
    errors = squared_errors(draw(np.eye(3)), drawn(plan.transform), plan)
    return decibels(float(np.sum(errors)), float(plan.motion.mask.sum()))


@pytest.mark.parametrize(
    ("kind", "move", "least"),
    [("eqt_int", [0.1, -0.07], 110), ("eqt_frac", [0.1, -0.07], 55), ("eqr", [0.5], 70)],
)
def test_a_formula_follows_its_transform_and_what_sticks_does_not(kind, move, least):
    """Whole pixels to rounding; others as far as filters of three lobes go."""
    assert ratio(kind, move) > least
    assert ratio(kind, move, lambda transform: draw(np.eye(3))) < 20
    # The inverse of the inverse moves the other way.
    assert ratio(kind, move, lambda transform: draw(np.linalg.inv(transform))) < 20


def test_transforms():
    """The inverse of what happens to the image, in units of its shorter side."""
    move = np.array([0.1, -0.07])
    whole, part = (plan_move(kind, move, SIZE).transform for kind in ("eqt_int", "eqt_frac"))
    np.testing.assert_allclose(whole[:2, 2], -np.rint(move * 48) / 48, rtol=1e-6)
    np.testing.assert_allclose(part[:2, 2], -move, rtol=1e-6)
    cos, sin = math.cos(0.5), math.sin(0.5)
    turned = plan_move("eqr", np.array([0.5]), SIZE).transform
    np.testing.assert_allclose(turned, [[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]], rtol=1e-6)
    with pytest.raises(ValueError, match="knows eqt_int, eqt_frac, eqr, not 'eqx'"):
        plan_move("eqx", move, SIZE)


def test_draws_fill_their_range():
    """An eighth of the image to every side; any angle."""
    rng = np.random.default_rng(0)
    for kind, largest in zip(KINDS, (0.125, 0.125, math.pi), strict=True):
        moves = np.stack([draw_move(kind, rng) for _ in range(400)])
        assert moves.shape == (400, 1 if kind == "eqr" else 2)
        assert largest * 0.97 < moves.max() <= largest and -largest <= moves.min() < -largest * 0.97


def test_ratio_of_known_errors():
    """An error of 0.2 everywhere is 20 dB below a range of 2; masked pixels do not count."""
    move = plan_move("eqt_int", np.array([0.0, 0.0]), (8, 8))
    mask = np.zeros((8, 8), np.float32)
    mask[2:5, 1:] = 1
    move = move._replace(motion=move.motion._replace(known=mask))
    a = jnp.zeros((2, 8, 8, 3))
    errors = squared_errors(a, jnp.where(mask[..., None] > 0, 0.2, 5.0) * jnp.ones_like(a), move)
    assert errors.shape == (2, 8)
    weight = float(mask.sum()) * 6
    assert decibels(float(errors.sum()), weight) == pytest.approx(20, abs=1e-5)
    assert decibels(0.0, weight) == math.inf
    for error, weight in ((math.nan, 1.0), (math.inf, 1.0), (0.0, 0.0)):
        with pytest.raises(ValueError, match=f"error of {error:g} over {weight:g} values.*finite"):
            decibels(error, weight)
