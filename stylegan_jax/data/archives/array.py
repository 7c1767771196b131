"""One file of NumPy with all images of a data set: `images.npy`, or an `.npz` with labels too.

Values are read where they lie, image by image. Those that are packed, or lie in Fortran's order,
are read into memory as a whole.
"""

import hashlib
import struct
import zipfile
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from stylegan_jax.data.archives.base import Archive, ArchiveError
from stylegan_jax.data.archives.image_files import MAX_LABEL_BYTES
from stylegan_jax.data.archives.listing import advise_on_head, is_regular, open_regular, say
from stylegan_jax.data.archives.reader import FileReader
from stylegan_jax.data.formats import BinaryFile, ImageFileError, ImageFormat
from stylegan_jax.data.labels import Labels, labels_from_rows, no_labels, parse_labels
from stylegan_jax.data.numpy_files import (
    ArrayHeader,
    list_arrays,
    read_header,
    read_values,
    reading_npz,
    set_format,
    to_pixels,
)

# Of a file that cannot be read image by image.
MAX_WHOLE_BYTES = 2**30

_IMAGES = "images"
_LABELS = "labels"
# Images whose pixels tell data sets apart: all would take minutes of a large one.
_SAMPLED = 64
# What a zip has before a member's content: 26 bytes, then the lengths of its name and extras.
_LOCAL_HEADER = struct.Struct("<26xHH")
# What the files begin with; errors name what others are.
_HEADS = (b"\x93NUMPY", b"PK")


class _Place(NamedTuple):
    """Where a file has its images.

    Attributes:
        header: Of their array.
        offset: Of the first value, in bytes.
        is_whole: They are not to be had one by one.
        member: Their array's name in an `.npz`.
        labels: That of the labels, if there are any.
        left_out: Names of other arrays.
    """

    header: ArrayHeader
    offset: int
    is_whole: bool
    member: str = ""
    labels: str = ""
    left_out: tuple[str, ...] = ()


class ArrayArchive(Archive):
    """Images of one size in one array, in its order.

    An `.npz` holds one array, or `images` and perhaps `labels`: integers [n], vectors or one-hot
    rows [n, d], or texts [n].
    """

    def __init__(self, path: epath.PathLike, *, name: str | None = None):
        """Reads the header.

        Args:
            path: An `.npy` or `.npz` file, local or in a bucket, with uint8 or uint16 [n, h, w] or
                [n, h, w, c].
            name: What to call the data set. Default: the file's name without its suffix.

        Raises:
            ArchiveError: The file is missing, damaged, or holds something else.
        """
        self.path = epath.Path(path).expanduser()
        self.name = name or self.path.stem
        if not is_regular(self.path):
            raise ArchiveError(f"{self.path} is not a file; give an .npy or .npz file of images.")
        self._file = FileReader(self.path)
        try:
            self._place = _find_images(self.path, self._file)
            self._format = set_format(self._place.header)
            self._pixels = self._read_whole()
        except ImageFileError as error:
            advice = advise_on_head(self.path, wanted=_HEADS)
            raise ArchiveError(f"{self.path}: {error}. {advice}".rstrip()) from error
        except OSError as error:
            raise ArchiveError(f"{self.path}: cannot be read ({say(error)}).") from error
        if left_out := self._place.left_out:
            self.notes = [f"{len(left_out)} array(s) are left out: {', '.join(left_out)}."]
        status = self.path.stat()
        self._stamp = [status.length, int(status.mtime)]
        # Images have no names but their places.
        header = self._place.header
        count = header.shape[0]
        self.names = [f"{index:08d}" for index in range(count)]
        self.sizes = [header.num_bytes // count] * count

    def where(self, index: int) -> str:
        """Returns the file's path and the image's place in it, from 0."""
        return f"{self.path} (image {index})"

    def read(self, index: int) -> np.ndarray:
        """Returns one image, read-only."""
        form = self._format
        if self._pixels is not None:
            pixels = self._pixels[index]
        else:
            header = self._place.header
            size = self.sizes[index]
            content = self._file.read(self._place.offset + index * size, size)
            if len(content) != size:
                raise ArchiveError(f"{self.where(index)}: the file was cut off since it was opened")
            pixels = to_pixels(content, header.shape[1:], header)
        return pixels.reshape(form.height, form.width, form.channels)

    def read_format(self, index: int) -> ImageFormat:
        """Returns the same for all."""
        return self._format

    def uniform_format(self) -> ImageFormat:
        """Returns the size and type of all images, from the header."""
        return self._format

    def stamp(self, index: int) -> Any:
        """Returns the file's size and when it was written, the same for all."""
        return self._stamp

    def identity(self) -> Any:
        """Returns the array's shape and type, and a hash of some images."""
        some = np.unique(np.linspace(0, len(self) - 1, _SAMPLED).astype(int))
        digest = hashlib.sha256()
        for index in some.tolist():
            digest.update(self.read(index).tobytes())
        header = self._place.header
        return [list(header.shape), header.dtype.name, digest.hexdigest()]

    def _read_labels(self) -> Labels:
        if not self._place.labels:
            return no_labels(len(self))
        try:
            with open_regular(self.path, limit=2**62) as file, reading_npz():
                labels = _parse_labels(_read_label_array(file, self._place.labels), len(self))
        except OSError as error:
            raise ArchiveError(f"{self.path}: cannot be read ({say(error)}).") from error
        except ValueError as error:
            raise ArchiveError(f"{self.path}: {_LABELS}: {error}") from error
        return labels

    def _read_whole(self) -> np.ndarray | None:
        """Reads all images where that is the only way; None of others."""
        place = self._place
        if not place.is_whole:
            return None
        if place.header.num_bytes > MAX_WHOLE_BYTES:
            raise ImageFileError(
                f"{place.header.num_bytes} bytes that are packed or in Fortran's order, more than "
                f"the {MAX_WHOLE_BYTES} that are read into memory: write "
                "numpy.ascontiguousarray(images) with numpy.save, or with savez"
            )
        with open_regular(self.path, limit=2**62) as file:
            if not place.member:
                file.seek(place.offset)
                return read_values(file, place.header)
            with reading_npz(), zipfile.ZipFile(file) as archive:
                with archive.open(place.member) as member:
                    return read_values(member, read_header(member))

    def __getstate__(self) -> dict[str, Any]:
        # A copy reads the pixels itself.
        return {**vars(self), "_pixels": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._pixels = self._read_whole()


def _find_images(path: epath.Path, reader: FileReader) -> _Place:
    """Finds the images of a file.

    Raises:
        ImageFileError: It is damaged, or has none.
    """
    with open_regular(path, limit=2**62) as file:
        if path.name.lower().endswith(".npz"):
            with reading_npz(), zipfile.ZipFile(file) as archive:
                place = _find_member(archive, reader)
        else:
            header = read_header(file)
            place = _Place(header, header.size, header.is_fortran)
    # What is missing would show when a run has long begun.
    end = place.offset + place.header.num_bytes
    size = path.stat().length
    if end > size and not place.is_whole or end != size and not place.member:
        what = "cut off" if end > size else "longer than its array"
        raise ImageFileError(f"an array of shape {place.header.shape} in a file that is {what}")
    return place


def _find_member(archive: zipfile.ZipFile, reader: FileReader) -> _Place:
    """Finds the images among the arrays of an `.npz`, and where their values begin.

    Raises:
        ImageFileError: None of several is called so, or it is damaged.
    """
    arrays = list_arrays(archive)
    name = _IMAGES if _IMAGES in arrays or len(arrays) > 1 else next(iter(arrays))
    if name not in arrays:
        raise ImageFileError(
            f"{len(arrays)} arrays ({', '.join(arrays)}): call that of the images {_IMAGES!r}"
        )
    member = arrays[name]
    with archive.open(member) as file:
        header = read_header(file)
    if member.file_size != header.size + header.num_bytes:
        raise ImageFileError(
            f"an array of shape {header.shape} in {member.file_size} bytes, which do not fit"
        )
    # Behind the name and extras of the member's own header.
    local = reader.read(member.header_offset, _LOCAL_HEADER.size)
    start = member.header_offset + len(local) + sum(_LOCAL_HEADER.unpack(local))
    return _Place(
        header,
        start + header.size,
        is_whole=header.is_fortran or member.compress_type != zipfile.ZIP_STORED,
        member=member.filename,
        labels=arrays[_LABELS].filename if _LABELS in arrays else "",
        left_out=tuple(sorted({*arrays} - {name, _LABELS})),
    )


def _read_label_array(file: BinaryFile, member: str) -> np.ndarray:
    """Reads an array of an `.npz`, of numbers or texts.

    Raises:
        ValueError: It is too large, or holds objects.
    """
    with zipfile.ZipFile(file) as archive:
        size = archive.getinfo(member).file_size
        if size > MAX_LABEL_BYTES:
            raise ValueError(f"{size} bytes, more than the {MAX_LABEL_BYTES} that are read.")
        with archive.open(member) as opened:
            return np.lib.format.read_array(opened, allow_pickle=False)


def _parse_labels(values: np.ndarray, count: int) -> Labels:
    """Makes labels of an array.

    Raises:
        ValueError: It is no label for every image.
    """
    if values.ndim not in (1, 2) or len(values) != count or values.dtype.kind not in "biufU":
        raise ValueError(
            f"an array of {values.dtype.name} and shape {values.shape}, wanted one label for each "
            f"of {count} images: integers or texts [n], or numbers [n, d]."
        )
    if values.ndim == 2 and values.dtype.kind != "U":
        return labels_from_rows(values)
    return parse_labels(values.tolist())
