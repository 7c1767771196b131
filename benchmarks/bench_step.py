"""What a training iteration costs: each phase, and the average over the lazy cycle.

    python -m benchmarks.bench_step --config=configs/ffhq.py --config.data.resolution=64

Takes any recipe and any of its settings, and one core under `taskset -c 0`; networks that grow are
measured at every resolution. Prints per phase the milliseconds, the compiler's count of FLOPs and
the share of the speed that a float32 matrix product reaches in the same run, then milliseconds and
images per second of an average iteration, the time to compile and the peak memory of the process.
Data are random numbers.
"""

import resource
import time
from collections.abc import Callable

import jax
import numpy as np
from absl import app, flags

from stylegan_jax.recipes import define_recipe_flag
from stylegan_jax.sizes import ImageShape
from stylegan_jax.training.build import (
    check_config,
    make_config_levels,
    make_setup,
)
from stylegan_jax.training.programs import compile_steps
from stylegan_jax.training.settings import image_size
from stylegan_jax.training.sharding import make_mesh, put_batch, replicated

_CONFIG = define_recipe_flag()
_REPEATS = flags.DEFINE_integer("repeats", 5, "Runs of each program; the median is printed.")
_MATMUL_SIDE = 1024


def median_seconds(run: Callable[[], object], repeats: int) -> float:
    """Median time of a call, after one that is not counted."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        jax.block_until_ready(run())
        times.append(time.perf_counter() - start)
    return float(np.median(times[1:]))


def matmul_flops_per_second(repeats: int) -> float:
    """Speed of a square float32 matrix product: what the hardware can do."""
    x = jax.random.normal(jax.random.key(0), (_MATMUL_SIDE, _MATMUL_SIDE))
    product = jax.jit(lambda x: x @ x)
    return 2 * _MATMUL_SIDE**3 / median_seconds(lambda: product(x), repeats)


class _Stepper:
    """Runs the programs of a level one at a time, handing the donated state on."""

    def __init__(self, config, level):
        shape = ImageShape(*image_size(config), 3, 0)
        setup, init = make_setup(config, shape)
        setup = setup.at(level)
        mesh = make_mesh()
        everywhere = replicated(mesh)
        self.state = jax.jit(init, out_shardings=everywhere)(jax.random.key(0))
        start = time.perf_counter()
        self.steps = compile_steps(setup, mesh, self.state, shape)
        self.compile_sec = time.perf_counter() - start
        image = (level.batch_size, *setup.at(level).size, 3)
        batch = {
            "image": np.random.default_rng(0).integers(0, 256, image, dtype=np.uint8),
            "label": np.zeros((level.batch_size, 0), np.float32),
        }
        key = jax.device_put(jax.random.key(1), everywhere)
        self.args = (key, put_batch(mesh, batch, level.batch_size, setup.packing), {})

    def run(self, step) -> object:
        self.state, _ = step.run(self.state, *self.args)
        return self.state


def measure(config, level, repeats: int, peak: float) -> None:
    """Measures and prints one level."""
    stepper = _Stepper(config, level)
    print(f"\n{level.resolution} px, batch {level.batch_size}")
    print(f"{'program':>9} {'every':>6} {'ms':>9} {'GFLOP':>9} {'GFLOP/s':>9} {'of matmul':>10}")
    total = 0.0
    for step in stepper.steps:
        seconds = median_seconds(lambda step=step: stepper.run(step), repeats)
        flops = step.run.cost_analysis()["flops"]
        total += seconds / step.interval
        print(
            f"{step.name:>9} {step.interval:>6} {1000 * seconds:>9.1f} {flops / 1e9:>9.2f} "
            f"{flops / seconds / 1e9:>9.1f} {flops / seconds / peak:>10.0%}"
        )
    print(
        f"average iteration {1000 * total:.1f} ms, {level.batch_size / total:.1f} images/s; "
        f"compiled in {stepper.compile_sec:.1f} s"
    )


def main(argv: list[str]) -> None:
    """Measures every level of the recipe."""
    del argv
    config = _CONFIG.value
    if config.cpu_devices:
        jax.config.update("jax_num_cpu_devices", config.cpu_devices)
    check_config(config, jax.device_count())
    peak = matmul_flops_per_second(_REPEATS.value)
    print(f"{jax.device_count()} x {jax.devices()[0].device_kind}; matmul {peak / 1e9:.1f} GFLOP/s")
    for level in make_config_levels(config):
        measure(config, level, _REPEATS.value, peak)
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory of the process {rss:.2f} GiB")


if __name__ == "__main__":
    flags.mark_flag_as_required("config")
    app.run(main)
