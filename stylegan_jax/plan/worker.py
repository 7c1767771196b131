"""Compiles one program for hardware that is not here, in a process of its own.

    python -m stylegan_jax.plan.worker JOB.json

The parent reads the compiler's dump while this works, and may stop it as soon as it knows enough.
"""

import hashlib
import importlib.metadata
import json
import math
import os
import pathlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from stylegan_jax.cost import chips
from stylegan_jax.cost.flops import count_flops
from stylegan_jax.ops.formulation import FORMULATIONS
from stylegan_jax.plan import hlo, wire
from stylegan_jax.plan.targets import Topology, parse_topology, topology_devices, usable_memory
from stylegan_jax.sizes import ImageShape, name_size
from stylegan_jax.training.build import make_config_levels, make_setup
from stylegan_jax.training.objectives import make_steps
from stylegan_jax.training.programs import trace_steps
from stylegan_jax.training.sharding import make_mesh, num_batch_devices, shard_state
from stylegan_jax.training.step import COUNT


def survey(job: dict[str, Any]) -> dict[str, Any]:
    """Finds what is needed before anything is compiled: devices, memory, programs of each level."""
    topology = parse_topology(job["topology"])
    devices = topology_devices(topology)
    config = ConfigDict(job["config"])
    shape = ImageShape(**job["shape"])

    # The steps of every level, in the order of an iteration.
    setup, init = make_setup(config, shape, FORMULATIONS[job["formulation"]])
    programs = [
        {
            "level": index,
            "program": step.name,
            "label": f"{step.name} {name_size(setup.at(level).size)} px",
            "interval": step.interval,
            "reads_batch": step.reads_batch,
        }
        for index, level in enumerate(make_config_levels(config))
        for step in make_steps(setup)
        if step.name != COUNT  # moves one number
    ]

    # The state as it will lie on the devices; no array exists.
    mesh = make_mesh(devices, **config.mesh)
    state = jax.tree.leaves(shard_state(mesh, jax.eval_shape(init, jax.random.key(0))))
    return {
        "num_devices": len(devices),
        "num_hosts": len({device.process_index for device in devices}),
        "memory_bytes": usable_memory(topology, devices[0]),
        "num_batch_devices": num_batch_devices(mesh),
        "state_bytes": sum(
            math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize for x in state
        ),
        "checkpoint_bytes": sum(x.size * x.dtype.itemsize for x in state),
        "host_checkpoint_bytes": _most_written(state, mesh.devices),
        "programs": programs,
    }


def _most_written(state: list[Any], devices: np.ndarray) -> int:
    """Counts the bytes of a checkpoint that the busiest host writes.

    The first process writes what has a copy everywhere, and whoever holds them the parts of one
    copy of what is split over `fsdp`.
    """
    written: Counter[int] = Counter()
    for x in state:
        # Axes of the mesh: data, fsdp, spatial. The first of each holds what is copied along it.
        writers = devices[0, :, 0] if "fsdp" in x.sharding.spec else devices[0, :1, 0]
        for device in writers:
            written[device.process_index] += x.size * x.dtype.itemsize // len(writers)
    return max(written.values())


def compile_program(job: dict[str, Any]) -> dict[str, Any]:
    """Compiles one program, or finds what an earlier run learnt of it."""
    topology = parse_topology(job["topology"])
    config = ConfigDict(job["config"])
    shape = ImageShape(**job["shape"])
    mesh = make_mesh(topology_devices(topology), **config.mesh)

    # The program as the target computes it, and FLOPs: its own, and those of plain networks.
    programs = dict(_programs(config, shape, job["level"], mesh, job["formulation"]))
    traced = programs[job["program"]]()
    lowered = traced.lower()
    plain = dict(_programs(config, shape, job["level"], mesh, "plain"))
    result: dict[str, Any] = {
        "model_flops": count_flops(plain[job["program"]]().jaxpr) / mesh.size,
        "flops": count_flops(traced.jaxpr) / mesh.size,
    }

    # Compiling takes minutes: what was found is kept, and another process reads whole files only.
    key = _fingerprint(lowered.as_text(), job["topology"])
    cached = pathlib.Path(job["cache"]) / f"{key}.json"
    if cached.exists():
        return result | json.loads(cached.read_text()) | {"cached": True}
    found = compile_lowered(lowered, topology)
    cached.parent.mkdir(parents=True, exist_ok=True)
    partial = cached.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps(found))
    partial.rename(cached)
    return result | found


def compile_lowered(lowered: Any, topology: Topology) -> dict[str, Any]:
    """Compiles a program and says what it needs, or that it does not fit."""
    try:
        compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        # Too large is an answer; all else is a mistake.
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return {"fits": False, "message": str(error).split("\n")[0]}
    return {"fits": True} | analyze(compiled, topology)


def _programs(
    config: ConfigDict, shape: ImageShape, level: int, mesh: Mesh, formulation: str
) -> Iterator[tuple[str, Callable[[], jax.stages.Traced]]]:
    """Names the programs of a level and how to trace them, for images of the data's shape."""
    # Shapes with shardings stand for the state: nothing is computed.
    setup, init = make_setup(config, shape, FORMULATIONS[formulation])
    state = shard_state(mesh, jax.eval_shape(init, jax.random.key(0)))
    setup = setup.at(make_config_levels(config)[level])
    return ((step.name, trace) for step, trace in trace_steps(setup, mesh, state, shape))


def analyze(compiled: Any, topology: Topology) -> dict[str, Any]:
    """Reads memory, traffic, time and collectives of a compiled program, per device."""
    text = compiled.as_text()
    memory = compiled.memory_analysis()
    cost = compiled.cost_analysis() or {}

    # Outputs that take the place of donated inputs need no memory of their own.
    found: dict[str, Any] = {
        "output_bytes": memory.output_size_in_bytes - memory.alias_size_in_bytes,
        "code_bytes": memory.generated_code_size_in_bytes,
        "argument_bytes": memory.argument_size_in_bytes,
        "temp_bytes": memory.temp_size_in_bytes,
        "traffic_bytes": cost.get("bytes accessed") or hlo.memory_traffic(text),
    }
    found |= wire.find_collectives(text, topology)
    if topology.chip.clock_hz:
        # Some instructions count as -1 s in the compiler's own sum.
        found["roofline_sec"] = cost["optimal_seconds"] % 1.0
        found["schedule_sec"] = hlo.scheduled_cycles(text) / topology.chip.clock_hz
    return found


def _fingerprint(program: str, topology: str) -> str:
    """Names a compilation: the program, the target, the compiler, what is read from it."""
    # Other versions of compilers, or of the files that read their texts, find other numbers.
    compilers = ("jax", "jaxlib", "libtpu", "jax-cuda12-pjrt", "jax-cuda13-pjrt")
    versions = [f"{name} {_version(name)}" for name in compilers]
    sources = [pathlib.Path(str(module.__file__)).read_text() for module in (hlo, wire, chips)]
    parts = [program, topology, *versions, *sources]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _version(package: str) -> str:
    """Returns the version of a package, or that there is none."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"


def main(path: str) -> None:
    """Does the job of a file; its result lies beside it."""
    job = json.loads(pathlib.Path(path).read_text())
    folder = pathlib.Path(path).parent
    # The parent may look at any moment: the name appears when all is written.
    result = survey(job) if "program" not in job else compile_program(job)
    partial = folder / "result.part"
    partial.write_text(json.dumps(result))
    partial.rename(folder / "result.json")


if __name__ == "__main__":
    main(sys.argv[1])
