"""Bias, activation, gain and clamp in one step."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


class _Activation(NamedTuple):
    function: Callable[[Array, float], Array]
    default_alpha: float
    default_gain: float


def _lrelu(x: Array, alpha: float) -> Array:
    return jnp.where(x >= 0, x, x * np.asarray(alpha, x.dtype))


# The gain keeps unit variance where the activation halves it.
_SQRT2 = float(np.sqrt(2))
ACTIVATIONS = {
    "linear": _Activation(lambda x, _: x, 0.0, 1.0),
    "relu": _Activation(lambda x, _: jax.nn.relu(x), 0.0, _SQRT2),
    "lrelu": _Activation(_lrelu, 0.2, _SQRT2),
    "tanh": _Activation(lambda x, _: jnp.tanh(x), 0.0, 1.0),
    "sigmoid": _Activation(lambda x, _: jax.nn.sigmoid(x), 0.0, 1.0),
    "elu": _Activation(lambda x, _: jax.nn.elu(x), 0.0, 1.0),
    "selu": _Activation(lambda x, _: jax.nn.selu(x), 0.0, 1.0),
    "softplus": _Activation(lambda x, _: jax.nn.softplus(x), 0.0, 1.0),
    "swish": _Activation(lambda x, _: jax.nn.silu(x), 0.0, _SQRT2),
}


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
        b: Bias along `axis`, cast to x.dtype.
        axis: Axis of x that the bias belongs to.
        act: A key of `ACTIVATIONS`.
        alpha: Slope of `lrelu` below zero (default 0.2); other activations ignore it.
        gain: Default: sqrt(2) for relu, lrelu and swish, else 1.
        clamp: Largest magnitude of the output; None leaves it unbounded.

    Returns:
        Array of x's shape and dtype.

    Raises:
        ValueError: Unknown activation, or a bias whose length is not that of `axis`.

    Source: Karras et al. 2020 (StyleGAN2), appendix B.
    Checked: tests/parity, case `ops_bias_act` (values, gradients, second gradients).
    """
    if act not in ACTIVATIONS:
        raise ValueError(f"Unknown activation {act!r}; choose one of {sorted(ACTIVATIONS)}.")
    spec = ACTIVATIONS[act]
    if b is not None:
        if b.shape[0] != x.shape[axis]:
            raise ValueError(f"Bias of {b.shape[0]} does not fit axis {axis} of shape {x.shape}.")
        shape = [1] * x.ndim
        shape[axis] = -1
        x = x + b.astype(x.dtype).reshape(shape)
    x = spec.function(x, spec.default_alpha if alpha is None else alpha)
    gain = spec.default_gain if gain is None else gain
    if gain != 1:
        x = x * np.asarray(gain, x.dtype)
    if clamp is not None:
        x = jnp.clip(x, -clamp, clamp)
    return x
