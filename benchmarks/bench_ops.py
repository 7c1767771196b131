"""Formulations of the convolutions and filters side by side, on whatever device jax finds.

    python -m benchmarks.bench_ops [--batch_size=4] [--sides=64,32,16] [--channels=64,128,128]

Prints a Markdown table: milliseconds of the value, of the gradients, and of the gradients of a
squared gradient (as in R1 and path length), and the seconds to compile all three. Takes one core
under `taskset -c 0`. Data are random numbers.
"""

import argparse
import dataclasses
import time
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from stylegan_jax.ops.conv import conv2d, conv2d_resample
from stylegan_jax.ops.fir import resampling_padding, upfirdn2d
from stylegan_jax.ops.formulation import FORMULATIONS
from stylegan_jax.ops.packing import space_to_depth

CPU, PLAIN = FORMULATIONS["cpu"], FORMULATIONS["plain"]
TAPS = (0.125, 0.375, 0.375, 0.125)
Op = Callable[..., jax.Array]


def convolutions(up: int, down: int) -> Iterator[tuple[str, Op]]:
    """Formulations of a convolution with resampling, as functions of images and a kernel."""
    ways = {
        "shifts beside a strided one": CPU,
        "matrix beside a strided one": dataclasses.replace(CPU, matrix_up_to=4096),
        "depthwise beside a strided one": PLAIN,
        "filter folded into the kernel": dataclasses.replace(CPU, folded_from=0),
    }
    for name, formulation in ways.items():
        yield (
            name,
            lambda x, w, f=formulation: conv2d_resample(
                x, w, TAPS, up=up, down=down, padding=1, formulation=f
            ),
        )


def filters(up: int, down: int) -> Iterator[tuple[str, Op]]:
    """Formulations of a filter that resamples, as functions of images and an idle kernel."""
    ways = {
        "shifts": CPU,
        "matrix": dataclasses.replace(CPU, matrix_up_to=4096),
        "depthwise": PLAIN,
    }
    padding = resampling_padding(TAPS, up=up, down=down)
    for name, formulation in ways.items():
        yield (
            name,
            lambda x, w, f=formulation: upfirdn2d(
                x, TAPS, up=up, down=down, padding=padding, formulation=f
            ),
        )


def formulations() -> Iterator[tuple[str, str, Op]]:
    """`(layer, formulation, function)` of everything that is measured."""
    yield "conv 3x3", "as it is", lambda x, w: conv2d(x, w, padding=1)
    for packing in ((1, 2), (2, 2)):
        yield (
            "conv 3x3",
            f"packed {packing}",
            lambda x, w, p=packing: conv2d_resample(
                space_to_depth(x, p), w, padding=1, packing=(p, p)
            ),
        )
    for layer, up, down in (("up", 2, 1), ("down", 1, 2)):
        for name, op in convolutions(up, down):
            yield f"conv 3x3 {layer}", name, op
        for name, op in filters(up, down):
            yield f"filter {layer}", name, op


def derivatives(op: Op) -> tuple[Op, Op, Op]:
    """The value of an op and what training asks of it."""

    def loss(x, weight):
        return jnp.sum(jnp.square(op(x, weight)))

    def penalty(x, weight):
        return jnp.sum(jnp.square(jax.grad(loss)(x, weight)))

    return op, jax.grad(loss, (0, 1)), jax.grad(penalty, (0, 1))


def measure(function: Op, *args: jax.Array, repeats: int = 7) -> tuple[float, float]:
    """`(median milliseconds of a call, seconds to compile)`."""
    start = time.perf_counter()
    compiled = jax.jit(function).lower(*args).compile()
    compile_sec = time.perf_counter() - start
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        jax.block_until_ready(compiled(*args))
        times.append(time.perf_counter() - start)
    return 1000 * float(np.median(times[1:])), compile_sec


def main() -> None:
    """Measures every formulation at every size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch_size", type=int, default=4)
    parser.add_argument("--sides", default="64,32,16", help="sides of the input images")
    parser.add_argument("--channels", default="64,128,128", help="channels in and out, by side")
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    print(f"{jax.devices()[0].device_kind}, batch {args.batch_size}, float32, milliseconds\n")
    print("| layer | side, channels | formulation | value | gradients | penalty | compile, s |")
    print("|---|---|---|---|---|---|---|")
    for side, channels in zip(args.sides.split(","), args.channels.split(",")):
        shape = (args.batch_size, int(side), int(side), int(channels))
        x = jnp.asarray(rng.normal(size=shape), jnp.float32)
        weight = jnp.asarray(rng.normal(size=(3, 3, shape[3], shape[3])), jnp.float32)
        for layer, name, op in formulations():
            results = [measure(function, x, weight) for function in derivatives(op)]
            cells = " | ".join(f"{ms:.1f}" for ms, _ in results)
            compile_sec = sum(seconds for _, seconds in results)
            size = f"{side}, {channels}"
            print(f"| {layer} | {size} | {name} | {cells} | {compile_sec:.1f} |", flush=True)


if __name__ == "__main__":
    main()
