"""Random access to images of one size: what networks are trained on, whatever it is stored as.

Every source looks alike to the pipeline: `len(source)`, `source[i]`, `source.labels`, and the
attributes that the networks are built from. A source may be pickled and sent to a worker process.
"""

import abc
import collections
import concurrent.futures
import hashlib
import json
from typing import Any

import numpy as np

from stylegan_jax.data.archives import Archive, ArchiveError
from stylegan_jax.data.codecs import ImageFormat, decode
from stylegan_jax.data.labels import Labels, no_labels

# Decoded images are kept in memory, in each process that reads, where all of them fit in this.
CACHE_LIMIT_BYTES = 2**30

_READ_THREADS = 8
_READ_PART = 256
_SHOWN_PROBLEMS = 5


class ImageSource(abc.ABC):
    """Square images of one size, with or without labels; the common part of all sources.

    Attributes:
        name: What to call the data set in logs.
        format: Size, channels and type of every image.
        labels: The labels that are used; of kind `none` where they are left off.
        unused: Labels that the data set has and that are not used; None without any.
        fingerprint: 16 hexadecimal digits that change when the data set or the use of its labels
            does. They do not depend on where the data set lies.
    """

    def __init__(
        self, *, name: str, format: ImageFormat, labels: Labels, use_labels: bool, identity: Any
    ):
        """Checks size and labels and sets the attributes.

        Args:
            name: What to call the data set in logs and errors.
            format: Size, channels and type of every image.
            labels: The labels that the data set has.
            use_labels: Give them to the networks.
            identity: JSON value that is equal for equal data sets only, for the fingerprint.

        Raises:
            ValueError: The images have a size that no network here makes; labels are asked for
                that do not exist, are captions, or are all of one class.
        """
        _check_size(name, format)
        if use_labels:
            _check_labels(name, labels)
        self.name = name
        self.format = format
        self.labels = labels if use_labels else no_labels(len(labels))
        self.unused = None if use_labels or labels.kind == "none" else labels
        summary = [
            *(format.height, format.width, format.channels, format.dtype, identity),
            *(self.labels.kind, self.labels.class_names, self.labels.values.tolist()),
        ]
        self.fingerprint = hashlib.sha256(json.dumps(summary).encode()).hexdigest()[:16]
        self._cache: dict[int, np.ndarray] = {}

    @property
    def img_resolution(self) -> int:
        """Width and height in pixels."""
        return self.format.height

    @property
    def img_channels(self) -> int:
        """1 (grey), 3 (RGB) or 4 (RGBA)."""
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
        return len(self.labels)

    def __getitem__(self, index: int) -> np.ndarray:
        """One image.

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
            image = self._checked(index)
            image.setflags(write=False)
            if self._fits_in_memory():
                self._cache[index] = image
        return image

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_cache": {}}

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r}, fingerprint={self.fingerprint!r})"

    def verify(self) -> None:
        """Decodes every image once.

        Raises:
            ValueError: Images that cannot be decoded; the message names the first few.
        """
        with concurrent.futures.ThreadPoolExecutor(_READ_THREADS) as pool:
            problems = [p for p in pool.map(self._find_damage, range(len(self))) if p]
        raise_problems(self.name, problems, len(self), "Replace or remove these images.")

    def _find_damage(self, index: int) -> str | None:
        """The error of decoding an image, if any."""
        try:
            self._checked(index)
        except ValueError as error:
            return str(error)
        return None

    def _fits_in_memory(self) -> bool:
        """Whether all images together, decoded, are within the limit of the cache."""
        form = self.format
        pixels = form.height * form.width * form.channels
        return len(self) * pixels * np.dtype(form.dtype).itemsize <= CACHE_LIMIT_BYTES

    def _checked(self, index: int) -> np.ndarray:
        """Reads and decodes one image, and makes sure that it is as the others."""
        try:
            content = self._read(index)
            pixels = content if isinstance(content, np.ndarray) else decode(content)
        except ArchiveError:
            raise
        except ValueError as error:
            raise ValueError(f"{self.where(index)}: {error}. Replace or remove it.") from error
        found = ImageFormat(*pixels.shape, dtype=pixels.dtype.name)
        if found != self.format:
            raise ValueError(
                f"{self.where(index)}: {found}, but {self.format} when the data set was opened. "
                "Start again."
            )
        return pixels

    @abc.abstractmethod
    def _read(self, index: int) -> bytes | np.ndarray:
        """One image file's content, or pixels."""

    @abc.abstractmethod
    def where(self, index: int) -> str:
        """What to call an image in errors."""


class ArchiveSource(ImageSource):
    """An archive whose images all have one size, read as it is."""

    def __init__(self, archive: Archive, *, resolution: int | None = None, labels: bool = False):
        """Checks the header of every image.

        Args:
            archive: The images.
            resolution: Width and height in pixels that the images must have. Default: the
                commonest among them.
            labels: Use the archive's labels.

        Raises:
            ValueError: An image is unreadable, not square, or of another size, number of channels
                or type than wanted; or as `ImageSource` says. The message names the first few.
        """
        self._archive = archive
        if labels and archive.labels.kind == "none":
            raise ValueError(
                f"{archive.name} has no labels. {archive.explain_no_labels()}\n"
                "Give every image one (a folder per class, or a dataset.json), or leave labels off."
            )
        form = archive.uniform_format() or check_formats(archive, resolution)
        if resolution is not None and form.height != resolution:
            raise ValueError(
                f"{archive.name} has images of {form.width}x{form.height} pixels, wanted "
                f"{resolution}x{resolution}: set data.resolution, or prepare the images anew."
            )
        super().__init__(
            name=archive.name,
            format=form,
            labels=archive.labels,
            use_labels=labels,
            identity=archive.identity(),
        )

    def _read(self, index: int) -> bytes | np.ndarray:
        return self._archive.read(index)

    def where(self, index: int) -> str:
        """The image's path."""
        return self._archive.where(index)


class SubsetSource(ImageSource):
    """Some images of another source, drawn without replacement, in that source's order."""

    def __init__(self, source: ImageSource, size: int, *, seed: int):
        """Draws the images.

        Args:
            source: All images.
            size: Number of images to take.
            seed: Fixes the choice, 0 to 2**32 - 1.

        Raises:
            ValueError: The source has fewer images.

        Source: the official repositories' `max_size`, which choose the same images for a seed.
        """
        if not 1 <= size <= len(source):
            raise ValueError(
                f"subset={size}, but {source.name} has {len(source)} images: give 1 to "
                f"{len(source)}, or 0 for all."
            )
        order = np.arange(len(source))
        np.random.RandomState(seed).shuffle(order)
        self._source, self._indices = source, np.sort(order[:size])
        super().__init__(
            name=f"{source.name} ({size} of {len(source)})",
            format=source.format,
            labels=source.labels.take(self._indices),
            use_labels=source.labels.kind != "none",
            identity=[source.fingerprint, size, seed],
        )
        self.unused = source.unused

    def _read(self, index: int) -> np.ndarray:
        return self._source[int(self._indices[index])]

    def where(self, index: int) -> str:
        """The image's place in the whole source."""
        return self._source.where(int(self._indices[index]))


def check_formats(archive: Archive, resolution: int | None = None) -> ImageFormat:
    """The format that all images of an archive share, from their headers.

    Raises:
        ValueError: Names the first few images that differ from what was asked for, or from the
            commonest kind.
    """

    def read(index: int) -> ImageFormat | str:
        try:
            return archive.read_format(index)
        except (ValueError, OSError) as error:
            return str(error)

    # In parts: a future for each of a million images takes more memory than all else.
    parts = [range(len(archive))[i : i + _READ_PART] for i in range(0, len(archive), _READ_PART)]
    with concurrent.futures.ThreadPoolExecutor(_READ_THREADS) as pool:
        formats = [form for part in pool.map(lambda p: [*map(read, p)], parts) for form in part]
    # The commonest kind is taken as meant, so that the message names the odd ones out.
    known = [form for form in formats if isinstance(form, ImageFormat)]
    sides = collections.Counter(form.height for form in known if form.height == form.width)
    if resolution is None and sides:
        resolution = sides.most_common(1)[0][0]
    types = collections.Counter((form.channels, form.dtype) for form in known)
    channels, dtype = types.most_common(1)[0][0] if types else (3, "uint8")
    problems = []
    for name, form in zip(archive.names, formats):
        if isinstance(form, str):
            problems.append(f"{name}: {form}")
        elif resolution is None or (form.height, form.width) != (resolution, resolution):
            wanted = "square" if resolution is None else f"{resolution}x{resolution}"
            problems.append(f"{name}: {form.width}x{form.height} pixels, wanted {wanted}")
        elif form.channels != channels:
            problems.append(f"{name}: {form.channels} channel(s), but most files have {channels}")
        elif form.dtype != dtype:
            problems.append(f"{name}: {form.dtype}, but most files are {dtype}")
    advice = (
        "Prepare the data set, which crops, resizes and converts "
        "(`python -m stylegan_jax.tools.dataset prepare`), or mend or remove these files."
    )
    raise_problems(archive.name, problems, len(archive), advice)
    return ImageFormat(int(resolution or 0), int(resolution or 0), channels, dtype)


def raise_problems(where: str, problems: list[str], total: int, advice: str) -> None:
    """Raises a ValueError that lists the first few problems, if there are any."""
    if not problems:
        return
    shown = "\n".join(f"  {problem}" for problem in problems[:_SHOWN_PROBLEMS])
    if len(problems) > _SHOWN_PROBLEMS:
        shown += f"\n  ... and {len(problems) - _SHOWN_PROBLEMS} more"
    raise ValueError(f"{where}: {len(problems)} of {total} images do not fit:\n{shown}\n{advice}")


def _check_size(name: str, form: ImageFormat) -> None:
    """Refuses what no network here makes."""
    side = form.height
    if side != form.width or side < 4 or side & (side - 1):
        raise ValueError(
            f"{name}: images of {form.width}x{form.height} pixels. The networks make squares with "
            "a power of two as their side, from 4x4 on: crop and resize with "
            "`python -m stylegan_jax.tools.dataset prepare`."
        )


def _check_labels(name: str, labels: Labels) -> None:
    """Refuses labels that cannot be trained with."""
    if labels.kind == "none":
        raise ValueError(f"{name} has no labels: leave data.labels off, or prepare it with labels.")
    if labels.kind == "captions":
        raise ValueError(
            f"{name} has captions, which class-conditional networks cannot take: leave data.labels "
            "off."
        )
    if labels.kind == "classes" and len(np.unique(labels.values)) < 2:
        raise ValueError(
            f"{name}: labels are asked for, but all {len(labels)} images are of the class "
            f"{labels.class_names[labels.values[0]]!r}. Train without labels, or give two classes "
            "or more."
        )
