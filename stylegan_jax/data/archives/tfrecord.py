"""ProGAN's and StyleGAN's TFRecords, one file per resolution, read without TensorFlow.

A set `name` is a folder of `name-r02.tfrecords` (4x4 pixels) to `name-r10.tfrecords` (1024x1024),
with `name-rxx.labels` where it has labels.
"""

import array
import functools
import re
import struct
from typing import Any

import google_crc32c
import numpy as np
from etils import epath

from stylegan_jax.data.archives.base import Archive, ArchiveError
from stylegan_jax.data.archives.example import parse_bytes, parse_example, parse_integers
from stylegan_jax.data.archives.image_files import MAX_LABEL_BYTES
from stylegan_jax.data.archives.listing import advise_on_head, is_regular, open_regular, say
from stylegan_jax.data.archives.reader import FileReader
from stylegan_jax.data.codecs import ImageFormat
from stylegan_jax.data.labels import Labels, labels_from_rows, no_labels
from stylegan_jax.sizes import Size

SUFFIX = ".tfrecords"

_LEVEL_FILE = re.compile(r"(.+)-r(\d\d)\.tfrecords")
# A record: length, its checksum, data, its checksum; little-endian.
_HEADER = struct.Struct("<QI")
_CHECKSUM = struct.Struct("<I")
_PARSE_ERRORS = (ValueError, LookupError, TypeError, AttributeError, OverflowError)
_AGAIN = "The file is damaged: copy it again from where it came."


class TfrecordArchive(Archive):
    """The images of one resolution of a multi-resolution set, in the order of the file.

    Rows of the label file that are one-hot become classes, named by their numbers; others vectors.
    """

    def __init__(self, path: epath.PathLike, *, size: Size | None = None, name: str | None = None):
        """Finds all records of a file; reads 16 bytes of each.

        Args:
            path: The set's folder, or one of its files; local or in a bucket.
            size: Which file of a folder to read: the smallest squares that hold images of that
                height and width, in pixels. Default: the largest.
            name: What to call the data set. Default: the name in the files' names.

        Raises:
            ArchiveError: There is no such file, no image as large, or the file is damaged.
        """
        # Of a folder the level that was asked for.
        path = epath.Path(path).expanduser()
        self.path = choose_level(path, size) if path.is_dir() else path
        if not is_regular(self.path):
            raise ArchiveError(f"{self.path} is not a file; give one of TFRecords.")
        level = _LEVEL_FILE.fullmatch(self.path.name)
        self._set_name = level[1] if level else self.path.stem
        self.name = name or self._set_name
        # Three numbers a record; the data are read when they are asked for.
        self._file = FileReader(self.path)
        self._offsets, self.sizes, self._checksums = _index(self._file)
        self.names = [f"{index:08d}" for index in range(len(self._offsets))]

    def where(self, index: int) -> str:
        """Returns the file's path and the record's number, from 0."""
        return f"{self.path} (record {index})"

    def read(self, index: int) -> np.ndarray:
        """Returns one image, uint8 [h, w, c], checked against its checksum."""
        pixels = self._parse(index)
        if pixels.shape != self._shape:
            raise ArchiveError(
                f"{self.where(index)}: the image has shape {pixels.shape}, but record 0 has "
                f"{self._shape}; all images of a file must be alike."
            )
        return pixels

    def read_format(self, index: int) -> ImageFormat:
        """Returns the size and type of the first image, which all others share."""
        height, width, channels = self._shape
        return ImageFormat(height, width, channels)

    def stamp(self, index: int) -> Any:
        """Returns the record's checksum."""
        return self._checksums[index]

    def identity(self) -> Any:
        """Returns sizes and checksums of the records."""
        return [list(self.sizes), list(self._checksums)]

    @functools.cached_property
    def _shape(self) -> tuple[int, ...]:
        return self._parse(0).shape

    def _parse(self, index: int) -> np.ndarray:
        """Returns the pixels of a record whose checksum is right."""
        # The checksum finds every flipped bit, which raw pixels would not show.
        data = self._file.read(self._offsets[index], self.sizes[index])
        if len(data) != self.sizes[index] or _mask_crc(data) != self._checksums[index]:
            raise ArchiveError(f"{self.where(index)}: wrong checksum. {_AGAIN}")
        try:
            return _parse_pixels(data)
        except _PARSE_ERRORS as error:
            raise ArchiveError(
                f"{self.where(index)}: not a ProGAN or StyleGAN record, which has the features "
                f"`shape` (three integers) and `data` (bytes) ({error})."
            ) from error

    def _read_labels(self) -> Labels:
        # One file for all levels.
        file = self.path.parent / f"{self._set_name}-rxx.labels"
        if not file.exists():
            return no_labels(len(self))
        rows = _load_rows(file)
        if rows.ndim != 2 or len(rows) != len(self):
            raise ArchiveError(
                f"{file} has shape {rows.shape}, wanted one row for each of the {len(self)} images "
                f"of {self.path.name}. Take both files from the same set."
            )
        try:
            return labels_from_rows(rows)
        except ValueError as error:
            raise ArchiveError(f"{file}: {error}.") from error


def _load_rows(file: epath.Path) -> np.ndarray:
    """Reads a file of labels: one array of numbers, and nothing behind it."""
    try:
        with open_regular(file, limit=MAX_LABEL_BYTES) as opened:
            rows = np.load(opened, allow_pickle=False)
            more = opened.read(1)
    except OSError as error:
        raise ArchiveError(f"{file}: cannot be read ({say(error)}).") from error
    # Headers may be damaged in many ways, and ask for any amount of memory.
    except Exception as error:
        raise ArchiveError(f"{file}: not a NumPy array ({error}).") from error
    if not isinstance(rows, np.ndarray) or rows.dtype.kind not in "biuf":
        raise ArchiveError(f"{file}: wanted one array of numbers, not {rows}.")
    if more:
        raise ArchiveError(f"{file}: longer than its array of shape {rows.shape}. {_AGAIN}")
    return rows


def choose_level(folder: epath.Path, size: Size | None) -> epath.Path:
    """Finds the file of a set that holds the smallest images of at least a size.

    Raises:
        ArchiveError: The folder holds no set, several sets, or no image as large.
    """
    # Other files may lie there, but not other sets.
    matches = [m for file in folder.iterdir() if (m := _LEVEL_FILE.fullmatch(file.name))]
    names = sorted({match[1] for match in matches})
    if len(names) != 1:
        found = f"those of {', '.join(names)}" if names else "none"
        raise ArchiveError(
            f"{folder}: wanted the files name-r02{SUFFIX} and so on of one set, found {found}. "
            "Give the folder of one set, or a single file."
        )
    # Files are named by the logarithm of the squares' side: the longer one is to fit in.
    levels = {2 ** int(match[2]): match[0] for match in matches}
    wanted = max(size) if size else max(levels)
    enough = [level for level in levels if level >= wanted]
    if not enough:
        raise ArchiveError(
            f"{folder} holds images of {', '.join(map(str, sorted(levels)))} pixels, not of "
            f"{wanted}: ask for {max(levels)} or less."
        )
    return folder / levels[min(enough)]


def _index(file: FileReader) -> tuple[array.array, array.array, array.array]:
    """Finds offset, length and checksum of each record's data in the frames around them."""
    offsets = array.array("Q")
    sizes = array.array("Q")
    checksums = array.array("I")
    try:
        header = file.read(0, _HEADER.size)
        offset = _HEADER.size
        # From frame to frame, over the data.
        while header:
            where = f"{file.path} (record {len(offsets)})"
            if len(header) < _HEADER.size:
                raise ArchiveError(f"{where}: the file is cut off. {_AGAIN}")
            size, checksum = _HEADER.unpack(header)
            if _mask_crc(header[:8]) != checksum:
                advice = ("" if offsets else advise_on_head(file.path)) or _AGAIN
                raise ArchiveError(f"{where}: wrong checksum of the length. {advice}")
            # The end of this record and the beginning of the next.
            tail = file.read(offset + size, _CHECKSUM.size + _HEADER.size)
            if len(tail) < _CHECKSUM.size:
                raise ArchiveError(f"{where}: the file is cut off. {_AGAIN}")
            offsets.append(offset)
            sizes.append(size)
            checksums.append(_CHECKSUM.unpack_from(tail)[0])
            header = tail[_CHECKSUM.size :]
            offset += size + len(tail)
    # The length may be any number of 64 bits, with the right checksum too.
    except (OSError, OverflowError) as error:
        reason = say(error) if isinstance(error, OSError) else error
        raise ArchiveError(f"{file.path}: cannot be read ({reason}).") from error
    if not offsets:
        raise ArchiveError(f"{file.path} is empty; give a file of images.")
    return offsets, sizes, checksums


def _mask_crc(data: bytes) -> int:
    """TFRecord's checksum: CRC32C, rotated and shifted so that it may itself be checksummed."""
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _parse_pixels(data: bytes) -> np.ndarray:
    """Returns the pixels of a serialised tf.train.Example."""
    features = parse_example(data)
    # Stored as planes [c, h, w].
    channels, height, width = parse_integers(features[b"shape"])
    pixels = parse_bytes(features[b"data"])
    chw = np.frombuffer(pixels, np.uint8).reshape(channels, height, width)
    # [h, w, c], in a quarter of the time of a transposed copy.
    return np.stack(list(chw), axis=2)
