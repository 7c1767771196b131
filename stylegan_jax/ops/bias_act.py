"""Bias, activation, gain and clamp in one step."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from stylegan_jax.ops.precision import wide


class _Activation(NamedTuple):
    function: Callable[[Array, float], Array]
    default_alpha: float
    default_gain: float


# The gain keeps unit variance where the activation halves it.
_SQRT2 = float(np.sqrt(2))
ACTIVATIONS = {
    "linear": _Activation(lambda x, _: x, 0.0, 1.0),
    "relu": _Activation(lambda x, _: jax.nn.relu(x), 0.0, _SQRT2),
    "lrelu": _Activation(lambda x, alpha: jnp.where(x >= 0, x, x * alpha), 0.2, _SQRT2),
    "tanh": _Activation(lambda x, _: jnp.tanh(x), 0.0, 1.0),
    "sigmoid": _Activation(lambda x, _: jax.nn.sigmoid(x), 0.0, 1.0),
    "elu": _Activation(lambda x, _: jax.nn.elu(x), 0.0, 1.0),
    "selu": _Activation(lambda x, _: jax.nn.selu(x), 0.0, 1.0),
    "softplus": _Activation(lambda x, _: jax.nn.softplus(x), 0.0, 1.0),
    "swish": _Activation(lambda x, _: jax.nn.silu(x), 0.0, _SQRT2),
}


def find_activation(act: str) -> _Activation:
    """Returns an activation with its default slope and gain.

    Raises:
        ValueError: There is none of that name.
    """
    if act not in ACTIVATIONS:
        raise ValueError(f"Unknown activation {act!r}; choose one of {sorted(ACTIVATIONS)}.")
    return ACTIVATIONS[act]


def bias_act(
    x: Float[Array, "..."],
    b: Float[Array, " c"] | None = None,
    *,
    axis: int = -1,
    act: str = "linear",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
) -> Float[Array, "..."]:
    """Computes `clip(gain * act(x + b), -clamp, clamp)`.

    Args:
        x: Activations of any shape.
        b: Bias along `axis`.
        axis: Axis of x that the bias belongs to.
        act: A key of `ACTIVATIONS`.
        alpha: Slope of `lrelu` below zero (default 0.2); other activations ignore it.
        gain: Default: sqrt(2) for relu, lrelu and swish, else 1.
        clamp: Largest magnitude of the output; None leaves it unbounded.

    Returns:
        Array of x's shape and dtype; what lies between is computed in float32 and rounded once, and
        the bias's gradient is a float32 sum.

    Raises:
        ValueError: Unknown activation, or a bias whose length is not that of `axis`.

    Source: Karras et al. 2020 (StyleGAN2), appendix B.
    Checked: tests/parity, case `ops_bias_act` (values, gradients, second gradients).
    """
    spec = find_activation(act)
    alpha = spec.default_alpha if alpha is None else alpha
    gain = spec.default_gain if gain is None else gain

    # x + b in float32, b along one axis: [c] -> [1, ..., c, ..., 1].
    dtype = x.dtype
    x = wide(x)
    if b is not None:
        if b.shape[0] != x.shape[axis]:
            raise ValueError(f"Bias of {b.shape[0]} does not fit axis {axis} of shape {x.shape}.")
        shape = [1] * x.ndim
        shape[axis] = -1
        x = x + wide(b).reshape(shape)

    # The activation of almost every layer has a derivative of its own.
    if act == "lrelu" and alpha > 0 and gain > 0:
        return _leaky(x, alpha, gain, clamp, dtype)

    # clip(gain * act(x + b)), rounded once.
    x = spec.function(x, alpha)
    if gain != 1:
        x = x * gain
    if clamp is not None:
        x = jnp.clip(x, -clamp, clamp)
    return x.astype(dtype)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1, 2, 3, 4))
def _leaky(x: Array, alpha: float, gain: float, clamp: float | None, dtype: Any) -> Array:
    """Leaky ReLU with gain and clamp, whose slope is read from its result.

    The result is kept anyway, for the next layer; the input need not be.
    """
    # gain * max(x, alpha * x), clipped
    y = x * jnp.where(x >= 0, np.float32(gain), np.float32(gain * alpha))
    if clamp is not None:
        y = jnp.clip(y, -clamp, clamp)
    return y.astype(dtype)


@_leaky.defjvp
def _leaky_jvp(
    alpha: float, gain: float, clamp: float | None, dtype: Any, primals: Any, tangents: Any
) -> tuple[Array, Array]:
    """Positive slopes: the result has the sign of the input."""
    y = _leaky(*primals, alpha, gain, clamp, dtype)
    # dy/dx = gain, or gain * alpha below zero, or 0 where it was clipped
    slope = jnp.where(y >= 0, np.float32(gain), np.float32(gain * alpha))
    if clamp is not None:
        slope = jnp.where(jnp.abs(y) < clamp, slope, np.float32(0))
    return y, (tangents[0] * slope).astype(dtype)
