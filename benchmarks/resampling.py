"""Convolutions with resampling: folded over phases, against filtering and convolving in turn.

    python benchmarks/resampling.py [--batch_size=32]

Prints milliseconds and their ratio for the value, the gradients, and the gradient of a squared
gradient (as in R1 and path length), on whatever device jax finds.
"""

import argparse
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from stylegan_jax.ops.conv import conv2d, conv2d_resample
from stylegan_jax.ops.fir import resampling_padding, upfirdn2d

TAPS = (0.125, 0.375, 0.375, 0.125)
# Input side, input channels, output channels, up, down.
LAYERS = ((16, 64, 32, 2, 1), (32, 64, 64, 2, 1), (32, 32, 64, 1, 2))


def in_turn(x: jax.Array, weight: jax.Array, up: int, down: int) -> jax.Array:
    """The same layer as a filter over the image and a convolution."""
    pads = resampling_padding(TAPS, up=up, down=down, padding=1)
    return conv2d(upfirdn2d(x, TAPS, up=up, padding=pads, gain=up**2), weight, stride=down)


def folded(x: jax.Array, weight: jax.Array, up: int, down: int) -> jax.Array:
    """The layer as the networks run it."""
    return conv2d_resample(x, weight, TAPS, up=up, down=down, padding=1)


def milliseconds(function: Callable, *args: jax.Array, repeats: int = 10) -> float:
    """Median time of a compiled call."""
    compiled = jax.jit(function)
    jax.block_until_ready(compiled(*args))
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(compiled(*args))
        times.append(time.perf_counter() - start)
    return 1000 * float(np.median(times))


def derivatives(op: Callable) -> dict[str, Callable]:
    """The value of an op and what training asks of it."""

    def loss(x, weight):
        return jnp.sum(jnp.square(op(x, weight)))

    def penalty(x, weight):
        return jnp.sum(jnp.square(jax.grad(loss)(x, weight)))

    return {
        "value": op,
        "gradients": jax.grad(loss, (0, 1)),
        "penalty gradients": jax.grad(penalty, (0, 1)),
    }


def main() -> None:
    """Measures every layer."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch_size", type=int, default=32)
    batch_size = parser.parse_args().batch_size
    rng = np.random.default_rng(0)
    print(f"{jax.devices()[0].device_kind}, batch {batch_size}; milliseconds in turn / folded")
    for side, channels_in, channels_out, up, down in LAYERS:
        x = jnp.asarray(rng.normal(size=(batch_size, side, side, channels_in)), jnp.float32)
        weight = jnp.asarray(rng.normal(size=(3, 3, channels_in, channels_out)), jnp.float32)
        kind = "up" if up > 1 else "down"
        print(f"{kind} {side} px, {channels_in} -> {channels_out} channels")
        ours = derivatives(lambda x, w, u=up, d=down: folded(x, w, u, d))
        theirs = derivatives(lambda x, w, u=up, d=down: in_turn(x, w, u, d))
        for name, function in ours.items():
            slow, fast = milliseconds(theirs[name], x, weight), milliseconds(function, x, weight)
            print(f"  {name:18s} {slow:8.1f} / {fast:6.1f}  = {slow / fast:.1f}")


if __name__ == "__main__":
    main()
