"""The training loop, top to bottom: next batch, step, and what is written at its intervals."""

import concurrent.futures
import contextlib
import json
import os
import time
from typing import Any

import jax
from etils import epath
from ml_collections import ConfigDict

from stylegan_jax.data.sources import ImageSource
from stylegan_jax.files import as_path
from stylegan_jax.run.checkpoint import CheckpointStore
from stylegan_jax.run.health import Diverged, HealthMonitor
from stylegan_jax.run.images import save_png
from stylegan_jax.run.input import (
    InputStream,
    check_same_data,
    data_position,
    image_shape,
    open_config_source,
)
from stylegan_jax.run.meters import MeanMeter, MetricWriter
from stylegan_jax.run.preemption import PreemptionGuard
from stylegan_jax.run.processes import all_or_none, as_first_process, wait_for_all
from stylegan_jax.run.profiling import Profiler
from stylegan_jax.run.progress import ProgressBar, describe_compile, param_table, tee_log
from stylegan_jax.run.samples import SampleGrid, write_growth_row
from stylegan_jax.run.scores import SwdMonitor
from stylegan_jax.run.speed import SpeedMeter
from stylegan_jax.run.watchdog import Watchdog
from stylegan_jax.training.build import (
    check_config,
    check_grows,
    make_config_levels,
    make_hyperparameters,
    make_networks,
)
from stylegan_jax.training.phases import Networks
from stylegan_jax.training.programs import compile_programs
from stylegan_jax.training.schedules import Level, find_span, make_spans
from stylegan_jax.training.sharding import (
    make_mesh,
    put_batch,
    put_everywhere,
    replicated,
    shard_state,
    shardings,
)
from stylegan_jax.training.state import TrainState
from stylegan_jax.training.step import restart_optimizers

# Roles of the run's keys, apart from those of the step.
_KEY_INIT, _KEY_STEP, _KEY_GRID, _KEY_METRIC = range(4)
_NUM_KEYS = 4
# Losses in the progress bar, under short names.
_SHOWN = {
    "G": "Loss/G/loss",
    "D": "Loss/D/loss",
    "r1": "Loss/r1_penalty",
    "gp": "Loss/gp_penalty",
    "pl": "Loss/pl_penalty",
}


def train(config: ConfigDict, workdir: str, *, profile: str | None = None) -> TrainState:
    """Trains, or continues, the run in `workdir`.

    Args:
        config: A recipe, see `configs/`.
        workdir: Folder that holds everything the run writes, local or `gs://bucket/folder`.
        profile: Iterations to trace, counted from here, `START:STOP`.

    Returns:
        The last state.

    Raises:
        ValueError: Settings or data that cannot work, before anything is compiled or written.
        RuntimeError: The run has diverged, and going back is wanted and does not help.
    """
    is_first = jax.process_index() == 0
    profiler, diverged = Profiler(workdir, profile, enabled=is_first), None
    with Watchdog(abort_sec=config.health.abort_sec) as watchdog, contextlib.ExitStack() as stack:
        watchdog.beat("opening the workdir")
        if not is_first:  # one process speaks for all
            silence = stack.enter_context(open(os.devnull, "w"))
            stack.enter_context(contextlib.redirect_stdout(silence))
        stack.enter_context(tee_log(workdir, enabled=is_first))
        while True:
            try:
                return _train(config, as_path(workdir), profiler, watchdog, diverged)
            except Diverged as error:
                diverged = error.with_traceback(None)  # which holds the state that is given up
                print(f"ROLLBACK: {diverged}")


def _train(
    config: ConfigDict,
    workdir: epath.Path,
    profiler: Profiler,
    watchdog: Watchdog,
    diverged: Diverged | None,
) -> TrainState:
    """Trains until the end, or until the run diverges; `diverged` says how it did before."""
    is_first, run_start, first_step_sec = jax.process_index() == 0, time.monotonic(), None
    print(config)
    print(f"devices: {jax.device_count()} x {jax.devices()[0].device_kind}")
    watchdog.beat("opening the data")
    with all_or_none("opening the data"):
        source, networks, init, levels = _open(config)
    shape, total_nimg = image_shape(source), round(config.schedule.total_kimg * 1000)
    spans = make_spans(levels, total_nimg)

    # The state: that of the newest checkpoint, or a new one.
    watchdog.beat("reading the checkpoint")
    mesh = make_mesh(**config.mesh)
    everywhere = replicated(mesh)
    abstract_state = shard_state(mesh, jax.eval_shape(init, jax.random.key(0)))
    meta = {"config": config.to_dict(), "data": data_position(config, source)}
    store = CheckpointStore(
        workdir,
        keep_newest=config.io.keep_newest,
        best_metric="swd" if config.metrics.swd_kimg else None,
    )
    restored, health = _restore(config, store, abstract_state, meta, diverged)
    keys = _make_keys(config.seed, health.rollbacks, everywhere)
    watchdog.beat("preparing")
    if restored is None:
        state = jax.jit(init, out_shardings=shardings(abstract_state))(keys[_KEY_INIT])
    else:
        state = restored
    nimg = int(state.nimg)
    print(param_table(state.G, "G"), param_table(state.D, "D"), sep="\n")
    print(f"continuing at {nimg / 1000:.3f} kimg" if restored else "starting a new run")

    labels = put_everywhere(mesh, source.labels.values)
    grid = SampleGrid(config, source, networks, mesh, keys[_KEY_GRID])
    swd = SwdMonitor(config, source, networks, mesh, keys[_KEY_METRIC])
    if is_first:
        (workdir / "config.json").write_text(json.dumps(meta["config"], indent=2))
        save_png(workdir / "reals.png", grid.reals())
    hyper, speed = make_hyperparameters(config), SpeedMeter(config, shape, mesh)
    restart = jax.jit(
        lambda state: restart_optimizers(state, networks),
        donate_argnums=0,
        out_shardings=shardings(abstract_state),
    )

    def every(kimg: float) -> bool:
        """True in the iteration that reaches a multiple of `kimg`, and in the last one."""
        images = kimg * 1000
        return nimg // images > (nimg - level.batch_size) // images or nimg >= total_nimg

    def write_grid(nimg: int) -> None:
        """Puts the sample grid where users look for it."""
        picture = grid.fakes(state, level)
        if is_first:
            name = f"{nimg // 1000:06d}" if config.io.sample_kimg >= 1 else f"{nimg / 1000:010.3f}"
            save_png(workdir / "samples" / f"fakes_{name}.png", picture)
            writer.write_images(nimg, {"fakes": picture})

    def write_growth() -> None:
        """Adds a row to the strip of resolutions, once a level of several is done."""
        if len(levels) > 1:
            row = grid.first_row(state, level)
            if is_first:
                write_growth_row(workdir, level.resolution, row)

    def write_scores(scores: dict[str, float]) -> None:
        """Logs the distance to the reals, and the reals' own beside it."""
        writer.write(nimg, scores)
        health.score(nimg, scores)
        print(
            f"{nimg / 1000:.1f} kimg: swd {scores['swd']:.1f}"
            f" (reals against reals {scores['swd_floor']:.1f})"
        )

    span, programs, batches = find_span(spans, nimg), None, None
    level = span.level
    meter, tick_start, tick_nimg = MeanMeter(), time.monotonic(), nimg
    with (
        contextlib.closing(profiler),
        store,
        PreemptionGuard() as guard,
        MetricWriter(workdir, nimg=nimg if restored else -1, enabled=is_first) as writer,
        ProgressBar(total_nimg, nimg=nimg, enabled=is_first) as bar,
    ):
        if restored is None:
            watchdog.beat("drawing samples", nimg)
            write_grid(0)
            if swd.is_on:
                watchdog.beat("scoring", nimg)
                write_scores(as_first_process(swd.score(state, level)))
        stop = guard.should_stop()
        while nimg < total_nimg and not stop:
            if programs is None or nimg == span.end_nimg:
                span = find_span(spans, nimg)
                if programs is None or span.level != level:
                    level = span.level
                    watchdog.beat("compiling", nimg)
                    start = time.monotonic()
                    with concurrent.futures.ThreadPoolExecutor(max_workers=1) as reader:
                        reading = reader.submit(InputStream, nimg, config, source, level, mesh)
                        programs = compile_programs(
                            *(networks, hyper, level, mesh, abstract_state, shape, labels),
                            announce=describe_compile,
                        )
                    batches = reading.result()
                    wait_for_all(f"compiled {level.resolution} px")
                    speed.begin(level)
                    tick_start += time.monotonic() - start
                if nimg == span.start_nimg > 0:
                    state = restart(state)
            watchdog.beat("training", nimg)
            profiler.step(state)
            with jax.transfer_guard("disallow"):
                batch = put_batch(
                    mesh, next(batches), level.batch_size, networks.packing(level.resolution)
                )
                state, reports = programs.iteration(
                    state, keys[_KEY_STEP], batch, labels, span.iteration(nimg)
                )
                for report in reports:
                    meter.add(report)
            if first_step_sec is None:
                jax.block_until_ready(state.nimg)
                first_step_sec = time.monotonic() - run_start
                print(f"first step done {first_step_sec:.1f} s after the start", flush=True)
            nimg += level.batch_size

            stop = guard.should_stop()
            if every(config.io.tick_kimg):
                watchdog.beat("waiting for the tick's numbers", nimg)
                means = meter.means() | _skipped(state)
                seconds = time.monotonic() - tick_start
                timing = speed.report(nimg - tick_nimg, level, seconds) | batches.report(seconds)
                writer.write(nimg, means | timing | health.tick(nimg, means, level))
                bar.update(nimg, {k: means[v] for k, v in _SHOWN.items() if v in means})
                tick_start, tick_nimg = time.monotonic(), nimg
            if every(config.io.sample_kimg):
                watchdog.beat("drawing samples", nimg)
                write_grid(nimg)
            if nimg >= total_nimg or find_span(spans, nimg).level != level:
                write_growth()
            scores = {}
            if swd.is_on and every(config.metrics.swd_kimg):
                watchdog.beat("scoring", nimg)
                scores = as_first_process(swd.score(state, level))
                write_scores(scores)
            if not stop:
                health.check()
            if stop or every(config.io.checkpoint_kimg):
                watchdog.beat("saving", nimg)
                store.save(state, nimg, meta | health.meta(), scores)
        watchdog.beat("finishing", nimg)
    if nimg < total_nimg:
        done = "stopped and saved" if nimg else "stopped before the first iteration"
        print(f"{done}; the same command continues")
    return state


def _open(config: ConfigDict) -> tuple[ImageSource, Networks, Any, tuple[Level, ...]]:
    """The data, networks that fit it, what makes their first state, and the levels they grow by."""
    check_config(config, jax.device_count())
    source = open_config_source(config)
    print(
        f"data: {source.name}, {len(source)} images of {source.format}, {source.labels.describe()}"
    )
    networks, init = make_networks(config, image_shape(source))
    levels = make_config_levels(config)
    check_grows(networks, init, levels)
    return source, networks, init, levels


def _make_keys(seed: int, rollbacks: int, sharding: jax.sharding.Sharding) -> list[jax.Array]:
    """The run's keys by role; a run that went back needs other noise, or it ends as it did."""

    def make() -> list[jax.Array]:
        keys = [jax.random.fold_in(jax.random.key(seed), i) for i in range(_NUM_KEYS)]
        if rollbacks:
            keys[_KEY_STEP] = jax.random.fold_in(keys[_KEY_STEP], rollbacks)
        return keys

    return jax.jit(make, out_shardings=sharding)()


def _restore(
    config: ConfigDict,
    store: CheckpointStore,
    abstract_state: Any,
    meta: dict[str, Any],
    diverged: Diverged | None,
) -> tuple[TrainState | None, HealthMonitor]:
    """The newest state, or the best one after a divergence, and the watch that goes with it."""
    if diverged is not None and store.roll_back(diverged.healthy_nimg) is None:
        raise RuntimeError(
            f"{diverged} No checkpoint is from before, so there is no way back. Start anew in "
            "another --workdir with what the alarms in log.txt advise, or with a smaller "
            "io.checkpoint_kimg."
        )
    restored = store.restore_latest(abstract_state)
    if restored is None:
        return None, HealthMonitor(config)
    state, saved = restored
    check_same_data(saved["data"], meta["data"])
    health = HealthMonitor(config, saved.get("health"), diverged)
    if diverged is not None:  # so that a run that is killed now knows that it went back
        nimg = int(state.nimg)
        store.save(state, nimg, meta | health.meta(), saved["metrics"], force=True)
    return state, health


def _skipped(state: TrainState) -> dict[str, int]:
    """Updates that were left out so far, per network."""
    return {f"Skipped/{net}": int(n) for net, n in jax.device_get(state.skipped).items()}
