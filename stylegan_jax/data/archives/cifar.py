"""CIFAR-10's python archive, `cifar-10-python.tar.gz`, packed or unpacked."""

import functools
import hashlib
import io
import math
import pickle
import tarfile
import zlib
from typing import Any

import numpy as np
from etils import epath

from stylegan_jax.data.archives.base import Archive, ArchiveError
from stylegan_jax.data.labels import Labels, class_labels

TRAIN_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST_BATCH = "test_batch"

_META = "batches.meta"
# What a damaged tar or gzip raises, and what a damaged pickle does.
_READ_ERRORS = (OSError, EOFError, tarfile.TarError, zlib.error)
_PICKLE_ERRORS = (
    pickle.UnpicklingError,
    EOFError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    OverflowError,
    MemoryError,
)


class CifarArchive(Archive):
    """CIFAR-10's 32x32 images in the order of the batches, with their classes.

    The images lie in memory (154 MB for the training set); a copy sent to another process reads
    the file again.
    """

    def __init__(self, path: epath.PathLike, *, test: bool = False, name: str | None = None):
        """Reads the whole archive.

        Args:
            path: `cifar-10-python.tar.gz`, or the folder `cifar-10-batches-py` that it unpacks to.
            test: Read the 10,000 test images instead of the 50,000 of training.
            name: What to call the data set.

        Raises:
            ArchiveError: A batch is missing, damaged, or wants to run code.
        """
        self.path = epath.Path(path).expanduser()
        self.name = name or ("cifar10_test" if test else "cifar10")
        self._batches = (TEST_BATCH,) if test else TRAIN_BATCHES
        self._pixels, self._numbers, self._class_names = self._load()
        # Images are named by their places in the batches.
        lengths = [len(numbers) for numbers in self._numbers]
        self.names = [f"{b}/{i:05d}" for b, n in zip(self._batches, lengths) for i in range(n)]
        self.sizes = [self._pixels[0].size] * len(self.names)

    def where(self, index: int) -> str:
        """Returns the archive's path, the batch and the position in it, from 0."""
        return f"{self.path}:{self.names[index]}"

    def read(self, index: int) -> np.ndarray:
        """Returns one image, uint8 [32, 32, 3], read-only."""
        return self._pixels[index]

    @functools.cached_property
    def _pixels(self) -> np.ndarray:
        return self._load()[0]

    def stamp(self, index: int) -> Any:
        """Returns a checksum of the pixels."""
        return zlib.crc32(self._pixels[index])

    def identity(self) -> Any:
        """Returns a hash of all pixels beside the names: the sizes are those of every such set."""
        return [self.names, hashlib.sha256(self._pixels.data).hexdigest()]

    def _read_labels(self) -> Labels:
        return class_labels(np.concatenate(self._numbers), self._class_names)

    def _load(self) -> tuple[np.ndarray, list[list[int]], list[str]]:
        """Reads pixels uint8 [n, 32, 32, 3], class numbers of each batch, names of the classes."""
        members = _read_members(self.path, (*self._batches, _META))
        parsed = {n: _unpickle(content, f"{self.path}:{n}") for n, content in members.items()}
        rows = []
        numbers = []
        try:
            for batch in self._batches:
                rows.append(parsed[batch][b"data"].to_numpy())
                numbers.append(list(parsed[batch][b"labels"]))
                if len(rows[-1]) != len(numbers[-1]):
                    raise ValueError(f"{len(rows[-1])} images, {len(numbers[-1])} labels")
            # Rows of 3072 bytes: all red, all green, all blue.
            chw = np.concatenate(rows).reshape(-1, 3, 32, 32)
            class_names = [name.decode() for name in parsed[_META][b"label_names"]]
        except _PICKLE_ERRORS as error:
            raise ArchiveError(
                f"{self.path}: the batches are not CIFAR-10's ({type(error).__name__}: {error}). "
                "Fetch cifar-10-python.tar.gz again."
            ) from error
        pixels = np.ascontiguousarray(chw.transpose(0, 2, 3, 1))
        pixels.setflags(write=False)
        return pixels, numbers, class_names

    def __getstate__(self) -> dict[str, Any]:
        # A copy reads the pixels again, when it first needs them.
        state = dict(self.__dict__)
        state.pop("_pixels", None)
        return state


def _read_members(path: epath.Path, wanted: tuple[str, ...]) -> dict[str, bytes]:
    """Reads files of a folder, or of a tar in whichever folder they lie there."""
    # Damage may show anywhere: in the tar's frames, in gzip's blocks or at their end.
    found: dict[str, bytes] = {}
    try:
        if path.is_dir():
            found = {n: (path / n).read_bytes() for n in wanted if (path / n).exists()}
        else:
            with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:*") as tar:
                # One pass: a compressed tar cannot be read at random.
                for member in tar:
                    name = member.name.split("/")[-1]
                    content = tar.extractfile(member) if name in wanted else None
                    if content is not None:
                        found[name] = content.read()
                # The checksum of gzip comes at the end, which the tar's reader does not reach.
                if tar.fileobj is not None:
                    tar.fileobj.read(-1)
    except _READ_ERRORS as error:
        raise ArchiveError(
            f"{path}: cannot be read ({error}). Fetch cifar-10-python.tar.gz again."
        ) from error
    # A whole tar may still be another one.
    missing = [name for name in wanted if name not in found]
    if missing:
        raise ArchiveError(
            f"{path} lacks {', '.join(missing)}: not CIFAR-10's python archive, or not all of it. "
            "Fetch cifar-10-python.tar.gz again."
        )
    return found


class _PickledArray:
    """Takes the place of numpy's array, so that no code of numpy's sees the file's values."""

    def __init__(self, *args: Any):
        self.args = args
        self.state = args

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def to_numpy(self) -> np.ndarray:
        """Makes the array, which must be of uint8."""
        # NumPy's pickled state: version, shape, type, order, bytes.
        _, shape, dtype, is_fortran, content = self.state
        if dtype.args[0] not in (b"u1", "u1") or len(content) != math.prod(shape):
            raise ValueError(f"an array of {dtype.args[0]!r} and shape {shape}, wanted uint8")
        return np.frombuffer(content, np.uint8).reshape(shape, order="F" if is_fortran else "C")


class _Unpickler(pickle.Unpickler):
    """Knows numbers, texts, lists, dicts and arrays; no name of any other thing."""

    # What pickles of arrays name, by old and new versions of NumPy.
    _ALLOWED = {
        (module, name)
        for module, names in {
            "numpy": ("ndarray", "dtype"),
            "numpy.core.multiarray": ("_reconstruct",),
            "numpy._core.multiarray": ("_reconstruct",),
        }.items()
        for name in names
    }

    def find_class(self, module: str, name: str) -> Any:
        """Returns the stand-in for an array's parts.

        Raises:
            pickle.UnpicklingError: The pickle asks for anything else.
        """
        # A pickle runs what it finds by name: anything else may be harmful.
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no batch needs")
        return _PickledArray


def _unpickle(content: bytes, where: str) -> dict[bytes, Any]:
    """Reads a batch without running anything of it."""
    try:
        parsed = _Unpickler(io.BytesIO(content), encoding="bytes").load()
        if not isinstance(parsed, dict):
            raise pickle.UnpicklingError(f"it holds a {type(parsed).__name__}, wanted a dict")
    except _PICKLE_ERRORS as error:
        raise ArchiveError(
            f"{where}: not a batch of CIFAR-10 ({error}). Fetch cifar-10-python.tar.gz again."
        ) from error
    return parsed
