"""Accelerators that are known: what a plan compiles for, and the peak a run is measured by."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Links:
    """What connects devices: links inside a slice of TPUs or a host of GPUs, and a network.

    Attributes:
        bandwidth: Bytes per second one way: of one link of a TPU (ICI), of all links of a GPU
            together (NVLink).
        network_bandwidth: Bytes per second that one device sends one way between slices of TPUs
            (data center network) or hosts of GPUs (InfiniBand).
        torus_axes: Axes of the torus of TPUs, with two links each; 0: a switch.
        ring: An axis whose length this divides is closed to a ring, on three axes only if all
            are; any other is a line.
    """

    bandwidth: float
    network_bandwidth: float
    torus_axes: int = 0
    ring: int = 1


@dataclasses.dataclass(frozen=True)
class Chip:
    """One device as jax lists it.

    Attributes:
        platform: `tpu` or `cuda`.
        peak_flops: bfloat16 operations per second.
        bandwidth: Bytes per second between the device and its memory.
        clock_hz: Cycles per second of the TPU compiler's estimates; 0: it makes none.
        memory_bytes: Usable memory; 0: the compiler is asked.
        links: What connects it to others; None: not known.
    """

    platform: str
    peak_flops: float
    bandwidth: float
    clock_hz: float = 0.0
    memory_bytes: int = 0
    links: Links | None = None


# Makers' data sheets. Generations whose chips have two cores that jax lists apart (v2, v3, tpu7x)
# have half a chip's numbers. Clocks follow from the peak and the size of the matrix units.
# Links of TPUs: https://jax-ml.github.io/scaling-book/tpus, for v5e and later nine tenths of what
# https://docs.cloud.google.com/tpu/docs/v6e and its like give per chip for all links both ways
# (v5e 400, v5p 1200, v6e 800, tpu7x 1200 GB/s). Networks: both places (v4 and v5p 50, v5e 25, v6e
# and tpu7x 100 Gbit/s per chip). GPUs: NVLink is sold as the sum both ways (A100 600, Hopper 900
# GB/s); of network cards a DGX has one per GPU (A100 200, Hopper 400 Gbit/s).
CHIPS = {
    "v2": Chip("tpu", 22.5e12, 350e9, 0.70e9),
    "v3": Chip("tpu", 61.5e12, 450e9, 0.94e9, 0, Links(50e9, 3.125e9, 2, 32)),
    "v4": Chip("tpu", 275e12, 1228e9, 1.05e9, 0, Links(45e9, 6.25e9, 3, 4)),
    "v5e": Chip("tpu", 197e12, 819e9, 1.50e9, 0, Links(45e9, 3.125e9, 2, 16)),
    "v5p": Chip("tpu", 459e12, 2765e9, 1.75e9, 0, Links(90e9, 6.25e9, 3, 4)),
    "v6e": Chip("tpu", 918e12, 1640e9, 1.75e9, 0, Links(90e9, 12.5e9, 2, 16)),
    "tpu7x": Chip("tpu", 1154e12, 3690e9, 2.20e9, 0, Links(45e9, 6.25e9, 3, 4)),
    "a100": Chip("cuda", 312e12, 2039e9, 0, 80 * 10**9, Links(300e9, 25e9)),
    "h100": Chip("cuda", 989e12, 3350e9, 0, 80 * 10**9, Links(450e9, 50e9)),
    "h200": Chip("cuda", 989e12, 4800e9, 0, 141 * 10**9, Links(450e9, 50e9)),
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
    """Finds the chip that jax calls `device_kind`; None where its numbers are not known."""
    if device_kind.startswith(_NOT_KNOWN):
        return None
    return next((CHIPS[c] for kind, c in _KINDS.items() if device_kind.startswith(kind)), None)
