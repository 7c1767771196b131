"""The training loop, top to bottom: next batch, steps, and what is written at its intervals."""

import concurrent.futures
import contextlib
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
from ml_collections import ConfigDict

from stylegan_jax.files import as_path
from stylegan_jax.run.checkpoint import CheckpointStore
from stylegan_jax.run.disk import explaining_full_disk
from stylegan_jax.run.health import Diverged
from stylegan_jax.run.input import InputStream, make_constants
from stylegan_jax.run.opening import Run, find_start, open_run
from stylegan_jax.run.outputs import Outputs
from stylegan_jax.run.ownership import own_workdir
from stylegan_jax.run.preemption import PreemptionGuard
from stylegan_jax.run.processes import all_or_none, any_should_stop, wait_for_all
from stylegan_jax.run.profiling import Profiler
from stylegan_jax.run.progress import announce_compile, tee_log, tell_reasons
from stylegan_jax.run.scores import best_score
from stylegan_jax.run.watchdog import Watchdog
from stylegan_jax.sizes import name_size
from stylegan_jax.training.inputs import Constants
from stylegan_jax.training.programs import compile_steps, run_iteration
from stylegan_jax.training.schedules import Level, Span, spans_from
from stylegan_jax.training.sharding import put_batch, shardings
from stylegan_jax.training.state import TrainState
from stylegan_jax.training.step import Step, restart_optimizers


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
        tell_reasons(config, overrides or {})
        # A run that diverges starts again from its best checkpoint.
        while True:
            try:
                # Within the log, which shall have the sentence and not the trace.
                with explaining_full_disk(workdir):
                    run = open_run(config, as_path(workdir), watchdog, guard, write_log)
                    return _train(run, profiler, diverged)
            except Diverged as error:
                diverged = error.with_traceback(None)  # which holds the state that is given up
                print(f"ROLLBACK: {diverged}")
            except SystemExit:  # of the guard
                print("stopped with nothing to save; the same command continues")
                raise


def _train(run: Run, profiler: Profiler, diverged: Diverged | None) -> TrainState:
    """Trains until the end, or until the run diverges; `diverged` says how it did before."""
    config, watchdog, guard, mesh = run.config, run.watchdog, run.guard, run.mesh
    guard.is_saved = True
    store = CheckpointStore(
        run.workdir, keep_newest=config.io.keep_newest, best_metric=best_score(config)
    )
    start = find_start(run, store, diverged)
    state, health = start.state, start.health
    nimg = int(state.nimg)
    constants = make_constants(run.source, mesh)
    spans = run.spans
    compiled: Level | None = None
    with contextlib.closing(profiler), store, Outputs(run, start) as outputs:
        # A picture within the first minute, and scores to compare with.
        if start.is_new:
            outputs.draw(state, spans[0].level, nimg)
            values = outputs.score(state, spans[0].level, nimg)
        is_first_step = True
        stop = guard.should_stop() or bool(health.is_spent(nimg))
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
                compile_start_sec = time.monotonic()
                steps, batches = _compile(run, level, nimg, constants)
                wait_for_all(f"compiled {name_size(run.setup.at(level).size)} px")
                outputs.begin(level, time.monotonic() - compile_start_sec)
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
                        steps, state, start.keys.step, batch, constants, index
                    )
                    for report in reports:
                        outputs.add(report)
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
                    outputs.tick(state, level, nimg, batches)
                if is_due(config.io.sample_kimg):
                    outputs.draw(state, level, nimg)
                if len(run.levels) > 1 and _is_level_done(spans, span, nimg):
                    outputs.draw_row(state, level)
                values = {}
                if run.scores and is_due(config.metrics.kimg):
                    values = outputs.score(state, level, nimg)
                if not stop:
                    health.check()
                stop = stop or bool(health.is_spent(nimg))
                if stop or is_due(config.io.checkpoint_kimg):
                    watchdog.beat("saving", nimg)
                    store.save(state, nimg, run.meta | health.meta(), values)
        watchdog.beat("finishing", nimg)
    if spent := health.is_spent(nimg):
        print(f"ended: {spent}")
    elif nimg < run.total_nimg:
        done = "stopped and saved" if nimg else "stopped before the first iteration"
        print(f"{done}; the same command continues")
    return state


def _compile(
    run: Run, level: Level, nimg: int, constants: Constants
) -> tuple[tuple[Step, ...], InputStream]:
    """Compiles a level's steps, and reads its first batch meanwhile."""
    setup = run.setup.at(level)
    with concurrent.futures.ThreadPoolExecutor(max_workers=1) as reader:
        reading = reader.submit(InputStream, nimg, run.config, run.source, level, run.mesh)
        steps = compile_steps(
            setup, run.mesh, run.abstract_state, run.shape, constants, announce=announce_compile
        )
    return steps, reading.result()


def _restart(run: Run, state: TrainState) -> TrainState:
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
