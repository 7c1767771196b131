"""GPUs as XLA's compiler wants them described where none is present."""

from typing import NamedTuple


class Gpu(NamedTuple):
    """Numbers of a maker's data sheet and of CUDA's table of compute capabilities."""

    compute_capability: int
    cores: int
    fpus_per_core: int
    shared_memory_per_core: int
    l2_cache_size: int
    clock_ghz: float


# Streaming multiprocessors and their units, memory on the chip in bytes, boost clock.
GPUS = {
    "a100": Gpu(8, 108, 64, 164 * 1024, 40 * 2**20, 1.41),
    "h100": Gpu(9, 132, 128, 228 * 1024, 50 * 2**20, 1.98),
    "h200": Gpu(9, 132, 128, 228 * 1024, 50 * 2**20, 1.98),
}


def target_config(gpu: Gpu, *, memory_bytes: int, bandwidth: float) -> str:
    """Writes a `GpuTargetConfig` as a text proto, which `get_topology_desc` takes."""
    # What is no argument is the same on all three, as CUDA lists it.
    return f"""
gpu_device_info {{
  threads_per_block_limit: 1024
  threads_per_warp: 32
  threads_per_core_limit: 2048
  shared_memory_per_block: {48 * 1024}
  shared_memory_per_block_optin: {gpu.shared_memory_per_core - 1024}
  shared_memory_per_core: {gpu.shared_memory_per_core}
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  core_count: {gpu.cores}
  fpus_per_core: {gpu.fpus_per_core}
  l2_cache_size: {gpu.l2_cache_size}
  clock_rate_ghz: {gpu.clock_ghz}
  memory_bandwidth: {round(bandwidth)}
  device_memory_size: {memory_bytes}
  cuda_compute_capability {{ major: {gpu.compute_capability} }}
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 8 }}
"""
