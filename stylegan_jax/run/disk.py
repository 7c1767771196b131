"""A disk on which nothing more can be written: what failed, what is safe, what to do."""

import contextlib
import errno
import os
import pathlib
import re
import shutil
from collections.abc import Iterator

from absl import logging
from etils import epath

from stylegan_jax.errors import UserError
from stylegan_jax.files import is_cloud
from stylegan_jax.run.checkpoint_format import SUBDIRECTORY

# A full disk, a user's share of it, a file larger than the file system or the user may write.
_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# As TensorStore, whose errors have no numbers, ends their texts.
_TENSORSTORE = re.compile(r"os_error_code='(\d+)'")
_CHECKPOINT = re.compile(rf'"([^"]*/{SUBDIRECTORY}/\d+)\.')


class DiskFullError(UserError, OSError):
    """Nothing more can be written to the run's folder."""


@contextlib.contextmanager
def explaining_full_disk(workdir: epath.PathLike) -> Iterator[None]:
    """Turns the errors of a full disk, whoever wrote, into one sentence.

    Args:
        workdir: Folder of the run.

    Raises:
        DiskFullError: The block could not write.
    """
    try:
        yield
    except DiskFullError:
        raise
    except Exception as error:
        number = find_errno(error)
        if number is None or is_cloud(workdir):
            raise
        file = _find_file(error) or "A file of the run"
        what = f"{file} could not be written ({os.strerror(number)})"
        raise DiskFullError(_describe(pathlib.Path(workdir), what)) from None


def find_errno(error: BaseException) -> int | None:
    """Returns the number by which the system said that a disk is full, or None of other errors."""
    cause: BaseException | None = error
    while cause is not None:
        named = _TENSORSTORE.findall(str(cause))
        for number in (getattr(cause, "errno", None), *map(int, named)):
            if number in _ERRNOS:
                return number
        cause = cause.__cause__ or cause.__context__
    return None


def _find_file(error: BaseException) -> str | None:
    """Returns what could not be written, as far as the error tells."""
    # TensorStore names one of many files in the folder of a checkpoint.
    named = _CHECKPOINT.search(str(error))
    return named[1] if named else getattr(error, "filename", None)


def warn_of_little_room(workdir: epath.PathLike, state_bytes: int, keep_newest: int) -> None:
    """Says at the start of a run that its checkpoints will not fit.

    Args:
        workdir: Folder of the run.
        state_bytes: Size of a checkpoint.
        keep_newest: How many are kept besides the best one; another is being written.
    """
    if is_cloud(workdir):
        return
    folder = pathlib.Path(workdir)
    steps = len(_list_steps(folder))
    needed = (keep_newest + 2 - min(steps, keep_newest + 1)) * state_bytes
    free = shutil.disk_usage(folder).free
    if free < needed:
        logging.warning(
            "%s has %s free, but checkpoints will take up to %s more: make room, or lower "
            "io.keep_newest",
            folder,
            describe_bytes(free),
            describe_bytes(needed),
        )


def describe_bytes(count: float) -> str:
    """Writes a size, such as 1.4 GiB."""
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.3g} {unit}"
        count /= 1024
    return f"{count:.3g} GiB"


def _list_steps(workdir: pathlib.Path) -> list[pathlib.Path]:
    """Returns the finished checkpoints, oldest first."""
    folder = workdir / SUBDIRECTORY
    steps = [path for path in folder.glob("*") if path.name.isdecimal()] if folder.exists() else []
    return sorted(steps, key=lambda path: int(path.name))


def _describe(workdir: pathlib.Path, what: str) -> str:
    """Says what is safe and how much room is needed."""
    free = f"{describe_bytes(shutil.disk_usage(workdir).free)} are free"
    steps = _list_steps(workdir)
    if not steps:
        return f"{what}: {free}. No checkpoint is saved yet; make room and start the same command."
    # What a checkpoint takes: the newest, and another of its kind is to be written.
    size = sum(path.stat().st_size for path in steps[-1].rglob("*") if path.is_file())
    return (
        f"{what}: {free}, and a checkpoint takes {describe_bytes(size)}. All is safe up to "
        f"{int(steps[-1].name) / 1000:g} kimg, saved in {steps[-1]}: make room, and the same "
        "command continues from there."
    )
