"""Joining the processes of a run that has several: pods, Slurm steps, Kubernetes jobs."""

import glob
import importlib.util
import os

import jax
from orbax.checkpoint import multihost

# A process that says nothing for so long is taken for dead, and ends the others.
HEARTBEAT_SEC = 60
_PATIENCE_MS = 6 * 3600 * 1000


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
    given = [coordinator, num_processes, process_id]
    if any(value is not None for value in given):
        if any(value is None for value in given) or distributed is False:
            raise ValueError(
                f"--coordinator={coordinator} --num_processes={num_processes} "
                f"--process_id={process_id}: give all three, on every process, or none of them."
            )
        if not 0 <= process_id < num_processes:
            raise ValueError(
                f"--process_id={process_id}, wanted 0 to {num_processes - 1} (--num_processes)."
            )
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
        what: Names the place in the program; another one each time.
    """
    multihost.get_barrier_sync_fn()(key=what, timeout_ms=_PATIENCE_MS)


def is_one_of_several() -> bool:
    """Whether the environment is one that starts several processes, or a Cloud TPU."""
    env = os.environ
    return (
        ("SLURM_STEP_NODELIST" in env and int(env.get("SLURM_NTASKS", 1)) > 1)
        or int(env.get("OMPI_COMM_WORLD_SIZE", 1)) > 1
        or ("KUBERNETES_SERVICE_HOST" in env and "JOB_COMPLETION_INDEX" in env)
        or "," in env.get("TPU_WORKER_HOSTNAMES", "")
        or int(env.get("MEGASCALE_NUM_SLICES", 1)) > 1
        or _is_cloud_tpu()
    )


def _is_cloud_tpu() -> bool:
    """Whether this machine has TPU chips."""
    chips = glob.glob("/dev/accel*") + glob.glob("/dev/vfio/[0-9]*")
    return bool(chips) and importlib.util.find_spec("libtpu") is not None
