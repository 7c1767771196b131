"""A folder of image files, with classes as subfolders or NVIDIA's `dataset.json` beside them."""

import concurrent.futures
import contextlib
import dataclasses
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from etils import epath

from stylegan_jax.data.archives.base import Archive, ArchiveError
from stylegan_jax.data.codecs import IMAGE_SUFFIXES, ImageFormat, read_format
from stylegan_jax.data.labels import Labels, class_labels, no_labels, parse_labels
from stylegan_jax.files import is_cloud

LABEL_FILE = "dataset.json"

# Subfolders that hold a thousand files each, as FFHQ has them, and no classes.
_NUMBERED = re.compile(r"\d{5}")


class FolderArchive(Archive):
    """The image files of a folder and its subfolders, sorted by path.

    Labels are those of `dataset.json` in the folder, if there is one; otherwise the subfolders
    directly below the folder are classes, where every image lies in one of several.
    """

    def __init__(self, path: epath.PathLike, *, name: str | None = None):
        """Lists the folder.

        Args:
            path: A local folder or a bucket's. Hidden files are skipped, files of other types
                ignored.
            name: What to call the data set. Default: the folder's name.

        Raises:
            ArchiveError: There is no such folder or it holds no image.
        """
        self.root = epath.Path(path).expanduser()
        self.name = name or self.root.resolve().name
        files = list_files(self.root)
        self.names = [file for file in files if is_image(file)]
        if not self.names:
            raise ArchiveError(f"{self.root} holds no image files ({', '.join(IMAGE_SUFFIXES)}).")
        self.sizes, self._times = zip(*_file_stats(self.root, self.names))

    def where(self, index: int) -> str:
        """Returns the file's path."""
        return str(self.root / self.names[index])

    def read(self, index: int) -> bytes:
        """Returns the content of a file."""
        try:
            return (self.root / self.names[index]).read_bytes()
        except OSError as error:
            raise ArchiveError(f"{self.where(index)}: cannot be read ({error}).") from error

    def read_format(self, index: int) -> ImageFormat:
        """Returns the format that a file's header tells."""
        try:
            with (self.root / self.names[index]).open("rb") as file:
                return read_format(file)
        except OSError as error:
            raise ArchiveError(f"{self.where(index)}: cannot be read ({error}).") from error

    def stamp(self, index: int) -> Any:
        """Returns the file's size and when it was written."""
        return [self.sizes[index], self._times[index]]

    def explain_no_labels(self) -> str:
        """Says which files keep the subfolders from being classes."""
        return explain_no_classes(self.names)

    def _read_labels(self) -> Labels:
        # A label file wins over the folders that images lie in.
        file = self.root / LABEL_FILE
        if file.exists():
            return labels_from_json(file.read_bytes(), self.names, where=str(file))
        return labels_from_paths(self.names)

    def _read_named_labels(self) -> Mapping[str, Labels]:
        file = self.root / LABEL_FILE
        if not file.exists():
            return {}
        return named_labels_from_json(file.read_bytes(), self.names, where=str(file))


def list_files(root: epath.Path) -> list[str]:
    """Returns the relative POSIX paths of all files that are not hidden, sorted.

    Raises:
        ArchiveError: There is no such folder.
    """
    if not root.is_dir():
        raise ArchiveError(f"{root} is not a folder; give the folder that holds the images.")
    files: list[str] = []
    # Buckets have no links.
    if is_cloud(root):
        folders = [root]
        while folders:
            for path in folders.pop().iterdir():
                if path.name.startswith("."):
                    continue
                if path.is_dir():
                    folders.append(path)
                else:
                    files.append(path.relative_to(root).as_posix())
        return sorted(files)
    # The folders that each lies in, as links may lead back to one of them.
    above = {os.fspath(root): {_inode(root)}}
    for folder, subfolders, names in os.walk(root, followlinks=True, onerror=_refuse):
        inodes = {name: _inode(f"{folder}/{name}") for name in subfolders if name[0] != "."}
        # What is left in this list is walked next.
        subfolders[:] = [name for name in inodes if inodes[name] not in above[folder]]
        above |= {os.path.join(folder, n): above[folder] | {inodes[n]} for n in subfolders}
        below = os.path.relpath(folder, root).replace(os.sep, "/")
        prefix = "" if below == "." else f"{below}/"
        files += [prefix + name for name in names if not name.startswith(".")]
    return sorted(files)


def _inode(path: epath.PathLike) -> tuple[int, int]:
    """Returns what tells a folder from all others, whatever links lead to it."""
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _refuse(error: OSError) -> None:
    """Stops at a folder that cannot be listed: its images would just be missing."""
    raise ArchiveError(f"{error.filename} cannot be listed ({error.strerror}).") from error


def is_image(name: str) -> bool:
    """Tells whether a file's name is that of an image."""
    return name.lower().endswith(IMAGE_SUFFIXES)


def labels_from_paths(names: Sequence[str]) -> Labels:
    """Makes classes of folders, where every file lies in one of several not just numbered."""
    # FFHQ's thousands, 00000 to 69000, are no classes; nor is a single folder.
    folders = {name.split("/")[0] for name in names if "/" in name}
    are_classes = len(folders) > 1 and not all(_NUMBERED.fullmatch(folder) for folder in folders)
    if not are_classes or any("/" not in name for name in names):
        return no_labels(len(names))
    # Classes are numbered in the order of their names.
    class_names = sorted(folders)
    numbers = {name: number for number, name in enumerate(class_names)}
    return class_labels([numbers[name.split("/")[0]] for name in names], class_names)


def explain_no_classes(names: Sequence[str]) -> str:
    """Says why `labels_from_paths` finds no classes."""
    folders = sorted({name.split("/")[0] for name in names if "/" in name})
    stray = [name for name in names if "/" not in name]
    if folders and stray:
        return f"{len(stray)} image(s) lie in no class folder, the first is {stray[0]}."
    if len(folders) == 1:
        return f"All images are in one folder, {folders[0]}: a class needs another beside it."
    if folders:
        return f"The folders {folders[0]} to {folders[-1]} are numbers, not classes."
    return ""


def labels_from_json(content: bytes, names: Sequence[str], *, where: str) -> Labels:
    """Reads the labels of images from an NVIDIA data set's `dataset.json`.

    Args:
        content: JSON, `{"labels": [[name, label], ...]}` or `{"labels": null}`.
        names: The images' names.
        where: What to call the file in errors.

    Raises:
        ArchiveError: The file is damaged, labels are mixed, or images lack one.
    """
    with _explain_form(where):
        parsed: Any = json.loads(content)
        return _labels_from_pairs(parsed.get("labels"), names, where=where)


def named_labels_from_json(
    content: bytes, names: Sequence[str], *, where: str
) -> dict[str, Labels]:
    """Reads labels that go by a name from a `dataset.json`; NVIDIA's repositories pass over them.

    Args:
        content: JSON with an entry `{"named_labels": {"role": {"labels": [[name, label], ...]}}}`.
            Beside `labels` may stand `class_names` for classes or `columns` for vectors.
        names: The images' names.
        where: What to call the file in errors.

    Raises:
        ArchiveError: As in `labels_from_json`, or words do not fit their labels.
    """
    # Most files have none, and millions of pairs are not parsed twice for that.
    if b'"named_labels"' not in content:
        return {}
    result = {}
    with _explain_form(where):
        parsed: Any = json.loads(content)
        for name, entry in (parsed.get("named_labels") or {}).items():
            # It becomes part of a file's name.
            if not re.fullmatch(r"[\w-]+", name):
                raise ArchiveError(f"{where}: {name!r} names labels: give letters and digits.")
            labels = _labels_from_pairs(entry["labels"], names, where=f"{where}, {name}")
            words = {
                key: tuple(str(word) for word in entry[key])
                for key in ("class_names", "columns")
                if entry.get(key)
            }
            result[name] = dataclasses.replace(labels, **words)
            if any(len(some) < labels.c_dim for some in words.values()):
                raise ArchiveError(f"{where}, {name}: fewer words than classes or columns.")
    return result


@contextlib.contextmanager
def _explain_form(where: str) -> Iterator[None]:
    """Says what a `dataset.json` looks like where it looks otherwise."""
    try:
        yield
    except ArchiveError:
        raise
    except (ValueError, AttributeError, TypeError, LookupError) as error:
        raise ArchiveError(
            f'{where}: wanted JSON of the form {{"labels": [[name, label], ...]}} ({error}).'
        ) from error


def _labels_from_pairs(pairs: Any, names: Sequence[str], *, where: str) -> Labels:
    """Makes labels from pairs of name and label; None means that there are none."""
    by_name: Mapping[str, Any] = {} if pairs is None else dict(pairs)
    if not by_name:
        return no_labels(len(names))
    if isinstance(pairs, list):
        # Nearly all are the very same object: no need to compare long vectors.
        others = [(name, label) for name, label in pairs if by_name[name] is not label]
        twice = [name for name, label in others if by_name[name] != label]
        if twice:
            raise ArchiveError(f"{where}: {twice[0]} comes twice, with different labels.")
    # Images that are not listed, or listed without a label.
    missing = [name for name in names if by_name.get(name) is None]
    if missing:
        raise ArchiveError(
            f"{where}: {len(missing)} of {len(names)} images have no label, the first is "
            f"{missing[0]}. Add their labels, or remove the images."
        )
    try:
        return parse_labels([by_name[name] for name in names])
    except ValueError as error:
        raise ArchiveError(f"{where}: {error}") from error


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
