"""The training loop, top to bottom: next batch, steps, and what is written at its intervals."""

import concurrent.futures
import contextlib
import dataclasses
import functools
import json
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
from etils import epath
from jax.sharding import Mesh
from ml_collections import ConfigDict

from stylegan_jax.data.sources import ImageSource
from stylegan_jax.errors import in_a_sentence
from stylegan_jax.files import as_path, replacing
from stylegan_jax.run.checkpoint import CheckpointStore
from stylegan_jax.run.disk import explaining_full_disk, warn_of_little_room
from stylegan_jax.run.health import Diverged, HealthMonitor
from stylegan_jax.run.images import save_png
from stylegan_jax.run.input import (
    InputStream,
    check_same_data,
    data_position,
    image_shape,
    make_constants,
    open_config_source,
    tell_what_is_not_used,
)
from stylegan_jax.run.meters import MeanMeter, MetricWriter
from stylegan_jax.run.numerics import (
    check_numerics,
    numeric_environment,
    tell_changes,
    tell_environment,
)
from stylegan_jax.run.ownership import own_workdir
from stylegan_jax.run.preemption import PreemptionGuard
from stylegan_jax.run.processes import all_or_none, any_should_stop, wait_for_all
from stylegan_jax.run.profiling import Profiler
from stylegan_jax.run.progress import (
    ProgressBar,
    announce_compile,
    describe_network,
    param_table,
    tee_log,
)
from stylegan_jax.run.samples import SampleGrid, choose_grid, write_growth_row
from stylegan_jax.run.scores import Score, best_score, make_draw, make_scores, take_scores
from stylegan_jax.run.speed import SpeedMeter
from stylegan_jax.run.transfer import Origin
from stylegan_jax.run.watchdog import Watchdog
from stylegan_jax.sizes import ImageShape, name_size
from stylegan_jax.training.build import (
    check_config,
    check_grows,
    make_config_levels,
    make_setup,
)
from stylegan_jax.training.inputs import Constants
from stylegan_jax.training.programs import compile_steps, run_iteration
from stylegan_jax.training.schedules import Level, Span, make_spans, spans_from
from stylegan_jax.training.setup import Setup
from stylegan_jax.training.sharding import (
    make_mesh,
    put_batch,
    replicated,
    shard_state,
    shardings,
)
from stylegan_jax.training.state import TrainState
from stylegan_jax.training.step import Step, restart_optimizers

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


def train(
    config: ConfigDict,
    workdir: str,
    *,
    profile: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    guard: PreemptionGuard | None = None,
) -> TrainState:
    """Trains, or continues, the run in `workdir`.

    Args:
        config: A recipe, see `configs/`.
        workdir: Folder that holds everything the run writes, local or `gs://bucket/folder`.
        profile: Iterations to trace, counted from here, `START:STOP`.
        overrides: Settings that differ from the recipe's own, to be shown.
        guard: Listens for signals already; None: one that does so until this returns.

    Returns:
        The last state.

    Raises:
        ValueError: Settings or data that cannot work, before anything is compiled or written.
        WorkdirInUseError: Another run writes to `workdir`.
        DiskFullError: There is no room in `workdir`.
        RuntimeError: The run has diverged, and going back is wanted and does not help.
    """
    # What outlives going back: profile, watchdog, log.
    is_first = jax.process_index() == 0
    profiler = Profiler(workdir, profile, enabled=is_first)
    diverged = None
    with (
        explaining_full_disk(workdir),
        Watchdog(abort_sec=config.health.abort_sec) as watchdog,
        contextlib.ExitStack() as stack,
    ):
        watchdog.beat("opening the workdir")
        if guard is None:
            guard = PreemptionGuard()
            if jax.process_count() > 1:
                guard.share(any_should_stop)
            stack.enter_context(guard)
        if not is_first:  # one process speaks for all
            silence = stack.enter_context(open(os.devnull, "w"))
            stack.enter_context(contextlib.redirect_stdout(silence))
        # Before the log is opened: it is another run's while that one lives.
        with all_or_none("opening the workdir"):
            if is_first:
                stack.enter_context(own_workdir(workdir))
        write_log = stack.enter_context(tee_log(workdir, enabled=is_first))
        write_log(str(config))
        if overrides:
            print("settings:", ", ".join(f"{key}={value}" for key, value in overrides.items()))
        # A run that diverges starts again from its best checkpoint.
        while True:
            try:
                # Within the log, which shall have the sentence and not the trace.
                with explaining_full_disk(workdir):
                    run = _open(config, as_path(workdir), watchdog, guard, write_log)
                    return _train(run, profiler, diverged)
            except Diverged as error:
                diverged = error.with_traceback(None)  # which holds the state that is given up
                print(f"ROLLBACK: {diverged}")
            except SystemExit:  # of the guard
                print("stopped with nothing to save; the same command continues")
                raise


@dataclasses.dataclass(frozen=True)
class _Run:
    """What a run is, from its first iteration to its last."""

    config: ConfigDict
    workdir: epath.Path
    watchdog: Watchdog
    guard: PreemptionGuard
    write_log: Callable[[str], None]
    source: ImageSource
    shape: ImageShape
    setup: Setup  # at the first level
    init: Callable[[jax.Array], TrainState]
    levels: tuple[Level, ...]
    spans: tuple[Span, ...]
    scores: tuple[Score, ...]
    total_nimg: int
    mesh: Mesh
    abstract_state: TrainState
    is_first: bool
    start_sec: float  # on the monotonic clock

    @property
    def meta(self) -> dict[str, Any]:
        """What a checkpoint holds besides the state."""
        data = data_position(self.config, self.source)
        environment = numeric_environment()
        return {"config": self.config.to_dict(), "data": data, "environment": environment}


def _open(
    config: ConfigDict,
    workdir: epath.Path,
    watchdog: Watchdog,
    guard: PreemptionGuard,
    write_log: Callable[[str], None],
) -> _Run:
    """Opens the data and builds all that does not change."""
    start_sec = time.monotonic()
    print(f"devices: {jax.device_count()} x {jax.devices()[0].device_kind}")
    tell_environment(numeric_environment())
    watchdog.beat("opening the data")
    with all_or_none("opening the data"), in_a_sentence():
        check_numerics()
        check_config(config, jax.device_count())
        source = open_config_source(config)
        found = f"{len(source)} images of {source.format}, {source.labels.describe()}"
        print(f"data: {source.name}, {found}")
        tell_what_is_not_used(source)
        shape = image_shape(source)
        setup, init = make_setup(config, shape)
        levels = make_config_levels(config)
        check_grows(setup, init, levels)
        total_nimg = round(config.schedule.total_kimg * 1000)
        spans = make_spans(levels, total_nimg)
        scores = make_scores(config, source)
        choose_grid(config)
    mesh = make_mesh(**config.mesh)
    return _Run(
        config=config,
        workdir=workdir,
        watchdog=watchdog,
        guard=guard,
        write_log=write_log,
        source=source,
        shape=shape,
        setup=setup,
        init=init,
        levels=levels,
        scores=scores,
        spans=spans,
        total_nimg=total_nimg,
        mesh=mesh,
        abstract_state=shard_state(mesh, jax.eval_shape(init, jax.random.key(0))),
        is_first=jax.process_index() == 0,
        start_sec=start_sec,
    )


def _train(run: _Run, profiler: Profiler, diverged: Diverged | None) -> TrainState:
    """Trains until the end, or until the run diverges; `diverged` says how it did before."""
    config, watchdog, guard, mesh = run.config, run.watchdog, run.guard, run.mesh
    guard.is_saved = True

    # ------------------------------------------------------------------------------------------
    # The state: that of the newest checkpoint, or a new one.
    watchdog.beat("reading the checkpoint")
    store = CheckpointStore(
        run.workdir,
        keep_newest=config.io.keep_newest,
        best_metric=best_score(config),
    )
    with in_a_sentence():
        restored, health = _restore(run, store, diverged)
    if run.is_first:
        state_bytes = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(run.abstract_state))
        warn_of_little_room(run.workdir, state_bytes, config.io.keep_newest)
    # Randomness comes from these keys and the image counter alone.
    keys = _make_keys(config.seed, health.rollbacks, replicated(mesh))
    watchdog.beat("preparing")
    state = restored
    if state is None:
        make = jax.jit(run.init, out_shardings=shardings(run.abstract_state))
        state = make(keys[_KEY_INIT])
        if config.init_from:
            state = _begin_with_another(run, state)
    nimg = int(state.nimg)
    for name, params in (("G", state.G), ("D", state.D)):
        print(describe_network(params, f"{name} ({config[name].name})"))
        run.write_log(param_table(params, name))
    print("starting a new run" if restored is None else f"continuing at {nimg / 1000:.3f} kimg")

    # ------------------------------------------------------------------------------------------
    # Instruments
    constants = make_constants(run.source, mesh)
    grid = SampleGrid(config, run.source, run.setup.networks, mesh, keys[_KEY_GRID])
    score = functools.partial(
        take_scores, run.scores, key=keys[_KEY_METRIC], announce=watchdog.beat
    )
    draw_from = make_draw(run.source, run.setup.networks, mesh, keys[_KEY_METRIC])
    speed = SpeedMeter(config, run.shape, mesh)
    if run.is_first:
        kept = run.meta["config"] | {"environment": run.meta["environment"]}
        with replacing(run.workdir / "config.json") as file:
            file.write_text(json.dumps(kept, indent=2))
        save_png(run.workdir / "reals.png", grid.reals(), text=grid.text)

    # ------------------------------------------------------------------------------------------
    # The loop
    spans = run.spans
    compiled: Level | None = None
    first_nimg = nimg if restored is not None else -1
    with (
        contextlib.closing(profiler),
        store,
        MetricWriter(run.workdir, nimg=first_nimg, enabled=run.is_first) as writer,
        ProgressBar(run.total_nimg, nimg=nimg, enabled=run.is_first) as bar,
    ):
        # A picture within the first minute, and scores to compare with.
        if restored is None:
            watchdog.beat("drawing samples", nimg)
            _write_grid(run, writer, grid, state, spans[0].level)
            draw = draw_from(state, spans[0].level)
            values = score(draw, nimg, is_due=lambda _: True)
            _write_scores(writer, health, nimg, values)
        is_first_step = True
        meter = MeanMeter()
        stop = guard.should_stop()
        tick_start, tick_nimg = time.monotonic(), nimg
        # From one end of a fade to the next: the same programs, until the resolution changes.
        for span in spans_from(spans, nimg) if nimg < run.total_nimg else ():
            if stop:
                break
            level = span.level
            if level != compiled:
                # A signal does not wait for a compiler: it finds everything saved.
                if compiled is not None:
                    watchdog.beat("saving", nimg)
                    store.save(state, nimg, run.meta | health.meta(), values)
                    store.wait()
                    guard.is_saved = True
                compiled = level
                watchdog.beat("compiling", nimg)
                compile_start = time.monotonic()
                steps, batches = _compile(run, level, nimg, constants)
                wait_for_all(f"compiled {name_size(run.setup.at(level).size)} px")
                speed.begin(level)
                # Compiling is not training: images per second leave it out.
                tick_start += time.monotonic() - compile_start
            if nimg == span.start_nimg > 0:
                state = _restart(run, state)
            while nimg < span.end_nimg and not stop:
                # One iteration.
                watchdog.beat("training", nimg)
                guard.is_saved = False
                profiler.step(state)
                # Nothing crosses to the host here, or the devices would wait for it.
                with jax.transfer_guard("disallow"):
                    batch = put_batch(
                        mesh, next(batches), level.batch_size, run.setup.at(level).packing
                    )
                    index = span.iteration(nimg)
                    state, reports = run_iteration(
                        steps, state, keys[_KEY_STEP], batch, constants, index
                    )
                    for report in reports:
                        meter.add(report)
                if is_first_step:
                    is_first_step = False
                    jax.block_until_ready(state.nimg)
                    seconds = time.monotonic() - run.start_sec
                    print(f"first step done {seconds:.1f} s after the start", flush=True)
                nimg += level.batch_size
                stop = guard.should_stop()
                is_due = _intervals(nimg, level, run.total_nimg)

                # What is written now and then.
                if is_due(config.io.tick_kimg):
                    watchdog.beat("waiting for the tick's numbers", nimg)
                    means = meter.means() | _skipped(state)
                    seconds = time.monotonic() - tick_start
                    timing = speed.report(nimg - tick_nimg, level, seconds)
                    timing |= batches.report(seconds)
                    writer.write(nimg, means | timing | health.tick(nimg, means, level))
                    bar.update(nimg, {k: means[v] for k, v in _SHOWN.items() if v in means})
                    tick_start, tick_nimg = time.monotonic(), nimg
                if is_due(config.io.sample_kimg):
                    watchdog.beat("drawing samples", nimg)
                    _write_grid(run, writer, grid, state, level)
                if len(run.levels) > 1 and _is_level_done(spans, span, nimg):
                    row = grid.first_row(state, level)
                    if run.is_first:
                        base_grid = run.shape.base_grid
                        write_growth_row(run.workdir, level.resolution, row, base_grid)
                draw = draw_from(state, level)
                values = score(draw, nimg, is_due=is_due)
                _write_scores(writer, health, nimg, values)
                if not stop:
                    health.check()
                if stop or is_due(config.io.checkpoint_kimg):
                    watchdog.beat("saving", nimg)
                    store.save(state, nimg, run.meta | health.meta(), values)
        watchdog.beat("finishing", nimg)
    if nimg < run.total_nimg:
        done = "stopped and saved" if nimg else "stopped before the first iteration"
        print(f"{done}; the same command continues")
    return state


def _restore(
    run: _Run, store: CheckpointStore, diverged: Diverged | None
) -> tuple[TrainState | None, HealthMonitor]:
    """Loads the newest state, or the best one after a divergence, and the watch over it."""
    if diverged is not None and store.roll_back(diverged.healthy_nimg) is None:
        raise RuntimeError(
            f"{diverged} No checkpoint is from before, so there is no way back. Start anew in "
            "another --workdir with what the alarms in log.txt advise, or with a smaller "
            "io.checkpoint_kimg."
        )
    restored = store.restore_latest(run.abstract_state)
    if restored is None:
        return None, HealthMonitor(run.config)
    state, saved = restored
    check_same_data(saved["data"], run.meta["data"])
    # Checkpoints of before do not say.
    if "environment" in saved:
        tell_changes(saved["environment"], run.meta["environment"])
    health = HealthMonitor(run.config, saved.get("health"), diverged)
    if diverged is not None:  # so that a run that is killed now knows that it went back
        meta = run.meta | health.meta()
        store.save(state, int(state.nimg), meta, saved["metrics"], force=True)
    return state, health


def _begin_with_another(run: _Run, state: TrainState) -> TrainState:
    """Puts the networks of the config's `init_from` in the place of random ones."""
    with all_or_none("reading init_from"), in_a_sentence():
        origin = Origin(run.config, run.shape)
    state = origin.fit(state, run.mesh)
    print(origin.describe())
    run.write_log(origin.table())
    if run.is_first:
        origin.write(run.workdir)
    return state


def _make_keys(seed: int, rollbacks: int, sharding: jax.sharding.Sharding) -> list[jax.Array]:
    """Makes the run's keys by role; after going back it needs other noise, or it ends as before."""

    def make() -> list[jax.Array]:
        keys = [jax.random.fold_in(jax.random.key(seed), i) for i in range(_NUM_KEYS)]
        if rollbacks:
            keys[_KEY_STEP] = jax.random.fold_in(keys[_KEY_STEP], rollbacks)
        return keys

    return jax.jit(make, out_shardings=sharding)()


def _compile(
    run: _Run, level: Level, nimg: int, constants: Constants
) -> tuple[tuple[Step, ...], InputStream]:
    """Compiles a level's steps, and reads its first batch meanwhile."""
    setup = run.setup.at(level)
    with concurrent.futures.ThreadPoolExecutor(max_workers=1) as reader:
        reading = reader.submit(InputStream, nimg, run.config, run.source, level, run.mesh)
        steps = compile_steps(
            setup, run.mesh, run.abstract_state, run.shape, constants, announce=announce_compile
        )
    return steps, reading.result()


def _restart(run: _Run, state: TrainState) -> TrainState:
    """Restarts the optimisers where a fade begins or ends, as the authors' schedule does."""
    restart = jax.jit(
        lambda state: restart_optimizers(state, run.setup),
        donate_argnums=0,
        out_shardings=shardings(run.abstract_state),
    )
    return restart(state)


def _intervals(nimg: int, level: Level, total_nimg: int) -> Callable[[float], bool]:
    """Tells whether the iteration that led to `nimg` reached a multiple of so many kimg.

    The last iteration of a run reaches everything.
    """

    def is_due(kimg: float) -> bool:
        images = kimg * 1000
        return nimg // images > (nimg - level.batch_size) // images or nimg >= total_nimg

    return is_due


def _is_level_done(spans: tuple[Span, ...], span: Span, nimg: int) -> bool:
    """Tells whether the networks grow after this iteration, or the run ends."""
    following = spans[spans.index(span) + 1 :]
    return nimg >= span.end_nimg and (not following or following[0].level != span.level)


def _write_grid(
    run: _Run, writer: MetricWriter, grid: SampleGrid, state: TrainState, level: Level
) -> None:
    """Puts the sample grid where users look for it."""
    picture = grid.fakes(state, level)
    if not run.is_first:
        return
    nimg = int(state.nimg)
    is_whole = run.config.io.sample_kimg >= 1
    name = f"{nimg // 1000:06d}" if is_whole else f"{nimg / 1000:010.3f}"
    save_png(run.workdir / "samples" / f"fakes_{name}.png", picture, text=grid.text)
    writer.write_images(nimg, {"fakes": picture})


def _write_scores(
    writer: MetricWriter, health: HealthMonitor, nimg: int, values: dict[str, float]
) -> None:
    """Logs the scores that were taken, if any."""
    if values:
        writer.write(nimg, values)
        health.score(nimg, values)


def _skipped(state: TrainState) -> dict[str, int]:
    """Counts the updates that were left out so far, per network."""
    return {f"Skipped/{net}": int(n) for net, n in jax.device_get(state.skipped).items()}
