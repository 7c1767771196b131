"""FFHQ and FFHQ-U: 70,000 portraits at 1024x1024."""

import functools

from etils import epath

from stylegan_jax.data.archives import Archive, ArchiveError, FolderArchive, open_archive
from stylegan_jax.data.builders.dataset import DatasetSpec, advise, check_count, check_numbers
from stylegan_jax.sizes import Size

COUNT = 70_000
LARGE, THUMBNAILS, WILD = "images1024x1024", "thumbnails128x128", "in-the-wild-images"

_THUMBNAIL_PX = 128
_HOMEPAGE = "https://github.com/NVlabs/ffhq-dataset"
_FETCH = (
    f"from {_HOMEPAGE} fetch the folder {LARGE} (89 GB), and {THUMBNAILS} (2 GB) for 128 pixels or "
    f"less, into one folder, so that it holds {LARGE}/00000/00000.png to {LARGE}/69000/69999.png. "
    f"Give that folder. {WILD} are not aligned and not read."
)
_FETCH_U = (
    f"the README of {_HOMEPAGE} tells how to make the unaligned images from {WILD}. Put them into "
    f"{LARGE}/00000/00000.png to {LARGE}/69000/69999.png of a folder and give that folder."
)
_LICENSE = (
    "CC BY-NC-SA 4.0 for the set; each image has its photographer's own Creative Commons or public "
    "domain licence. Not for commercial use."
)
_CITATION = """@inproceedings{karras2019style,
  title={A Style-Based Generator Architecture for Generative Adversarial Networks},
  author={Karras, Tero and Laine, Samuli and Aila, Timo},
  booktitle={IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year={2019}
}"""
_CITATION_U = """@inproceedings{karras2021alias,
  title={Alias-Free Generative Adversarial Networks},
  author={Karras, Tero and Aittala, Miika and Laine, Samuli and H{\\"a}rk{\\"o}nen, Erik and
          Hellsten, Janne and Lehtinen, Jaakko and Aila, Timo},
  booktitle={Advances in Neural Information Processing Systems},
  year={2021}
}"""


def _open(
    path: epath.PathLike,
    variant: str = "",
    size: Size | None = None,
    *,
    allow_partial: bool = False,
    name: str,
    fetch: str,
) -> Archive:
    """Opens the set and looks whether all images are there."""
    with advise(name, fetch):
        archive = open_archive(_choose_folder(path, size), size=size)
        archive.name = name
        check = check_numbers if isinstance(archive, FolderArchive) else check_count
        check(archive, COUNT, allow_partial=allow_partial)
    return archive


def _choose_folder(path: epath.PathLike, size: Size | None) -> epath.Path:
    """Thumbnails where they are large enough, if they are there; else the large images."""
    root = epath.Path(path).expanduser()
    small_enough = size is not None and max(size) <= _THUMBNAIL_PX
    if small_enough and (root / THUMBNAILS).is_dir():
        return root / THUMBNAILS
    if (root / LARGE).is_dir():
        return root / LARGE
    if (root / THUMBNAILS).is_dir():
        raise ArchiveError(
            f"{root} holds {THUMBNAILS} but not {LARGE}: fetch it, or ask for {_THUMBNAIL_PX} "
            "pixels or less."
        )
    if (root / WILD).is_dir() or root.name == WILD:
        raise ArchiveError(f"{root} holds {WILD} only, which are not aligned.")
    return root


FFHQ = DatasetSpec(
    name="ffhq",
    variants=(),
    homepage=_HOMEPAGE,
    license=_LICENSE,
    citation=_CITATION,
    fetch=_FETCH,
    default_crop=lambda variant: "none",
    resolutions=(4, 1024),
    open=functools.partial(_open, name="ffhq", fetch=_FETCH),
)
FFHQ_U = DatasetSpec(
    name="ffhq_u",
    variants=(),
    homepage=_HOMEPAGE,
    license=_LICENSE,
    citation=_CITATION_U,
    fetch=_FETCH_U,
    default_crop=lambda variant: "none",
    resolutions=(4, 1024),
    open=functools.partial(_open, name="ffhq_u", fetch=_FETCH_U),
)
