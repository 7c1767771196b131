"""What is wrong with the images of a data set, and with which: every one, not just the first."""

import collections
import dataclasses
import hashlib
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from stylegan_jax.data.archives import Archive, ArchiveError
from stylegan_jax.data.archives.image_files import LABEL_FILE, ImageFilesArchive
from stylegan_jax.data.channels import describe_silent, useful_channels
from stylegan_jax.data.codecs import ImageFormat, decode, is_to_be_turned, read_format
from stylegan_jax.data.fingerprint import hash_pixels
from stylegan_jax.data.labels import MAX_CLASSES, parse_labels
from stylegan_jax.data.sources import PREPARE, check_labels, check_size, commonest_size
from stylegan_jax.sizes import (
    Size,
    describe_misfit,
    describe_pixels,
    describe_size,
    is_made,
    nearest_sizes,
)
from stylegan_jax.tools.dataset.scanning import format_of, map_images

REASONS = (
    "unreadable",
    "damaged",
    "unfit size",
    "size",
    "type",
    "duplicate",
    "label missing",
    "label kind",
)


@dataclasses.dataclass(frozen=True)
class Problem:
    """One thing that is wrong with one image.

    Attributes:
        file: Which image, as errors name it; the data set where no image can be named.
        reason: One of `REASONS`.
        detail: What was found and what was expected.
    """

    file: str
    reason: str
    detail: str

    def __str__(self) -> str:
        """Returns one line for the terminal."""
        return f"{self.file}: {self.reason}: {self.detail}"


class _Finding(NamedTuple):
    """A problem by the image's number; -1 for the whole data set."""

    index: int
    reason: str
    detail: str


class _Scan(NamedTuple):
    """What one image was found to be; `failure` is its reason and detail if it has no pixels."""

    form: ImageFormat | None
    file_hash: str
    pixel_hash: str
    useful_channels: int
    is_turned: bool
    failure: tuple[str, str] | None


class Findings(NamedTuple):
    """What `check_images` finds: `problems` by image, and `notes` about all."""

    problems: list[Problem]
    notes: list[str]


def check_images(
    archive: Archive,
    *,
    size: Size | None = None,
    labels: bool | str = False,
    num_threads: int | None = None,
) -> Findings:
    """Decodes all images and lists what would stop or spoil a training run.

    Images that cannot be read or decoded; sizes that no network makes, or not that of the others;
    other channels or another type than most have; an image that is there twice (the first one
    counts as good).

    Args:
        archive: The data set.
        size: Height and width that all should have. Default: what most have.
        labels: Whether every image should have a label, all of one kind; or the name of such.
        num_threads: See `map_images`.

    Returns:
        All problems, in the order of the images; an image may have several. No problem, but noted,
        are channels that say nothing, images that a camera noted to be turned, files that are left
        out, and labels that do not fit where none are wanted; and how images of a size that no
        network makes become others.

    Raises:
        ValueError: Networks do not make images of `size`.
    """
    if size is not None:
        check_size(size)
    images = range(len(archive))
    scans = list(
        map_images(
            lambda index: _scan(archive, index), images, doing="checking", num_threads=num_threads
        )
    )
    # One look at each image; then what shows when they are compared.
    found = [_Finding(i, *scan.failure) for i, scan in enumerate(scans) if scan.failure]
    forms = [scan.form for scan in scans]
    found += _find_sizes(forms, size)
    found += _find_types(forms)
    found += _find_duplicates(archive, scans)
    if labels:
        # Image by image where that is known; otherwise as a run would say it.
        by_image = list(_find_labels(archive)) if labels is True else []
        found += by_image or _find_unusable(archive, labels)
    # The sort is stable: problems of one image stay in the order of REASONS.
    found.sort(key=lambda finding: finding.index)
    problems = [Problem(_name(archive, i), reason, detail) for i, reason, detail in found]

    # What stops nothing.
    details = {problem.detail for problem in problems}
    _, _, unfit = archive.find_fitting_labels()
    notes = [*archive.notes, *(text for text in unfit if text not in details)]
    notes += _note_sizes(forms) + _note_turned(archive, scans) + _note_silent(scans)
    return Findings(problems, notes)


def count_reasons(problems: Iterable[Problem]) -> dict[str, int]:
    """Counts the problems of each reason that occurs."""
    counts = collections.Counter(problem.reason for problem in problems)
    return {reason: counts[reason] for reason in REASONS if counts[reason]}


def _name(archive: Archive, index: int) -> str:
    return archive.name if index < 0 else archive.where(index)


def _scan(archive: Archive, index: int) -> _Scan:
    """Reads and decodes one image; nothing that a file contains may stop the others' check."""
    # What it would mean if the next step failed.
    reason = "unreadable"
    file_hash = ""
    is_turned = False
    try:
        content = archive.read(index)
        if not isinstance(content, np.ndarray):
            file_hash = hashlib.sha256(content).hexdigest()
            read_format(io.BytesIO(content))
            is_turned = is_to_be_turned(content)
            reason = "damaged"
            content = decode(content)
    except Exception as error:
        detail = str(error) if isinstance(error, ValueError) else repr(error)
        return _Scan(None, file_hash, "", 0, False, (reason, detail))
    useful = useful_channels(content)
    return _Scan(format_of(content), file_hash, hash_pixels(content), useful, is_turned, None)


def _note_turned(archive: Archive, scans: Sequence[_Scan]) -> list[str]:
    """Notes images that viewers show otherwise than they are stored."""
    turned = [index for index, scan in enumerate(scans) if scan.is_turned]
    if not turned:
        return []
    return [
        f"{len(turned)} of {len(scans)} images are to be turned or mirrored, as a camera noted "
        f"(EXIF), which is not done: the first is {_name(archive, turned[0])}. Turn them first."
    ]


def _note_silent(scans: Sequence[_Scan]) -> list[str]:
    """Notes channels that say nothing, of images of one type alone: others are converted anyway."""
    stored = {scan.form.channels for scan in scans if scan.form}
    if len(stored) != 1:
        return []
    useful = [scan.useful_channels for scan in scans if scan.form]
    note = describe_silent(stored.pop(), useful, len(useful))
    return [note] if note else []


def _find_sizes(forms: Sequence[ImageFormat | None], size: Size | None) -> Iterator[_Finding]:
    """Finds images of unwanted sizes, each with the first reason that holds."""
    by_whom = "were asked for" if size else "most have"
    # The commonest is taken as meant.
    wanted = size or commonest_size(form.size for form in forms if form)
    for index, form in enumerate(forms):
        if form is None:
            continue
        if not is_made(form.size):
            near = " or ".join(describe_size(other) for other in nearest_sizes(form.size))
            detail = describe_pixels(form.size) + (f"; crop to {near}" if near else "")
            yield _Finding(index, "unfit size", detail)
        elif wanted and form.size != wanted:
            detail = f"{describe_pixels(form.size)}; {describe_size(wanted)} {by_whom}"
            yield _Finding(index, "size", detail)


def _note_sizes(forms: Sequence[ImageFormat | None]) -> list[str]:
    """Says once which sizes networks make, if some are not."""
    size = commonest_size(form.size for form in forms if form and not is_made(form.size))
    if size is None:
        return []
    command = f" The command: {PREPARE}." if nearest_sizes(size) else ""
    return [describe_misfit(size) + command]


def _find_types(forms: Sequence[ImageFormat | None]) -> Iterator[_Finding]:
    """Finds images of other channels or another number of bits than most."""
    types = [form and f"{form.channels} channel(s), {form.dtype}" for form in forms]
    counts = collections.Counter(type_ for type_ in types if type_)
    usual = counts.most_common(1)[0][0] if counts else None
    for index, type_ in enumerate(types):
        if type_ and type_ != usual:
            yield _Finding(index, "type", f"{type_}; most have {usual}")


def _find_duplicates(archive: Archive, scans: Sequence[_Scan]) -> Iterator[_Finding]:
    """Finds images whose pixels an earlier one has, too."""
    first: dict[str, int] = {}
    for index, scan in enumerate(scans):
        if scan.failure:
            continue
        twin = first.setdefault(scan.pixel_hash, index)
        if twin != index:
            same_file = scan.file_hash and scan.file_hash == scans[twin].file_hash
            what = "the same file as" if same_file else "the same pixels as"
            yield _Finding(index, "duplicate", f"{what} {archive.names[twin]}")


def _find_labels(archive: Archive) -> Iterator[_Finding]:
    """Finds images without a label, or with one that is unlike most others'."""
    try:
        items = archive.label_items() if isinstance(archive, ImageFilesArchive) else None
        if items is None:
            yield from _find_unlabelled(archive)
            return
    except ArchiveError as error:
        yield _Finding(-1, "label kind", str(error))
        return
    if all(item is None for item in items):
        # The labels of other images, or of none.
        try:
            _ = archive.labels
        except ArchiveError as error:
            yield _Finding(-1, "label missing", str(error))
        return
    # The commonest kind is taken as meant, so that the odd ones out are named.
    kinds = [_kind_of_label(item) for item in items]
    counts = collections.Counter(kind for kind, _ in kinds if kind)
    usual = counts.most_common(1)[0][0] if counts else ""
    for index, (kind, error) in enumerate(kinds):
        if items[index] is None:
            yield _Finding(index, "label missing", f"{LABEL_FILE} gives it none")
        elif kind is None:
            yield _Finding(index, "label kind", error)
        elif kind != usual:
            yield _Finding(index, "label kind", f"{kind}; most have {usual}")


def _find_unlabelled(archive: Archive) -> Iterator[_Finding]:
    """Finds images outside the class folders; nothing where all are there, or none.

    Raises:
        ArchiveError: The archive cannot make labels of what it holds.
    """
    if archive.labels.kind != "none":
        return
    stray = [index for index, name in enumerate(archive.names) if "/" not in name]
    if 0 < len(stray) < len(archive):
        for index in stray:
            yield _Finding(index, "label missing", "lies in no class folder, as others do")


def _find_unusable(archive: Archive, which: bool | str) -> Iterator[_Finding]:
    """Finds out whether a run would take the labels."""
    try:
        labels = archive.choose_labels(which)
    except ArchiveError as error:
        yield _Finding(-1, "label kind" if which is True else "label missing", str(error))
        return
    if labels.kind == "none":
        why = archive.explain_no_labels()
        yield _Finding(-1, "label missing", "no image has one" + (f". {why}" if why else ""))
        return
    try:
        check_labels(archive, labels)
    except ValueError as error:
        yield _Finding(-1, "label kind", str(error))


def _kind_of_label(item: Any) -> tuple[str | None, str]:
    """Says what a label is, or None and why it cannot be one."""
    # `parse_labels` would name all classes below it.
    if type(item) is int and 0 <= item < MAX_CLASSES:
        return "a class number", ""
    try:
        label = parse_labels([item])
    except ValueError as error:
        return None, str(error)
    if label.kind == "vectors":
        return f"a vector of length {label.c_dim}", ""
    return ("a text" if label.kind == "captions" else label.kind), ""
