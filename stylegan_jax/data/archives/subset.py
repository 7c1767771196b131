"""A part of another archive."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stylegan_jax.data.archives.base import Archive, ArchiveError
from stylegan_jax.data.codecs import ImageFormat
from stylegan_jax.data.labels import Labels

# Classes by this name divide a data set, to train on one part and to measure with another.
SPLIT_LABELS = "split"


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
        self.version = archive.version
        self._indices = [int(index) for index in indices]
        self.names = [archive.names[index] for index in self._indices]
        self.sizes = [archive.sizes[index] for index in self._indices]
        # Publishers may label images by other rules than folders.
        self._given_labels = labels
        self.notes = archive.notes if labels is None else ()

    def where(self, index: int) -> str:
        """Returns what the archive calls the image."""
        return self.archive.where(self._indices[index])

    def read(self, index: int) -> bytes | np.ndarray:
        """Returns what the archive holds for the image."""
        return self.archive.read(self._indices[index])

    def read_format(self, index: int) -> ImageFormat:
        """Returns the image's format, as the archive tells it."""
        return self.archive.read_format(self._indices[index])

    def uniform_format(self) -> ImageFormat | None:
        """Returns what the archive knows of all its images."""
        return self.archive.uniform_format()

    def stamp(self, index: int) -> Any:
        """Returns the archive's stamp of the image."""
        return self.archive.stamp(self._indices[index])

    def identity(self) -> Any:
        """Returns the archive's identity and a hash of the positions."""
        # Little-endian, so that the hash is the same on every machine.
        positions = np.asarray(self._indices, "<i8")
        return [self.archive.identity(), hashlib.sha256(positions.data).hexdigest()]

    def explain_no_labels(self) -> str:
        """Says what stood against labels in the archive."""
        return self.archive.explain_no_labels()

    def _read_labels(self) -> Labels:
        if self._given_labels is not None:
            return self._given_labels
        return self.archive.labels.take(self._indices)

    def _read_named_labels(self) -> Mapping[str, Labels | ArchiveError]:
        return {
            name: some.take(self._indices) if isinstance(some, Labels) else some
            for name, some in self.archive.found_labels.items()
        }


def choose_part(archive: Archive, part: str) -> SubsetArchive:
    """Takes the images that the labels `split` put into one part, in the archive's order.

    Args:
        archive: All images.
        part: A class of those labels, such as `seen`.

    Raises:
        ArchiveError: The archive has no such part, or none at all.
    """
    split = None
    if SPLIT_LABELS in archive.found_labels:
        split = archive.choose_labels(SPLIT_LABELS)
    if split is None or part not in split.class_names:
        there = "no parts" if split is None else f"only {', '.join(split.class_names)}"
        raise ArchiveError(f"{archive.name} has no part {part!r}, {there}.")
    chosen = np.flatnonzero(split.values == split.class_names.index(part))
    return SubsetArchive(archive, chosen)


def draw_subset(archive: Archive, size: int, *, seed: int) -> SubsetArchive:
    """Draws images without replacement, and keeps them in the archive's order.

    Args:
        archive: All images.
        size: Number of images to take.
        seed: Fixes the choice, 0 to 2**32 - 1.

    Raises:
        ValueError: The archive has fewer images.

    Source: the official repositories' `max_size`, which choose the same images for a seed.
    """
    if not 1 <= size <= len(archive):
        raise ValueError(
            f"subset={size}, but {archive.name} has {len(archive)} images: give 1 to "
            f"{len(archive)}, or 0 for all."
        )
    # The old generator: newer ones would draw other images for the same seed.
    order = np.arange(len(archive))
    np.random.RandomState(seed).shuffle(order)
    subset = SubsetArchive(archive, np.sort(order[:size]))
    subset.name = f"{archive.name} ({size} of {len(archive)})"
    return subset
