"""Images of a data set as they lie on disk, before anything is asked of their sizes."""

import abc
import functools
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stylegan_jax.data.codecs import ImageFormat, decode, read_format
from stylegan_jax.data.labels import Labels, no_labels


class ArchiveError(ValueError):
    """A data set's files are not what they should be; says which and what to do."""


class Archive(abc.ABC):
    """Random access to images of any size, in a fixed order, with their labels.

    An archive may be pickled and sent to a worker process, and read by several threads.

    Attributes:
        name: What to call the data set in logs and as a folder.
        names: Name of every image within the data set, such as `cat/0001.png`.
        sizes: Bytes of every image as stored.
        version: Of what the images were made from, where that is known.
        notes: What should be known of it before it is used, in sentences.
    """

    # Set by each layout's constructor, which lists the images and reads none.
    name: str
    names: Sequence[str]
    sizes: Sequence[int]
    version: str = ""
    notes: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.names)

    @functools.cached_property
    def labels(self) -> Labels:
        """The labels of all images.

        Raises:
            ArchiveError: Labels are there, but not for every image or not of one kind.
        """
        return self._read_labels()

    @functools.cached_property
    def found_labels(self) -> Mapping[str, Labels | ArchiveError]:
        """Labels that go by a name, besides the usual ones; of some perhaps why they do not fit.

        Raises:
            ArchiveError: They cannot be read at all.
        """
        return self._read_named_labels()

    @functools.cached_property
    def named_labels(self) -> Mapping[str, Labels]:
        """Labels that go by a name, besides the usual ones; most data sets have none.

        Raises:
            ArchiveError: Some are there, but not for every image or not of one kind.
        """
        for some in self.found_labels.values():
            if isinstance(some, ArchiveError):
                raise some
        return self._fitting_labels(self.found_labels)

    def choose_labels(self, which: bool | str) -> Labels:
        """Returns the usual labels (True), those of a name, or none (False).

        Raises:
            ArchiveError: The archive has none of that name (the message lists what it has), or they
                do not fit the images.
        """
        if isinstance(which, bool):
            return self.labels if which else no_labels(len(self))
        found = self.found_labels.get(which)
        if isinstance(found, ArchiveError):
            raise found
        if found is None:
            there = ", ".join(self.found_labels)
            raise ArchiveError(
                f"{self.name} has no labels by the name {which!r}, "
                + (f"but {there}." if there else "nor any others by a name.")
            )
        return found

    def find_fitting_labels(self) -> tuple[Labels, Mapping[str, Labels], list[str]]:
        """Returns the usual labels and those by names, as far as they fit; and why others do not.

        For work to which labels do not matter: what is wrong with them should not stop it.
        """
        problems = []
        labels = no_labels(len(self))
        found: Mapping[str, Labels | ArchiveError] = {}
        try:
            labels = self.labels
        except ArchiveError as error:
            problems.append(str(error))
        try:
            found = self.found_labels
        except ArchiveError as error:
            problems.append(str(error))
        problems += [str(some) for some in found.values() if isinstance(some, ArchiveError)]
        # A file that is damaged as a whole says so twice.
        return labels, self._fitting_labels(found), list(dict.fromkeys(problems))

    def leave_out_unfit_labels(self) -> list[str]:
        """Goes on without the labels that do not fit the images; returns why they do not."""
        self.labels, self.named_labels, problems = self.find_fitting_labels()
        self.found_labels = self.named_labels
        return problems

    @staticmethod
    def _fitting_labels(found: Mapping[str, Labels | ArchiveError]) -> dict[str, Labels]:
        return {name: some for name, some in found.items() if isinstance(some, Labels)}

    @abc.abstractmethod
    def read(self, index: int) -> bytes | np.ndarray:
        """Returns an image file's content, or pixels uint8 [h, w, c] where images are no files.

        Raises:
            ArchiveError: The image cannot be read; the message names it.
        """

    @abc.abstractmethod
    def _read_labels(self) -> Labels:
        """Finds the labels."""

    def _read_named_labels(self) -> Mapping[str, Labels | ArchiveError]:
        """Finds the labels that go by a name, or why they do not fit."""
        return {}

    def explain_no_labels(self) -> str:
        """Says in a sentence what stood against labels where none were found, if anything."""
        return ""

    def where(self, index: int) -> str:
        """Returns what to call an image in errors."""
        return f"{self.name}/{self.names[index]}"

    def read_pixels(self, index: int) -> np.ndarray:
        """Returns one image, uint8 or uint16 [h, w, c].

        Raises:
            ValueError: The image is damaged.
        """
        content = self.read(index)
        return content if isinstance(content, np.ndarray) else decode(content)

    def read_format(self, index: int) -> ImageFormat:
        """Returns an image's size and type; archives that can read a header alone do.

        Raises:
            ValueError: The image is damaged or of a kind that is not supported.
        """
        content = self.read(index)
        # Pixels tell themselves; of a file the header is enough.
        if isinstance(content, np.ndarray):
            return ImageFormat(*content.shape, dtype=str(content.dtype))
        return read_format(io.BytesIO(content))

    def uniform_format(self) -> ImageFormat | None:
        """Returns the size and type of all images where they are known without a look at each."""
        return None

    def stamp(self, index: int) -> Any:
        """Returns a JSON value that changes with an image, as far as is known without reading."""
        return int(self.sizes[index])

    def identity(self) -> Any:
        """Returns a JSON value that changes with the data set, without reading it whole."""
        return [list(self.names), list(self.sizes)]
