"""Sampling from a StyleGAN2 of full size: seconds to the first picture, then images per second.

    python -m benchmarks.bench_sampling [--resolution=256] [--batches=1,8] [--repeats=3]
    taskset -c 0 python -m benchmarks.bench_sampling --batches=1,2  # one core

The network, of random weights, is written as an export. A process of its own loads it and draws a
picture: with an empty cache of compiled programs, then with what the first has left there. Then
come batches, each in a program of its size, and how fast their convolutions are beside a product of
float32 matrices, which nothing outdoes; and 7 images as `Generator` divides them. Other work on the
machine spoils all of it.
"""

import argparse
import functools
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from stylegan_jax.convert.export import write_export
from stylegan_jax.convert.networks import LoadedCheckpoint, LoadedNetwork
from stylegan_jax.cost.flops import count_flops
from stylegan_jax.inference import Generator
from stylegan_jax.inference.programs import batch_sizes, draw_images
from stylegan_jax.models import GENERATORS, make_model
from stylegan_jax.models.blocks import make_noise

# Rows and columns of the matrices that convolutions are compared with.
_PRODUCT = 1536
FIRST = "import sys, stylegan_jax; stylegan_jax.load(sys.argv[1]).sample([0], truncation_psi=0.7)"


def write_network(path: pathlib.Path, resolution: int) -> None:
    """Writes a network that was never trained."""
    kwargs = dict(z_dim=512, c_dim=0, w_dim=512, img_resolution=resolution, img_channels=3)
    graphdef, init = make_model(GENERATORS["stylegan2"], **kwargs)
    params = jax.jit(init)(jax.random.key(0))
    layers = nnx.merge(graphdef, params).noise_layers
    noise = make_noise(jax.random.key(1), 1, layers, resolution)
    buffers = {"w_avg": np.zeros(512, np.float32), "noise_const": noise}
    write_export(
        path, LoadedCheckpoint({"G_ema": LoadedNetwork("stylegan2", kwargs, params, buffers)})
    )


def time_first_picture(path: pathlib.Path, cache: pathlib.Path) -> float:
    """Starts a process that draws one picture and returns the seconds until it is done."""
    start = time.perf_counter()
    environ = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(cache)}
    subprocess.run([sys.executable, "-c", FIRST, str(path)], check=True, env=environ)
    return time.perf_counter() - start


def time_call(call: Callable[[], object], repeats: int) -> float:
    """Returns seconds, the best of some calls: other work only ever slows one down."""
    call()  # compiles
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def time_images(generator: Generator, n: int, sizes: tuple[int, ...], repeats: int) -> float:
    """Returns images per second."""
    generator._batch_sizes = sizes
    ws = generator.styles(range(n))
    return n / time_call(lambda: generator.synthesis(ws), repeats)


def product_rate(repeats: int) -> float:
    """Returns the FLOP per second of a product of float32 matrices."""
    x = jnp.ones((_PRODUCT, _PRODUCT))
    product = jax.jit(lambda x: jnp.matmul(x, x, precision="highest"))
    return 2 * _PRODUCT**3 / time_call(lambda: product(x).block_until_ready(), repeats)


def image_flops(generator: Generator) -> int:
    """Counts the products and convolutions of an image."""
    ws = jnp.zeros((1, generator.num_ws, generator.w_dim))
    draw = functools.partial(draw_images, generator.structure)
    traced = jax.make_jaxpr(draw)(generator.params, {}, ws, generator.stored_noise())
    return count_flops(traced)


def main() -> None:
    """Prints a line per measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--resolution", type=int, default=256)
    parser.add_argument("--batches", default="1,8")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "random.safetensors"
        write_network(path, args.resolution)
        print(f"StyleGAN2, {args.resolution} px, {jax.devices()[0].device_kind}", flush=True)
        for name in ("empty", "filled"):
            seconds = time_first_picture(path, pathlib.Path(folder) / "cache")
            print(f"first picture, {name} cache: {seconds:.1f} s", flush=True)

        generator = Generator(path)
        flops, best = image_flops(generator), product_rate(args.repeats)
        print(f"an image: {flops / 1e9:.1f} GFLOP; a product: {best / 1e9:.1f} GFLOP/s")
        for batch in map(int, args.batches.split(",")):
            rate = time_images(generator, batch, (batch,), args.repeats)
            share = rate * flops / best
            print(
                f"batch {batch}: {rate:.2f} images/s, {share:.2f} of a product's rate", flush=True
            )
        for name, sizes in (("as here", batch_sizes()), ("8 at once", (8, 4, 2, 1))):
            rate = time_images(generator, 7, sizes, args.repeats)
            print(f"7 images, {name}: {rate:.2f} images/s", flush=True)


if __name__ == "__main__":
    main()
