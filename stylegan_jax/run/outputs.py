"""What a run writes at its intervals: ticks, samples, scores, rows of growth."""

import contextlib
import json
import time
from collections.abc import Mapping
from typing import Any

import jax

from stylegan_jax.files import replacing
from stylegan_jax.run.fakes import FakesMaker, Snapshot
from stylegan_jax.run.images import save_png
from stylegan_jax.run.input import InputStream
from stylegan_jax.run.meters import MeanMeter, MetricWriter
from stylegan_jax.run.opening import Run, Start
from stylegan_jax.run.progress import ProgressBar
from stylegan_jax.run.samples import SampleGrid, write_growth_row
from stylegan_jax.run.scores import take_scores
from stylegan_jax.run.speed import SpeedMeter
from stylegan_jax.training.build import make_float32_generator
from stylegan_jax.training.schedules import Level
from stylegan_jax.training.state import TrainState

# Losses in the progress bar, under short names.
_SHOWN = {
    "G": "Loss/G/loss",
    "D": "Loss/D/loss",
    "r1": "Loss/r1_penalty",
    "gp": "Loss/gp_penalty",
    "pl": "Loss/pl_penalty",
    "p": "Augment/p",
    "r_t": "Augment/r_t",
}


class Outputs(contextlib.ExitStack):
    """The files of a run, besides its checkpoints: all processes draw, the first one writes."""

    def __init__(self, run: Run, start: Start):
        """Opens the files; `run` goes on from `start`."""
        super().__init__()
        self._run = run
        self._health = start.health
        networks = run.setup.networks
        self._grid = SampleGrid(run.config, run.source, networks, run.mesh, start.keys.grid)
        self._fakes = FakesMaker(
            *(networks.G, networks.z_dim, run.source.labels, run.mesh, start.keys.metric),
            float32=make_float32_generator(run.config, run.shape),
        )
        self._metric_key = start.keys.metric
        self._speed = SpeedMeter(run.config, run.shape, run.mesh)
        self._meter = MeanMeter()
        # What was asked for, and what it is to look like, are there before the first iteration.
        if run.is_first:
            kept = run.meta["config"] | {"environment": run.meta["environment"]}
            with replacing(run.workdir / "config.json") as file:
                file.write_text(json.dumps(kept, indent=2))
            save_png(run.workdir / "reals.png", self._grid.reals(), text=self._grid.text)

        # Lines after the checkpoint, of a run that was killed, are written anew; of a new run, all.
        nimg = int(start.state.nimg)
        self._writer = self.enter_context(
            MetricWriter(run.workdir, nimg=-1 if start.is_new else nimg, enabled=run.is_first)
        )
        self._bar = self.enter_context(ProgressBar(run.total_nimg, nimg=nimg, enabled=run.is_first))
        self._tick_start_sec, self._tick_nimg = time.monotonic(), nimg

    def begin(self, level: Level, compile_sec: float) -> None:
        """Notes that a level begins; compiling is not training: images per second leave it out."""
        self._speed.begin(level)
        self._tick_start_sec += compile_sec

    def add(self, report: Mapping[str, Any]) -> None:
        """Adds what a step reported; nothing waits for it."""
        self._meter.add(report)

    def tick(self, state: TrainState, level: Level, nimg: int, batches: InputStream) -> None:
        """Writes the means since the last tick, and speeds; waits for the devices."""
        self._run.watchdog.beat("waiting for the tick's numbers", nimg)
        # Means are computed on the devices until now: here the host waits for them, once a tick.
        means = self._meter.means() | _skipped(state)
        seconds = time.monotonic() - self._tick_start_sec
        timing = self._speed.report(nimg - self._tick_nimg, level, seconds)
        timing |= batches.report(seconds)
        self._writer.write(nimg, means | timing | self._health.tick(nimg, means, level))
        self._bar.update(nimg, {k: means[v] for k, v in _SHOWN.items() if v in means})
        self._tick_start_sec, self._tick_nimg = time.monotonic(), nimg

    def draw(self, state: TrainState, level: Level, nimg: int) -> None:
        """Puts the sample grid where users look for it."""
        self._run.watchdog.beat("drawing samples", nimg)
        # Programs of several hosts run on all of them, also those that write nothing.
        picture = self._grid.fakes(state, level)
        if not self._run.is_first:
            return
        # kimg in the name, with as many digits as the interval has.
        is_whole = self._run.config.io.sample_kimg >= 1
        name = f"{nimg // 1000:06d}" if is_whole else f"{nimg / 1000:010.3f}"
        path = self._run.workdir / "samples" / f"fakes_{name}.png"
        save_png(path, picture, text=self._grid.text)
        self._writer.write_images(nimg, {"fakes": picture})

    def draw_row(self, state: TrainState, level: Level) -> None:
        """Adds a row of samples, as of the end of a level, to the picture of the growth."""
        row = self._grid.first_row(state, level)
        if self._run.is_first:
            base_grid = self._run.shape.base_grid
            write_growth_row(self._run.workdir, level.resolution, row, base_grid)

    def score(self, state: TrainState, level: Level, nimg: int) -> dict[str, float]:
        """Takes the scores of `G_ema` as it is now, and writes them."""
        snapshot = Snapshot(state.G_ema, state.stats, level.resolution, level.fade(state.nimg))
        values = take_scores(
            *(self._run.scores, self._fakes.of(snapshot), nimg),
            key=self._metric_key,
            announce=self._run.watchdog.beat,
        )
        if values:
            self._writer.write(nimg, values)
            self._health.score(nimg, values)
        return values


def _skipped(state: TrainState) -> dict[str, int]:
    """Counts the updates that were left out so far, per network."""
    return {f"Skipped/{net}": int(n) for net, n in jax.device_get(state.skipped).items()}
