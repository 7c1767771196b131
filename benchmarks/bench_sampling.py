"""Sampling from a StyleGAN2 of full size: seconds to the first picture, then images per second.

    python -m benchmarks.bench_sampling [--resolution=256] [--batches=1,8] [--repeats=3]

The network, of random weights, is written as an export. A process of its own loads it and draws a
picture: with an empty cache of compiled programs, then with what the first has left there. Batches
are drawn in programs of their size, and 7 images as `Generator` divides them.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import jax
import numpy as np
from flax import nnx

from stylegan_jax.convert.export import write_export
from stylegan_jax.convert.networks import LoadedCheckpoint, LoadedNetwork
from stylegan_jax.inference import Generator
from stylegan_jax.inference.programs import batch_sizes
from stylegan_jax.models import GENERATORS, make_model
from stylegan_jax.models.blocks import make_noise

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


def time_images(generator: Generator, n: int, sizes: tuple[int, ...], repeats: int) -> float:
    """Returns images per second, the best of some runs: other work only ever slows one down."""
    generator._batch_sizes = sizes
    ws = generator.styles(range(n))
    generator.synthesis(ws)  # compiles
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        generator.synthesis(ws)
        seconds.append(time.perf_counter() - start)
    return n / min(seconds)


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
        for batch in map(int, args.batches.split(",")):
            rate = time_images(generator, batch, (batch,), args.repeats)
            print(f"batch {batch}: {rate:.2f} images/s", flush=True)
        for name, sizes in (("as here", batch_sizes()), ("8 at once", (8, 4, 2, 1))):
            rate = time_images(generator, 7, sizes, args.repeats)
            print(f"7 images, {name}: {rate:.2f} images/s", flush=True)


if __name__ == "__main__":
    main()
