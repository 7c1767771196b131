"""Joining the processes of a run that has several: pods, Slurm steps, Kubernetes jobs."""

import contextlib
import glob
import importlib.util
import itertools
import os
import sys
import traceback
from collections.abc import Iterator, Mapping

import jax
import numpy as np
from jax.experimental import multihost_utils
from orbax.checkpoint import multihost

# A process that says nothing for so long is taken for dead, and ends the others.
HEARTBEAT_SEC = 60
# Compiling a large level may take hours where the cores are few.
_PATIENCE_MS = 6 * 3600 * 1000
# Whoever fails for the same reason does so within this time.
_SAME_ERROR_MS = 10 * 1000
# Of an error that is told to the other processes.
_MESSAGE_BYTES = 1000
# Names of barriers, counted in step by all processes.
_barriers = itertools.count()
# Jax's service agrees on the number of a poll, and remembers the last one while the process lives.
_polls = itertools.count(1)


def join_processes(
    *,
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    distributed: bool | None = None,
) -> None:
    """Connects this process to the others of its run, if any, before anything is computed.

    Args:
        coordinator: `HOST:PORT` of the first process. With it the two numbers must be given.
        num_processes: How many there are.
        process_id: This one's number, from 0.
        distributed: True: let jax find the others, and fail where it cannot; False: run alone;
            None: look whether this is a Cloud TPU, a Slurm step, an indexed Kubernetes job or an
            Open MPI job.

    Raises:
        ValueError: Some but not all of the first three, or numbers that cannot be.
        RuntimeError: The others cannot be found or reached.
    """
    # Named by hand: all three or none.
    given = [coordinator, num_processes, process_id]
    if any(value is not None for value in given):
        if any(value is None for value in given) or distributed is False:
            raise ValueError(
                f"--coordinator={coordinator} --num_processes={num_processes} "
                f"--process_id={process_id}: give all three, on every process, or none of them."
            )
        assert process_id is not None and num_processes is not None
        if not 0 <= process_id < num_processes:
            raise ValueError(
                f"--process_id={process_id}, wanted 0 to {num_processes - 1} (--num_processes)."
            )
    # Else found by jax, where the environment starts several.
    elif not (is_one_of_several() if distributed is None else distributed):
        return
    try:
        jax.distributed.initialize(
            coordinator, num_processes, process_id, heartbeat_timeout_seconds=HEARTBEAT_SEC
        )
    except ValueError as error:
        raise RuntimeError(
            f"The other processes of this run were not found ({error}). Give --coordinator="
            "HOST:PORT --num_processes=N --process_id=I, or run alone with --nodistributed."
        ) from error
    print(f"process {jax.process_index()} of {jax.process_count()}", flush=True)


def wait_for_all(what: str) -> None:
    """Waits until every process is here, however long that takes: compiling may.

    The first message between devices gives up much sooner.

    Args:
        what: Names the place in the program.
    """
    # The service wants another name each time.
    name = f"{what} ({next(_barriers)})"
    multihost.get_barrier_sync_fn()(key=name, timeout_ms=_PATIENCE_MS)


def any_should_stop() -> bool:
    """Tells whether any process was asked to stop; all must ask equally often."""
    # The service agrees on the next number: they must not have gaps.
    return multihost_utils.reached_preemption_sync_point(next(_polls))


@contextlib.contextmanager
def all_or_none(what: str) -> Iterator[None]:
    """Guards a block that each process does for itself: where one of them fails, all do.

    Args:
        what: What is done in the block, such as "opening the data".

    Raises:
        RuntimeError: Another process failed; says which one, and its error.
    """
    try:
        yield
    except Exception as error:
        _gather(what, f"{type(error).__name__}: {error}")
        raise
    errors = _gather(what, "")
    if errors:
        number, error = next(iter(errors.items()))
        raise RuntimeError(f"Process {number} failed while {what}: {error}")


def _gather(what: str, message: str) -> dict[int, str]:
    """Gathers the messages of all processes that have one, by number."""
    if jax.process_count() == 1:
        return {}
    # However late the last one comes.
    wait_for_all(what)

    # Texts as rows of one array of bytes, filled up with zeros.
    padded = np.zeros(_MESSAGE_BYTES, np.uint8)
    content = np.frombuffer(message.encode()[:_MESSAGE_BYTES], np.uint8)
    padded[: len(content)] = content
    rows = multihost_utils.process_allgather(padded)
    texts = [bytes(row).rstrip(b"\0").decode(errors="replace") for row in rows]
    return {number: text for number, text in enumerate(texts) if text}


def as_first_process(values: Mapping[str, float]) -> dict[str, float]:
    """Returns the numbers that the first process has under the same names, to the last bit.

    What each process computes for itself may differ where their machines do, and what is decided
    by it must not.
    """
    if jax.process_count() == 1:
        return dict(values)
    # As pairs of 32 bits: jax would round 64-bit floats.
    bits = np.array(list(values.values()), np.float64).view(np.uint32)
    first = np.asarray(multihost_utils.broadcast_one_to_all(bits)).view(np.float64)
    return dict(zip(values, first.tolist(), strict=True))


def leave_after_error() -> None:
    """Ends a process that has failed alone, so that the others, which wait for it, end too.

    Call it where an exception would leave the program. Where all processes fail, it returns; else
    an ordinary exit would wait for the others, and they wait for this one. It also returns where
    the devices have failed: mostly since another process is gone, and then jax ends this one with
    a code that says so.
    """
    error = sys.exception()
    if jax.process_count() == 1 or isinstance(error, jax.errors.JaxRuntimeError):
        return
    # Whoever fails alone waits in vain.
    try:
        multihost.get_barrier_sync_fn()(key="failed", timeout_ms=_SAME_ERROR_MS)
    except Exception:
        traceback.print_exception(error)
        print("This process ends alone; the others soon miss it.", file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)


def is_one_of_several() -> bool:
    """Tells whether the environment is one that starts several processes, or a Cloud TPU."""
    env = os.environ
    # Slurm, Open MPI, an indexed job of Kubernetes, a TPU pod or several slices of one.
    return (
        ("SLURM_STEP_NODELIST" in env and int(env.get("SLURM_NTASKS", 1)) > 1)
        or int(env.get("OMPI_COMM_WORLD_SIZE", 1)) > 1
        or ("KUBERNETES_SERVICE_HOST" in env and "JOB_COMPLETION_INDEX" in env)
        or "," in env.get("TPU_WORKER_HOSTNAMES", "")
        or int(env.get("MEGASCALE_NUM_SLICES", 1)) > 1
        or _is_cloud_tpu()
    )


def _is_cloud_tpu() -> bool:
    """Tells whether this machine has TPU chips."""
    chips = glob.glob("/dev/accel*") + glob.glob("/dev/vfio/[0-9]*")
    return bool(chips) and importlib.util.find_spec("libtpu") is not None
