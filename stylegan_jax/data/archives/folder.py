"""A folder of image files, with classes as subfolders or NVIDIA's `dataset.json` beside them."""

import concurrent.futures
import os
from collections.abc import Sequence
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
    choose_images,
    describe_left_out,
    list_files,
    open_regular,
    read_regular,
    say,
)
from stylegan_jax.data.codecs import IMAGE_SUFFIXES, ImageFormat, read_format
from stylegan_jax.files import is_cloud


class FolderArchive(ImageFilesArchive):
    """The image files of a folder and its subfolders, sorted by path.

    Labels are those of `dataset.json` in the folder, if there is one; otherwise the subfolders
    directly below the folder are classes, where every image lies in one of several.
    """

    def __init__(self, path: epath.PathLike, *, name: str | None = None):
        """Lists the folder.

        Args:
            path: A local folder or a bucket's. Hidden files are skipped, files of other types
                noted.
            name: What to call the data set. Default: the folder's name.

        Raises:
            ArchiveError: There is no such folder or it holds no image.
        """
        self.root = epath.Path(path).expanduser()
        self.name = name or self.root.resolve().name
        files = list_files(self.root)
        self.names = choose_images(files)
        if not self.names:
            raise ArchiveError(f"{self.root} holds no image files ({', '.join(IMAGE_SUFFIXES)}).")
        others = sorted({*files} - {*self.names, LABEL_FILE})
        self.notes = describe_left_out(others) + describe_parts(self.names)
        self.sizes, self._times = zip(*_file_stats(self.root, self.names))

    def where(self, index: int) -> str:
        """Returns the file's path."""
        return str(self.root / self.names[index])

    def read(self, index: int) -> bytes:
        """Returns the content of a file."""
        self._check_size(index)
        try:
            return read_regular(self.root / self.names[index])
        except OSError as error:
            raise ArchiveError(f"{self.where(index)}: cannot be read ({say(error)}).") from error

    def read_format(self, index: int) -> ImageFormat:
        """Returns the format that a file's header tells."""
        self._check_size(index)
        try:
            with open_regular(self.root / self.names[index]) as file:
                return read_format(file)
        except OSError as error:
            raise ArchiveError(f"{self.where(index)}: cannot be read ({say(error)}).") from error

    def stamp(self, index: int) -> Any:
        """Returns the file's size and when it was written."""
        return [self.sizes[index], self._times[index]]

    def _check_size(self, index: int) -> None:
        """Refuses what is too large for an image, as the listing has it: buckets tell no other."""
        if self.sizes[index] > MAX_FILE_BYTES:
            raise ArchiveError(
                f"{self.where(index)}: {self.sizes[index]} bytes, more than the {MAX_FILE_BYTES} "
                "that are read."
            )

    def _read_label_file(self) -> tuple[str, bytes] | None:
        file = self.root / LABEL_FILE
        if not file.exists():
            return None
        try:
            return str(file), read_regular(file, limit=MAX_LABEL_BYTES)
        except OSError as error:
            raise ArchiveError(f"{file}: cannot be read ({say(error)}).") from error


def _file_stats(root: epath.Path, names: Sequence[str]) -> list[tuple[int, int]]:
    """Returns each file's bytes and when it was written; zeros for links to nowhere.

    Reading those says what they are and names them.
    """

    def read_local(name: str) -> tuple[int, int]:
        try:
            # A joined text: path objects would take most of the time of a million files.
            status = os.stat(f"{os.fspath(root)}/{name}")
        except OSError:
            return 0, 0
        return status.st_size, status.st_mtime_ns

    def read_cloud(name: str) -> tuple[int, int]:
        status = (root / name).stat()
        return status.length, int(status.mtime)

    if not is_cloud(root):
        return [read_local(name) for name in names]
    # A bucket is asked for each.
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        return list(pool.map(read_cloud, names))
