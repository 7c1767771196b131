"""Accelerators that are known: what a plan compiles for, and the peak a run is measured by."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Chip:
    """One device as jax lists it.

    Attributes:
        platform: `tpu` or `cuda`.
        peak_flops: bfloat16 operations per second.
        bandwidth: Bytes per second between the device and its memory.
        clock_hz: Cycles per second of the TPU compiler's estimates; 0: it makes none.
        memory_bytes: Usable memory; 0: the compiler is asked.
    """

    platform: str
    peak_flops: float
    bandwidth: float
    clock_hz: float = 0.0
    memory_bytes: int = 0


# Makers' data sheets. Generations whose chips have two cores that jax lists apart (v2, v3, tpu7x)
# have half a chip's numbers. Clocks follow from the peak and the size of the matrix units.
CHIPS = {
    "v2": Chip("tpu", 22.5e12, 350e9, 0.70e9),
    "v3": Chip("tpu", 61.5e12, 450e9, 0.94e9),
    "v4": Chip("tpu", 275e12, 1228e9, 1.05e9),
    "v5e": Chip("tpu", 197e12, 819e9, 1.50e9),
    "v5p": Chip("tpu", 459e12, 2765e9, 1.75e9),
    "v6e": Chip("tpu", 918e12, 1640e9, 1.75e9),
    "tpu7x": Chip("tpu", 1154e12, 3690e9, 2.20e9),
    "a100": Chip("cuda", 312e12, 2039e9, memory_bytes=80 * 10**9),
    "h100": Chip("cuda", 989e12, 3350e9, memory_bytes=80 * 10**9),
    "h200": Chip("cuda", 989e12, 4800e9, memory_bytes=141 * 10**9),
}

# How `device_kind` begins, the longer words before those they begin with. The slower H100 for PCIe
# slots ("NVIDIA H100 PCIe", "NVIDIA H100 NVL") is another chip and left out.
_KINDS = {
    "TPU v2": "v2",
    "TPU v3": "v3",
    "TPU v4": "v4",
    "TPU v5 lite": "v5e",
    "TPU v5e": "v5e",
    "TPU v5": "v5p",
    "TPU v6": "v6e",
    "TPU7x": "tpu7x",
    "TPU v7": "tpu7x",
    "NVIDIA A100": "a100",
    "NVIDIA H100 80GB HBM3": "h100",
    "NVIDIA H200": "h200",
}
_NOT_KNOWN = ("TPU v4 lite",)


def find_chip(device_kind: str) -> Chip | None:
    """The chip that jax calls `device_kind`; None where its numbers are not known, as on CPUs."""
    if device_kind.startswith(_NOT_KNOWN):
        return None
    return next((CHIPS[c] for kind, c in _KINDS.items() if device_kind.startswith(kind)), None)
