"""A zip file of images: NVIDIA's data sets, or any other."""

import contextlib
import os
import threading
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

from etils import epath

from stylegan_jax.data.archives.base import Archive, ArchiveError
from stylegan_jax.data.archives.folder import (
    LABEL_FILE,
    explain_no_classes,
    is_image,
    labels_from_json,
    labels_from_paths,
    named_labels_from_json,
)
from stylegan_jax.data.codecs import IMAGE_SUFFIXES, ImageFormat, read_format
from stylegan_jax.data.labels import Labels
from stylegan_jax.files import is_cloud

# Damage, a password and methods of compression that Python does not know.
_READ_ERRORS = (OSError, zipfile.BadZipFile, KeyError, EOFError, zlib.error, RuntimeError)


class ZipArchive(Archive):
    """The image files in a zip, sorted by path, with the labels of its `dataset.json`.

    Without that file, top-level folders are classes under the same rule as in a `FolderArchive`.
    """

    def __init__(self, path: epath.PathLike, *, name: str | None = None):
        """Reads the directory of the zip.

        Args:
            path: A local file or one in a bucket.
            name: What to call the data set. Default: the file's name without `.zip`.

        Raises:
            ArchiveError: The file is missing, damaged or holds no image.
        """
        self.path = epath.Path(path).expanduser()
        self.name = name or self.path.stem
        # The open file, which is not sent to other processes.
        self._local: dict[str, Any] = {}
        self._lock = threading.Lock()
        # Of two members of one name the last counts, as when a zip is unpacked.
        members = list({m.filename: m for m in self._zip().infolist() if _is_wanted(m)}.values())
        if not members:
            raise ArchiveError(f"{self.path} holds no image files ({', '.join(IMAGE_SUFFIXES)}).")
        # Members lie in the order of their writing; images count in that of their names.
        members.sort(key=lambda member: member.filename)
        self.names = [member.filename for member in members]
        self.sizes = [member.file_size for member in members]
        self._checksums = [member.CRC for member in members]

    def where(self, index: int) -> str:
        """Returns the zip's path and the file's within."""
        return f"{self.path}:{self.names[index]}"

    def read(self, index: int) -> bytes:
        """Returns the content of a file, checked against the zip's checksum."""
        return self._read_member(self.names[index])

    def read_format(self, index: int) -> ImageFormat:
        """Returns the format that a file's header tells."""
        with _naming(self.where(index)), self._zip().open(self.names[index]) as file:
            return read_format(file)

    def stamp(self, index: int) -> Any:
        """Returns the file's checksum."""
        return self._checksums[index]

    def identity(self) -> Any:
        """Returns names and checksums of the images."""
        return [self.names, self._checksums]

    def explain_no_labels(self) -> str:
        """Says which files keep the folders from being classes."""
        return explain_no_classes(self.names)

    def _read_labels(self) -> Labels:
        # As in a folder: the label file wins.
        if LABEL_FILE in self._zip().namelist():
            content = self._read_member(LABEL_FILE)
            return labels_from_json(content, self.names, where=f"{self.path}:{LABEL_FILE}")
        return labels_from_paths(self.names)

    def _read_named_labels(self) -> Mapping[str, Labels]:
        if LABEL_FILE not in self._zip().namelist():
            return {}
        content = self._read_member(LABEL_FILE)
        return named_labels_from_json(content, self.names, where=f"{self.path}:{LABEL_FILE}")

    def _read_member(self, name: str) -> bytes:
        with _naming(f"{self.path}:{name}"):
            return self._zip().read(name)

    def _zip(self) -> zipfile.ZipFile:
        """Returns this process's handle; threads may share it."""
        with self._lock:
            if "zip" not in self._local:
                self._local["zip"] = _open_zip(self.path)
            return self._local["zip"]

    def __getstate__(self) -> dict[str, Any]:
        # Neither handles nor locks can be sent; the copy makes its own.
        return {**self.__dict__, "_local": {}, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=threading.Lock())


@contextlib.contextmanager
def _naming(where: str) -> Iterator[None]:
    """Says of which member an error is."""
    try:
        yield
    except _READ_ERRORS as error:
        raise ArchiveError(f"{where}: cannot be read ({error}). Fetch the file again.") from error


def _open_zip(path: epath.Path) -> zipfile.ZipFile:
    """Opens a zip, or says what is wrong with it."""
    if not path.is_file():
        raise ArchiveError(f"{path} is not a file; give a zip of images.")
    try:
        # It closes what it has opened itself.
        return zipfile.ZipFile(path.open("rb") if is_cloud(path) else os.fspath(path))
    except (OSError, zipfile.BadZipFile) as error:
        raise ArchiveError(
            f"{path}: not a whole zip file ({error}). It may be cut off: fetch it again."
        ) from error


def _is_wanted(member: zipfile.ZipInfo) -> bool:
    """Tells whether a member of a zip is an image that is not hidden."""
    # `__MACOSX` holds what Finder noted of the files, under their names.
    parts = member.filename.split("/")
    hidden = any(part.startswith((".", "__MACOSX")) for part in parts)
    return is_image(member.filename) and not hidden and not member.is_dir()
