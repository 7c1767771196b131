"""Images of a data set as they lie on disk, before anything is asked of their sizes."""

import abc
import functools
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from stylegan_jax.data.codecs import ImageFormat, decode, read_format
from stylegan_jax.data.labels import Labels


class ArchiveError(ValueError):
    """A data set's files are not what they should be; says which and what to do."""


class Archive(abc.ABC):
    """Random access to images of any size, in a fixed order, with their labels.

    An archive may be pickled and sent to a worker process, and read by several threads.

    Attributes:
        name: What to call the data set in logs and as a folder.
        names: Name of every image within the data set, such as `cat/0001.png`.
        sizes: Bytes of every image as stored.
    """

    # Set by each layout's constructor, which lists the images and reads none.
    name: str
    names: Sequence[str]
    sizes: Sequence[int]

    def __len__(self) -> int:
        return len(self.names)

    @functools.cached_property
    def labels(self) -> Labels:
        """The labels of all images.

        Raises:
            ArchiveError: Labels are there, but not for every image or not of one kind.
        """
        return self._read_labels()

    @abc.abstractmethod
    def read(self, index: int) -> bytes | np.ndarray:
        """Returns an image file's content, or pixels uint8 [h, w, c] where images are no files.

        Raises:
            ArchiveError: The image cannot be read; the message names it.
        """

    @abc.abstractmethod
    def _read_labels(self) -> Labels:
        """Finds the labels."""

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
