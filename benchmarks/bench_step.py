"""What a training iteration costs: each phase, and the average over the lazy cycle.

    python -m benchmarks.bench_step --config=configs/ffhq.py --config.data.resolution=64

Takes any recipe and any of its settings, and one core under `taskset -c 0`; networks that grow are
measured at every resolution. Prints per phase the milliseconds, the compiler's count of FLOPs and
the share of the speed that a float32 matrix product reaches in the same run, then milliseconds and
images per second of an average iteration, the time to compile and the peak memory of the process.
Data are random numbers. What a part of a recipe costs, in one run with both in turns:

    python -m benchmarks.bench_step --config=configs/stylegan2_ada.py:aug=none \\
        --against=augment.mode=fixed,augment.p=0.2

prints the ratio of their average iterations, by the clock and by the time that this process was
running: other processes leave the latter alone.
"""

import ast
import resource
import time
from collections.abc import Callable

import jax
import numpy as np
from absl import app, flags
from ml_collections import ConfigDict

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
_AGAINST = flags.DEFINE_list(
    "against", None, "Settings of a second recipe, KEY=VALUE with commas between, to compare with."
)
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

    def run(self, step) -> tuple[float, float]:
        """Returns the seconds of a program, by the clock and of this process."""
        start, busy = time.perf_counter(), time.process_time()
        self.state, _ = step.run(self.state, *self.args)
        jax.block_until_ready(self.state)
        return time.perf_counter() - start, time.process_time() - busy


def measure(configs, level, repeats: int, peak: float) -> None:
    """Measures one level of every config in turns, and prints them and how they compare."""
    steppers = [_Stepper(config, level) for config in configs]
    times: dict[tuple[int, str], list[tuple[float, float]]] = {}
    for _ in range(repeats + 1):  # the first warms up
        for index, stepper in enumerate(steppers):
            for step in stepper.steps:
                times.setdefault((index, step.name), []).append(stepper.run(step))
    # [programs, (clock, process)]: what is drawn makes augmented iterations unequal.
    averages = []
    for index, stepper in enumerate(steppers):
        found = {s.name: np.asarray(times[index, s.name][1:]) for s in stepper.steps}
        medians = {name: float(np.median(t[:, 0])) for name, t in found.items()}
        print_programs(stepper, level, medians, peak)
        averages.append(sum(found[s.name].mean(0) / s.interval for s in stepper.steps))
    if len(averages) > 1:
        clock, process = averages[1] / averages[0]
        print(f"the second takes {clock:.3f} times the first, {process:.3f} by its own time")


def print_programs(stepper: _Stepper, level, seconds: dict[str, float], peak: float) -> None:
    """Prints the programs of a config, and their average."""
    print(f"\n{level.resolution} px, batch {level.batch_size}")
    print(f"{'program':>9} {'every':>6} {'ms':>9} {'GFLOP':>9} {'GFLOP/s':>9} {'of matmul':>10}")
    total = 0.0
    for step in stepper.steps:
        sec = seconds[step.name]
        flops = step.run.cost_analysis().get("flops", 0.0)
        total += sec / step.interval
        print(
            f"{step.name:>9} {step.interval:>6} {1000 * sec:>9.1f} {flops / 1e9:>9.2f} "
            f"{flops / sec / 1e9:>9.1f} {flops / sec / peak:>10.0%}"
        )
    print(
        f"average iteration {1000 * total:.1f} ms, {level.batch_size / total:.1f} images/s; "
        f"compiled in {stepper.compile_sec:.1f} s"
    )


def changed(config: ConfigDict, settings: list[str]) -> ConfigDict:
    """Returns a copy of a config with `KEY=VALUE`s in it."""
    config = ConfigDict(config.to_dict())
    for setting in settings:
        key, _, text = setting.partition("=")
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            value = text
        config.update_from_flattened_dict({key: value})
    return config


def main(argv: list[str]) -> None:
    """Measures every level of the recipe."""
    del argv
    config = _CONFIG.value
    if config.cpu_devices:
        jax.config.update("jax_num_cpu_devices", config.cpu_devices)
    compared = [config] + ([changed(config, _AGAINST.value)] if _AGAINST.value else [])
    for each in compared:
        check_config(each, jax.device_count())
    peak = matmul_flops_per_second(_REPEATS.value)
    print(f"{jax.device_count()} x {jax.devices()[0].device_kind}; matmul {peak / 1e9:.1f} GFLOP/s")
    for level in make_config_levels(config):
        measure(compared, level, _REPEATS.value, peak)
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory of the process {rss:.2f} GiB")


if __name__ == "__main__":
    flags.mark_flag_as_required("config")
    app.run(main)
