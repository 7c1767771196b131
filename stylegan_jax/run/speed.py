"""Speed and memory of a run, as its metrics have them."""

import os
import pathlib
import threading
from typing import Any

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from stylegan_jax.cost.chips import Chip, find_chip
from stylegan_jax.cost.flops import count_flops
from stylegan_jax.ops.formulation import FORMULATIONS
from stylegan_jax.sizes import ImageShape
from stylegan_jax.training.build import make_setup
from stylegan_jax.training.programs import trace_steps
from stylegan_jax.training.schedules import Level
from stylegan_jax.training.sharding import shard_state

_GIB = 2**30
# Linux: pages of the process, the second number those in memory.
_STATM = pathlib.Path("/proc/self/statm")


def model_flops_per_image(config: ConfigDict, shape: ImageShape, level: Level, mesh: Mesh) -> float:
    """Counts FLOPs per real image, averaged over the cycle of lazy regularisation.

    Those of the plain networks: a formulation that computes more does not raise its own score.
    """
    # Shapes suffice: nothing is computed and no parameter exists.
    setup, init = make_setup(config, shape, FORMULATIONS["plain"])
    state = shard_state(mesh, jax.eval_shape(init, jax.random.key(0)))
    steps = trace_steps(setup.at(level), mesh, state, shape)
    # A step that is taken every `interval` iterations costs that fraction in each.
    iteration = sum(count_flops(trace().jaxpr) / step.interval for step, trace in steps)
    return iteration / level.batch_size


class SpeedMeter:
    """What a tick's duration says: per step, per image, per chip, and as a share of the peak."""

    def __init__(
        self, config: ConfigDict, shape: ImageShape, mesh: Mesh, *, chip: Chip | None = None
    ):
        """Finds out what the devices are.

        Args:
            config: The run's config.
            shape: Sizes of images and labels.
            mesh: The run's devices.
            chip: What they can do; None: as their kind says, if it is known.
        """
        self._config = config
        self._shape = shape
        self._mesh = mesh
        self._chip = chip or find_chip(mesh.devices.flat[0].device_kind)
        # FLOPs per image, of the levels that have been counted so far.
        self._flops: dict[Level, float] = {}

    def begin(self, level: Level) -> None:
        """Counts a level's FLOPs in the background, where they can be put to use.

        That takes up to a minute for large networks; the level's first ticks do without.
        """

        def count() -> None:
            args = (self._config, self._shape, level, self._mesh)
            self._flops[level] = model_flops_per_image(*args)

        if self._chip is not None and jax.process_index() == 0:
            threading.Thread(target=count, name="FLOPs", daemon=True).start()

    def report(self, num_images: int, level: Level, seconds: float) -> dict[str, float]:
        """Returns the metrics of a tick; those that are not known here are left out.

        Args:
            num_images: Shown in the tick.
            level: Where the networks stand.
            seconds: What the tick took, with all that was done in it.
        """
        speed = num_images / seconds  # of all devices together
        found = {
            "Timing/img_per_sec": speed,
            "Timing/img_per_sec_per_chip": speed / self._mesh.size,
            "Timing/sec_per_kimg": 1000 / speed,
            "Timing/sec_per_step": level.batch_size / speed,
        }
        # Model FLOPs utilisation: those of the plain networks, against the peak of the devices.
        if self._chip is not None and level in self._flops:
            peak = self._chip.peak_flops * self._mesh.size
            found["Timing/mfu"] = self._flops[level] * speed / peak
        return found | memory_report()


def memory_report() -> dict[str, float]:
    """Returns the GiB in use: of this process's fullest device, and of the process on its host."""
    found = {}
    # CPUs report nothing.
    stats: list[dict[str, Any]] = [device.memory_stats() or {} for device in jax.local_devices()]
    for name, key in (("device", "bytes_in_use"), ("device_peak", "peak_bytes_in_use")):
        if used := [each[key] for each in stats if key in each]:
            found[f"Memory/{name}_gib"] = max(used) / _GIB
    if _STATM.exists():  # Linux
        resident_pages = int(_STATM.read_text().split()[1])
        found["Memory/host_gib"] = resident_pages * os.sysconf("SC_PAGE_SIZE") / _GIB
    return found
