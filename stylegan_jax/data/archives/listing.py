"""Files as they lie on disk or in a bucket: which there are, what they are, their content."""

import collections
import errno
import os
import stat
from collections.abc import Sequence
from typing import IO

from etils import epath

from stylegan_jax.data.archives.base import ArchiveError
from stylegan_jax.data.codecs import ARRAY_SUFFIXES, IMAGE_SUFFIXES, PICTURE_SUFFIXES
from stylegan_jax.files import is_cloud

# More than any image or batch of a data set has; what is larger is something else.
MAX_FILE_BYTES = 2**30
# What files are known by.
ZIP = b"PK\3\4"
GZIP = b"\x1f\x8b"
TAR = b"ustar"

_SHOWN_KINDS = 5
_PACKED = (".zip", ".tar", ".gz", ".tgz", ".rar", ".7z", ".bz2", ".xz")
# What other files begin with.
_HEADS = {
    b"<": "It is a web page: fetch the file itself.",
    b"version https://git-lfs": "It is a pointer of Git LFS: fetch the file itself.",
    ZIP: "It is a zip: call it so.",
    b"Rar!": "It is a RAR archive: unpack it, and give the folder.",
    b"7z\xbc\xaf": "It is a 7z archive: unpack it, and give the folder.",
    GZIP: "It is a gzip file: unpack it, and give what was in it.",
    b"\x89HDF": "It is an HDF5 file: write its images as files.",
}
# A tar says what it is behind its first name.
_TAR_OFFSET = 257


def is_image(name: str) -> bool:
    """Tells whether a file's name is that of an image."""
    return name.lower().endswith(IMAGE_SUFFIXES)


def choose_images(files: Sequence[str]) -> list[str]:
    """Returns those files that are images by their names, in their order.

    Arrays are where there are no pictures. Beside those they hold labels or other numbers.
    """
    for suffixes in (PICTURE_SUFFIXES, ARRAY_SUFFIXES):
        found = [file for file in files if file.lower().endswith(suffixes)]
        if found:
            return found
    return []


def is_regular(path: epath.PathLike) -> bool:
    """Tells whether a file is there that ends: no pipe and no device. In buckets all do."""
    # epath takes all but folders for files.
    return epath.Path(path).is_file() if is_cloud(path) else os.path.isfile(path)


def open_regular(path: epath.PathLike, *, limit: int = MAX_FILE_BYTES) -> IO[bytes]:
    """Opens a file to read it, if it is one that ends.

    Args:
        path: Local or in a bucket, where there are no others.
        limit: Bytes that it may have.

    Raises:
        OSError: It cannot be opened, is larger, or is a pipe or device, which may wait or go on for
            ever.
    """
    if is_cloud(path):
        return epath.Path(path).open("rb")
    # Opening a pipe would wait for its other end.
    file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))
    status = os.fstat(file.fileno())
    problem = "" if stat.S_ISREG(status.st_mode) else "not a regular file"
    if status.st_size > limit:
        problem = f"{status.st_size} bytes, more than the {limit} that are read"
    if problem:
        file.close()
        raise OSError(errno.EINVAL, problem, os.fspath(path))
    return file


def read_regular(path: epath.PathLike, *, limit: int = MAX_FILE_BYTES) -> bytes:
    """Reads a file, as `open_regular` opens it.

    Raises:
        OSError: See `open_regular`; or it grows while it is read.
    """
    with open_regular(path, limit=limit) as file:
        if is_cloud(path):
            return file.read()
        size = os.fstat(file.fileno()).st_size
        content = file.read(size + 1)
    if len(content) > size:
        raise OSError(errno.EINVAL, "longer than its size", os.fspath(path))
    return content


def say(error: OSError) -> str:
    """Returns what an error says, without the path."""
    return error.strerror or str(error)


def list_files(root: epath.Path) -> list[str]:
    """Returns the relative POSIX paths of all files that are not hidden, sorted.

    Raises:
        ArchiveError: There is no such folder.
    """
    if not root.is_dir():
        raise ArchiveError(f"{root} is not a folder; give the folder that holds the images.")
    files: list[str] = []
    # Buckets have no links.
    if is_cloud(root):
        folders = [root]
        while folders:
            for path in folders.pop().iterdir():
                if path.name.startswith("."):
                    continue
                if path.is_dir():
                    folders.append(path)
                else:
                    files.append(path.relative_to(root).as_posix())
        return sorted(files)
    # The folders that each lies in, as links may lead back to one of them.
    above = {os.fspath(root): {_inode(root)}}
    for folder, subfolders, names in os.walk(root, followlinks=True, onerror=_refuse):
        inodes = {name: _inode(f"{folder}/{name}") for name in subfolders if name[0] != "."}
        # What is left in this list is walked next.
        subfolders[:] = [name for name in inodes if inodes[name] not in above[folder]]
        above |= {os.path.join(folder, n): above[folder] | {inodes[n]} for n in subfolders}
        below = os.path.relpath(folder, root).replace(os.sep, "/")
        prefix = "" if below == "." else f"{below}/"
        files += [prefix + name for name in names if not name.startswith(".")]
    return sorted(files)


def _inode(path: epath.PathLike) -> tuple[int, int]:
    """Returns what tells a folder from all others, whatever links lead to it."""
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _refuse(error: OSError) -> None:
    """Stops at a folder that cannot be listed: its images would just be missing."""
    raise ArchiveError(f"{error.filename} cannot be listed ({error.strerror}).") from error


def describe_files(files: Sequence[str]) -> str:
    """Says which kinds of files there are, such as `3 of .gif, 1 of .txt, the first is a.gif`."""
    suffixes = collections.Counter(epath.Path(file).suffix.lower() or "no suffix" for file in files)
    kinds = [f"{n} of {suffix}" for suffix, n in suffixes.most_common(_SHOWN_KINDS)]
    return f"{', '.join(kinds)}, the first is {files[0]}"


def describe_left_out(files: Sequence[str]) -> list[str]:
    """Returns a note about the files beside images; none if there are none."""
    if not files:
        return []
    return [f"{len(files)} file(s) are left out, as they are no images: {describe_files(files)}."]


def advise_on_files(files: Sequence[str], *, packed: bool = False) -> str:
    """Says what to do with files that are no data set as they are; nothing where that is not known.

    Args:
        files: Their names.
        packed: They lie in one file.
    """
    names = [file.lower() for file in files]
    if packed and any(is_image(name) for name in names):
        return "Unpack it, and give the folder of images."
    if any(name.endswith((".tfrecords", "data.mdb")) for name in names):
        return f"{'Unpack it, and give' if packed else 'Give'} one of the folders in it."
    if any(name.endswith(_PACKED) for name in names):
        return "Unpack it, and what is in it." if packed else "Unpack these, or give one of them."
    return ""


def advise_on_head(path: epath.PathLike, *, wanted: Sequence[bytes] = ()) -> str:
    """Says what a file is by its first bytes, and what to do about it.

    Args:
        path: Local or in a bucket.
        wanted: First bytes that the file should have.

    Returns:
        A sentence; nothing where it begins as it should, or as nothing that is known.
    """
    try:
        with open_regular(path, limit=2**62) as file:
            head = file.read(512)
    except OSError:
        return ""
    if not head:
        return "It is empty: fetch it again."
    if any(head.startswith(magic) for magic in wanted):
        return ""
    if head[_TAR_OFFSET:].startswith(TAR):
        return "" if TAR in wanted else "It is a tar: unpack it, and give the folder."
    return next((what for magic, what in _HEADS.items() if head.lstrip().startswith(magic)), "")
