"""What the augmentation costs beside a pass of D, on whatever device jax finds.

    python -m benchmarks.bench_augment [--batch_size=16] [--size=64] [--pipe=bgc]

Prints a Markdown table: milliseconds of D alone, forward and gradients of its parameters and images
(as in a step of G or D), and the same behind the augmentation, for each way of moving images and
several strengths, measured in turns; and the seconds to compile. Images are random numbers. Large
sizes need a small `--channel_base`, or time.

    python -m benchmarks.bench_augment --topology=v5e:1x1 --size=256 --batch_size=8

runs nothing: it compiles each way to move images, forward and gradient, for one chip that need not
be here (extra `plan`), and prints the compiler's estimates. An estimate of reads leaves out the
reads themselves, of which this compiler says nothing but how many bytes they touch.
"""

import argparse
import functools
import os
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

from stylegan_jax.augment import ada_resampling
from stylegan_jax.augment.ada import augment
from stylegan_jax.augment.ada_draws import draw
from stylegan_jax.augment.ada_pipe import find_pipe
from stylegan_jax.augment.ada_tiles import by_tiles
from stylegan_jax.models import DISCRIMINATORS, make_model
from stylegan_jax.plan import worker
from stylegan_jax.plan.targets import (
    check_installed,
    parse_topology,
    topology_devices,
    worker_environment,
)
from stylegan_jax.sizes import find_base_grid, name_size, parse_size

STRENGTHS = (0.0, 0.3, 1.0)


def step(params, images, draws, p, *, graphdef, move: Callable | None):
    """Gradients of a sum of logits, of augmented images or of images as they are."""

    def score(params, images):
        if move is not None:
            images = move(images, draws, p)
        logits, _ = nnx.merge(graphdef, params)(images, jnp.zeros((len(images), 0)), {})
        return jnp.sum(logits)

    return jax.grad(score, (0, 1))(params, images)


def image_by_image(move: Callable, images: jax.Array, G: jax.Array) -> jax.Array:
    """Moves one image after the other, as `resample` does what it has chosen a way for."""
    each = jax.checkpoint(lambda one: move(*one), prevent_cse=False)
    return lax.map(each, (images, G))


def ways_to_move(size: tuple[int, int]) -> dict[str, Callable]:
    """Functions `(images, G) -> images`, none of which chooses."""
    bounds = ada_resampling._whole_bounds(size)

    def read(image, g):
        return ada_resampling._by_reading(image[None], g[None], bounds)[0]

    def multiply(image, g):
        return ada_resampling._by_products(image, g, bounds, swapped=False)

    ways: dict[str, Callable] = {"products": functools.partial(image_by_image, multiply)}
    tiles = functools.partial(by_tiles, bounds=bounds)
    ways["tiles"] = functools.partial(image_by_image, tiles)
    ways["reads"] = functools.partial(image_by_image, read)
    ways["reads, all at once"] = functools.partial(ada_resampling._by_reading, bounds=bounds)
    return ways


def estimate(topology: str, batch_size: int, size: tuple[int, int], names: list[str]) -> None:
    """Prints what each way costs on a chip that is not here."""
    target = parse_topology(topology)
    sharding = jax.sharding.SingleDeviceSharding(topology_devices(target)[0])
    images, G = (
        jax.ShapeDtypeStruct((batch_size, *shape), jnp.float32, sharding=sharding)
        for shape in ((*size, 3), (3, 3))
    )
    print(f"{topology}, {name_size(size)} px, {batch_size} images\n")
    print("| images moved by | ms, schedule | ms, roofline | temporary MiB | compile, s |")
    print("|---|---|---|---|---|")
    for name, move in ways_to_move(size).items():
        if names and name not in names:
            continue

        def both(images, G, cotangents, move=move):
            moved, back = jax.vjp(lambda images: move(images, G), images)
            return moved, back(cotangents)

        start = time.perf_counter()
        found = worker.compile_lowered(jax.jit(both).lower(images, G, images), target)
        cells = [name, "-", "-", found.get("message", "")]
        if found["fits"]:
            times = (found["schedule_sec"], found["roofline_sec"])
            cells = [name, *(f"{1000 * sec:.1f}" for sec in times)]
            cells.append(f"{found['temp_bytes'] / 2**20:.0f}")
        print(f"| {' | '.join(cells)} | {time.perf_counter() - start:.0f} |", flush=True)


def main() -> None:
    """Measures D, and D behind the augmentation in each way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--size", default="64", help="of the images, 64 or 48x32")
    parser.add_argument("--pipe", default="bgc")
    parser.add_argument("--channel_base", type=int, default=16384)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--topology", help="compile for one chip of it, as v5e:1x1; run nothing")
    parser.add_argument("--ways", default="", help="with --topology: some of them, with commas")
    args = parser.parse_args()
    if args.topology:
        target = parse_topology(args.topology)
        check_installed(target)
        # Only the compiler of that chip is wanted, whatever is here.
        os.environ.update(worker_environment(target))
        jax.config.update("jax_platforms", "cpu")
        names = list(filter(None, args.ways.split(",")))
        estimate(args.topology, args.batch_size, parse_size(args.size), names)
        return

    # D, images, and what is random.
    size = parse_size(args.size)
    resolution, base_grid = find_base_grid(size)
    graphdef, init = make_model(
        DISCRIMINATORS["stylegan2"],
        c_dim=0,
        img_resolution=resolution,
        base_grid=base_grid,
        img_channels=3,
        channel_base=args.channel_base,
    )
    params = jax.jit(init)(jax.random.key(0))
    images = jax.random.normal(jax.random.key(1), (args.batch_size, *size, 3))
    pipe = find_pipe(args.pipe)
    draws = draw(jax.random.key(2), args.batch_size, pipe, size, 3)

    # Programs, one for all strengths.
    moves: dict[str, Callable | None] = {"without": None}
    for way in ("by_image", "gather"):
        moves[way] = functools.partial(augment, pipe=pipe, resampling=way)
    programs = {}
    compile_sec = {}
    for name, move in moves.items():
        start = time.perf_counter()
        program = jax.jit(functools.partial(step, graphdef=graphdef, move=move))
        programs[name] = program.lower(params, images, draws, jnp.float32(0)).compile()
        compile_sec[name] = time.perf_counter() - start

    # In turns, so that what else the machine does falls on all.
    times: dict[tuple[str, float], list[float]] = {}
    for _ in range(args.repeats):
        for name, program in programs.items():
            for p in STRENGTHS[: 1 if name == "without" else None]:
                start = time.perf_counter()
                jax.block_until_ready(program(params, images, draws, jnp.float32(p)))
                times.setdefault((name, p), []).append(time.perf_counter() - start)
    plain = float(np.median(times["without", STRENGTHS[0]]))
    shape = f"{name_size(size)} px, batch {args.batch_size}, pipe {args.pipe}"
    print(f"{jax.devices()[0].device_kind}, {shape}\n")
    print("| images moved | p | ms | times D alone | compile, s |")
    print("|---|---|---|---|---|")
    for (name, p), found in times.items():
        took = float(np.median(found))
        row = f"| {name} | {p} | {1000 * took:.1f} | {took / plain:.2f} | {compile_sec[name]:.1f} |"
        print(row, flush=True)


if __name__ == "__main__":
    main()
