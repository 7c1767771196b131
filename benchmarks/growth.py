"""What an iteration costs at each resolution of a network that grows.

    python -m benchmarks.growth [--model=stylegan1] [--resolution=64] [--seconds]

Compiles the very programs of training for every level and prints their FLOPs per image and their
memory, as the compiler counts them, beside those of a network that was built for that resolution
alone: the ratio is 1 where nothing is computed that has not grown. With `--seconds` the programs
are run, too. The batch is the same at all levels.
"""

import argparse
import time

import jax
import numpy as np

from stylegan_jax.configs import lsun
from stylegan_jax.sizes import ImageShape
from stylegan_jax.training.build import make_config_levels, make_setup
from stylegan_jax.training.programs import compile_steps, run_iteration
from stylegan_jax.training.settings import image_size
from stylegan_jax.training.sharding import make_mesh, put_batch, replicated

BATCH = 16
CHANNELS = dict(channel_base=2048, channel_max=64)


def make_config(model: str, resolution: int):
    """The LSUN recipe of a model with small networks."""
    config = lsun.get_config(f"model={model}").unlock()
    config.data.resolution = resolution
    for net in (config.G, config.D):
        net.update(CHANNELS)
    config.growth.init_resolution = 4
    config.growth.batch_sizes = {}
    config.schedule.batch_size = BATCH
    return config


def compile_level(config, resolution: int, *, seconds: bool) -> dict[str, float]:
    """FLOPs per image, bytes and milliseconds of an iteration at one resolution."""
    shape = ImageShape(*image_size(config), 3, 0)
    setup, init = make_setup(config, shape)
    (level,) = [lv for lv in make_config_levels(config) if lv.resolution == resolution]
    mesh = make_mesh(jax.devices()[:1])
    state = jax.jit(init, out_shardings=replicated(mesh))(jax.random.key(0))
    steps = compile_steps(setup.at(level), mesh, state, shape)
    costs = [step.run.cost_analysis() for step in steps]
    memory = [step.run.memory_analysis() for step in steps]
    result = {
        "flops": sum(cost["flops"] for cost in costs) / BATCH,
        "bytes": max(m.temp_size_in_bytes for m in memory),
    }
    if seconds:
        result["ms"] = _milliseconds(steps, state, mesh, resolution)
    return result


def _milliseconds(steps, state, mesh, side: int, repeats: int = 10) -> float:
    """Median time of an iteration."""
    batch = {
        "image": np.zeros((BATCH, side, side, 3), np.uint8),
        "label": np.zeros((BATCH, 0), np.float32),
    }
    batch = put_batch(mesh, batch, len(batch["image"]))
    key = jax.device_put(jax.random.key(1), replicated(mesh))
    times = []
    for index in range(repeats + 1):
        start = time.perf_counter()
        state, _ = run_iteration(steps, state, key, batch, {}, index)
        jax.block_until_ready(state)
        times.append(time.perf_counter() - start)
    return 1000 * float(np.median(times[1:]))


def main() -> None:
    """Reads the arguments and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="stylegan1", choices=["progan", "stylegan1"])
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--seconds", action="store_true")
    args = parser.parse_args()
    rows = []
    for resolution in [4 << i for i in range((args.resolution // 4).bit_length())]:
        grown = compile_level(
            make_config(args.model, args.resolution), resolution, seconds=args.seconds
        )
        alone = compile_level(make_config(args.model, resolution), resolution, seconds=args.seconds)
        rows.append((resolution, grown, alone))
    print(
        f"\n{args.model} up to {args.resolution} px, batch {BATCH}, against a network of each size"
    )
    print(f"{'px':>5} {'MFLOP/image':>12} {'ratio':>6} {'MiB':>8} {'ratio':>6}", end="")
    print(f" {'ms':>8} {'ratio':>6}" if args.seconds else "")
    for resolution, grown, alone in rows:
        units = {"flops": 1e6, "bytes": 2**20, "ms": 1.0}
        line = f"{resolution:>5}"
        for name, width in (("flops", 12), ("bytes", 8), ("ms", 8)):
            if name in grown:
                line += (
                    f" {grown[name] / units[name]:>{width}.1f} {grown[name] / alone[name]:>6.2f}"
                )
        print(line)


if __name__ == "__main__":
    main()
