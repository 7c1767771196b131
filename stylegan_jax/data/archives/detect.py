"""From a path to the archive that reads it."""

from etils import epath

from stylegan_jax.data.archives.array import ArrayArchive
from stylegan_jax.data.archives.base import Archive, ArchiveError
from stylegan_jax.data.archives.cifar import TRAIN_BATCHES, CifarArchive
from stylegan_jax.data.archives.folder import FolderArchive
from stylegan_jax.data.archives.listing import (
    advise_on_files,
    advise_on_head,
    describe_files,
    is_image,
    is_regular,
    list_files,
)
from stylegan_jax.data.archives.lmdb import DATA_FILE, LmdbArchive
from stylegan_jax.data.archives.prepared import INFO_FILE, PreparedArchive
from stylegan_jax.data.archives.tfrecord import SUFFIX as TFRECORD_SUFFIX
from stylegan_jax.data.archives.tfrecord import TfrecordArchive
from stylegan_jax.data.archives.zip import ZipArchive
from stylegan_jax.data.codecs import ARRAY_SUFFIXES
from stylegan_jax.files import as_path
from stylegan_jax.sizes import Size

_LAYOUTS = (
    "a prepared data set, a folder of images, a zip of images, an LSUN folder (data.mdb), a folder "
    "or file of StyleGAN's .tfrecords, an .npy or .npz file of images, or cifar-10-python.tar.gz"
)


def open_archive(path: epath.PathLike, *, size: Size | None = None) -> Archive:
    """Opens a data set of any known layout.

    Args:
        path: A data set that was prepared, a folder of images, a zip, an LSUN folder with
            `data.mdb`, a folder or file of `.tfrecords`, an `.npy` or `.npz` of all images, or
            `cifar-10-python.tar.gz` (or unpacked).
        size: Height and width of the images that are wanted, in pixels: where a data set comes in
            several sizes, the smallest that is large enough is read. Default: the largest.

    Raises:
        ArchiveError: Nothing is there, or nothing known; the message tells what was found.
    """
    path = as_path(path).expanduser()
    if path.is_dir():
        return _open_folder(path, size)
    if not path.exists():
        raise ArchiveError(f"There is no {path}. Wanted {_LAYOUTS}.")
    if not is_regular(path):
        raise ArchiveError(f"{path} is neither a file nor a folder. Wanted {_LAYOUTS}.")
    # Single files are told apart by their names.
    name = path.name.lower()
    if name == DATA_FILE:
        return LmdbArchive(path.parent)
    if name.endswith(TFRECORD_SUFFIX):
        return TfrecordArchive(path)
    if name.endswith(".zip"):
        return ZipArchive(path)
    if name.endswith(ARRAY_SUFFIXES):
        return ArrayArchive(path)
    if name.endswith((".tar.gz", ".tgz", ".tar")):
        return CifarArchive(path)
    advice = "Give the folder that it lies in." if is_image(name) else advise_on_head(path)
    raise ArchiveError(
        f"{path} is a file of no known layout. {advice}{' ' * bool(advice)}Wanted {_LAYOUTS}."
    )


def _open_folder(path: epath.Path, size: Size | None) -> Archive:
    """Opens a folder by what lies directly in it."""
    names = {child.name for child in path.iterdir()}
    # Files that only one layout has.
    if INFO_FILE in names:
        return PreparedArchive(path)
    if DATA_FILE in names:
        return LmdbArchive(path)
    if any(name.endswith(TFRECORD_SUFFIX) for name in names):
        return TfrecordArchive(path, size=size)
    if TRAIN_BATCHES[0] in names:
        return CifarArchive(path)
    # All else is a folder of images, or nothing that is known.
    try:
        return FolderArchive(path)
    except ArchiveError as error:
        found = _describe(list_files(path))
        raise ArchiveError(f"{error} {found} Wanted {_LAYOUTS}.") from None


def _describe(files: list[str]) -> str:
    """Says which files are there instead of images, and what to do about them."""
    if not files:
        return "It is empty."
    found = f"Found {len(files)} file(s), {describe_files(files)}."
    return f"{found} {advise_on_files(files)}".rstrip()
