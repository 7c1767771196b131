"""AFHQv2: faces of cats, dogs and wild animals at 512x512."""

import numpy as np
from etils import epath

from stylegan_jax.data.archives import Archive, ArchiveError, FolderArchive, SubsetArchive
from stylegan_jax.data.builders.dataset import (
    DatasetSpec,
    advise,
    check_count,
    find_folder,
    resolve_variant,
)
from stylegan_jax.data.labels import class_labels
from stylegan_jax.sizes import Size

CLASSES = ("cat", "dog", "wild")
# "all" is what StyleGAN3 trains on: both splits. A class alone is its training images, as in ADA.
VARIANTS = ("all", *CLASSES)
COUNTS = {"all": 15_803, "cat": 5_065, "dog": 4_678, "wild": 4_593}

_SPLITS = ("train", "test")
_FETCH = (
    "from https://github.com/clovaai/stargan-v2 fetch afhq_v2.zip (AFHQv2, 7 GB, PNG; not the "
    "first AFHQ, which is JPEG) and unpack it into a folder, so that this holds train/cat, "
    "train/dog, train/wild and test/cat, test/dog, test/wild. Give that folder."
)
_CITATION = """@inproceedings{choi2020starganv2,
  title={StarGAN v2: Diverse Image Synthesis for Multiple Domains},
  author={Choi, Yunjey and Uh, Youngjung and Yoo, Jaejun and Ha, Jung-Woo},
  booktitle={IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year={2020}
}"""


@advise("AFHQv2", _FETCH)
def _open(
    path: epath.PathLike,
    variant: str = "all",
    size: Size | None = None,
    *,
    allow_partial: bool = False,
) -> Archive:
    """Opens a class, or all of them with the class as label."""
    variant = resolve_variant("afhqv2", variant, VARIANTS, {})
    root = epath.Path(path).expanduser()
    if variant == "all":
        archive = _open_all(root)
    else:
        archive = FolderArchive(find_folder(root, [f"train/{variant}", variant]))
    archive.name = f"afhqv2_{variant}"
    check_count(archive, COUNTS[variant], allow_partial=allow_partial)
    return archive


def _open_all(root: epath.Path) -> Archive:
    """Opens images of both splits with their classes, without what else lies in the folder."""
    archive = FolderArchive(root)
    parts = [name.split("/") for name in archive.names]
    indices = [
        i for i, p in enumerate(parts) if len(p) == 3 and p[0] in _SPLITS and p[1] in CLASSES
    ]
    if not indices:
        raise ArchiveError(f"{root} holds no images in train/cat, test/cat and so on.")
    numbers = np.array([CLASSES.index(parts[i][1]) for i in indices])
    return SubsetArchive(archive, indices, labels=class_labels(numbers, CLASSES))


AFHQV2 = DatasetSpec(
    name="afhqv2",
    variants=VARIANTS,
    homepage="https://github.com/clovaai/stargan-v2",
    license="CC BY-NC 4.0. Not for commercial use.",
    citation=_CITATION,
    fetch=_FETCH,
    default_crop=lambda variant: "none",
    resolutions=(4, 512),
    open=_open,
)
