"""Memory and time on the wire of whole pods, and how far a run scales, by the compilers.

    python -m benchmarks.bench_pods --config=configs/ffhq.py --results=pods.json

Prints Markdown tables. `plan`: what a chip holds and sends at `--batch_per_device` images, on
`--topologies`. `scaling`: the same run on more and more of `--chips`, with the time on the wire
beside that of the computation. The computation's time comes from `--compute_ms`, or from the table
`times`, which compiles the smallest topology of each chip to the end:

    python -m benchmarks.bench_pods --config=configs/ffhq.py --results=pods.json --tables=times
    python -m benchmarks.bench_pods --config=configs/ffhq.py --results=pods.json --tables=scaling

Times are estimates: of the TPU compiler's schedule (GPUs: products and memory traffic), and for the
wire of data sheets, without latency and without overlap. About two minutes for a topology and
resolution on one core, for `times` half an hour and more. What `--results` names keeps what was
found: delete it when the training step changes. Needs the extras `plan` and `plan-gpu`.
"""

import json
import math
from typing import Any

from absl import app, flags
from ml_collections import ConfigDict

from stylegan_jax.files import as_path, replacing
from stylegan_jax.plan import report
from stylegan_jax.plan.planner import Compiler
from stylegan_jax.plan.targets import check_installed, parse_topology
from stylegan_jax.recipes import define_recipe_flag
from stylegan_jax.sizes import ImageShape

_TABLES = ("plan", "scaling", "times")
_CONFIG = define_recipe_flag()
_TOPOLOGIES = flags.DEFINE_list(
    "topologies",
    ["v5e:4x4", "v5e:16x16", "v6e:16x16", "h100:1x8", "h100:8x8"],
    "Targets of the table `plan`.",
)
_CHIPS = flags.DEFINE_list("chips", ["v5e", "v6e", "h100"], "Chips of the table `scaling`.")
_RESOLUTIONS = flags.DEFINE_list("resolutions", ["256", "1024"], "Sides of the images.")
_BATCH = flags.DEFINE_integer("batch_per_device", 8, "Images per device.")
_MOST = flags.DEFINE_integer("most_devices", 4096, "Where the table `scaling` ends.")
_WANTED = flags.DEFINE_list("tables", ["plan", "scaling"], f"Of {', '.join(_TABLES)}.")
_COMPUTE = flags.DEFINE_list(
    "compute_ms", [], "Milliseconds of an iteration without the wire: RESOLUTION:MS,..."
)
_RESULTS = flags.DEFINE_string("results", None, "JSON file of what was found; default: not kept.")

# Eight chips to 4096: a slice of v5e or v6e has 256 at most, a host eight GPUs.
_SLICES = ("{}:2x4", "{}:4x4", "{}:8x8", "{}:16x16", "4*{}:16x16", "16*{}:16x16")
_HOSTS = ("{}:1x8", "{}:8x8", "{}:64x8", "{}:512x8")
_GRACE_SEC = 30


class Results:
    """What was found for a topology and resolution, kept in a file."""

    def __init__(self, path: str | None):
        """Reads what is there."""
        self._path = as_path(path) if path else None
        known = self._path is not None and self._path.exists()
        self._found = json.loads(self._path.read_text()) if known else {}

    def find(self, name: str, resolution: int, *, whole: bool = False) -> dict[str, Any]:
        """The plan of a topology without its config; `whole`: with times."""
        batch = _BATCH.value
        key = f"{name} {resolution} px {batch} per device" + (" with times" if whole else "")
        if key not in self._found:
            print(f"{key}:", flush=True)
            planned = plan(name, resolution, batch, whole=whole)
            self._found[key] = {k: v for k, v in planned.items() if k != "config"}
            if self._path is not None:
                with replacing(self._path) as file:
                    file.write_text(json.dumps(self._found, indent=2))
        return self._found[key]

    def compute_sec(self, chip: str, resolution: int) -> float | None:
        """Seconds of an average iteration without the wire; None: not known."""
        given = dict(pair.split(":") for pair in _COMPUTE.value)
        if str(resolution) in given:
            return float(given[str(resolution)]) / 1000
        smallest = scaling_topologies(chip)[0]
        key = f"{smallest} {resolution} px {_BATCH.value} per device with times"
        if key not in self._found:
            return None
        cycle = self._found[key]["levels"][-1]
        return cycle["schedule" if "schedule" in cycle else "roofline"]["iteration_sec"]


def num_devices(name: str) -> int:
    """Devices of a topology with one per chip."""
    target = parse_topology(name)
    return math.prod(target.shape) * target.num_slices


def scaling_topologies(chip: str) -> list[str]:
    """Topologies of a chip from small to large."""
    target = parse_topology(f"{chip}:1x1")
    names = [form.format(chip) for form in (_SLICES if target.platform == "tpu" else _HOSTS)]
    return [name for name in names if num_devices(name) <= _MOST.value]


def plan(name: str, resolution: int, per_device: int, *, whole: bool) -> dict[str, Any]:
    """Compiles the programs of a run for a topology until their memory and collectives are known.

    Args:
        name: Topology.
        resolution: Side of the images.
        per_device: Images per device.
        whole: To the end, for times.
    """
    target = parse_topology(name)
    check_installed(target)
    config = ConfigDict(_CONFIG.value.to_dict())
    config.data.resolution = resolution
    config.loss.pl_batch_shrink = 1
    config.schedule.batch_size = per_device * num_devices(name)
    shape = ImageShape(resolution, resolution, 3, 0)
    compiler = Compiler(target, config, shape)
    hardware = compiler.survey()
    memory = hardware["memory_bytes"]
    found = compiler.run(hardware["programs"], memory, only_memory=not whole)
    return report.assemble(config, target, hardware, shape, found)


def markdown(header: tuple[str, ...], rows: list[list[str]]) -> str:
    """A table."""
    lines = [list(header), ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def plan_table(results: Results) -> str:
    """What every chip holds, writes and sends."""
    header = ("target", "px", "batch", "largest program, GiB", "of", "program", "state, GiB")
    header += (f"checkpoint in {_GRACE_SEC} s, MB/s", "wire, MB per iteration", "wire, ms")
    rows = []
    for name in _TOPOLOGIES.value:
        for resolution in map(int, _RESOLUTIONS.value):
            planned = results.find(name, resolution)
            hardware, cycle = planned["hardware"], planned["levels"][-1]
            largest = max(planned["programs"], key=lambda program: program["total_bytes"])
            written = hardware["host_checkpoint_bytes"] / _GRACE_SEC
            cells = [
                f"{largest['total_bytes'] / 2**30:.2f}" + ("" if planned["fits"] else " (no)"),
                f"{hardware['memory_bytes'] / 2**30:.2f}",
                largest["program"],
                f"{hardware['state_bytes'] / 2**30:.2f}",
                f"{written / 1e6:.3g}",
                *_sums(cycle),
            ]
            rows.append([name, str(resolution), str(cycle["batch_size"]), *cells])
    return markdown(header, rows)


def _sums(cycle: dict[str, Any]) -> list[str]:
    """Megabytes and milliseconds on the wire, over the lazy cycle."""
    if "wire" not in cycle:
        return ["-", "-"]
    wire = cycle["wire"]
    return [
        f"{(wire['inside_bytes'] + wire['between_bytes']) / 1e6:.1f}",
        f"{1000 * (wire['inside_sec'] + wire['between_sec']):.2f}",
    ]


def scaling_table(results: Results) -> str:
    """Time on the wire and efficiency from the smallest topology to the largest."""
    header = (
        "chips",
        "target",
        "px",
        "batch",
        "MB inside a slice or host",
        "MB between",
        "ms inside",
    )
    header += ("ms between", "ms of computation", "efficiency without overlap")
    rows = []
    for chip in _CHIPS.value:
        for resolution in map(int, _RESOLUTIONS.value):
            for name in scaling_topologies(chip):
                cycle = results.find(name, resolution)["levels"][-1]
                cells = _scaling_cells(cycle, results.compute_sec(chip, resolution))
                place = [str(num_devices(name)), name, str(resolution), str(cycle["batch_size"])]
                rows.append(place + cells)
    return markdown(header, rows)


def _scaling_cells(cycle: dict[str, Any], compute_sec: float | None) -> list[str]:
    """Bytes and times of a row."""
    if "wire" not in cycle:
        return ["-"] * 6
    wire = cycle["wire"]
    cells = [f"{wire[part] / 1e6:.1f}" for part in ("inside_bytes", "between_bytes")]
    cells += [f"{wire[part] * 1000:.2f}" for part in ("inside_sec", "between_sec")]
    if compute_sec is None:
        return cells + ["-", "-"]
    total = compute_sec + wire["inside_sec"] + wire["between_sec"]
    return cells + [f"{compute_sec * 1000:.1f}", f"{compute_sec / total:.1%}"]


def times_table(results: Results) -> str:
    """An average iteration on the smallest topology of each chip, compiled to the end."""
    rows = []
    for chip in _CHIPS.value:
        for resolution in map(int, _RESOLUTIONS.value):
            name = scaling_topologies(chip)[0]
            results.find(name, resolution, whole=True)
            seconds = results.compute_sec(chip, resolution)
            rows.append([name, str(resolution), f"{1000 * seconds:.1f}" if seconds else "-"])
    return markdown(("target", "px", "ms per iteration without the wire"), rows)


def main(argv: list[str]) -> None:
    """Prints the tables that are wanted."""
    del argv
    results = Results(_RESULTS.value)
    tables = {"plan": plan_table, "scaling": scaling_table, "times": times_table}
    unknown = set(_WANTED.value) - set(tables)
    if unknown:
        raise app.UsageError(f"--tables={','.join(unknown)}: give some of {', '.join(_TABLES)}.")
    print("\n" + "\n\n".join(tables[name](results) for name in _WANTED.value))


if __name__ == "__main__":
    flags.mark_flag_as_required("config")
    app.run(main)
