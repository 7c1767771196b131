"""CIFAR-10's python archive, `cifar-10-python.tar.gz`, packed or unpacked."""

import functools
import gzip
import hashlib
import io
import lzma
import math
import pickle
import tarfile
import zlib
from typing import Any

import numpy as np
from etils import epath

from stylegan_jax.data.archives.base import Archive, ArchiveError
from stylegan_jax.data.archives.listing import (
    GZIP,
    MAX_FILE_BYTES,
    TAR,
    advise_on_files,
    advise_on_head,
    describe_files,
    open_regular,
    read_regular,
    say,
)
from stylegan_jax.data.labels import Labels, class_labels

TRAIN_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST_BATCH = "test_batch"

_META = "batches.meta"
# What a damaged tar or gzip raises, and what a damaged pickle does.
_DAMAGE = (
    gzip.BadGzipFile,
    EOFError,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    ValueError,
    OverflowError,
)
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
    try:
        if path.is_dir():
            files = [child.name for child in path.iterdir()]
            found = {n: read_regular(path / n) for n in wanted if n in files}
        else:
            found, files = _read_tar(path, wanted)
    # Damage may show anywhere: in the tar's frames, in gzip's blocks or at their end.
    except _DAMAGE as error:
        advice = advise_on_head(path, wanted=(GZIP, TAR)) or "Fetch it again."
        # Further lines say how each method of compression failed.
        reason = str(error).partition(":\n")[0]
        raise ArchiveError(f"{path}: cannot be read ({reason}). {advice}") from error
    except OSError as error:
        raise ArchiveError(f"{path}: cannot be read ({say(error)}).") from error
    # A whole tar may still be another one.
    missing = [name for name in wanted if name not in found]
    if missing:
        raise ArchiveError(
            f"{path} lacks {', '.join(missing)}: not CIFAR-10's python archive, or not all of it. "
            f"{_advise(files, packed=not path.is_dir())}"
        )
    return found


def _read_tar(path: epath.Path, wanted: tuple[str, ...]) -> tuple[dict[str, bytes], list[str]]:
    """Returns the wanted files of a tar by their names, and the names of all."""
    found: dict[str, bytes] = {}
    files = []
    with open_regular(path, limit=2**62) as file, tarfile.open(fileobj=file, mode="r:*") as tar:
        # One pass: a compressed tar cannot be read at random.
        for member in tar:
            if not member.isfile():
                continue
            files.append(member.name)
            name = member.name.split("/")[-1]
            is_wanted = name in wanted and member.size <= MAX_FILE_BYTES
            content = tar.extractfile(member) if is_wanted else None
            if content is not None:
                found[name] = content.read()
        # The checksum of gzip comes at the end, which the tar's reader does not reach.
        if tar.fileobj is not None:
            tar.fileobj.read(-1)
    return found, files


def _advise(files: list[str], *, packed: bool) -> str:
    """Says what there is in place of CIFAR-10's batches, and what to do about it."""
    names = {name.split("/")[-1] for name in files}
    if {"train", "test", "meta"} <= names:
        return "It is CIFAR-100, which is not read. Write its images as files."
    if "data_batch_1.bin" in names:
        return "It is CIFAR-10's binary version. Fetch cifar-10-python.tar.gz."
    if names & {*TRAIN_BATCHES, TEST_BATCH, _META} or not files:
        return "Fetch cifar-10-python.tar.gz again."
    found = f"Found {len(files)} file(s), {describe_files(files)}."
    return f"{found} {advise_on_files(files, packed=packed)}".rstrip()


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
