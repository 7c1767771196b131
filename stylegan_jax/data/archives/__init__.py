"""Data sets as their publishers ship them: random access to their images, one layout per file."""

from stylegan_jax.data.archives.base import Archive, ArchiveError
from stylegan_jax.data.archives.folder import FolderArchive
from stylegan_jax.data.archives.zip import ZipArchive

__all__ = ["Archive", "ArchiveError", "FolderArchive", "ZipArchive"]
