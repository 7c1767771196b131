"""Winograd's convolution against the compiler's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from stylegan_jax.ops import trilinear, winograd

CHANNELS = (48, 50)


def definition(x, weight, pads):
    """In float32 whatever comes."""
    x, weight = x.astype(jnp.float32), weight.astype(jnp.float32)
    dimensions = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        x, weight, (1, 1), pads, dimension_numbers=dimensions, precision="highest"
    )


def make(rng, n, size, channels=CHANNELS):
    x = rng.standard_normal((n, *size, channels[0]), np.float32)
    weight = rng.standard_normal((3, 3, *channels), np.float32) / np.sqrt(9 * channels[0])
    return jnp.asarray(x), jnp.asarray(weight)


@pytest.mark.parametrize(
    ("size", "pads"),
    [
        pytest.param((34, 36), ((0, 0), (0, 0)), id="even"),
        pytest.param((33, 40), ((1, 2), (0, 1)), id="odd and padded"),
        pytest.param((40, 43), ((-1, 1), (2, -3)), id="cropped"),
        pytest.param((70, 74), ((2, 2), (2, 2)), id="one by one"),
    ],
)
def test_it_is_the_convolution(rng, size, pads):
    x, weight = make(rng, 2, size)
    got = jax.jit(winograd.convolve_3x3, static_argnums=2)(x, weight, pads)
    want = definition(x, weight, pads)
    assert got.shape == want.shape
    # Sums of 4 times as many terms, in float32.
    np.testing.assert_allclose(got, want, atol=2e-5)


def test_large_maps_use_it_in_every_derivative(rng, monkeypatch):
    x, weight = make(rng, 1, (35, 36))
    pads = ((1, 1), (1, 1))
    calls = []
    usual = winograd.convolve_3x3
    monkeypatch.setattr(
        winograd, "convolve_3x3", lambda *args: calls.append(args[1].shape) or usual(*args)
    )

    def penalty(form, x, weight):
        """Its gradient holds the gradient of a gradient."""
        grad = jax.grad(lambda x: jnp.sum(jnp.sin(form(x, weight))))(x)
        return jnp.sum(jnp.square(grad))

    def ours(x, weight):
        return trilinear.convolve(x, weight, 1, pads)

    def theirs(x, weight):
        return definition(x, weight, pads)

    got, want = (
        jax.jit(jax.grad(lambda *args, form=form: penalty(form, *args), argnums=(0, 1)))(x, weight)
        for form in (ours, theirs)
    )
    for a, b in zip(got, want):
        np.testing.assert_allclose(a, b, atol=1e-5 * np.abs(b).max())
    # Both ways: kernels, and the flipped ones of transposes.
    assert set(calls) == {(3, 3, *CHANNELS), (3, 3, *CHANNELS[::-1])}


def test_bfloat16_is_rounded_once(rng):
    x, weight = make(rng, 1, (34, 34))
    x, weight = x.astype(jnp.bfloat16), weight.astype(jnp.bfloat16)
    pads = ((0, 0), (0, 0))
    got = jax.jit(lambda x, weight: trilinear.convolve(x, weight, 1, pads))(x, weight)
    assert got.dtype == jnp.bfloat16
    want = definition(x, weight, pads)
    np.testing.assert_allclose(got.astype(jnp.float32), want, rtol=2**-8, atol=2e-5)


@pytest.mark.parametrize(
    ("kernel", "stride", "size"),
    [
        pytest.param((1, 1, 64, 64), 1, (64, 64), id="pointwise"),
        pytest.param((3, 3, 64, 64), 2, (64, 64), id="strided"),
        pytest.param((3, 3, 64, 3), 1, (64, 64), id="few channels"),
        pytest.param((3, 3, 512, 512), 1, (16, 16), id="small maps"),
    ],
)
def test_others_are_left_to_the_compiler(kernel, stride, size):
    assert not winograd.is_suitable(kernel, stride, size, ((1, 1), (1, 1)))
    assert winograd.is_suitable((3, 3, 64, 64), 1, (64, 64), ((1, 1), (1, 1)))
