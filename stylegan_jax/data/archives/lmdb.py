"""LSUN's categories: LMDB databases whose values are image files."""

import array
import os
import threading
import weakref
from typing import Any

import lmdb
from etils import epath

from stylegan_jax.data.archives.base import Archive, ArchiveError
from stylegan_jax.data.archives.listing import is_regular, open_regular, say
from stylegan_jax.data.labels import Labels, no_labels
from stylegan_jax.files import is_cloud

DATA_FILE = "data.mdb"

# LMDB refuses to open a database twice in one process, so archives share what is open.
_OPEN: "weakref.WeakValueDictionary[str, lmdb.Environment]" = weakref.WeakValueDictionary()
_OPEN_LOCK = threading.Lock()


class LmdbArchive(Archive):
    """The image files in a database, WebP in LSUN's, in the order of their keys; no labels."""

    def __init__(self, path: epath.PathLike, *, name: str | None = None):
        """Lists the keys of the database.

        Args:
            path: Folder with `data.mdb`, on a local disk. It may be read-only.
            name: What to call the data set. Default: the folder's name.

        Raises:
            ArchiveError: There is no database, it is in a bucket, damaged or empty.
        """
        self.path = epath.Path(path).expanduser()
        if is_cloud(self.path):
            raise ArchiveError(f"{self.path}: LMDB needs a local disk; copy the folder to one.")
        if not is_regular(self.path / DATA_FILE):
            raise ArchiveError(f"{self.path} holds no {DATA_FILE}; give an unpacked LSUN folder.")
        self.name = name or self.path.resolve().name
        self._environment: lmdb.Environment | None = None
        # Keys and lengths in one pass; eight bytes a length, as LSUN has millions of images.
        self.names: list[str] = []
        self.sizes = array.array("Q")
        try:
            with self._open().begin(buffers=True) as transaction:
                for key, value in transaction.cursor():
                    # Latin-1 takes any bytes, and gives them back.
                    self.names.append(bytes(key).decode("latin-1"))
                    self.sizes.append(len(value))
        except lmdb.Error as error:
            raise ArchiveError(f"{self.path}: damaged ({error}). Fetch it again.") from error
        if not self.names:
            raise ArchiveError(f"{self.path} is an empty database. Fetch it again.")

    def where(self, index: int) -> str:
        """Returns the database's path and the image's key."""
        return f"{self.path}:{self.names[index]}"

    def read(self, index: int) -> bytes:
        """Returns the value of a key: an image file's content."""
        try:
            with self._open().begin() as transaction:
                value = transaction.get(self.names[index].encode("latin-1"))
        except lmdb.Error as error:
            raise ArchiveError(f"{self.where(index)}: cannot be read ({error}).") from error
        if value is None:
            raise ArchiveError(f"{self.where(index)}: the key is gone; open the data set again.")
        return value

    def _read_labels(self) -> Labels:
        return no_labels(len(self))

    def _open(self) -> lmdb.Environment:
        """Returns the process's handle of the database."""
        if self._environment is None:
            self._environment = _open_environment(self.path)
        return self._environment

    def __getstate__(self) -> dict[str, Any]:
        # A database cannot be sent; the copy opens it again.
        return {**self.__dict__, "_environment": None}


def _open_environment(path: epath.Path) -> lmdb.Environment:
    """Opens a database, or finds it among the open ones."""
    key = os.path.realpath(path)
    with _OPEN_LOCK:
        environment = _OPEN.get(key)
        if environment is None:
            _check_readable(path / DATA_FILE)
            try:
                # No lock file: the folder may be read-only. No read-ahead: the order is random.
                environment = lmdb.open(key, readonly=True, lock=False, readahead=False)
            except lmdb.Error as error:
                raise ArchiveError(
                    f"{path}: not a whole LMDB database ({error}). Fetch it again."
                ) from error
            _check_length(path, environment)
            _OPEN[key] = environment
    return environment


def _check_readable(file: epath.Path) -> None:
    """Refuses a file that this process must not read, which the library calls damaged."""
    try:
        open_regular(file, limit=2**62).close()
    except OSError as error:
        raise ArchiveError(f"{file}: cannot be read ({say(error)}).") from error


def _check_length(path: epath.Path, environment: lmdb.Environment) -> None:
    """Refuses a file that is cut off: reading past its end would kill the process."""
    # Pages are numbered from 0.
    wanted = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    actual = (path / DATA_FILE).stat().length
    if actual < wanted:
        raise ArchiveError(
            f"{path / DATA_FILE} is cut off: it has {actual} of {wanted} bytes. Fetch it again."
        )
