"""NumPy's files as images: `.npy`, and `.npz` with one array. Nothing in them is ever unpickled.

An image is [h, w] or [h, w, c], a set of them [n, h, w] or [n, h, w, c]: uint8 or uint16.
"""

import contextlib
import io
import math
import zipfile
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from stylegan_jax.data.formats import (
    MOST_CHANNELS,
    BinaryFile,
    ImageFileError,
    ImageFormat,
    check_format,
)

# What the two kinds begin with; an empty zip begins as it ends.
_NPY = b"\x93NUMPY"
_NPZ = (b"PK\3\4", b"PK\5\6")

_TYPES = ("uint8", "uint16")
# What to do with arrays of other types, by NumPy's letter for the kind.
_ADVICE = {
    "f": "scale to 0..255 or 0..65535, round, and store as uint8 or uint16",
    "i": "store as uint8 or uint16",
    "u": "store as uint8 or uint16",
    "b": "store `array.astype(np.uint8) * 255`",
    "O": "arrays of objects are not read, as they may run code",
}
_CHANNELS_LAST = "store channels last, as numpy.moveaxis(array, {axis}, -1) has them"


class ArrayHeader(NamedTuple):
    """What an `.npy` file says of its array.

    Attributes:
        shape: Of the array.
        dtype: Its type, in the byte order of the file.
        is_fortran: The first axis varies fastest.
        size: Bytes before the values.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    is_fortran: bool
    size: int

    @property
    def num_bytes(self) -> int:
        """Bytes of the values."""
        return math.prod(self.shape) * self.dtype.itemsize


def is_array_file(head: bytes) -> bool:
    """Tells whether a file begins as one of NumPy's."""
    return head.startswith((_NPY, *_NPZ))


def read_header(file: BinaryFile) -> ArrayHeader:
    """Reads the header of an array, from where the file stands.

    Raises:
        ImageFileError: It is damaged, or of numbers that are no pixels.
    """
    start = file.tell()
    try:
        version = np.lib.format.read_magic(file)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            # Version 3 differs in names of fields alone, and no pixel has any.
            (2, 0): np.lib.format.read_array_header_2_0,
            (3, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, is_fortran, dtype = read(file)
    # Damage may show in any way: the header is a Python literal.
    except Exception as error:
        raise ImageFileError("not a readable array (damaged or cut off)") from error
    if dtype.name not in _TYPES:
        advice = _ADVICE.get(dtype.kind, "store as uint8 or uint16")
        raise ImageFileError(f"an array of {dtype.name}, wanted uint8 or uint16: {advice}")
    if not all(side > 0 for side in shape):
        raise ImageFileError(f"an array of shape {shape}, which is empty")
    return ArrayHeader(shape, dtype, is_fortran, file.tell() - start)


def image_format(header: ArrayHeader) -> ImageFormat:
    """Returns the size and type of an array that is one image.

    Raises:
        ImageFileError: It is none; says what it looks like.
    """
    shape = header.shape
    if len(shape) == 4:
        set_format(header)
        raise ImageFileError(
            f"an array of shape {shape}, a set of {shape[0]} images: give the file itself as the "
            "data set, not what it lies in"
        )
    if len(shape) not in (2, 3):
        raise ImageFileError(f"an array of shape {shape}, wanted [h, w] or [h, w, c]")
    return _format(shape if len(shape) == 3 else (*shape, 1), header, shape)


def set_format(header: ArrayHeader) -> ImageFormat:
    """Returns the size and type of the images of an array that holds a set.

    Raises:
        ImageFileError: It holds none; says what it looks like.
    """
    shape = header.shape
    if len(shape) not in (3, 4):
        raise ImageFileError(f"an array of shape {shape}, wanted [n, h, w] or [n, h, w, c]")
    # No image has fewer than 4 columns: those are channels. Nor as many rows as there are images.
    is_image = len(shape) == 3 and shape[2] <= MOST_CHANNELS
    if is_image and (shape[2] < 4 or shape[0] == shape[1] > shape[2]):
        raise ImageFileError(
            f"an array of shape {shape}, which looks like one image [h, w, c]: give the folder "
            "that it lies in, or a set [n, h, w, c]"
        )
    return _format(shape[1:] if len(shape) == 4 else (*shape[1:], 1), header, shape)


def _format(image: tuple[int, ...], header: ArrayHeader, shape: tuple[int, ...]) -> ImageFormat:
    """Takes [h, w, c] for the format of an image, if it looks like that."""
    height, width, channels = image
    # Channels in front: few, before sides of which the last is too long for channels, or a square.
    is_long = channels > MOST_CHANNELS and height < width
    if height <= MOST_CHANNELS and (is_long or width == channels > height):
        advice = _CHANNELS_LAST.format(axis=len(shape) - 3)
        raise ImageFileError(f"an array of shape {shape}, which looks channel-first: {advice}")
    return check_format(ImageFormat(height, width, channels, header.dtype.name))


def read_array_format(file: BinaryFile) -> ImageFormat:
    """Reads the size and type of the one image in a file, from its header alone.

    Raises:
        ImageFileError: It holds no image.
    """
    with _open_array(file) as array:
        return image_format(read_header(array))


def decode_array(encoded: bytes) -> np.ndarray:
    """Reads the one image of a file.

    Returns:
        uint8 or uint16 [h, w, c].

    Raises:
        ImageFileError: It holds no image, or is damaged.
    """
    with _open_array(io.BytesIO(encoded)) as array:
        header = read_header(array)
        form = image_format(header)
        pixels = read_values(array, header)
    return pixels.reshape(form.height, form.width, form.channels)


def read_values(file: BinaryFile, header: ArrayHeader) -> np.ndarray:
    """Reads all values behind a header, in the order and byte order of this machine.

    Raises:
        ImageFileError: There are more or fewer of them.
    """
    # One byte more shows whether the file goes on.
    content = file.read(header.num_bytes + 1)
    if len(content) != header.num_bytes:
        what = "cut off" if len(content) < header.num_bytes else "longer than its array"
        raise ImageFileError(f"an array of shape {header.shape} in a file that is {what}")
    return to_pixels(content, header.shape, header)


def to_pixels(content: bytes, shape: tuple[int, ...], header: ArrayHeader) -> np.ndarray:
    """Makes pixels of an array's bytes, read-only."""
    order = "F" if header.is_fortran else "C"
    values = np.frombuffer(content, header.dtype).reshape(shape, order=order)
    pixels = np.ascontiguousarray(values, header.dtype.newbyteorder("="))
    pixels.setflags(write=False)
    return pixels


@contextlib.contextmanager
def _open_array(file: BinaryFile) -> Iterator[BinaryFile]:
    """Opens the one array of an `.npz`; an `.npy` is one itself."""
    head = file.read(4)
    file.seek(0)
    if head not in _NPZ:
        yield file
        return
    with reading_npz(), zipfile.ZipFile(file) as archive:
        arrays = list_arrays(archive)
        if len(arrays) != 1:
            raise ImageFileError(
                f"{len(arrays)} arrays ({', '.join(arrays)}), wanted one image: a set of images is "
                "given as a data set of its own"
            )
        # Read in whole, as it may be packed: no more than it says, and that is checked.
        with archive.open(next(iter(arrays.values()))) as array:
            yield array


def list_arrays(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Returns the arrays of an `.npz` by name.

    Raises:
        ImageFileError: There is none.
    """
    suffix = ".npy"
    members = {info.filename: info for info in archive.infolist()}
    arrays = {n.removesuffix(suffix): info for n, info in members.items() if n.endswith(suffix)}
    if not arrays:
        raise ImageFileError("a zip without arrays: NumPy's `.npz` holds .npy files")
    return arrays


@contextlib.contextmanager
def reading_npz() -> Iterator[None]:
    """Says what is wrong with an `.npz`."""
    try:
        yield
    except (ImageFileError, OSError):
        raise
    # Damage makes zip's readers raise anything, and so does a password.
    except Exception as error:
        raise ImageFileError(f"not a readable .npz ({error})") from error
