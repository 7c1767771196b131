"""A small data set of noise, and what it becomes when it is prepared."""

import pathlib

import numpy as np

from stylegan_jax.data import ImageSource
from stylegan_jax.data.archives import Archive, PreparedArchive
from stylegan_jax.data.builders import ImageBuilder
from stylegan_jax.data.codecs import ImageFormat, encode
from stylegan_jax.data.labels import Labels, no_labels
from stylegan_jax.data.preparation.records import make_recipe
from stylegan_jax.data.preparation.transforms import Transform

RESOLUTION = 8


class ArrayArchive(Archive):
    """PNG files of noise, some of them cut off; counts how often one is read.

    Of more than 4 channels it is pixels.
    """

    name = "noise"

    def __init__(self, n=10, *, channels=3, dtype="uint8", labels: Labels | None = None, bad=()):
        rng = np.random.default_rng(0)
        top = np.iinfo(dtype).max + 1
        shape = (n, RESOLUTION, RESOLUTION, channels)
        self.images = rng.integers(top, size=shape).astype(dtype)
        self.names = [f"{i:04d}.png" for i in range(n)]
        self.sizes = [len(self._content(image)) for image in self.images]
        self.bad = bad
        self.num_reads = 0
        self._labels = labels

    def read(self, index):
        self.num_reads += 1
        content = self._content(self.images[index])
        return content[:-40] if index in self.bad else content

    @staticmethod
    def _content(image):
        return encode(image) if image.shape[2] <= 4 else image

    def read_format(self, index):
        return ImageFormat(*self.images[index].shape, dtype=self.images.dtype.name)

    def _read_labels(self):
        return no_labels(len(self)) if self._labels is None else self._labels


def make_builder(archive, data_dir, *, encoding="source", name="noise", **options) -> ImageBuilder:
    """A builder that writes to `data_dir/noise/8/1.0.0`."""
    recipe = make_recipe(archive, Transform((RESOLUTION, RESOLUTION)), encoding=encoding)
    return ImageBuilder(
        archive, recipe, name=name, config=f"{RESOLUTION}", data_dir=data_dir, **options
    )


def prepare(archive, data_dir, **options) -> pathlib.Path:
    """Prepares an archive; returns the folder."""
    builder = make_builder(archive, data_dir, **options)
    builder.download_and_prepare()
    return pathlib.Path(builder.data_dir)


def open_prepared(folder, **options) -> ImageSource:
    """What training reads of a prepared folder."""
    return ImageSource(PreparedArchive(folder), **options)


def images_of(folder) -> np.ndarray:
    """All images of a prepared folder."""
    return np.stack(list(open_prepared(folder)))
