"""Saving and resuming a whole run: asynchronous, atomic, verified, pruned."""

import contextlib
import glob
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from etils import epath
from jax.experimental import multihost_utils

from stylegan_jax.run.checkpoint_format import (
    SUBDIRECTORY,
    CorruptCheckpointError,
    PyTree,
    absolute_path,
    best_value,
    check_readable,
    check_same_tree,
    flatten,
    host_copy,
    log_version_changes,
    lowest_step,
    make_record,
    muted_stragglers,
    nest,
    public_meta,
    read_arrays,
    read_record,
    with_sharding,
)

# Linux: where a process finds what it has opened, by number.
_OPEN_FILES = "/proc/self/fd"

# ----------------------------------------------------------------------------------------------
# Folders of steps


def _barrier(name: str) -> None:
    """Waits for the other processes, if there are any."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(f"checkpoint: {name}")


def _all_processes(ok: bool) -> bool:
    """Tells whether every process succeeded, so that all of them fall back or none."""
    if jax.process_count() == 1:
        return ok
    return bool(np.all(multihost_utils.process_allgather(np.asarray(ok))))


def _set_aside(step_dir: epath.Path, suffix: str) -> epath.Path:
    """Renames a step to `<step>.<suffix>`, a name that Orbax neither lists nor deletes."""
    # The same step may have been set aside before: <step>.corrupt, .corrupt2, .corrupt3
    target = step_dir.with_name(f"{step_dir.name}.{suffix}")
    count = 1
    while target.exists():
        count += 1
        target = step_dir.with_name(f"{step_dir.name}.{suffix}{count}")

    # Every process has chosen the name before the first one takes it.
    _barrier(f"named {target.name}")
    if jax.process_index() == 0:
        step_dir.rename(target)
    _barrier(f"renamed {target.name}")
    return target


def _settle_replaced(directory: epath.Path) -> None:
    """Ends replacements: drops the old copy where the new one exists, else puts it back."""
    if jax.process_index() == 0 and directory.exists():
        for old in directory.iterdir():
            if old.suffix != ".replaced":
                continue
            step_dir = old.with_name(old.name.removesuffix(".replaced"))
            # Orbax gives a step its name once it is complete.
            if step_dir.exists():
                old.rmtree()
            else:
                old.rename(step_dir)
    _barrier("settled replacements")


@contextlib.contextmanager
def _without_wildcards(directory: epath.Path) -> Iterator[epath.Path]:
    """Yields a name of a folder that holds none of the letters `*?[`.

    Orbax finds what it has written by a search, in which they stand for others: it would find
    nothing, and commit a checkpoint that cannot be read.
    """
    if glob.escape(os.fspath(directory)) == os.fspath(directory):
        yield directory
        return
    if not os.path.isdir(_OPEN_FILES):
        raise ValueError(f"{directory}: checkpoints cannot be written to a path with any of *?[.")
    directory.mkdir(parents=True, exist_ok=True)
    # What the system calls a folder that is open.
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        yield epath.Path(_OPEN_FILES) / str(descriptor)
    finally:
        os.close(descriptor)


class CheckpointStore:
    """The checkpoints of one run: asynchronous, atomic, verified, pruned.

    Use it as a context manager, or call `close` before the program ends: a save that is still
    being written when the process dies is lost (the steps before it are not). All processes of
    a run must make the same calls.
    """

    def __init__(
        self,
        workdir: epath.PathLike,
        *,
        keep_newest: int = 2,
        best_metric: str | None = None,
    ):
        """Opens or creates `workdir/checkpoints` and removes what killed runs left half-written.

        Args:
            workdir: Directory of the run; a local path or a bucket (gs://...).
            keep_newest: How many of the newest steps to keep, at least 1. Two or more leave
                something to fall back to when the newest is damaged.
            best_metric: Name of the metric, lower is better, whose best step is kept besides;
                `-` before the name of one of which higher is better. Steps without a finite value
                take no part.

        Raises:
            ValueError: `keep_newest` is less than 1.
        """
        if keep_newest < 1:
            raise ValueError(f"keep_newest is {keep_newest}; the newest must be kept: use >= 1")
        self.directory = absolute_path(workdir) / SUBDIRECTORY

        # What decides which steps are kept.
        self._keep_newest = keep_newest
        self._best_metric = best_metric
        self._best_value_by_step: dict[int, float] = {}

        # A killed run may have left a replacement half done, and temporary folders.
        self._replacing = False
        self._written: int | None = None
        _settle_replaced(self.directory)
        self._stack = contextlib.ExitStack()
        self._stack.enter_context(muted_stragglers())
        self._manager = ocp.CheckpointManager(
            self._stack.enter_context(_without_wildcards(self.directory)),
            # It deletes what a kill cut short, and no step: `_prune` looks first at what is new.
            options=ocp.CheckpointManagerOptions(cleanup_tmp_directories=True),
        )

        # Values of the steps that exist.
        for step in self.steps():
            with contextlib.suppress(CorruptCheckpointError):  # reported when it is needed
                record = read_record(self.directory / str(step))
                self._best_value_by_step[step] = best_value(record, best_metric)

    def __enter__(self) -> "CheckpointStore":
        """Returns the store."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Waits for the last save, then closes."""
        # A process that fails alone must not wait for the others' view of what was written.
        if exc_info[0] is not None:
            self._written = None
        self.close()

    def steps(self) -> list[int]:
        """Returns the steps (image counts) that exist or are being written, ascending."""
        return sorted(self._manager.all_steps())

    def save(
        self,
        state: PyTree,
        nimg: int,
        meta: Mapping[str, Any],
        metrics: Mapping[str, float] | None = None,
        force: bool = False,
    ) -> bool:
        """Copies the state to the host and writes it in the background.

        When this returns, `state` may be donated to the next training step. At most one save
        is in flight: the call waits for the one before and raises its error, if it had one.

        Args:
            state: Pytree of arrays.
            nimg: Images seen so far, the name of the step.
            meta: JSON values; must have `config` (dict) and `data` (the data position, dict).
            metrics: Values measured on this state. `best_metric` among them decides which step
                is kept as the best.
            force: Replace an existing step of the same `nimg`. The old one is kept aside until
                the new one is complete.

        Returns:
            True if a save was started, False if `nimg` exists already and `force` is not set.

        Raises:
            ValueError: A newer step exists, or state or meta hold what cannot be stored.
        """
        self.wait()
        nimg = int(nimg)
        steps = self.steps()
        if nimg in steps and not force:
            return False
        if steps and nimg < steps[-1]:
            raise ValueError(
                f"cannot save nimg={nimg} in {self.directory}: the newer step {steps[-1]} exists,"
                " so this one would be pruned as old. Move the newer steps away first."
            )

        # Copies on the host and their record; Orbax cannot hold arrays without elements.
        leaves = {name: host_copy(leaf) for name, leaf in flatten(state).items()}
        record = make_record(leaves, nimg, meta, metrics, self._best_metric)
        stored = nest({name: leaf for name, leaf in leaves.items() if math.prod(leaf.shape)})

        # The old step of this name stays until the new one is complete; `wait` drops it.
        if nimg in steps:
            self._replacing = True
            _set_aside(self.directory / str(nimg), "replaced")
            self._manager.reload()

        self._best_value_by_step[nimg] = best_value(record, self._best_metric)
        self._written = nimg
        self._manager.save(
            nimg,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(stored), meta=ocp.args.JsonSave(record)
            ),
            force=True,  # when to save is the loop's decision
        )
        return True

    def restore_latest(self, abstract_state: PyTree) -> tuple[PyTree, dict[str, Any]] | None:
        """Loads the newest intact checkpoint.

        A damaged one is reported and skipped. Once an older one has been loaded, the damaged
        ones are renamed to `<nimg>.corrupt`, so that training can save these steps again; they
        are never deleted.

        Args:
            abstract_state: The state as arrays or as jax.ShapeDtypeStruct with shardings, which
                may differ from those it was saved with.

        Returns:
            (state, meta), or None if there is no checkpoint. Besides what was saved, `meta`
            holds nimg, metrics, versions and format_version.

        Raises:
            ValueError: The checkpoint has another architecture; nothing is changed.
            CorruptCheckpointError: Every checkpoint is damaged; nothing is changed.
        """
        # Where every leaf goes: sharded as asked, whatever devices it was saved on.
        self.wait()
        wanted = {
            name: with_sharding(leaf.shape, leaf.dtype, getattr(leaf, "sharding", None))
            for name, leaf in flatten(abstract_state).items()
        }

        # From the newest back to the first that is intact.
        damaged: list[epath.Path] = []
        for step in reversed(self.steps()):
            step_dir = self.directory / str(step)
            restored = self._try_restore(step_dir, wanted)
            if restored is None:
                damaged.append(step_dir)
                continue
            arrays, record = restored
            self._retire(damaged, used=step_dir)
            log_version_changes(record, step_dir)
            treedef = jax.tree.structure(abstract_state)
            return jax.tree.unflatten(treedef, arrays.values()), public_meta(record)

        # A new run would hide the loss: the user is to decide.
        if damaged:
            raise CorruptCheckpointError(
                f"all {len(damaged)} checkpoints in {self.directory} are damaged (the log names"
                " each error). Nothing was overwritten or renamed. Put back a copy of one of"
                " them, or start anew in another --workdir."
            )
        return None

    def roll_back(self, last_nimg: int) -> int | None:
        """Makes the best step the newest: those beyond it are renamed to `<nimg>.diverged`.

        Args:
            last_nimg: Steps beyond this one are not to be trusted.

        Returns:
            The step that is the newest now: of those up to `last_nimg` the best, or the newest if
            none has a metric. None, and nothing is changed, if there is no such step.
        """
        # The steps to be trusted, and the best of them.
        self.wait()
        values = {s: self._best_value_by_step.get(s, math.inf) for s in self.steps()}
        trusted = {step: value for step, value in values.items() if step <= last_nimg}
        if not trusted:
            return None
        best = lowest_step(trusted)
        newest = max(trusted) if best is None else best

        # Those after it keep their files under other names.
        for step in (step for step in values if step > newest):
            _set_aside(self.directory / str(step), "diverged")
            self._best_value_by_step.pop(step, None)
        self._manager.reload()
        return newest

    def _try_restore(
        self, step_dir: epath.Path, wanted: Mapping[str, jax.ShapeDtypeStruct]
    ) -> tuple[dict[str, jax.Array], dict[str, Any]] | None:
        """Loads one step; reports and returns None if it is damaged."""
        restored = None
        error = "damaged as another process sees it"
        # Another architecture is no damage: that error leaves this function.
        try:
            record = read_record(step_dir)
            check_same_tree(record, wanted, step_dir)
            restored = read_arrays(step_dir, record, wanted), record
        except CorruptCheckpointError as e:
            error = str(e)
        # Processes read different parts; all of them fall back, or none.
        if _all_processes(restored is not None):
            return restored
        logging.error("checkpoint %s is damaged, trying the one before: %s", step_dir, error)
        return None

    def _retire(self, damaged: Sequence[epath.Path], used: epath.Path) -> None:
        """Sets damaged steps aside and says what is used in their place."""
        # Never deleted: what is damaged may still be mended by hand.
        for step_dir in damaged:
            target = _set_aside(step_dir, "corrupt")
            self._best_value_by_step.pop(int(step_dir.name), None)
            logging.error(
                "resuming from %s instead of %s, which is kept as %s (delete it by hand)",
                used,
                step_dir,
                target.name,
            )
        if damaged:
            self._manager.reload()

    def wait(self) -> None:
        """Blocks until the save in flight is on disk; raises its error, if it had one.

        What it makes superfluous is deleted then, if it can be read back itself.
        """
        complete = False
        written, self._written = self._written, None
        try:
            self._manager.wait_until_finished()
            complete = True
        finally:
            # Whether or not the save succeeded: one of the two copies is whole.
            if self._replacing:
                _settle_replaced(self.directory)
                self._replacing = False
            if not complete:
                self._manager.reload()  # else Orbax believes in the failed step
        if written is not None:
            self._prune(written)

    def _prune(self, written: int) -> None:
        """Deletes what is neither among the newest nor the best, once the last save is readable."""
        step_dir = self.directory / str(written)
        error: Exception | str = "another process could not read it"
        is_damaged = is_unanswered = False
        try:
            check_readable(step_dir)
        except CorruptCheckpointError as e:
            error, is_damaged = e, True
        except OSError as e:  # a network that fails says nothing of what was written
            error, is_unanswered = e, True
        # All processes delete, or none: each looks twice at the answers, whatever its own was.
        is_whole, is_answered = _all_processes(not is_damaged), _all_processes(not is_unanswered)
        if is_whole and not is_answered:
            logging.warning(
                "checkpoint %s could not be read back just now; older ones stay until the next: %s",
                step_dir,
                error,
            )
            return
        if not is_whole:
            target = _set_aside(step_dir, "corrupt")
            self._best_value_by_step.pop(written, None)
            self._manager.reload()
            logging.error(
                "checkpoint %s was written and cannot be read back; it is kept as %s, and no older "
                "one is deleted for it: %s",
                step_dir,
                target.name,
                error,
            )
            return

        # A step without a value, or with NaN, is never the best.
        steps = self.steps()
        best = lowest_step({s: self._best_value_by_step.get(s, math.inf) for s in steps})
        for step in steps[: -self._keep_newest]:
            if step != best:
                self._manager.delete(step)
                self._best_value_by_step.pop(step, None)

    def close(self) -> None:
        """Waits for the save in flight and releases the background threads."""
        with self._stack:
            try:
                self.wait()
            finally:
                self._manager.close()
