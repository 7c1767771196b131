"""Packed formulations against the plain one, by the compilers of hardware that is not here.

    python -m benchmarks.bench_plan --config=configs/ffhq.py --topologies=v5e:16x16,h100:1x8 \\
        --resolutions=256,1024

For each target and resolution: the formulation that training takes there at `--batch_per_device`,
and the plain one (nothing packed, depthwise filters) at the largest batch that fits, halving from
there. Prints a Markdown table; times are the compilers' estimates. Takes minutes per program, with
`--only_memory` less than one; what was compiled before is not compiled again. Needs the extras
`plan` and `plan-gpu`.
"""

import math
from typing import Any

from absl import app, flags
from ml_collections import ConfigDict

from stylegan_jax.plan import report
from stylegan_jax.plan.planner import Compiler
from stylegan_jax.plan.targets import Topology, check_installed, parse_topology
from stylegan_jax.recipes import define_recipe_flag
from stylegan_jax.sizes import ImageShape
from stylegan_jax.training.settings import image_size

_CONFIG = define_recipe_flag()
_TOPOLOGIES = flags.DEFINE_list(
    "topologies", ["v5e:16x16", "v6e:16x16", "v5p:4x4x8", "h100:1x8"], "Targets."
)
_RESOLUTIONS = flags.DEFINE_list("resolutions", ["256", "1024"], "Sides of the images.")
_BATCH = flags.DEFINE_integer("batch_per_device", 8, "Images per device.")
_ONLY_MEMORY = flags.DEFINE_bool("only_memory", False, "Leave the times out.")


def largest_plan(
    config: ConfigDict, target: Topology, per_device: int, formulation: str
) -> tuple[int, dict[str, Any]]:
    """Images per device and plan of a formulation at the largest batch that fits."""
    shape = ImageShape(*image_size(config), 3, 0)
    num_devices = math.prod(target.shape) * target.num_slices
    while True:
        config.schedule.batch_size = per_device * num_devices
        compiler = Compiler(target, config, shape, formulation=formulation)
        hardware = compiler.survey()
        memory = hardware["memory_bytes"]
        found = compiler.run(hardware["programs"], memory, only_memory=True)
        if all(result["fits"] for result in found) or per_device == 1:
            found = found if _ONLY_MEMORY.value else compiler.finish(found, memory)
            return per_device, report.assemble(config, target, hardware, shape, found)
        per_device //= 2


def row(per_device: int, planned: dict[str, Any]) -> list[str]:
    """Memory of the largest program, time and share of the peak over the lazy cycle."""
    cycle = planned["levels"][-1]
    largest = max(program["total_bytes"] for program in planned["programs"])
    cells = [str(per_device), f"{largest / 2**30:.2f}" + ("" if planned["fits"] else " (no)")]
    for estimate in ("schedule", "roofline"):
        if estimate in cycle:
            speed = cycle[estimate]["img_per_sec_per_device"]
            cells.append(f"{1000 / speed:.1f} ({cycle[estimate]['share_of_peak']:.0%})")
        else:
            cells.append("-")
    return cells


def main(argv: list[str]) -> None:
    """Plans every combination."""
    del argv
    lines = [
        "| target | px | formulation | images per device | largest program, GiB "
        "| ms per image, schedule (of peak) | ms per image, roofline (of peak) |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in _TOPOLOGIES.value:
        target = parse_topology(name)
        check_installed(target)
        for resolution in _RESOLUTIONS.value:
            for formulation in (target.platform, "plain"):
                config = ConfigDict(_CONFIG.value.to_dict())
                config.data.resolution = int(resolution)
                config.loss.pl_batch_shrink = 1
                cells = row(*largest_plan(config, target, _BATCH.value, formulation))
                lines.append("| " + " | ".join([name, resolution, formulation, *cells]) + " |")
    print("\n" + "\n".join(lines))


if __name__ == "__main__":
    flags.mark_flag_as_required("config")
    app.run(main)
