"""A command on several hosts: its processes find each other as training's do, and one speaks."""

import contextlib
import os
from collections.abc import Iterator

import jax
from absl import flags

from stylegan_jax.run.processes import join_processes, leave_after_error


def define_process_flags() -> None:
    """Declares how the processes find each other."""
    flags.DEFINE_string("coordinator", None, "HOST:PORT of the first process.")
    flags.DEFINE_integer("num_processes", None, "Processes of the command.")
    flags.DEFINE_integer("process_id", None, "Number of this process, from 0.")
    text = "Let jax find the other processes; default: on Cloud TPU, Slurm, Kubernetes."
    flags.DEFINE_bool("distributed", None, text)


@contextlib.contextmanager
def joined_processes() -> Iterator[None]:
    """Joins the processes that the flags name or the environment starts; only the first one prints.

    Where one fails alone in the block it ends at once, so that the others, which wait for it, end.

    Raises:
        ValueError: Flags that do not go together, or the other processes are not found.
    """
    FLAGS = flags.FLAGS
    try:
        join_processes(
            coordinator=FLAGS.coordinator,
            num_processes=FLAGS.num_processes,
            process_id=FLAGS.process_id,
            distributed=FLAGS.distributed,
        )
    except RuntimeError as error:
        raise ValueError(str(error)) from error
    with contextlib.ExitStack() as stack:
        if jax.process_index():
            silence = stack.enter_context(open(os.devnull, "w"))
            stack.enter_context(contextlib.redirect_stdout(silence))
        try:
            yield
        except Exception as error:
            leave_after_error()
            # Told of another process's mistake, which is one of options or data as well.
            if type(error) is RuntimeError:
                raise ValueError(str(error)) from error
            raise
