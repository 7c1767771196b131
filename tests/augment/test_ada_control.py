"""The strength, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stylegan_jax.augment.ada_control import (
    Controller,
    adjust_strength,
    init_strength,
    observe_reals,
    scheduled_strength,
)


def run(controller, logits, batch_size=4):
    """p after each iteration whose reals have these logits."""
    strength = init_strength(controller)
    ps = []
    for i, values in enumerate(logits):
        strength = observe_reals(strength, jnp.asarray(values, jnp.float32))
        nimg = (i + 1) * batch_size
        strength = adjust_strength(strength, controller, batch_size=batch_size, nimg=nimg)
        ps.append(float(strength["p"]))
    return ps


def test_steps_follow_the_sign_of_the_difference():
    # 4 images x 2 iterations of 100: p moves by 0.08.
    controller = Controller("ada", p=0.1, target=0.5, interval=2, kimg=0.1)
    high, low = [[3.0], [0.1], [2.0], [0.0]], [[1.0], [-1.0], [-2.0], [1.0]]
    assert run(controller, [high, high]) == pytest.approx([0.1, 0.18])
    # The mean of both iterations is the target itself: nothing moves.
    assert run(controller, [[[1.0]] * 4, [[0.0]] * 4]) == pytest.approx([0.1, 0.1])
    assert run(controller, [low, low, high, low]) == pytest.approx([0.1, 0.02, 0.02, 0.0])
    # Never below 0; never above p_max, and without bound where there is none.
    sinking, rising = [[[-1.0]] * 4] * 4, [[[1.0]] * 4] * 40
    assert run(controller, sinking)[-1] == 0
    assert run(controller, rising)[-1] == pytest.approx(0.1 + 20 * 0.08)
    bounded = Controller("ada", p=0.1, target=0.5, interval=2, kimg=0.1, p_max=0.8)
    assert run(bounded, rising)[-1] == pytest.approx(0.8)


def test_no_signs_no_step():
    controller = Controller("ada", p=0.3, interval=1)
    strength = adjust_strength(init_strength(controller), controller, batch_size=4, nimg=4)
    assert float(strength["p"]) == pytest.approx(0.3)


def test_steps_with_r1_count_their_reals_too():
    controller = Controller("ada", target=0.5, interval=1, kimg=0.004)
    strength = observe_reals(init_strength(controller), jnp.ones((4, 1)))
    strength = observe_reals(strength, -jnp.ones((4, 1)))
    assert float(strength["sign_sum"]) == 0 and float(strength["sign_count"]) == 2
    assert jax.grad(lambda x: observe_reals(strength, x)["sign_sum"])(jnp.ones((4,))).sum() == 0


@pytest.mark.parametrize("controller", [Controller("fixed", p=0.2), Controller("none")])
def test_strengths_that_stay(controller):
    assert run(controller, [[[1.0]]] * 3) == pytest.approx([controller.p] * 3)
    assert list(init_strength(controller)) == ["p"]


def test_schedule():
    controller = Controller("schedule", p=0.0, p_end=0.4, total_kimg=0.02)
    assert run(controller, [[[1.0]]] * 6) == pytest.approx(
        [0.2 * (1 - np.cos(np.pi * n / 20)) for n in (4, 8, 12, 16, 20)] + [0.4], abs=1e-6
    )
    assert float(scheduled_strength(controller, 10)) == pytest.approx(0.2)


def test_one_program_for_every_iteration():
    controller = Controller("ada", interval=2, p_max=0.8)
    step = jax.jit(lambda s, n: adjust_strength(s, controller, batch_size=4, nimg=n))
    strength = init_strength(controller)
    for n in range(3):
        strength = step(strength, n)
    assert step._cache_size() == 1
    assert {x.dtype for x in jax.tree.leaves(strength)} == {jnp.dtype("float32")}


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"mode": "fixed", "p": -0.1}, "p=-0.1: give a strength of at least 0"),
        ({"mode": "schedule", "p_end": float("nan")}, "p_end=nan"),
        ({"mode": "none", "p": 0.1}, "mode='none' has no strength"),
        ({"mode": "ada", "target": 1.5}, "target=1.5: a mean of signs"),
        ({"mode": "ada", "interval": 0}, "interval=0, kimg=500.0"),
        ({"mode": "ada", "kimg": 0.0}, "interval=4, kimg=0.0"),
        ({"mode": "ada", "p": 0.9, "p_max": 0.8}, "p=0.9 is above p_max=0.8"),
        ({"mode": "schedule"}, "total_kimg=0.0: a schedule needs a length"),
    ],
)
def test_numbers_that_mean_nothing(numbers, message):
    with pytest.raises(ValueError, match=message):
        Controller(**numbers)
