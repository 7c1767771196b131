"""Random access to images of one size: what networks are trained on, whatever it is stored as.

An archive holds what lies on disk, images of any size. A source is an archive of which all that
training needs was checked, with the attributes that the networks are built from.
"""

import collections
import concurrent.futures
import dataclasses
import hashlib
import json
from collections.abc import Iterable
from typing import Any

import numpy as np

from stylegan_jax.data.archives import Archive, ArchiveError
from stylegan_jax.data.channels import can_drop, describe_silent, drop_channels, useful_channels
from stylegan_jax.data.codecs import ImageFormat, decode
from stylegan_jax.data.formats import MOST_CHANNELS
from stylegan_jax.data.labels import Labels
from stylegan_jax.sizes import (
    Size,
    describe_misfit,
    describe_pixels,
    describe_size,
    is_made,
    name_size,
    nearest_sizes,
)

# Decoded images are kept in memory, in each process that reads, where all of them fit in this.
CACHE_LIMIT_BYTES = 2**30

PREPARE = "python -m stylegan_jax.tools.dataset prepare"

_READ_THREADS = 8
# Images per task of a thread: a future for each of a million takes more memory than all else.
_READ_PART = 256
_SHOWN_PROBLEMS = 5
# Images whose pixels are looked at when a data set is opened: all would take hours of a large one.
_LOOKED_AT = 64


class ImageSource:
    """Images of one size that networks make, with or without labels.

    A source may be pickled and sent to a worker process.

    Attributes:
        name: What to call the data set in logs.
        format: Size, channels and type of every image.
        labels: The labels that are used; of kind `none` where they are left off.
        unused: Labels that the data set has and that are not used; None without any.
        label_names: Names of labels that may be trained with besides the usual ones.
        notes: What should be known before the images are used, in sentences: files and labels that
            are left out, and why.
        fingerprint: 16 hexadecimal digits that change when the data set or the use of its labels
            does. They do not depend on where the data set lies.
    """

    def __init__(
        self,
        archive: Archive,
        *,
        size: Size | None = None,
        labels: bool | str = False,
        channels: int = 0,
    ):
        """Checks labels and the header of every image.

        Args:
            archive: The images.
            size: Height and width in pixels that the images must have. Default: the commonest
                among them.
            labels: Give the archive's labels to the networks, or those of a name.
            channels: Drop channels that say nothing until so many are left; 0: as stored.

        Raises:
            ValueError: Networks do not make images of such a size (the message names the nearest
                that they make); images are unreadable, or of another size, number of channels or
                type than wanted (it names the first few); labels are asked for that do not exist,
                are captions, or are all of one class; other channels are wanted than are left.
        """
        if size is not None:
            check_size(size)
        # Labels first: they take no look at the images.
        self.labels = archive.choose_labels(labels)
        if labels:
            check_labels(archive, self.labels)
        # A prepared archive knows its format; of others every header is read.
        self._stored = archive.uniform_format() or _find_format(archive, size)
        self.format = _choose_channels(archive.name, self._stored, channels)
        if size is not None and self.size != size:
            raise ValueError(
                f"{archive.name} has images of {describe_pixels(self.size)}, wanted "
                f"{describe_size(size)}: set data.resolution={name_size(self.size)}, or prepare "
                "the images anew."
            )
        if not is_made(self.size):
            raise ValueError(_describe_unfit(archive, self.size, len(archive)))

        self.name = archive.name
        # A run says at its start which labels it leaves out. What is wrong with those does not
        # stop it.
        usual, named, unfit = archive.find_fitting_labels()
        self.unused = None if labels or usual.kind == "none" else usual
        self.label_names = tuple(n for n, some in named.items() if _tells_images_apart(some))
        self.notes = (*archive.notes, *unfit)
        self.fingerprint = _fingerprint(archive, self.format, self.labels)
        self._archive = archive
        self._cache: dict[int, np.ndarray] = {}

    @property
    def size(self) -> Size:
        """Height and width in pixels."""
        return self.format.size

    @property
    def img_channels(self) -> int:
        """1 (grey), 2 (grey and alpha), 3 (RGB), 4 (RGBA), or up to 16 of any meaning."""
        return self.format.channels

    @property
    def c_dim(self) -> int:
        """Length of a label vector, 0 where labels are not used."""
        return self.labels.c_dim

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, empty where there are none."""
        return self.labels.class_names

    def __len__(self) -> int:
        return len(self._archive)

    def __getitem__(self, index: int) -> np.ndarray:
        """Returns one image.

        Args:
            index: Position in the data set's fixed order.

        Returns:
            uint8 or uint16 [h, w, c], read-only.

        Raises:
            IndexError: There is no such image.
            ValueError: The image cannot be decoded; the message names the file.
        """
        index = range(len(self))[index]
        image = self._cache.get(index)
        if image is None:
            image = self._read(index)
            # The cache and all readers share one array.
            image.setflags(write=False)
            if self._fits_in_memory():
                self._cache[index] = image
        return image

    def describe_silent_channels(self) -> str:
        """Says which channels could be dropped, from a look at some images; nothing if none can."""
        positions = np.linspace(0, len(self) - 1, min(_LOOKED_AT, len(self))).astype(int)
        useful = []
        for position in positions.tolist():
            try:
                useful.append(useful_channels(self[position]))
            except ValueError:
                # A damaged image is told of where it is read to be used.
                return ""
            # Of most data sets the first image is enough.
            if useful[-1] == self.img_channels:
                break
        return describe_silent(self.img_channels, useful, len(self))

    def __getstate__(self) -> dict[str, Any]:
        # Images would take longer to send than to read.
        return {**self.__dict__, "_cache": {}}

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r}, fingerprint={self.fingerprint!r})"

    def _fits_in_memory(self) -> bool:
        """Tells whether all images together, decoded, are within the limit of the cache."""
        form = self.format
        pixels = form.height * form.width * form.channels
        return len(self) * pixels * np.dtype(form.dtype).itemsize <= CACHE_LIMIT_BYTES

    def _read(self, index: int) -> np.ndarray:
        """Reads and decodes one image, and makes sure that it is as the others."""
        where = self._archive.where(index)
        try:
            content = self._archive.read(index)
            pixels = content if isinstance(content, np.ndarray) else decode(content)
        except ArchiveError:
            raise
        except ValueError as error:
            raise ValueError(f"{where}: {error}. Replace or remove it.") from error
        # Files may be replaced while a run reads them.
        found = ImageFormat(*pixels.shape, dtype=pixels.dtype.name)
        if found != self._stored:
            raise ValueError(
                f"{where}: {found}, but {self._stored} when the data set was opened. Start again."
            )
        if self.format == self._stored:
            return pixels
        try:
            # A copy, which does not hold what was dropped in memory.
            return drop_channels(pixels, self.img_channels).copy()
        except ValueError as error:
            raise ValueError(
                f"{where} has {error}: set data.channels to 0, or prepare the data set with "
                f"--channels={self.img_channels}, which lays transparent images on white."
            ) from error


def _choose_channels(name: str, stored: ImageFormat, channels: int) -> ImageFormat:
    """Returns the format with the channels that are wanted."""
    if stored.channels > MOST_CHANNELS or not 0 <= channels <= MOST_CHANNELS:
        raise ValueError(
            f"{name}: data.channels={channels} of images with {stored.channels} channel(s): give 1 "
            f"(grey), 2 (with alpha), 3 (RGB), 4 (RGBA), or 0 for as many as are stored, up to "
            f"{MOST_CHANNELS}."
        )
    if channels and not can_drop(stored.channels, channels):
        # More than 4 may mean anything, and are not converted.
        tool = f": `{PREPARE} --channels={channels}` converts"
        raise ValueError(
            f"{name} has images of {stored.channels} channel(s), and data.channels={channels} only "
            f"drops what says nothing{tool if max(channels, stored.channels) <= 4 else ''}."
        )
    return dataclasses.replace(stored, channels=channels or stored.channels)


def _fingerprint(archive: Archive, form: ImageFormat, labels: Labels) -> str:
    """Hashes what tells data sets, and uses of their labels, apart."""
    # Labels by the hash of their bytes: millions of them as JSON take minutes.
    summary = [
        *(form.height, form.width, form.channels, form.dtype),
        archive.identity(),
        *(labels.kind, labels.class_names, labels.digest),
    ]
    return hashlib.sha256(json.dumps(summary).encode()).hexdigest()[:16]


def _find_format(archive: Archive, size: Size | None) -> ImageFormat:
    """Returns the format that all images of an archive share, from their headers.

    Raises:
        ValueError: Names the first few images that differ from what was asked for, or from the
            commonest kind.
    """
    formats = _read_formats(archive)
    # The commonest kind is taken as meant, so that the message names the odd ones out.
    known = [form for form in formats if isinstance(form, ImageFormat)]
    wanted = size or commonest_size(form.size for form in known)
    if wanted and not is_made(wanted):
        count = sum(form.size == wanted for form in known)
        raise ValueError(_describe_unfit(archive, wanted, count))
    types = collections.Counter((form.channels, form.dtype) for form in known)
    channels, dtype = types.most_common(1)[0][0] if types else (3, "uint8")

    # What differs, by the first reason that holds.
    problems = []
    for name, form in zip(archive.names, formats):
        problem = form if isinstance(form, str) else _misfit(form, wanted, channels, dtype)
        if problem:
            problems.append(f"{name}: {problem}")
    if problems or wanted is None:
        raise ValueError(_describe_problems(archive, problems))
    return ImageFormat(*wanted, channels, dtype)


def commonest_size(sizes: Iterable[Size]) -> Size | None:
    """Returns the size that most images have, of equally common ones one that networks make.

    None of no images.
    """
    counts = collections.Counter(sizes)
    return max(counts, key=lambda size: (counts[size], is_made(size)), default=None)


def _read_formats(archive: Archive) -> list[ImageFormat | str]:
    """Reads the header of every image; of unreadable ones the error is returned."""

    def read(index: int) -> ImageFormat | str:
        try:
            return archive.read_format(index)
        except (ValueError, OSError) as error:
            return str(error)

    everything = range(len(archive))
    parts = [everything[i : i + _READ_PART] for i in range(0, len(archive), _READ_PART)]
    with concurrent.futures.ThreadPoolExecutor(_READ_THREADS) as pool:
        return [form for part in pool.map(lambda p: [*map(read, p)], parts) for form in part]


def _misfit(form: ImageFormat, size: Size | None, channels: int, dtype: str) -> str:
    """Says how an image differs from the others; nothing where it does not."""
    if size and form.size != size:
        return f"{describe_pixels(form.size)}, wanted {describe_size(size)}"
    if form.channels != channels:
        return f"{form.channels} channel(s), but most files have {channels}"
    if form.dtype != dtype:
        return f"{form.dtype}, but most files are {dtype}"
    return ""


def _describe_problems(archive: Archive, problems: list[str]) -> str:
    """Lists the first few problems."""
    shown = "\n".join(f"  {problem}" for problem in problems[:_SHOWN_PROBLEMS])
    if len(problems) > _SHOWN_PROBLEMS:
        shown += f"\n  ... and {len(problems) - _SHOWN_PROBLEMS} more"
    return (
        f"{archive.name}: {len(problems)} of {len(archive)} images do not fit:\n{shown}\n"
        "Prepare the data set, which crops, resizes and converts "
        f"(`{PREPARE}`), or mend or remove these files."
    )


def check_size(size: Size) -> None:
    """Refuses a size that is asked for and that no network here makes.

    Raises:
        ValueError: It is such; says which ones are near.
    """
    if not is_made(size):
        raise ValueError(f"resolution={name_size(size)}: {describe_misfit(size)}")


def _describe_unfit(archive: Archive, size: Size, count: int) -> str:
    """Says that no network here makes images of an archive's size, and how others are made."""
    share = f"{count} of {len(archive)} images are of {describe_pixels(size)}"
    text = f"{archive.name}: {share}: {describe_misfit(size)}"
    near = nearest_sizes(size)
    if not near:
        return text
    return (
        f"{text}\n  {PREPARE} --source=PATH --name=NAME --resolution={name_size(near[0])} "
        "--crop=center-crop"
    )


def _tells_images_apart(labels: Labels) -> bool:
    """Tells whether networks can be conditioned on labels: vectors, or classes of more than one."""
    is_constant = labels.kind == "classes" and bool((labels.values == labels.values[0]).all())
    return labels.kind in ("classes", "vectors") and not is_constant


def check_labels(archive: Archive, labels: Labels) -> None:
    """Refuses labels that cannot be trained with.

    Raises:
        ValueError: There are none, they are captions, or the same for all images.
    """
    if labels.kind == "none":
        why = archive.explain_no_labels()
        raise ValueError(
            f"{archive.name} has no labels.{' ' * bool(why)}{why}\n"
            "Give every image one (a folder per class, or a dataset.json), or leave labels off."
        )
    if labels.kind == "captions":
        raise ValueError(
            f"{archive.name} has captions, which class-conditional networks cannot take: leave "
            "data.labels off, or name others."
        )
    # A condition that is the same for all teaches a network nothing.
    if not _tells_images_apart(labels):
        raise ValueError(
            f"{archive.name}: labels are asked for, but all {len(labels)} images are of the class "
            f"{labels.class_names[labels.values[0]]!r}. Train without labels, or give two classes "
            "or more."
        )
