"""What folders and zips share: image files by their paths, and where their labels are.

Labels are those of NVIDIA's `dataset.json` beside the files; otherwise folders are classes.
"""

import abc
import contextlib
import dataclasses
import json
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stylegan_jax.data.archives.base import Archive, ArchiveError
from stylegan_jax.data.labels import Labels, class_labels, no_labels, parse_labels

LABEL_FILE = "dataset.json"
# Labels of millions of images have less.
MAX_LABEL_BYTES = 2**32

# Subfolders that hold a thousand files each, as FFHQ has them, and no classes.
_NUMBERED = re.compile(r"\d{5}")
# Subfolders by which publishers divide a data set; a class hardly has such a name.
_PARTS = re.compile(r"(train|test|val|valid|eval|dev|holdout)(ing|idation|uation)?(_?set)?", re.I)
# Names of labels become parts of files' names.
_LABEL_NAME = re.compile(r"[\w-]{1,100}")
# Of a name from a file that may hold anything.
_SHOWN_LETTERS = 80


class ImageFilesArchive(Archive):
    """Image files that have paths."""

    @abc.abstractmethod
    def _read_label_file(self) -> tuple[str, bytes] | None:
        """Returns where `dataset.json` lies and its content, if there is one.

        Raises:
            ArchiveError: It cannot be read.
        """

    def label_items(self) -> list[Any] | None:
        """Returns what `dataset.json` says of each image; None where there is no such file.

        Raises:
            ArchiveError: It cannot be read, or looks otherwise.
        """
        found = self._read_label_file()
        if found is None:
            return None
        where, content = found
        with _explain_form(where):
            by_name = _to_dict(_parse(content).get("labels"))
            return [by_name.get(name) for name in self.names]

    def explain_no_labels(self) -> str:
        """Says which files keep the folders from being classes."""
        # A label file wins, also one that gives none.
        return "" if self._read_label_file() else explain_no_classes(self.names)

    def _read_labels(self) -> Labels:
        # A label file wins over the folders that images lie in.
        found = self._read_label_file()
        if found is None:
            return labels_from_paths(self.names)
        where, content = found
        return labels_from_json(content, self.names, where=where)

    def _read_named_labels(self) -> Mapping[str, Labels | ArchiveError]:
        found = self._read_label_file()
        if found is None:
            return {}
        where, content = found
        return named_labels_from_json(content, self.names, where=where)


def labels_from_paths(names: Sequence[str]) -> Labels:
    """Makes classes of folders, where every file lies in one of several that may be classes."""
    folders = sorted({name.split("/")[0] for name in names if "/" in name})
    if explain_no_classes(names) or not folders:
        return no_labels(len(names))
    # Classes are numbered in the order of their names.
    numbers = {name: number for number, name in enumerate(folders)}
    return class_labels([numbers[name.split("/")[0]] for name in names], folders)


def explain_no_classes(names: Sequence[str]) -> str:
    """Says why folders are no classes; nothing where they are, or where there are none."""
    folders = sorted({name.split("/")[0] for name in names if "/" in name})
    stray = [name for name in names if "/" not in name]
    if folders and stray:
        return f"{len(stray)} image(s) lie in no class folder, the first is {stray[0]}."
    if len(folders) == 1:
        return f"All images are in one folder, {folders[0]}: a class needs another beside it."
    # FFHQ's thousands, 00000 to 69000.
    if folders and all(_NUMBERED.fullmatch(folder) for folder in folders):
        return f"The folders {folders[0]} to {folders[-1]} are numbers, not classes."
    if folders and all(_PARTS.fullmatch(folder) for folder in folders):
        return f"The folders {', '.join(folders)} are parts of a data set, not classes."
    return ""


def describe_parts(names: Sequence[str]) -> list[str]:
    """Returns a note where images to train with and images to test with lie side by side."""
    folders = sorted({name.split("/")[0] for name in names if "/" in name})
    if len(folders) < 2 or not all(_PARTS.fullmatch(folder) for folder in folders):
        return []
    return [
        f"the folders {', '.join(folders)} are taken for parts of one data set, not for classes, "
        "and the images of all are read. To train on one part, give its folder."
    ]


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
        return _labels_from_pairs(_parse(content).get("labels"), names, where=where)


def named_labels_from_json(
    content: bytes, names: Sequence[str], *, where: str
) -> dict[str, Labels | ArchiveError]:
    """Reads labels that go by a name from a `dataset.json`; NVIDIA's repositories pass over them.

    Args:
        content: JSON with an entry `{"named_labels": {"role": {"labels": [[name, label], ...]}}}`.
            Beside `labels` may stand `class_names` for classes or `columns` for vectors.
        names: The images' names.
        where: What to call the file in errors.

    Returns:
        The labels of each name; where they do not fit, the error that says why.

    Raises:
        ArchiveError: The file is damaged.
    """
    # Most files have none, and millions of pairs are not parsed twice for that.
    if b'"named_labels"' not in content:
        return {}
    result: dict[str, Labels | ArchiveError] = {}
    with _explain_form(where):
        for name, entry in (_parse(content).get("named_labels") or {}).items():
            try:
                result[name] = _named_labels(name, entry, names, where=where)
            except ArchiveError as error:
                result[name] = error
    return result


def _named_labels(name: str, entry: Any, names: Sequence[str], *, where: str) -> Labels:
    """Makes the labels of one name."""
    if not _LABEL_NAME.fullmatch(name):
        raise ArchiveError(
            f"{where}: {_shorten(name)!r} names labels: give letters and digits, 100 at most."
        )
    where = f"{where}, {name}"
    with _explain_form(where):
        labels = _labels_from_pairs(entry["labels"], names, where=where)
        words = {
            key: tuple(str(word) for word in entry[key])
            for key in ("class_names", "columns")
            if entry.get(key)
        }
    if any(len(some) < labels.c_dim for some in words.values()):
        raise ArchiveError(f"{where}: fewer words than classes or columns.")
    return dataclasses.replace(labels, **words)


@contextlib.contextmanager
def _explain_form(where: str) -> Iterator[None]:
    """Says what a `dataset.json` looks like where it looks otherwise."""
    try:
        yield
    except ArchiveError:
        raise
    # JSON may nest without end and hold numbers of any length.
    except (
        ValueError,
        AttributeError,
        TypeError,
        LookupError,
        ArithmeticError,
        RecursionError,
        MemoryError,
    ) as error:
        raise ArchiveError(
            f'{where}: wanted JSON of the form {{"labels": [[name, label], ...]}} ({error}).'
        ) from error


def _parse(content: bytes) -> dict[str, Any]:
    """Parses JSON that is an object."""
    parsed = json.loads(content)
    if not isinstance(parsed, dict):
        raise TypeError(f"it is a {type(parsed).__name__}")
    return parsed


def _to_dict(pairs: Any) -> dict[Any, Any]:
    """Makes a dict of pairs of name and label; None means that there are none."""
    return {} if pairs is None else dict(pairs)


def _labels_from_pairs(pairs: Any, names: Sequence[str], *, where: str) -> Labels:
    """Makes labels from pairs of name and label."""
    by_name = _to_dict(pairs)
    if all(label is None for label in by_name.values()):
        return no_labels(len(names))
    if isinstance(pairs, list):
        # Nearly all are the very same object: no need to compare long vectors.
        others = [(name, label) for name, label in pairs if by_name[name] is not label]
        twice = [name for name, label in others if by_name[name] != label]
        if twice:
            raise ArchiveError(f"{where}: {_shorten(twice[0])} comes twice, with different labels.")
    # Images that are not listed, or listed without a label.
    missing = [name for name in names if by_name.get(name) is None]
    if missing:
        raise ArchiveError(
            f"{where}: {len(missing)} of {len(names)} images have no label, the first is "
            f"{missing[0]}. {_describe_strangers(by_name, names, missing)}Add their labels, or "
            "remove the images."
        )
    try:
        return parse_labels([by_name[name] for name in names])
    except ValueError as error:
        raise ArchiveError(f"{where}: {error}") from error


def _describe_strangers(
    by_name: Mapping[Any, Any], names: Sequence[str], missing: Sequence[str]
) -> str:
    """Says which names of a label file are no image's, and which images they may mean."""
    known = set(names)
    strangers = [str(name) for name in by_name if name not in known]
    if not strangers:
        return ""
    text = f"{len(strangers)} of its names are no image's, the first is {_shorten(strangers[0])}"
    # The same file in another folder, in other letters or of another type.
    here = {_stem(name): name for name in reversed(missing)}
    pairs = ((name, here[_stem(name)]) for name in strangers if _stem(name) in here)
    there, image = next(pairs, ("", ""))
    return f"{text}; {_shorten(there)} there may be {image} here. " if there else f"{text}. "


def _stem(name: str) -> str:
    """Returns what of a path is left in another folder, in other letters and of another type."""
    return posixpath.splitext(posixpath.basename(name.replace("\\", "/")))[0].lower()


def _shorten(name: Any) -> str:
    """Returns the beginning of a name."""
    text = str(name)
    return text if len(text) <= _SHOWN_LETTERS else f"{text[:_SHOWN_LETTERS]}..."
