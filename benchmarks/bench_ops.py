"""Formulations of the convolutions and filters side by side, on whatever device jax finds.

    python -m benchmarks.bench_ops [--batch_size=4] [--sides=64,32,16] [--channels=64,128,128]

Prints a Markdown table: milliseconds of the value, of the gradients, and of the gradients of a
squared gradient (as in R1 and path length), and the seconds to compile all three. Takes one core
under `taskset -c 0`. Data are random numbers.

    python -m benchmarks.bench_ops --filtered [--batch_size=4]

prints the same for filtered leaky ReLUs, in layers of StyleGAN3-T and R at 64 px: CPU milliseconds
of the value and of the value with its gradient, the latter in matrix products of 1.2 GFLOP that
took turns with it, the memory in between, and CPU seconds to compile.
"""

import argparse
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from stylegan_jax.ops.conv import conv2d, conv2d_resample
from stylegan_jax.ops.filter_design import design_lowpass_filter
from stylegan_jax.ops.filtered_lrelu import filtered_lrelu
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


class FilteredLayer(NamedTuple):
    """A layer's filtered leaky ReLU; frequencies in cycles per image of 1 unit."""

    name: str
    # Of what the layer's convolution gives, with its rim.
    side: int
    channels: int
    up: int
    padding: tuple[int, int]
    cutoffs: tuple[float, float]
    widths: tuple[float, float]
    rate: float
    radial: bool


FILTERED_LAYERS = (
    FilteredLayer("T, 36 px", 38, 128, 2, (9, 8), (2.5, 2.5), (11.0, 11.0), 32, False),
    FilteredLayer("T, 36 to 52 px", 38, 128, 4, (-6, -9), (4.0, 5.0), (8.0, 22.0), 64, False),
    FilteredLayer("T, 84 px", 86, 128, 2, (9, 8), (16.0, 20.0), (32.0, 24.0), 128, False),
    FilteredLayer("R, 84 px", 84, 203, 2, (11, 10), (16.0, 20.0), (32.0, 24.0), 128, True),
)


def filtered_ops(layer: FilteredLayer) -> Iterator[tuple[str, Callable[[jax.Array], jax.Array]]]:
    """Formulations of a layer, as functions of feature maps."""
    ways = {
        "by phases": dataclasses.replace(CPU, phases_from=0),
        "shifts": dataclasses.replace(CPU, phases_from=None),
        "matrix": dataclasses.replace(CPU, phases_from=None, filtered="matrix"),
        "depthwise": PLAIN,
    }
    (f_in, f_out), (width_in, width_out) = layer.cutoffs, layer.widths
    up_taps = design_lowpass_filter(6 * layer.up, f_in, width_in, layer.rate)
    down_taps = design_lowpass_filter(12, f_out, width_out, layer.rate, radial=layer.radial)
    for name, formulation in ways.items():
        yield (
            name,
            lambda x, f=formulation: filtered_lrelu(
                x,
                up_taps=up_taps,
                down_taps=down_taps,
                up=layer.up,
                down=2,
                padding=layer.padding * 2,
                clamp=256.0,
                formulation=f,
            ),
        )


def take_turns(programs: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """Median CPU milliseconds of programs that take turns, so that others' load falls on all."""
    times = np.zeros((repeats + 1, len(programs)))
    for row in times:
        for i, program in enumerate(programs):
            start = time.process_time()
            jax.block_until_ready(program())
            row[i] = 1000 * (time.process_time() - start)
    return np.median(times[1:], axis=0).tolist()


def measure_filtered(layer: FilteredLayer, batch_size: int, repeats: int = 3) -> Iterator[str]:
    """Yields a row of the table for every formulation of a layer."""
    rng = np.random.default_rng(0)
    shape = (batch_size, layer.side, layer.side, layer.channels)
    x = jnp.asarray(rng.normal(size=shape), jnp.float32)
    left = jnp.asarray(rng.normal(size=(1024, 1024)), jnp.float32)
    right = jnp.asarray(rng.normal(size=(1024, 576)), jnp.float32)
    matmul = jax.jit(jnp.matmul).lower(left, right).compile()
    programs: list[Callable[[], object]] = [lambda: matmul(left, right)]
    rows = []
    for name, op in filtered_ops(layer):

        def value_and_gradient(x, y_bar, op=op):
            y, pull = jax.vjp(op, x)
            return y, pull(y_bar)

        start = time.process_time()
        value = jax.jit(op).lower(x).compile()
        y_bar = jnp.ones_like(value(x))
        both = jax.jit(value_and_gradient).lower(x, y_bar).compile()
        rows.append((name, time.process_time() - start, both.memory_analysis()))
        programs += [lambda p=value: p(x), lambda p=both, y=y_bar: p(x, y)]
    product, *times = take_turns(programs, repeats)
    for (name, compile_sec, memory), value_ms, both_ms in zip(rows, times[::2], times[1::2]):
        temp = memory.temp_size_in_bytes / 2**20 if memory else float("nan")
        yield (
            f"| {layer.name} | {name} | {value_ms:.1f} | {both_ms:.1f} | {both_ms / product:.2f} "
            f"| {temp:.0f} | {compile_sec:.1f} |"
        )


def main() -> None:
    """Measures every formulation at every size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch_size", type=int, default=4)
    parser.add_argument("--sides", default="64,32,16", help="sides of the input images")
    parser.add_argument("--channels", default="64,128,128", help="channels in and out, by side")
    parser.add_argument("--filtered", action="store_true", help="layers of StyleGAN3 instead")
    args = parser.parse_args()
    if args.filtered:
        print("| layer | formulation | value | with gradient | in products | MiB | compile, s |")
        print("|---|---|---|---|---|---|---|")
        for layer in FILTERED_LAYERS:
            for row in measure_filtered(layer, args.batch_size):
                print(row, flush=True)
        return
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
