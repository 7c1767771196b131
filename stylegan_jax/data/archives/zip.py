"""A zip file of images: NVIDIA's data sets, or any other."""

import contextlib
import os
import threading
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

from etils import epath

from stylegan_jax.data.archives.base import ArchiveError
from stylegan_jax.data.archives.image_files import (
    LABEL_FILE,
    MAX_LABEL_BYTES,
    ImageFilesArchive,
    describe_parts,
)
from stylegan_jax.data.archives.listing import (
    MAX_FILE_BYTES,
    ZIP,
    advise_on_files,
    advise_on_head,
    choose_images,
    describe_files,
    describe_left_out,
    is_regular,
    say,
)
from stylegan_jax.data.codecs import IMAGE_SUFFIXES, ImageFileError, ImageFormat, read_format
from stylegan_jax.files import is_cloud

# Damage; Python's decompressors raise their own.
_DAMAGE = (zipfile.BadZipFile, KeyError, EOFError, zlib.error, ValueError)
_ENCRYPTED = 1


class ZipArchive(ImageFilesArchive):
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
        files = [member for member in self._zip().infolist() if not _is_hidden(member)]
        # Of two members of one name the last counts, as when a zip is unpacked.
        by_name = {member.filename: member for member in files}
        names = set(choose_images([*by_name]))
        members = [member for name, member in by_name.items() if name in names]
        others = [name for name in by_name if name not in names]
        if not members:
            advice = advise_on_files(others, packed=True)
            found = f" Found {describe_files(others)}. {advice}".rstrip() if others else ""
            raise ArchiveError(
                f"{self.path} holds no image files ({', '.join(IMAGE_SUFFIXES)}).{found}"
            )
        others = [name for name in others if name != LABEL_FILE]
        self.notes = _describe_refused(members) + describe_left_out(others)
        # Members lie in the order of their writing; images count in that of their names.
        members.sort(key=lambda member: member.filename)
        self.names = [member.filename for member in members]
        self.sizes = [member.file_size for member in members]
        self._checksums = [member.CRC for member in members]
        self.notes += describe_parts(self.names)

    def where(self, index: int) -> str:
        """Returns the zip's path and the file's within."""
        return f"{self.path}:{self.names[index]}"

    def read(self, index: int) -> bytes:
        """Returns the content of a file, checked against the zip's checksum."""
        return self._read_member(self.names[index], MAX_FILE_BYTES)

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

    def _read_label_file(self) -> tuple[str, bytes] | None:
        if LABEL_FILE not in self._zip().namelist():
            return None
        content = self._read_member(LABEL_FILE, MAX_LABEL_BYTES)
        return f"{self.path}:{LABEL_FILE}", content

    def _read_member(self, name: str, limit: int) -> bytes:
        """Reads a member that is not too large: a few bytes may unpack to any number."""
        with _naming(f"{self.path}:{name}"):
            size = self._zip().getinfo(name).file_size
            if size > limit:
                raise ArchiveError(
                    f"{self.path}:{name}: {size} bytes, more than the {limit} that are read."
                )
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
    """Says of which member an error is, and what to do about it."""
    try:
        yield
    # These say it already.
    except (ArchiveError, ImageFileError):
        raise
    except NotImplementedError as error:
        raise ArchiveError(
            f"{where}: cannot be read ({error}). Unpack it with the program that packed it, and "
            "give the folder."
        ) from error
    except RuntimeError as error:
        # Python's only one says that a password is needed.
        raise ArchiveError(
            f"{where}: cannot be read ({error}). Unpack it with its password, and give the folder."
        ) from error
    except OSError as error:
        raise ArchiveError(f"{where}: cannot be read ({say(error)}).") from error
    except _DAMAGE as error:
        raise ArchiveError(f"{where}: cannot be read ({error}). Fetch the file again.") from error


def _open_zip(path: epath.Path) -> zipfile.ZipFile:
    """Opens a zip, or says what is wrong with it."""
    if not is_regular(path):
        raise ArchiveError(f"{path} is not a file; give a zip of images.")
    try:
        # It closes what it has opened itself.
        return zipfile.ZipFile(path.open("rb") if is_cloud(path) else os.fspath(path))
    except zipfile.BadZipFile as error:
        # Where the beginning is a zip's, the end is missing, where its directory is.
        advice = advise_on_head(path, wanted=(ZIP,)) or "It may be cut off: fetch it again."
        raise ArchiveError(f"{path}: not a whole zip file ({error}). {advice}") from error
    except (OSError, NotImplementedError) as error:
        reason = say(error) if isinstance(error, OSError) else error
        raise ArchiveError(f"{path}: cannot be opened ({reason}).") from error


def _describe_refused(members: list[zipfile.ZipInfo]) -> list[str]:
    """Returns a note about images that cannot be unpacked."""
    locked = [member.filename for member in members if member.flag_bits & _ENCRYPTED]
    if not locked:
        return []
    return [f"{len(locked)} of {len(members)} images are encrypted, the first is {locked[0]}."]


def _is_hidden(member: zipfile.ZipInfo) -> bool:
    """Tells whether a member of a zip is a folder, or is hidden."""
    # `__MACOSX` holds what Finder noted of the files, under their names.
    parts = member.filename.split("/")
    return member.is_dir() or any(part.startswith((".", "__MACOSX")) for part in parts)
