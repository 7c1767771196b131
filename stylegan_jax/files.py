"""Where a run's files go: local folders, and Google Cloud Storage (`gs://bucket/folder`).

A bucket holds objects that are written as wholes: none is ever seen half-written, and none can be
appended to. Files that grow are therefore kept in a local `Mirror`, which is sent now and then.
"""

import contextlib
import functools
import glob
import importlib.util
import os
import pathlib
import re
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple

from absl import logging
from etils import epath

# Between two looks for files that have changed.
SEND_INTERVAL_SEC = 30.0

_CLOUD = "gs://"
# Longest wait for a bucket to answer.
_CONNECT_SEC = 30


def is_cloud(path: epath.PathLike) -> bool:
    """Tells whether a path lies in a bucket."""
    return os.fspath(path).startswith(_CLOUD)


def as_path(path: epath.PathLike) -> epath.Path:
    """Reads a path as the user gave it, local or `gs://bucket/...`.

    Raises:
        ValueError: Another scheme, no bucket, letters that stand for others, or the packages for
            buckets are missing.
        OSError: The bucket does not exist, cannot be reached or must not be read.
    """
    # "C:/" is a path of Windows; two letters or more before the colon are a scheme.
    text = os.fspath(path)
    if re.match(r"\w{2,}:/", text) and not re.match(rf"{_CLOUD}[^/]", text):
        raise ValueError(
            f"{text!r} is neither a local path nor in a bucket that can be read: give a folder of "
            f"this machine, or {_CLOUD}BUCKET/FOLDER."
        )
    if is_cloud(text):
        # What lists and finds objects takes these letters for wildcards.
        if glob.has_magic(text):
            raise ValueError(f"{text}: choose a path without the letters *, ? and [ in a bucket.")
        _check_bucket(text.removeprefix(_CLOUD).partition("/")[0])
    return epath.Path(text)


@functools.cache
def _check_bucket(name: str) -> None:
    """Asks for a bucket as Orbax does before it lists checkpoints, with errors that say more."""
    if importlib.util.find_spec("gcsfs") is None:
        raise ValueError(f"{_CLOUD}{name} needs gcsfs: pip install -e '.[gcs]'")
    import fsspec.config
    from google.api_core import exceptions
    from google.auth.exceptions import DefaultCredentialsError, RefreshError
    from google.cloud import storage
    from google.cloud.storage.retry import DEFAULT_RETRY

    # By default listings are kept for ever, and what TensorStore or another process writes into
    # a listed folder stays unseen.
    fsspec.config.conf.setdefault("gs", {}).setdefault("use_listings_cache", False)

    # Each way to fail has a remedy of its own.
    retry = DEFAULT_RETRY.with_timeout(_CONNECT_SEC)
    try:
        storage.Client().get_bucket(name, timeout=_CONNECT_SEC, retry=retry)
    except exceptions.NotFound as error:
        raise FileNotFoundError(
            f"There is no bucket {_CLOUD}{name}: create it, or correct the name."
        ) from error
    except (
        exceptions.Forbidden,
        exceptions.Unauthorized,
        DefaultCredentialsError,
        RefreshError,
    ) as error:
        raise PermissionError(
            f"{_CLOUD}{name} must not be used with these credentials. Sign in with `gcloud auth "
            "application-default login`, or let GOOGLE_APPLICATION_CREDENTIALS name the key file "
            "of a service account that may get the bucket and read, write, list and delete its "
            f"objects (roles/storage.objectUser and roles/storage.legacyBucketReader). {error}"
        ) from error
    except Exception as error:
        raise ConnectionError(f"{_CLOUD}{name} cannot be used: {error}") from error


@contextlib.contextmanager
def naming(path: epath.PathLike) -> Iterator[None]:
    """Names the file in errors of writing, where the system names it only in those of opening."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = os.fspath(path)
        raise


@contextlib.contextmanager
def replacing(path: epath.PathLike) -> Iterator[pathlib.Path]:
    """Yields a local file to fill; it becomes `path` if the block ends without an error.

    A killed run leaves either the whole new file or what was there before. Missing folders are
    made.
    """
    # An object of a bucket appears as a whole.
    if is_cloud(path):
        with tempfile.TemporaryDirectory() as folder:
            whole = pathlib.Path(folder) / "whole"
            yield whole
            epath.Path(path).write_bytes(whole.read_bytes())
        return

    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Renaming within one folder is atomic; a random number keeps two writers apart, who may be on
    # two hosts and have the same process number.
    partial = path.with_name(f".{path.name}.{secrets.randbelow(10**9)}.partial")
    try:
        with naming(path):
            yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


class CloudText(NamedTuple):
    """What an object of a bucket holds, which writing that was, and how long ago."""

    text: str
    generation: int
    age_sec: float


class CloudObject:
    """A small object of a bucket that several processes may want to own.

    `write` replaces what `read` or `write` last saw, and nothing newer.
    """

    def __init__(self, path: epath.Path):
        """Names the object; nothing is read yet."""
        from google.cloud import storage

        self.path = path
        bucket, _, self._name = os.fspath(path).removeprefix(_CLOUD).partition("/")
        self._bucket = storage.Client().bucket(bucket)
        self._generation = 0  # what a bucket calls an object that is not there

    def read(self) -> CloudText | None:
        """Returns what it holds, or None where there is no such object."""
        from google.api_core import exceptions

        # A blob remembers its generation, and then asks for no other: a new one each time.
        while (blob := self._bucket.get_blob(self._name)) is not None:
            try:
                text = blob.download_as_text(if_generation_match=blob.generation)
            except (exceptions.NotFound, exceptions.PreconditionFailed):
                continue  # replaced in between
            # Both are there in every answer; the library leaves them out only of blobs never read.
            assert blob.generation is not None and blob.updated is not None
            self._generation = blob.generation
            return CloudText(text, blob.generation, time.time() - blob.updated.timestamp())
        self._generation = 0
        return None

    def write(self, text: str) -> bool:
        """Replaces what was seen; False where somebody else has written since."""
        from google.api_core import exceptions

        blob = self._bucket.blob(self._name)
        try:
            blob.upload_from_string(text, if_generation_match=self._generation)
        except exceptions.PreconditionFailed:
            return False
        self._generation = blob.generation
        return True

    def delete(self) -> None:
        """Removes what was written, if nobody else has written since."""
        from google.api_core import exceptions

        with contextlib.suppress(exceptions.NotFound, exceptions.PreconditionFailed):
            self._bucket.blob(self._name).delete(if_generation_match=self._generation)

    def __repr__(self) -> str:
        """Returns its address."""
        return os.fspath(self.path)


class Mirror:
    """A local folder for files that grow; they appear in the run's folder.

    A local run's folder is its own mirror. That of a bucket is a temporary folder: files that have
    changed are sent as wholes every `SEND_INTERVAL_SEC` on a thread, and when the mirror is closed,
    be it by an exception. `kill -9` loses what was written since they were last sent.

    Attributes:
        folder: Where to write. Names that begin with a dot are never sent.
        is_cloud: Whether the run's folder is in a bucket.
    """

    def __init__(self, workdir: epath.PathLike, *names: str):
        """Opens the folder, made if missing.

        Args:
            workdir: Folder of the run.
            names: Files that continue where those in the bucket end. They are sent at once, so that
                a bucket that refuses them is found before anything is compiled.

        Raises:
            ValueError: See `as_path`.
            OSError: See `as_path`.
        """
        self._target = as_path(workdir)
        self.is_cloud = is_cloud(workdir)
        if not self.is_cloud:
            self.folder = pathlib.Path(workdir)
            self.folder.mkdir(parents=True, exist_ok=True)
            return

        # Files that have been sent, by time and size, and those that will not change again.
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="stylegan_jax_"))
        self._sent: dict[str, tuple[int, int]] = {}
        self._finished: set[pathlib.Path] = set()
        # What a run continues is brought here; sending it back shows whether that is allowed.
        try:
            for name in names:
                there = self._target / name
                (self.folder / name).write_bytes(there.read_bytes() if there.exists() else b"")
            self._send()
        except Exception as error:
            shutil.rmtree(self.folder)
            raise OSError(f"{self._target} cannot be read and written: {error}") from error

        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._send_regularly, daemon=True)
        self._thread.start()

    def finish(self, pattern: str) -> None:
        """Declares that the present files of these names are whole: sent once more, then freed."""
        # A local mirror is the run's folder itself: nothing is freed there.
        if self.is_cloud:
            self._finished |= set(self.folder.glob(pattern))

    def close(self) -> None:
        """Sends what is left.

        Raises:
            OSError: It could not be sent, and is kept on this machine.
        """
        if not self.is_cloud or self._closing.is_set():
            return
        # The thread may be sending; what it leaves is sent here, and an error is not lost.
        self._closing.set()
        self._thread.join()
        try:
            self._send()
        except Exception as error:
            raise OSError(
                f"{self._target}: the last files could not be written; they are kept in "
                f"{self.folder}. {error}"
            ) from error
        shutil.rmtree(self.folder)

    def __enter__(self) -> pathlib.Path:
        """Returns the local folder."""
        return self.folder

    def __exit__(self, *exc_info: object) -> None:
        """Sends what is left."""
        self.close()

    def _send_regularly(self) -> None:
        """Sends at intervals until the mirror is closed."""
        while not self._closing.wait(SEND_INTERVAL_SEC):
            try:
                self._send()
            except Exception as error:  # of the network; the files wait for the next time
                logging.warning("%s could not be written now: %s", self._target, error)

    def _send(self) -> None:
        """Sends the files that differ from what was sent."""
        # Taken before they are read: what is freed below was read whole.
        finished = set(self._finished)
        for path in sorted(self.folder.glob("[!.]*")):
            # The status comes before the bytes: what is written meanwhile is sent next time.
            status = path.stat()
            version = (status.st_mtime_ns, status.st_size)
            if self._sent.get(path.name) != version:
                (self._target / path.name).write_bytes(path.read_bytes())
                self._sent[path.name] = version
            if path in finished:
                path.unlink()
                self._finished.discard(path)
