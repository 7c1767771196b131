"""Data sets as their publishers ship them: random access to their images, one layout per file."""

from stylegan_jax.data.archives.array import ArrayArchive
from stylegan_jax.data.archives.base import Archive, ArchiveError
from stylegan_jax.data.archives.cifar import CifarArchive
from stylegan_jax.data.archives.detect import open_archive
from stylegan_jax.data.archives.folder import FolderArchive
from stylegan_jax.data.archives.lmdb import LmdbArchive
from stylegan_jax.data.archives.prepared import PreparedArchive, is_prepared
from stylegan_jax.data.archives.subset import SubsetArchive, choose_part, draw_subset
from stylegan_jax.data.archives.tfrecord import TfrecordArchive
from stylegan_jax.data.archives.zip import ZipArchive

__all__ = [
    "Archive",
    "ArchiveError",
    "ArrayArchive",
    "CifarArchive",
    "FolderArchive",
    "LmdbArchive",
    "PreparedArchive",
    "SubsetArchive",
    "TfrecordArchive",
    "ZipArchive",
    "choose_part",
    "draw_subset",
    "is_prepared",
    "open_archive",
]
