"""A part of another archive."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from stylegan_jax.data.archives.base import Archive
from stylegan_jax.data.codecs import ImageFormat
from stylegan_jax.data.labels import Labels


class SubsetArchive(Archive):
    """Some images of an archive, in a given order."""

    def __init__(
        self, archive: Archive, indices: Sequence[int] | np.ndarray, *, labels: Labels | None = None
    ):
        """Keeps the archive and the positions.

        Args:
            archive: Where the images are.
            indices: Positions in it.
            labels: Labels of the chosen images. Default: those of the archive.
        """
        self.archive = archive
        self.name = archive.name
        self._indices = [int(index) for index in indices]
        self.names = [archive.names[index] for index in self._indices]
        self.sizes = [archive.sizes[index] for index in self._indices]
        self._given_labels = labels

    def where(self, index: int) -> str:
        """What the archive calls the image."""
        return self.archive.where(self._indices[index])

    def read(self, index: int) -> bytes | np.ndarray:
        """What the archive holds for the image."""
        return self.archive.read(self._indices[index])

    def read_format(self, index: int) -> ImageFormat:
        """The image's format, as the archive tells it."""
        return self.archive.read_format(self._indices[index])

    def stamp(self, index: int) -> Any:
        """The archive's stamp of the image."""
        return self.archive.stamp(self._indices[index])

    def identity(self) -> Any:
        """The archive's identity and the positions."""
        return [self.archive.identity(), self._indices]

    def explain_no_labels(self) -> str:
        """What stood against labels in the archive."""
        return self.archive.explain_no_labels()

    def _read_labels(self) -> Labels:
        if self._given_labels is not None:
            return self._given_labels
        return self.archive.labels.take(self._indices)
