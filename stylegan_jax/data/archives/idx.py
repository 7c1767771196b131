"""MNIST and sets of its kind: `train-images-idx3-ubyte.gz` with its labels."""

import functools
import gzip
import hashlib
import math
import re
import struct
import zlib
from typing import Any

import numpy as np
from etils import epath

from stylegan_jax.data.archives.base import Archive, ArchiveError
from stylegan_jax.data.labels import Labels, class_labels, no_labels

TRAIN_IMAGES = "train-images-idx3-ubyte.gz"

_IMAGES = re.compile(r"(.*)-images-idx3-ubyte(\.gz)?")
_UINT8 = 8


class IdxArchive(Archive):
    """Grey images, padded with zeros to the next power of two: 28x28 becomes 32x32.

    The classes, 0 to 9, come from `train-labels-idx1-ubyte.gz` beside the images, if it is there.
    The images lie in memory; a copy sent to another process reads the file again.
    """

    def __init__(self, path: epath.PathLike, *, name: str | None = None):
        """Reads the images.

        Args:
            path: A file `*-images-idx3-ubyte.gz`, or the same unpacked.
            name: What to call the data set. Default: the name of the file's folder.

        Raises:
            ArchiveError: The file is missing or damaged.
        """
        self.path = epath.Path(path).expanduser()
        self.name = name or self.path.resolve().parent.name
        self.names = [f"{index:08d}" for index in range(len(self._pixels))]
        self.sizes = [self._pixels[0].size] * len(self.names)

    def where(self, index: int) -> str:
        """The file's path and the image's number, from 0."""
        return f"{self.path} (image {index})"

    def read(self, index: int) -> np.ndarray:
        """One image, uint8 [h, w, 1], read-only."""
        return self._pixels[index]

    @functools.cached_property
    def _pixels(self) -> np.ndarray:
        images = _read_idx(self.path, dims=3)
        if not images.size:
            raise ArchiveError(f"{self.path} holds no images.")
        side = 2 ** math.ceil(math.log2(max(images.shape[1:])))
        margins = [((side - size) // 2, (side - size + 1) // 2) for size in images.shape[1:]]
        pixels = np.pad(images, [(0, 0), *margins])[..., None]
        pixels.setflags(write=False)
        return pixels

    def stamp(self, index: int) -> Any:
        """A checksum of the pixels."""
        return zlib.crc32(self._pixels[index])

    def identity(self) -> Any:
        """Names and a hash of all pixels: the sizes are those of every such set."""
        return [self.names, hashlib.sha256(self._pixels).hexdigest()]

    def _read_labels(self) -> Labels:
        match = _IMAGES.fullmatch(self.path.name)
        file = self.path.parent / f"{match[1]}-labels-idx1-ubyte{match[2] or ''}" if match else None
        if file is None or not file.exists():
            return no_labels(len(self))
        numbers = _read_idx(file, dims=1)
        if len(numbers) != len(self):
            raise ArchiveError(f"{file} has {len(numbers)} labels, {self.path} {len(self)} images.")
        return class_labels(numbers, [str(number) for number in range(int(numbers.max()) + 1)])

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        state.pop("_pixels", None)
        return state


def is_idx(name: str) -> bool:
    """Whether a file's name is that of images in this format."""
    return _IMAGES.fullmatch(name) is not None


def _read_idx(path: epath.Path, *, dims: int) -> np.ndarray:
    """An array of uint8 from an IDX file: zero, zero, type, dimensions, sizes, values."""
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
        shape = struct.unpack_from(f">{dims}I", content, 4)
        values = np.frombuffer(content, np.uint8, offset=4 + 4 * dims)
        if content[:4] != bytes((0, 0, _UINT8, dims)) or len(values) != math.prod(shape):
            raise ValueError(f"header {content[:4].hex()}, {len(values)} values for {shape}")
    except (OSError, EOFError, ValueError, struct.error, zlib.error) as error:
        raise ArchiveError(
            f"{path}: not a whole IDX file of {dims} dimension(s) ({error}). Fetch it again."
        ) from error
    return values.reshape(shape)
