"""Hardware to plan for: topologies that jax can compile for without having them."""

import dataclasses
import importlib.util
import os
import re
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import topologies

from stylegan_jax.cost.chips import CHIPS, Chip
from stylegan_jax.plan.gpus import GPUS, target_config
from stylegan_jax.run.numerics import PINNED

# v5e:16x16, 4*v6e:16x16, h100:8x8
_PATTERN = re.compile(r"(?:(?P<slices>\d+)\*)?(?P<chip>\w+):(?P<shape>\d+(?:x\d+)*)")

# The compiler must neither look for a TPU of its own nor mind another process that uses it.
_TPU_ENV = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


@dataclasses.dataclass(frozen=True)
class Topology:
    """What `--topology` names: `v5e:16x16`, `4*v6e:16x16` (slices), `h100:8x8` (hosts x GPUs)."""

    name: str
    chip: Chip
    generation: str
    shape: tuple[int, ...]
    num_slices: int

    @property
    def platform(self) -> str:
        """Names whose formulations the networks take."""
        return "tpu" if self.chip.platform == "tpu" else "gpu"


def parse_topology(name: str) -> Topology:
    """Reads a topology's name.

    Raises:
        ValueError: It is none, or the hardware is not known.
    """
    match = _PATTERN.fullmatch(name)
    if match is None or match["chip"] not in CHIPS:
        raise ValueError(
            f"--topology={name}: give CHIP:SHAPE such as v5e:16x16, 4*v6e:16x16 (slices) or "
            f"h100:8x8 (hosts x GPUs), with one of the chips {', '.join(CHIPS)}."
        )

    # The numbers of the name.
    shape = tuple(int(side) for side in match["shape"].split("x"))
    chip = CHIPS[match["chip"]]
    num_slices = int(match["slices"] or 1)
    if chip.platform == "cuda" and len(shape) != 2:
        raise ValueError(f"--topology={name}: give GPUs as HOSTSxGPUS, such as h100:1x8.")
    if min(*shape, num_slices) < 1:
        raise ValueError(f"--topology={name}: every number must be at least 1.")
    return Topology(name, chip, match["chip"], shape, num_slices)


def check_installed(topology: Topology) -> None:
    """Refuses a topology whose compiler is not installed.

    Raises:
        ValueError: Names the command that installs it.
    """
    if topology.chip.platform == "tpu":
        choices = [("libtpu",)]
        extra = "plan"
    else:
        # CUDA 12, and 13, whose parts lie in one folder.
        choices = [("jax_cuda12_plugin", "nvidia.cuda_nvcc"), ("jax_cuda13_plugin", "nvidia.cu13")]
        extra = "plan-gpu"
    missing = [[module for module in wanted if not _is_installed(module)] for wanted in choices]
    if all(missing):
        raise ValueError(
            f"Planning for {topology.name} takes the compiler of that hardware, which is not "
            f"installed here ({', '.join(missing[0])}): pip install -e '.[{extra}]'"
        )


def worker_environment(topology: Topology) -> dict[str, str]:
    """Returns the environment of a process that compiles for a topology: this one's, and more."""
    # Only compilers are wanted. jax's cache would hide the dumps that the parent reads.
    env = dict(os.environ, JAX_PLATFORMS="cpu", TF_CPP_MIN_LOG_LEVEL="3")
    env.pop("JAX_COMPILATION_CACHE_DIR", None)
    # What a run does not follow does not change its programs.
    for option in PINNED:
        env.pop(option.upper(), None)
    if topology.chip.platform == "tpu":
        env |= _TPU_ENV
    else:
        # Measuring kernels takes a GPU.
        env["XLA_FLAGS"] = f"{env.get('XLA_FLAGS', '')} --xla_gpu_autotune_level=0".strip()
    return env


def topology_devices(topology: Topology) -> list[Any]:
    """Returns the devices of a topology; none of them can run anything.

    Raises:
        ValueError: The hardware is not made in that shape.
    """
    shape = "x".join(map(str, topology.shape))
    try:
        if topology.chip.platform == "cuda":
            return _gpu_devices(topology)
        # A single chip is less than a host has; the compiler must be told.
        options: dict[str, Any] = {}
        if topology.num_slices > 1:
            options["num_slices"] = topology.num_slices
        if all(side == 1 for side in topology.shape):
            options["chips_per_host_bounds"] = [1, 1, 1]
        described = topologies.get_topology_desc(f"{topology.generation}:{shape}", "tpu", **options)
    except Exception as error:  # jax raises several kinds
        raise ValueError(f"--topology={topology.name}: the compiler refuses it: {error}") from error
    return list(described.devices)


def usable_memory(topology: Topology, device: Any) -> int:
    """Returns the bytes that a program may use on a device."""
    if topology.chip.memory_bytes:
        return topology.chip.memory_bytes
    # The compiler names the limit when a program breaks it: this one's matrix takes 4 TiB.
    sharding = jax.sharding.SingleDeviceSharding(device)
    huge = jax.ShapeDtypeStruct((2**20, 2**20), jnp.float32, sharding=sharding)
    try:
        jax.jit(lambda x: jnp.flip(x).T @ x).lower(huge).compile()
    except jax.errors.JaxRuntimeError as error:
        return read_limit(str(error))
    raise RuntimeError("A program of terabytes was accepted; the compiler's limit is unknown.")


def read_limit(message: str) -> int:
    """Reads the bytes available in the compiler's complaint `exceeds available HBM (15.75G)`.

    Raises:
        RuntimeError: The message has no such words.
    """
    match = re.search(r"(?:available HBM \(|of )(?P<size>[\d.]+)(?P<unit>[KMGT])\b", message)
    if match is None:
        raise RuntimeError(f"The compiler names no limit of memory: {message[:500]}")
    # K, M, G, T: 2**10, 2**20, 2**30, 2**40.
    return round(float(match["size"]) * 2 ** (10 * (1 + "KMGT".index(match["unit"]))))


def _is_installed(module: str) -> bool:
    """Tells whether a module can be imported, without importing it."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _gpu_devices(topology: Topology) -> list[Any]:
    """Returns the GPUs of a topology, `slices x hosts x GPUs` in jax's words."""
    chip = topology.chip
    hosts, gpus = topology.shape
    described = topologies.get_topology_desc(
        topology.generation.upper(),
        "cuda",
        target_config=target_config(
            GPUS[topology.generation], memory_bytes=chip.memory_bytes, bandwidth=chip.bandwidth
        ),
        topology=f"{topology.num_slices}x{hosts}x{gpus}",
    )
    return list(described.devices)
