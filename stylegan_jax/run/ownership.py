"""One run per folder: two that write to the same files would lose both."""

import contextlib
import datetime
import json
import os
import pathlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import filelock
from absl import logging
from etils import epath

from stylegan_jax.errors import UserError
from stylegan_jax.files import CloudObject, as_path, is_cloud, naming

# Who owns the folder; beside it, in a local folder, the lock that the system drops with its owner.
OWNER_FILE = ".run.json"
LOCK_FILE = ".run.lock"
# In a bucket an owner says that it lives at these intervals, and is dead after three of silence.
BEAT_SEC = 30.0
_SILENT_BEATS = 3
_POLL_SEC = 1.0


class WorkdirInUseError(UserError, RuntimeError):
    """Another run writes to the folder."""


def wait_for_owner(workdir: epath.PathLike, seconds: float) -> None:
    """Waits until a run has left a local folder, at most for so long; then it is refused there."""
    folder = pathlib.Path(workdir)
    if is_cloud(workdir) or not (folder / LOCK_FILE).exists():
        return
    lock = filelock.FileLock(folder / LOCK_FILE)
    for timeout in (0, seconds):
        try:
            with lock.acquire(timeout=timeout):
                return
        except filelock.Timeout:
            if not timeout:
                print(f"{workdir} is in use: waiting up to {seconds:.0f} s until it is free")
        except NotImplementedError:  # a file system without locks
            return


@contextlib.contextmanager
def own_workdir(workdir: epath.PathLike) -> Iterator[None]:
    """Keeps other runs out of a run's folder, until the block or the process ends.

    The folder of a process that was killed is free at once where the system's locks reach, in a
    bucket when its owner has been silent for a minute and a half.

    Args:
        workdir: Folder of the run, made if missing, local or in a bucket.

    Raises:
        WorkdirInUseError: Another run has it; names host, process and start.
    """
    if is_cloud(workdir):
        with _own_object(CloudObject(as_path(workdir) / OWNER_FILE)):
            yield
        return
    folder = pathlib.Path(workdir)
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / LOCK_FILE)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise WorkdirInUseError(_refusal(workdir, _read(folder / OWNER_FILE))) from None
    except NotImplementedError:  # a file system without locks
        logging.warning("%s has no locks: start no second run there", folder)
    try:
        with naming(folder / OWNER_FILE):
            (folder / OWNER_FILE).write_text(json.dumps(_describe_self()))
        yield
    finally:
        (folder / OWNER_FILE).unlink(missing_ok=True)
        lock.release()


@contextlib.contextmanager
def _own_object(owner: CloudObject) -> Iterator[None]:
    """Owns an object of a bucket, and renews it on a thread as long as the block lasts."""
    me = json.dumps(_describe_self())
    _take(owner, me)
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(BEAT_SEC):
            try:
                if not owner.write(me):
                    logging.error("another run has taken %s: stop one of them", owner)
                    return
            except Exception as error:  # of the network; the next one may come through
                logging.warning("%s could not be renewed: %s", owner, error)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        owner.delete()


def _take(owner: CloudObject, me: str) -> None:
    """Writes the object, once it is clear that no living run has it."""
    first_seen = None
    while True:
        before = owner.read()
        if before is None or not _may_live(before.text, before.age_sec):
            if owner.write(me):
                return
            continue  # somebody was faster: look again
        other = _parse(before.text)
        # A run that is alive renews the object while this one waits.
        if first_seen is None:
            first_seen = before.generation
            wait_sec = _SILENT_BEATS * BEAT_SEC - before.age_sec
            print(f"{_name(other)} may still run here; waiting up to {wait_sec:.0f} s for a sign")
        elif before.generation != first_seen:
            raise WorkdirInUseError(_refusal(owner.path.parent, other))
        time.sleep(_POLL_SEC)


def _may_live(text: str, age_sec: float) -> bool:
    """Tells whether the owner may be alive: it spoke lately, and is not dead on this machine."""
    if age_sec > _SILENT_BEATS * BEAT_SEC:
        return False
    other = _parse(text)
    if other.get("host") != socket.gethostname():
        return True
    try:
        os.kill(int(other["process"]), 0)
    except (ProcessLookupError, KeyError, ValueError):
        return False
    except PermissionError:  # of another user
        pass
    return int(other["process"]) != os.getpid()


def _describe_self() -> dict[str, Any]:
    """Names this process."""
    start = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    return {"host": socket.gethostname(), "process": os.getpid(), "start": start}


def _read(path: pathlib.Path) -> dict[str, Any]:
    """Reads who owns a local folder; empty where it has not said so yet."""
    try:
        return _parse(path.read_text())
    except OSError:
        return {}


def _parse(text: str) -> dict[str, Any]:
    """Reads an owner's description; empty where it is torn."""
    try:
        owner = json.loads(text)
    except ValueError:
        return {}
    return owner if isinstance(owner, dict) else {}


def _name(owner: dict[str, Any]) -> str:
    """Names an owner in a sentence."""
    if not owner:
        return "Another run"
    return (
        f"A run on host {owner.get('host')}, process {owner.get('process')}, started "
        f"{owner.get('start')},"
    )


def _refusal(workdir: epath.PathLike, owner: dict[str, Any]) -> str:
    """Says who has a folder and what to do."""
    return (
        f"{_name(owner)} already writes to {workdir}: wait for it, stop it, or give another "
        "--workdir."
    )
