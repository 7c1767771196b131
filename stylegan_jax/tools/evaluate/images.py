"""Sets of images as metrics read them, whatever their size: folders, zips, prepared sets."""

import hashlib
import json
from collections.abc import Iterator

import jax
import numpy as np
from jax.sharding import NamedSharding

from stylegan_jax.data.archives import ArchiveError, open_archive
from stylegan_jax.data.codecs import decode
from stylegan_jax.metrics.features import device_batches
from stylegan_jax.run.images import to_uint8


class ImageSet:
    """Images of one size, which need not be one that networks make.

    Attributes:
        name: What to call it.
        fingerprint: Tells it from others.
        shape: Height, width and channels.
    """

    def __init__(self, path: str):
        """Opens any layout that training reads.

        Raises:
            ValueError: Nothing is there, or there are no images.
        """
        self._archive = open_archive(path)
        if not len(self._archive):
            raise ArchiveError(f"{path} has no images.")
        self.name = self._archive.name
        identity = json.dumps(self._archive.identity())
        self.fingerprint = hashlib.sha256(identity.encode()).hexdigest()[:16]
        self.shape = self[0].shape

    def __len__(self) -> int:
        return len(self._archive)

    def __getitem__(self, index: int | np.integer) -> np.ndarray:
        """Returns one image, uint8 [h, w, c].

        Raises:
            ValueError: It cannot be decoded; names the file.
        """
        position = int(index)
        content = self._archive.read(position)
        try:
            return to_uint8(content if isinstance(content, np.ndarray) else decode(content))
        except ValueError as error:
            raise ValueError(f"{self._archive.where(position)}: {error}.") from error


class DrawnImages:
    """Images in the place of a generator's: `drawn(num_images)` yields the first so many."""

    def __init__(self, images: ImageSet, sharding: NamedSharding):
        """Remembers the set, and how a batch is split over the devices."""
        self._images = images
        self._sharding = sharding

    def __call__(self, num_images: int) -> Iterator[jax.Array]:
        """Yields the first so many images in batches, the last one filled up."""
        for batch, _ in device_batches(self._images, np.arange(num_images), self._sharding):
            yield batch
