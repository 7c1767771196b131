import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal

from stylegan_jax.ops.conv import conv2d
from stylegan_jax.ops.modulated_conv import (
    demodulation,
    modulated_conv2d,
    modulated_conv2d_normalized,
)


def test_equals_a_loop_over_images(rng):
    """Each image with its own scaled and normalised kernel, by SciPy in float64."""
    x, styles = rng.normal(size=(3, 6, 6, 4)), rng.normal(size=(3, 4)) + 1
    weight, noise = rng.normal(size=(3, 3, 4, 2)), rng.normal(size=(3, 6, 6, 1))
    want = np.zeros((3, 6, 6, 2))
    for n in range(3):
        kernel = weight * styles[n][:, None]
        kernel = kernel / np.sqrt((kernel**2).sum(axis=(0, 1, 2)) + 1e-8)
        for o in range(2):
            for i in range(4):
                want[n, :, :, o] += signal.correlate2d(x[n, :, :, i], kernel[:, :, i, o], "same")
    args = [jnp.asarray(a, jnp.float32) for a in (x, weight, styles)]
    noise32 = jnp.asarray(noise, jnp.float32)
    got = jax.jit(lambda *args: modulated_conv2d(*args, noise=noise32, padding=1))(*args)
    np.testing.assert_allclose(got, want + noise, atol=1e-5)


def test_demodulation_is_float32_for_bfloat16(rng):
    weight = jnp.asarray(rng.normal(size=(3, 3, 64, 8)), jnp.float32)
    styles = jnp.asarray(rng.normal(size=(2, 64)) + 1, jnp.float32)
    x = jnp.asarray(rng.normal(size=(2, 8, 8, 64)), jnp.float32)
    run = jax.jit(functools.partial(modulated_conv2d, padding=1))
    full = run(x, weight, styles)
    half = run(x.astype(jnp.bfloat16), weight, styles)
    assert half.dtype == jnp.bfloat16
    assert demodulation(weight, styles).dtype == jnp.float32
    # bfloat16 has 8 bits: relative errors of 2^-8 per factor.
    np.testing.assert_allclose(half.astype(jnp.float32), full, atol=0.05)


def test_gradients_sum_in_float32_for_bfloat16():
    """Of a style, and of the strength of noise: bfloat16 holds no odd integer above 256."""
    x, noise = jnp.ones((1, 101, 101, 1), jnp.bfloat16), jnp.ones((1, 101, 101, 1))

    def total(style, strength):
        statics = dict(demodulate=False, noise=noise, noise_strength=strength)
        y = modulated_conv2d(x, jnp.ones((1, 1, 1, 3)), style, **statics)
        return jnp.sum(y.astype(jnp.float32))

    grads = jax.jit(jax.grad(total, (0, 1)))(jnp.ones((1, 1)), jnp.float32(1))
    assert [float(jnp.squeeze(g)) for g in grads] == [3 * 10201, 3 * 10201]


def convolve_with_own_kernels(x, weight, styles):
    """The definition with one kernel per image, in plain jax."""

    def one(x, style):
        kernel = weight * style[:, None]
        kernel = kernel / jnp.sqrt(jnp.sum(kernel**2, axis=(0, 1, 2)) + 1e-8)
        return conv2d(x[None], kernel, padding=1)[0]

    return jax.vmap(one)(x, styles)


def test_derivatives_equal_those_of_own_kernels(rng):
    x = jnp.asarray(rng.normal(size=(2, 4, 4, 3)), jnp.float32)
    weight = jnp.asarray(rng.normal(size=(3, 3, 3, 5)), jnp.float32)
    styles = jnp.asarray(rng.normal(size=(2, 3)) + 1, jnp.float32)

    def derivatives(op):
        def loss(*args):
            return jnp.sum(jnp.sin(op(*args)))

        def penalty(*args):
            return sum(jnp.sum(g**2) for g in jax.grad(loss, (0, 1, 2))(*args))

        first = jax.grad(loss, (0, 1, 2))
        second = jax.grad(penalty, (0, 1, 2))
        return jax.jit(lambda *args: (first(*args), second(*args)))(x, weight, styles)

    got = derivatives(lambda x, w, s: modulated_conv2d(x, w, s, padding=1))
    want = derivatives(convolve_with_own_kernels)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want)):
        # float32; the second derivative sums products of first ones.
        np.testing.assert_allclose(a, b, atol=1e-4 * float(jnp.max(jnp.abs(b))))


def test_styles_must_fit():
    unchecked = inspect.unwrap(modulated_conv2d)
    with pytest.raises(ValueError, match="Styles of shape"):
        unchecked(jnp.ones((2, 4, 4, 3)), jnp.ones((1, 1, 3, 3)), jnp.ones((2, 4)))


def convolve_with_normalized_kernels(x, weight, styles, gain, demodulate=True):
    """The definition with one kernel per image, in plain jax."""
    if demodulate:
        weight = weight / jnp.sqrt(jnp.mean(weight**2, axis=(0, 1, 2)))
        styles = styles / jnp.sqrt(jnp.mean(styles**2))

    def one(x, style, gain):
        kernel = weight * style[:, None]
        if demodulate:
            kernel = kernel / jnp.sqrt(jnp.sum(kernel**2, axis=(0, 1, 2)) + 1e-8)
        return conv2d(x[None], kernel * gain[:, None], padding=2)[0]

    return jax.vmap(one)(x, styles, jnp.broadcast_to(gain, styles.shape))


@pytest.mark.parametrize(("shape", "demodulate"), [((), True), ((3,), False), ((2, 3), True)])
def test_normalized_equals_own_kernels(rng, shape, demodulate):
    """Values, gradients and gradients of gradients, of the gain too."""
    x, weight, styles, gain = (
        jnp.asarray(rng.normal(size=s), jnp.float32)
        for s in ((2, 4, 4, 3), (3, 3, 3, 5), (2, 3), shape)
    )
    numbers = (0, 1, 2, 3)

    def derivatives(op):
        def loss(*args):
            return jnp.sum(jnp.sin(op(*args)))

        def penalty(*args):
            return sum(jnp.sum(g**2) for g in jax.grad(loss, numbers)(*args))

        args = (x, weight, styles, gain)
        both = jax.jit(
            lambda *a: (op(*a), jax.grad(loss, numbers)(*a), jax.grad(penalty, numbers)(*a))
        )
        return both(*args)

    got = derivatives(
        lambda x, w, s, g: modulated_conv2d_normalized(
            x, w, s, input_gain=g, demodulate=demodulate, padding=2
        )
    )
    want = derivatives(functools.partial(convolve_with_normalized_kernels, demodulate=demodulate))
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want)):
        # float32; the second derivative sums products of first ones.
        np.testing.assert_allclose(a, b, atol=2e-4 * float(jnp.max(jnp.abs(b))))


def test_normalized_bfloat16_and_errors():
    args = (jnp.ones((2, 4, 4, 3), jnp.bfloat16), jnp.ones((1, 1, 3, 3)), jnp.ones((2, 3)))
    y = modulated_conv2d_normalized(*args)
    assert y.dtype == jnp.bfloat16
    # Kernels of three ones become unit vectors: 3 / sqrt(3).
    np.testing.assert_allclose(y.astype(jnp.float32), 3**0.5, rtol=0.01)
    unchecked = inspect.unwrap(modulated_conv2d_normalized)
    with pytest.raises(ValueError, match=r"input_gain of shape \(2,\)"):
        unchecked(*args, input_gain=jnp.ones(2))
