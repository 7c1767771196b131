"""Plans a run: compiles its programs for a target, each in a process of its own, and reports."""

import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict

from stylegan_jax.files import as_path, replacing
from stylegan_jax.plan import report, wire
from stylegan_jax.plan.targets import (
    Topology,
    check_installed,
    parse_topology,
    worker_environment,
)
from stylegan_jax.run.input import image_shape, open_config_source
from stylegan_jax.run.progress import describe_duration
from stylegan_jax.sizes import ImageShape
from stylegan_jax.training.build import check_config
from stylegan_jax.training.settings import image_size

# The efficient number of images per device: a TPU holds the batch in eight sublanes.
_UNIT = 8
# Batches of up to so many times the present one are tried.
_MOST = 4
# Between two looks at the dumps.
_POLL_SEC = 0.5
# What TPU and GPU compilers call their report of memory.
_REPORT = "*memory-usage-report.txt"


def plan(config: ConfigDict, topology: str, workdir: str) -> dict[str, Any]:
    """Compiles every program of a run for hardware that is not here, and prints what it needs.

    Args:
        config: A recipe.
        topology: `v5e:16x16`, `4*v6e:16x16`, `h100:8x8`; see `Topology`.
        workdir: Folder of the JSON file, local or `gs://bucket/folder`.

    Returns:
        What was written to `plan_TOPOLOGY.json`.

    Raises:
        ValueError: An unknown topology, a compiler that is not installed, or settings that
            cannot run.
    """
    # The target: its devices, their memory, and the programs of the run.
    folder = as_path(workdir)
    target = parse_topology(topology)
    check_installed(target)
    shape = _image_shape(config)
    hardware = Compiler(target, config, shape).survey()
    config = _fit_batch(config, hardware)
    print(report.header(target, hardware), flush=True)

    # Memory is known early, so that what does not fit is said first.
    compiler = Compiler(target, config, shape)
    print("\nmemory, known before a program is finished:", flush=True)
    found = compiler.run(hardware["programs"], hardware["memory_bytes"], only_memory=True)
    print("\nwhole programs, for times (minutes each; kept for the next plan):", flush=True)
    found = compiler.finish(found, hardware["memory_bytes"])

    # What it amounts to, and what else would fit.
    planned = report.assemble(config, target, hardware, shape, found)
    print("\n" + report.table(planned))
    planned["advice"] = _advise(compiler, hardware, planned)
    print("\n".join(planned["advice"]))

    path = folder / f"plan_{re.sub(r'[^0-9a-z]+', '_', topology)}.json"
    with replacing(path) as file:
        file.write_text(json.dumps(planned, indent=2))
    print(f"\nwritten to {path}")
    return planned


class Compiler:
    """Starts the processes that compile, watches their dumps, and reads what they found."""

    def __init__(
        self,
        target: Topology,
        config: ConfigDict,
        shape: ImageShape,
        *,
        formulation: str | None = None,
    ):
        """Readies the jobs; `formulation` is a key of `FORMULATIONS`, None: the target's."""
        self._target = target
        self._config = config
        # What is the same in all jobs of `plan/worker.py`.
        self._job = {
            "topology": target.name,
            "formulation": formulation or target.platform,
            "shape": dict(vars(shape)),
            "cache": os.path.expanduser("~/.cache/stylegan_jax/plan"),
        }

    def survey(self) -> dict[str, Any]:
        """Finds devices, memory and programs of the target, see `worker.survey`."""
        with tempfile.TemporaryDirectory() as folder:
            return self._wait(self._start({}, self._config, pathlib.Path(folder)), folder, None)

    def run(
        self,
        jobs: list[dict[str, Any]],
        memory_bytes: int,
        *,
        config: ConfigDict | None = None,
        only_memory: bool = False,
    ) -> list[dict[str, Any]]:
        """Compiles programs, as many at once as there are cores; `only_memory` stops early."""

        def compile_one(job: dict[str, Any]) -> dict[str, Any]:
            """Returns the job with what was found of it."""
            with tempfile.TemporaryDirectory() as folder:
                process = self._start(job, config or self._config, pathlib.Path(folder))
                watch = _Watch(self._target, job["label"], memory_bytes, only_memory)
                return job | self._wait(process, folder, watch)

        # Threads only wait; each has a process that compiles.
        workers = max(os.cpu_count() or 1, 1)
        with concurrent.futures.ThreadPoolExecutor(max_workers=workers) as pool:
            return list(pool.map(compile_one, jobs))

    def finish(self, found: list[dict[str, Any]], memory_bytes: int) -> list[dict[str, Any]]:
        """Compiles to the end those that fit; the others stay as they were found."""
        keys = ("level", "program", "label", "interval", "reads_batch")
        fitting = [{key: r[key] for key in keys} for r in found if r["fits"]]
        whole = {(r["level"], r["program"]): r for r in self.run(fitting, memory_bytes)}
        return [whole.get((r["level"], r["program"]), r) for r in found]

    def _start(
        self, job: dict[str, Any], config: ConfigDict, folder: pathlib.Path
    ) -> subprocess.Popen:
        """Starts the process of a job, whose files all lie in `folder`."""
        whole = self._job | {"config": config.to_dict()} | job
        (folder / "job.json").write_text(json.dumps(whole))

        # The compiler writes report and program of our steps into the dump, and nothing else.
        env = worker_environment(self._target)
        flags = f"--xla_dump_to={folder}/dump --xla_dump_hlo_as_text"
        pattern = ".*step_.*"  # as `training/programs.py` calls them
        env["XLA_FLAGS"] = f"{env.get('XLA_FLAGS', '')} {flags} --xla_dump_hlo_module_re={pattern}"

        # Its words go to a file: read where it fails.
        command = [sys.executable, "-m", "stylegan_jax.plan.worker", str(folder / "job.json")]
        with open(folder / "stderr", "w") as stderr:
            return subprocess.Popen(command, env=env, stdout=stderr, stderr=stderr)

    def _wait(
        self, process: subprocess.Popen, folder: str, watch: "_Watch | None"
    ) -> dict[str, Any]:
        """Waits for a process, or for as much of its work as is wanted."""
        # The process, or the watch over its dump, whichever knows enough first.
        root = pathlib.Path(folder)
        try:
            while process.poll() is None:
                if watch is not None and (early := watch.look(root)) is not None:
                    return early
                time.sleep(_POLL_SEC)
        finally:
            process.kill()
            process.wait()

        # It left a result, or the reason why not.
        result_path = root / "result.json"
        if not result_path.exists():
            log = (root / "stderr").read_text()
            if "ValueError" in log:
                raise ValueError(log.strip().splitlines()[-1].removeprefix("ValueError: "))
            # The TPU compiler aborts on slices larger than are made.
            if refusal := re.search(r"Check failed: Topology\(\).*", log):
                name = self._target.name
                raise ValueError(f"--topology={name}: the compiler refuses it: {refusal[0]}")
            raise RuntimeError(f"The compiler failed:\n{log[-4000:]}")
        result = json.loads(result_path.read_text())
        return result if watch is None else watch.finish(root, result)


class _Watch:
    """What is known of a program while it is compiled, and the lines that say so."""

    def __init__(self, target: Topology, label: str, memory_bytes: int, only_memory: bool):
        self._target = target
        self._label = label
        self._memory = memory_bytes
        self._only_memory = only_memory
        self._start = time.monotonic()

    def look(self, root: pathlib.Path) -> dict[str, Any] | None:
        """Returns what report and text say, if no more is wanted and both are there."""
        if not self._only_memory or (total := _reported_bytes(root)) is None:
            return None

        # The text, for its collectives, is waited for only where the program fits.
        fits = total <= self._memory
        text = _optimized_text(root)
        if fits and text is None:
            return None
        verdict = "fits" if fits else "does not fit"
        self._print(f"{verdict}: {_gib(total)} of {_gib(self._memory)}")
        found = {} if text is None else wire.find_collectives(text, self._target)
        return {"fits": fits, "total_bytes": total} | found

    def finish(self, root: pathlib.Path, result: dict[str, Any]) -> dict[str, Any]:
        """Adds the whole memory to what the process found."""
        # The report counts best; where the compiler wrote none, its parts.
        total = result.get("total_bytes") or _reported_bytes(root)
        if total is None:
            total = result["argument_bytes"] + result["temp_bytes"] + result["output_bytes"]
        result = result | {"total_bytes": total, "fits": result["fits"] and total <= self._memory}
        outcome = "fits" if result["fits"] else "does not fit"
        source = ", known from before" if result.get("cached") else ""
        self._print(f"{outcome}: {_gib(total)} of {_gib(self._memory)}{source}")
        return result

    def _print(self, text: str) -> None:
        """Prints a line about the program, with the time it took."""
        seconds = describe_duration(time.monotonic() - self._start)
        print(f"  {self._label}: {text} ({seconds})", flush=True)


def _reported_bytes(root: pathlib.Path) -> int | None:
    """Reads a program's memory in the compiler's report, which comes long before the program."""
    for path in root.glob(f"dump/{_REPORT}"):
        if match := re.search(r"Total bytes: (\d+) ", path.read_text()):
            return int(match[1])
    return None


def _optimized_text(root: pathlib.Path) -> str | None:
    """Reads the optimised program beside the memory report; None: not all of it is there."""
    for report_path in root.glob(f"dump/{_REPORT}"):
        stem = str(report_path).removesuffix("-memory-usage-report.txt")
        # As TPU and as GPU compilers call it.
        for path in map(pathlib.Path, (f"{stem}_after_buffer_assignment.txt", f"{stem}.txt")):
            text = path.read_text() if path.exists() else ""
            # The entry is the last computation.
            if "\nENTRY " in text and text.rstrip().endswith("\n}"):
                return text
    return None


def _image_shape(config: ConfigDict) -> ImageShape:
    """Returns the sizes of the data, where it is here; else of colour images without labels."""
    try:
        source = open_config_source(config)
    except (ValueError, OSError):
        print(
            f"data.dataset={config.data.dataset!r} cannot be opened here: planned for 3 colours, "
            "without labels."
        )
        return ImageShape(*image_size(config), 3, 0)
    return image_shape(source)


def _fit_batch(config: ConfigDict, hardware: dict[str, Any]) -> ConfigDict:
    """Returns the config, or one with eight images per device where its batch cannot be split.

    Raises:
        ValueError: Other settings cannot run.
    """
    num_devices = hardware["num_devices"]
    config = ConfigDict(config.to_dict())
    try:
        check_config(config, num_devices)
    except ValueError as error:
        # Devices that share the rows of an image count as one.
        per_device = _UNIT * config.schedule.num_micro_batches
        batch = per_device * num_devices // config.mesh.spatial
        trial = ConfigDict(config.to_dict())
        trial.schedule.batch_size = batch
        trial.growth.batch_sizes = ConfigDict()
        check_config(trial, num_devices)
        print(
            f"{error}\nPlanned with {batch} instead, {per_device} per device; to train so, give "
            f"--config.schedule.batch_size={batch}."
        )
        return trial
    return config


def _advise(compiler: Compiler, hardware: dict[str, Any], planned: dict[str, Any]) -> list[str]:
    """Says which batch per device is the largest that fits, as compiled, at the last resolution."""
    # Programs of the last level, and its batch per device.
    config = ConfigDict(planned["config"])
    programs = [p for p in planned["programs"] if p["level"] == planned["programs"][-1]["level"]]
    now = config.schedule.batch_size // hardware["num_batch_devices"]
    # The largest program decides first; the others are looked at where it fits.
    order = sorted(programs, key=lambda program: -program["total_bytes"])

    def fits(per_device: int) -> bool:
        """Compiles every program with such a batch until one does not fit."""
        trial = ConfigDict(config.to_dict())
        trial.schedule.batch_size = per_device * hardware["num_batch_devices"]
        trial.growth.batch_sizes = ConfigDict()
        for program in order:
            if not program["reads_batch"]:
                continue
            label = f"{program['program']} with {per_device} per device"
            job = {"level": program["level"], "program": program["program"], "label": label}
            (found,) = compiler.run([job], hardware["memory_bytes"], config=trial, only_memory=True)
            if not found["fits"]:
                return False
        return True

    print("\nother batches:", flush=True)
    best = _largest(now, fits, now_fits=all(program["fits"] for program in programs))
    if best == 0:
        return ["Not one image per device fits: take a chip with more memory or a smaller model."]

    # The batch, and what follows from it.
    total = best * hardware["num_batch_devices"]
    bound = " or more" if best >= _MOST * now else ""
    lines = [f"Largest batch per device that fits: {best}{bound} (schedule.batch_size={total})."]
    # A part of a batch that is no multiple of eight wastes sublanes.
    shrink = config.loss.pl_batch_shrink
    if config.loss.pl_weight and shrink > 1 and (now // shrink) % _UNIT:
        lines.append(
            f"Path lengths are measured on {now // shrink} images per device; TPUs are built for "
            "multiples of eight: compare with --config.loss.pl_batch_shrink=1."
        )
    # Micro-batches keep the batch where it does not fit as a whole.
    if best < now:
        micro = -(-now // best)
        lines.append(
            f"For a batch of {now} per device, give --config.schedule.num_micro_batches={micro}."
        )
    return lines


def _largest(now: int, fits: Callable[[int], bool], *, now_fits: bool) -> int:
    """Finds the largest batch that fits, up to `_MOST` times the present one; 0 if none does.

    Above the present batch, multiples of eight are searched by halves; below it, halves of it.
    """
    # Below the present batch.
    if not now_fits:
        while now > 1:
            now //= 2
            if fits(now):
                return now
        return 0

    # Above it, in units: `low` fits, `high` does not or is not looked at. The next one comes first,
    # since mostly nothing more fits.
    low = now // _UNIT
    high = max(_MOST * now, _UNIT) // _UNIT + 1
    if high - low > 1 and not fits((low + 1) * _UNIT):
        return now
    low += high - low > 1
    while high - low > 1:
        middle = (low + high) // 2
        if fits(middle * _UNIT):
            low = middle
        else:
            high = middle
    return max(low * _UNIT, now)


def _gib(num_bytes: float) -> str:
    """Writes a size, such as 15.75 GiB."""
    return f"{num_bytes / 2**30:.2f} GiB"
