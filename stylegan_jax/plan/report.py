"""The plan's numbers: per program, over the lazy cycle, and the table that shows them."""

import math
from typing import Any

from ml_collections import ConfigDict

from stylegan_jax.plan.targets import Topology
from stylegan_jax.run.progress import describe_duration
from stylegan_jax.sizes import ImageShape, name_size, size_at
from stylegan_jax.training.build import make_config_levels
from stylegan_jax.training.schedules import make_spans

# Whose times are shown: the compiler's schedule, and products and memory traffic alone.
_ESTIMATES = ("schedule", "roofline")
# What spot machines and preempted jobs commonly get.
_GRACE_SEC = 30


def header(target: Topology, hardware: dict[str, Any]) -> str:
    """Writes the target in a line."""
    chip = target.chip
    return (
        f"{target.name}: {hardware['num_devices']} devices on {hardware['num_hosts']} hosts, each "
        f"{hardware['memory_bytes'] / 2**30:.2f} GiB, {chip.peak_flops / 1e12:.0f} TFLOP/s "
        f"bfloat16, {chip.bandwidth / 1e9:.0f} GB/s"
    )


def assemble(
    config: ConfigDict,
    target: Topology,
    hardware: dict[str, Any],
    shape: ImageShape,
    programs: list[dict[str, Any]],
) -> dict[str, Any]:
    """Collects all that is known, as it is written to disk; sizes and FLOPs are per device.

    Args:
        config: Of the run.
        target: What it was compiled for.
        hardware: From `worker.survey`.
        shape: Sizes of images and labels.
        programs: What was found of each; the sums are added here.
    """
    levels = make_config_levels(config)
    for program in programs:
        level = levels[program["level"]]
        size = size_at(level.resolution, shape.base_grid)
        program["resolution"] = level.resolution
        program["size"] = name_size(size)

        # Memory by what lies in it; what is left over are activations.
        image = math.prod(size) * shape.channels
        batch = level.batch_size // hardware["num_batch_devices"] * image  # one byte per number
        program["state_bytes"] = hardware["state_bytes"]
        program["batch_bytes"] = batch if program["reads_batch"] else 0
        fixed = program["state_bytes"] + program["batch_bytes"] + program.get("output_bytes", 0)
        program["activation_bytes"] = max(program["total_bytes"] - fixed, 0)

        # What is sent, inside slices or hosts and between them.
        if "wire" in program:
            wire = program["wire"]
            program["wire_bytes"] = wire["inside_bytes"] + wire["between_bytes"]
            program["wire_sec"] = wire["inside_sec"] + wire["between_sec"]
        if "traffic_bytes" in program and "roofline_sec" not in program:
            # Without an estimate of the compiler's: products and traffic, whichever takes longer.
            program["roofline_sec"] = max(
                program["flops"] / target.chip.peak_flops,
                program["traffic_bytes"] / target.chip.bandwidth,
            )

    # The sums over programs need the rest.
    planned: dict[str, Any] = {
        "topology": target.name,
        "hardware": {k: v for k, v in hardware.items() if k != "programs"},
        "peak_flops": target.chip.peak_flops,
        "config": config.to_dict(),
        "fits": all(program["fits"] for program in programs),
        "programs": programs,
    }
    planned["levels"] = [_cycle(planned, levels, i) for i in range(len(levels))]
    planned["days"] = _days(config, planned["levels"])
    return planned


def _cycle(planned: dict[str, Any], levels: Any, index: int) -> dict[str, Any]:
    """Averages over the lazy cycle of a level, by each estimate that every program has."""
    # A step that is taken every `interval` iterations counts as that fraction in each.
    level = levels[index]
    num_devices = planned["hardware"]["num_devices"]
    programs = [p for p in planned["programs"] if p["level"] == index]
    cycle: dict[str, Any] = {
        "resolution": level.resolution,
        "size": programs[0]["size"],
        "batch_size": level.batch_size,
    }
    cycle["model_flops"] = sum(p.get("model_flops", 0) / p["interval"] for p in programs)

    # The wire, entry by entry.
    if all("wire" in p for p in programs):
        parts = programs[0]["wire"]
        cycle["wire"] = {k: sum(p["wire"][k] / p["interval"] for p in programs) for k in parts}

    # Time and speed, which an estimate gives where it knows all programs.
    for estimate in _ESTIMATES:
        if not all(f"{estimate}_sec" in p for p in programs):
            continue
        seconds = sum(p[f"{estimate}_sec"] / p["interval"] for p in programs)
        cycle[estimate] = {
            "iteration_sec": seconds,
            "img_per_sec_per_device": level.batch_size / num_devices / seconds,
            "img_per_sec": level.batch_size / seconds,
            "share_of_peak": cycle["model_flops"] / seconds / planned["peak_flops"],
        }
    return cycle


def _days(config: ConfigDict, cycles: list[dict[str, Any]]) -> dict[str, float]:
    """Adds up the days for all images of the run, by each estimate."""
    # Each resolution has a speed of its own, in its fade and after it.
    spans = make_spans(make_config_levels(config), round(config.schedule.total_kimg * 1000))
    speeds = {cycle["resolution"]: cycle for cycle in cycles}
    days: dict[str, float] = {}
    for estimate in _ESTIMATES:
        if all(estimate in cycle for cycle in cycles):
            days[estimate] = sum(
                (span.end_nimg - span.start_nimg)
                / speeds[span.level.resolution][estimate]["img_per_sec"]
                for span in spans
            ) / (24 * 3600)
    return days


# Title and width of each column, in the order of `_cells`.
_COLUMNS = (
    ("program", "{:<9}"),
    ("every", "{:>5}"),
    ("fits", "{:>5}"),
    ("GiB", "{:>7}"),
    ("state", "{:>6}"),
    ("batch", "{:>6}"),
    ("activ.", "{:>7}"),
    ("output", "{:>7}"),
    ("TFLOP", "{:>7}"),
    ("model", "{:>7}"),
    ("GB", "{:>7}"),
    ("ms sched", "{:>9}"),
    ("ms roofl", "{:>9}"),
    ("roofline", "{:>8}"),
    ("MB wire", "{:>8}"),
    ("ms wire", "{:>7}"),
    ("collectives", "  {}"),
)


def table(planned: dict[str, Any]) -> str:
    """Writes the plan as text."""
    lines = [*_level_lines(planned), *_memory_lines(planned)]
    for estimate, days in planned["days"].items():
        total = planned["config"]["schedule"]["total_kimg"]
        lines.append(f"{total:g} kimg by {estimate}: {describe_duration(days * 24 * 3600)}")
    lines.append(_checkpoint_line(planned["hardware"]))
    lines.append(
        "Times are estimates of the compiler (sched: its schedule; roofl: products and memory "
        "traffic alone), never measured on the hardware. Input and checkpoints are not in them. "
        "Times on the wire are what each device sends at the bandwidth of data sheets, one "
        "collective after the other, without latency."
    )
    return "\n".join(lines)


def _level_lines(planned: dict[str, Any]) -> list[str]:
    """Writes a table per level: a row per program, then the averages of the lazy cycle."""
    lines = []
    for index, cycle in enumerate(planned["levels"]):
        # Title, heads of the columns, a row per program.
        per_device = cycle["batch_size"] / planned["hardware"]["num_devices"]
        lines.append(
            f"{cycle['size']} px, batch {cycle['batch_size']} ({per_device:g} per device); "
            "per device:"
        )
        lines.append(" ".join(form.format(name) for name, form in _COLUMNS))
        for program in planned["programs"]:
            if program["level"] == index:
                cells = _cells(program, planned["peak_flops"])
                lines.append(" ".join(f.format(c) for (_, f), c in zip(_COLUMNS, cells)))
        # Below them what an iteration takes on average.
        for estimate in _ESTIMATES:
            if estimate in cycle:
                lines.append(_cycle_line(estimate, cycle[estimate]))
        if "wire" in cycle:
            lines.append(_wire_line(cycle))
        lines.append("")
    return lines


def _memory_lines(planned: dict[str, Any]) -> list[str]:
    """Says whether everything fits, and what the compiler says where it does not."""
    # The largest program decides.
    memory = planned["hardware"]["memory_bytes"]
    worst = max(planned["programs"], key=lambda program: program["total_bytes"])
    room = (memory - worst["total_bytes"]) / 2**30
    name = f"{worst['program']} at {worst['size']} px"
    lines = [
        f"Everything fits; {name} is the largest and leaves {room:.2f} GiB."
        if planned["fits"]
        else f"Does not fit: {name} is {-room:.2f} GiB over."
    ]
    for program in planned["programs"]:
        if program.get("message"):
            lines.append(f"  {program['program']}: {program['message']}")
    return lines


def _checkpoint_line(hardware: dict[str, Any]) -> str:
    """Says how fast a checkpoint must be written to survive a preemption."""
    size = hardware["checkpoint_bytes"]
    part = hardware["host_checkpoint_bytes"]
    return (
        f"a checkpoint is {size / 2**30:.2f} GiB, of which one host writes up to "
        f"{part / 2**30:.2f} GiB: {part / 1e6 / _GRACE_SEC:.1f} MB/s to be done within the "
        f"{_GRACE_SEC} s that a preemption leaves"
    )


def _cycle_line(estimate: str, cycle: dict[str, float]) -> str:
    """Writes the averages over the lazy cycle."""
    return (
        f"average iteration by {estimate}: {1000 * cycle['iteration_sec']:.1f} ms, "
        f"{cycle['img_per_sec_per_device']:.1f} images/s per device, "
        f"{cycle['img_per_sec']:.0f} images/s, {cycle['share_of_peak']:.0%} of the peak in "
        "model FLOPs"
    )


def _wire_line(cycle: dict[str, Any]) -> str:
    """Writes what the devices send over the lazy cycle."""
    wire = cycle["wire"]
    megabytes = (wire["inside_bytes"] + wire["between_bytes"]) / 1e6
    seconds = wire["inside_sec"] + wire["between_sec"]

    # The whole, the part that leaves slices or hosts, and what it is of the time.
    line = f"on the wire: {megabytes:.1f} MB and {1000 * seconds:.2f} ms per iteration"
    if wire["between_bytes"]:
        network = f"{wire['between_bytes'] / 1e6:.1f} MB and {1000 * wire['between_sec']:.2f} ms"
        line += f" ({network} of it between slices or hosts)"
    if "schedule" in cycle:
        share = seconds / cycle["schedule"]["iteration_sec"]
        line += f", {share:.1%} of the schedule if nothing overlaps"
    return line


def _cells(program: dict[str, Any], peak_flops: float) -> list[str]:
    """Writes a program's row; a dash stands for what is not known."""

    def number(key: str, unit: float, digits: int = 2) -> str:
        """Writes an entry in units of `unit`."""
        return f"{program[key] / unit:.{digits}f}" if key in program else "-"

    # How near the schedule comes to what products and traffic alone would take.
    share = "-"
    if "schedule_sec" in program and program["schedule_sec"] > 0:
        share = f"{program['roofline_sec'] / program['schedule_sec']:.0%}"

    # 2 all-reduce 113.2 MB, ...
    found = program.get("collectives", {})
    traffic = ", ".join(
        f"{entry['count']} {op} {entry['bytes'] / 1e6:.1f} MB" for op, entry in found.items()
    )
    return [
        program["program"],
        str(program["interval"]),
        "yes" if program["fits"] else "NO",
        number("total_bytes", 2**30),
        number("state_bytes", 2**30),
        number("batch_bytes", 2**30),
        number("activation_bytes", 2**30),
        number("output_bytes", 2**30),
        number("flops", 1e12),
        number("model_flops", 1e12),
        number("traffic_bytes", 1e9, 1),
        number("schedule_sec", 1e-3, 1),
        number("roofline_sec", 1e-3, 1),
        share,
        number("wire_bytes", 1e6, 1),
        number("wire_sec", 1e-3),
        traffic or "-",
    ]
