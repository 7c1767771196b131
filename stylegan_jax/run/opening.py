"""A run before its first iteration: what never changes, and the state that it begins with."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import jax
from etils import epath
from jax.sharding import Mesh
from ml_collections import ConfigDict

from stylegan_jax.data.sources import ImageSource
from stylegan_jax.errors import in_a_sentence
from stylegan_jax.run.checkpoint import CheckpointStore
from stylegan_jax.run.disk import warn_of_little_room
from stylegan_jax.run.health import Diverged, HealthMonitor
from stylegan_jax.run.input import (
    check_same_data,
    data_position,
    image_shape,
    open_config_source,
    tell_what_is_not_used,
)
from stylegan_jax.run.numerics import (
    check_numerics,
    numeric_environment,
    tell_changes,
    tell_environment,
)
from stylegan_jax.run.preemption import PreemptionGuard
from stylegan_jax.run.processes import all_or_none
from stylegan_jax.run.progress import describe_network, param_table
from stylegan_jax.run.samples import choose_grid
from stylegan_jax.run.scores import Score, best_score, make_scores
from stylegan_jax.run.transfer import StartingNetworks
from stylegan_jax.run.watchdog import Watchdog
from stylegan_jax.sizes import ImageShape
from stylegan_jax.training.build import check_config, check_grows, make_config_levels, make_setup
from stylegan_jax.training.schedules import Level, Span, make_spans
from stylegan_jax.training.setup import Setup
from stylegan_jax.training.sharding import make_mesh, replicated, shard_state, shardings
from stylegan_jax.training.state import TrainState


@dataclasses.dataclass(frozen=True)
class RunKeys:
    """Random keys by what they are for; what they give depends on them and on counters alone."""

    init: jax.Array
    step: jax.Array
    grid: jax.Array
    metric: jax.Array


@dataclasses.dataclass(frozen=True)
class Start:
    """What a run begins, or continues, with.

    Attributes:
        state: The state.
        keys: The run's keys.
        health: The watch over it.
        is_new: Whether there was no checkpoint.
    """

    state: TrainState
    keys: RunKeys
    health: HealthMonitor
    is_new: bool


@dataclasses.dataclass(frozen=True)
class Run:
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


def open_run(
    config: ConfigDict,
    workdir: epath.Path,
    watchdog: Watchdog,
    guard: PreemptionGuard,
    write_log: Callable[[str], None],
) -> Run:
    """Opens the data and builds all that does not change."""
    start_sec = time.monotonic()
    print(f"devices: {jax.device_count()} x {jax.devices()[0].device_kind}")
    tell_environment(numeric_environment())
    watchdog.beat("opening the data")
    # All that can be refused is, on all hosts together, before anything is compiled or written.
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
        mesh = make_mesh(**config.mesh)
        takes_transform = setup.networks.takes_transform
        scores = make_scores(config, source, mesh, takes_transform=takes_transform)
        choose_grid(config)
    return Run(
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
        # Shapes and places alone: what checkpoints are read into, and programs compiled for.
        abstract_state=shard_state(mesh, jax.eval_shape(init, jax.random.key(0))),
        is_first=jax.process_index() == 0,
        start_sec=start_sec,
    )


def find_start(run: Run, store: CheckpointStore, diverged: Diverged | None) -> Start:
    """Reads the newest checkpoint, or makes a new state.

    Args:
        run: The run.
        store: Its checkpoints.
        diverged: How it diverged before; then it goes on from before that.

    Raises:
        RuntimeError: It has diverged, and there is no way back.
        ValueError: The checkpoint is of other data, or `init_from` does not fit.
    """
    # The watchdog is told what is done now, and names it if this hangs.
    run.watchdog.beat("reading the checkpoint")
    with in_a_sentence():
        state, health = _restore(run, store, diverged)
    if run.is_first:
        state_bytes = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(run.abstract_state))
        warn_of_little_room(run.workdir, state_bytes, run.config.io.keep_newest)
    # Randomness comes from these keys and the image counter alone.
    keys = _make_keys(run.config.seed, health.rollbacks, replicated(run.mesh))
    run.watchdog.beat("preparing")
    is_new = state is None
    if state is None:
        # Each device makes its own part: no host holds the whole.
        make = jax.jit(run.init, out_shardings=shardings(run.abstract_state))
        state = make(keys.init)
        if run.config.init_from:
            state = _begin_with_another(run, state)
    for name, params in (("G", state.G), ("D", state.D)):
        print(describe_network(params, f"{name} ({run.config[name].name})"))
        run.write_log(param_table(params, name))
    kimg = int(state.nimg) / 1000
    print("starting a new run" if is_new else f"continuing at {kimg:.3f} kimg")
    return Start(state, keys, health, is_new)


def _restore(
    run: Run, store: CheckpointStore, diverged: Diverged | None
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
        return None, HealthMonitor(run.config, score_name=best_score(run.config))
    state, saved = restored
    check_same_data(saved["data"], run.meta["data"])
    # Checkpoints of before do not say.
    if "environment" in saved:
        tell_changes(saved["environment"], run.meta["environment"])
    health = HealthMonitor(
        *(run.config, saved.get("health"), diverged), score_name=best_score(run.config)
    )
    if diverged is not None:  # so that a run that is killed now knows that it went back
        meta = run.meta | health.meta()
        store.save(state, int(state.nimg), meta, saved["metrics"], force=True)
    return state, health


def _begin_with_another(run: Run, state: TrainState) -> TrainState:
    """Puts the networks of the config's `init_from` in the place of random ones."""
    with all_or_none("reading init_from"), in_a_sentence():
        start = StartingNetworks(run.config, run.shape)
    state = start.fit(state, run.mesh)
    print(start.describe())
    run.write_log(start.table())
    if run.is_first:
        start.write(run.workdir)
    return state


def _make_keys(seed: int, rollbacks: int, sharding: jax.sharding.Sharding) -> RunKeys:
    """Makes the run's keys; after going back it needs other noise, or it ends as before."""

    def make() -> tuple[jax.Array, ...]:
        root = jax.random.key(seed)
        # Numbers of the roles never change: a run that is continued draws what it would have drawn.
        init, step, grid, metric = (jax.random.fold_in(root, role) for role in range(4))
        if rollbacks:
            step = jax.random.fold_in(step, rollbacks)
        return init, step, grid, metric

    return RunKeys(*jax.jit(make, out_shardings=sharding)())
