import dataclasses
import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stylegan_jax.ops.bias_act import bias_act
from stylegan_jax.ops.filtered_lrelu import filtered_lrelu
from stylegan_jax.ops.fir import upfirdn2d
from stylegan_jax.ops.formulation import FORMULATIONS
from tests.ops.test_fir import upfirdn_loop

WAYS = {
    "phases": dataclasses.replace(FORMULATIONS["cpu"], phases_from=0),
    "axes": FORMULATIONS["gpu"],
    "one by one": dataclasses.replace(FORMULATIONS["tpu"], one_by_one_from=0),
}
ROW = (0.1, 0.5, -0.2, 0.4, 0.3, -0.1)
COLUMN = (0.3, 0.6, 0.2)
# Not symmetric, and of full rank.
FULL = ((0.2, 0.1, -0.3, 0.1), (0.4, 0.2, 0.1, -0.2), (0.1, -0.1, 0.5, 0.3))
# Cropped; zoomed and decimated alike or not; filters of one axis and of two.
CASES = [
    dict(up_taps=ROW, down_taps=COLUMN, up=2, down=2, padding=[3, 2, 4, 1]),
    dict(up_taps=ROW, down_taps=FULL, up=4, down=2, padding=[-2, -3, 1, 0]),
    dict(up_taps=COLUMN, down_taps=ROW, up=2, down=4, padding=[9, 8]),
    dict(up_taps=FULL, down_taps=COLUMN, up=2, down=1, padding=4, flip_filter=True),
    dict(up_taps=None, down_taps=ROW, up=1, down=1, padding=2, clamp=None),
    dict(up_taps=ROW, down_taps=None, up=2, down=1, padding=3, gain=0.7, slope=0.5),
]


def composed(x, bias, *, up_taps, down_taps, up, down, padding, flip_filter=False, **given):
    """The definition, from ops that have derivatives of their own."""
    act = dict(alpha=given.pop("slope", 0.2), gain=None, clamp=1.5) | given
    y = upfirdn2d(
        bias_act(x, bias), up_taps, up=up, padding=padding, flip_filter=flip_filter, gain=up**2
    )
    return upfirdn2d(bias_act(y, act="lrelu", **act), down_taps, down=down, flip_filter=flip_filter)


def test_is_its_definition_pixel_by_pixel(rng):
    x, bias = rng.normal(size=(2, 7, 9, 2)), rng.normal(size=2)
    row, full = np.asarray(ROW), np.asarray(FULL)
    run = functools.partial(filtered_lrelu, clamp=1.2, slope=0.1, **CASES[1])
    got = jax.jit(run)(jnp.asarray(x, jnp.float32), jnp.asarray(bias, jnp.float32))
    for n in range(2):
        for c in range(2):
            y = upfirdn_loop(x[n, :, :, c] + bias[c], 16 * np.outer(row, row), 4, 1, (-2, -3, 1, 0))
            y = np.clip(np.sqrt(2) * np.where(y > 0, y, 0.1 * y), -1.2, 1.2)
            # float32 sums of up to 36 products of order 1.
            want = upfirdn_loop(y, full, 1, 2, (0, 0, 0, 0))
            np.testing.assert_allclose(got[n, :, :, c], want, atol=2e-5)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("way", WAYS)
def test_every_way_is_the_definition(rng, way, case):
    """Values and gradients."""
    case = dict(clamp=1.5) | case
    x = jnp.asarray(rng.normal(size=(2, 8, 7, 3)), jnp.float32)
    bias = jnp.asarray(rng.normal(size=3), jnp.float32)

    def run(op):
        def loss(x, bias):
            y = op(x, bias)
            return jnp.sum(jnp.sin(y)), y

        return jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(x, bias)

    got = run(functools.partial(filtered_lrelu, formulation=WAYS[way], **case))
    want = run(functools.partial(composed, **case))
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want)):
        np.testing.assert_allclose(a, b, atol=1e-5 * float(jnp.max(jnp.abs(b))))


@pytest.mark.parametrize("way", WAYS)
def test_second_derivatives(rng, way):
    """Gradients of gradients, and forward over reverse."""
    case = dict(up_taps=ROW[:4], down_taps=COLUMN, up=2, down=2, padding=3, clamp=1.5)
    x, v = (jnp.asarray(rng.normal(size=(1, 4, 4, 2)), jnp.float32) for _ in range(2))

    def run(op):
        def gradient(x):
            return jax.grad(lambda x: jnp.sum(jnp.sin(op(x, None))))(x)

        second = jax.grad(lambda x: jnp.sum(gradient(x) ** 2))
        return jax.jit(lambda x, v: (second(x), jax.jvp(gradient, (x,), (v,))[1]))(x, v)

    got = run(functools.partial(filtered_lrelu, formulation=WAYS[way], **case))
    for a, b in zip(got, run(functools.partial(composed, **case))):
        # float32; the second derivative sums products of first ones.
        np.testing.assert_allclose(a, b, atol=3e-5 * float(jnp.max(jnp.abs(b))))


@pytest.mark.parametrize("way", WAYS)
def test_mapped_and_bfloat16(rng, way):
    x = jnp.asarray(rng.normal(size=(2, 1, 6, 6, 2)), jnp.float32)
    op = functools.partial(filtered_lrelu, formulation=WAYS[way], **CASES[0])

    def run(x):
        return jax.vmap(jax.value_and_grad(lambda x: jnp.sum(op(x, None).astype(jnp.float32))))(x)

    wide, narrow = jax.jit(lambda x: (run(x), run(x.astype(jnp.bfloat16))))(x)
    assert narrow[1].dtype == jnp.bfloat16 and narrow[1].shape == x.shape
    # bfloat16 has 8 bits; a slope is another where a value near 0 is rounded across it.
    for a, b in zip(narrow, wide):
        assert jnp.linalg.norm(a.astype(jnp.float32) - b) < 0.1 * jnp.linalg.norm(b)


def test_without_filters_it_is_an_activation(rng):
    """As in ToRGB: linear, but clamped."""
    x, bias = jnp.asarray(rng.normal(size=(1, 4, 4, 3)), jnp.float32), jnp.ones(3)
    got = filtered_lrelu(x, bias, gain=1.0, slope=1.0, clamp=0.5)
    np.testing.assert_array_equal(got, jnp.clip(x + bias, -0.5, 0.5))


def test_slope_of_zero(rng):
    """Where the sign of the result says nothing of the slope."""
    x = jnp.asarray(rng.normal(size=(1, 6, 6, 1)), jnp.float32)
    case = CASES[0] | dict(slope=0.0, clamp=None)

    def run(op):
        return jax.jit(jax.value_and_grad(lambda x: jnp.sum(op(x, None, **case))))(x)

    for got, want in zip(run(filtered_lrelu), run(composed)):
        np.testing.assert_allclose(got, want, atol=1e-4)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (dict(down_taps=(1.0,) * 9), "does not fit"),
        (dict(up=0), "up=0"),
        (dict(down=0), "down=0"),
        (dict(padding=[1, 2, 3]), "padding"),
        (dict(bias=jnp.ones(2)), "Bias of 2"),
        (dict(clamp=-1.0), "clamp=-1"),
    ],
)
def test_bad_input(case, message):
    case = dict(bias=None) | case
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(filtered_lrelu)(jnp.ones((1, 4, 4, 1)), **case)
