"""Parts of a large file, read by several threads and by worker processes."""

import os
import threading
from typing import IO, Any

from etils import epath

from stylegan_jax.files import is_cloud


class FileReader:
    """Reads parts of a file for several threads; each process opens it once, when needed."""

    def __init__(self, path: epath.Path):
        """Opens nothing yet."""
        self.path = path
        self._is_local = not is_cloud(path)
        self._file: IO[bytes] | None = None
        self._lock = threading.Lock()

    def read(self, offset: int, size: int) -> bytes:
        """Returns the bytes from `offset` on, fewer at the end of the file."""
        with self._lock:
            if self._file is None:
                self._file = self.path.open("rb")
            # One position in the file, which only the thread with the lock may move.
            if not self._is_local:
                self._file.seek(offset)
                return self._file.read(size)
        # Local files are read at a position of each call's own, all threads at once.
        return os.pread(self._file.fileno(), size, offset)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def __del__(self) -> None:
        if self._file is not None:
            self._file.close()
