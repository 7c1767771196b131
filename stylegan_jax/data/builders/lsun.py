"""LSUN: 10 categories of scenes and 20 of objects, one LMDB database each."""

from etils import epath

from stylegan_jax.data.archives import Archive, ArchiveError, open_archive
from stylegan_jax.data.archives.lmdb import DATA_FILE
from stylegan_jax.data.builders.dataset import DatasetSpec, advise, find_folder, resolve_variant
from stylegan_jax.sizes import Size

SCENES = (
    "bedroom",
    "bridge",
    "church_outdoor",
    "classroom",
    "conference_room",
    "dining_room",
    "kitchen",
    "living_room",
    "restaurant",
    "tower",
)
OBJECTS = (
    "airplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "dining_table",
    "dog",
    "horse",
    "motorbike",
    "person",
    "potted_plant",
    "sheep",
    "sofa",
    "train",
    "tv-monitor",
)
ALIASES = {
    "church": "church_outdoor",
    "tv_monitor": "tv-monitor",
}

_FETCH = (
    "from https://www.yf.io/p/lsun fetch the zip of a category, scenes/bedroom_train_lmdb.zip or "
    "objects/cat.zip for example, and unpack it into a folder, so that this holds "
    "bedroom_train_lmdb/data.mdb or cat/data.mdb. Give that folder, or the one with data.mdb."
)
_CITATION = """@article{yu2015lsun,
  title={{LSUN}: Construction of a Large-scale Image Dataset using Deep Learning with Humans in
         the Loop},
  author={Yu, Fisher and Seff, Ari and Zhang, Yinda and Song, Shuran and Funkhouser, Thomas and
          Xiao, Jianxiong},
  journal={arXiv:1506.03365},
  year={2015}
}"""


@advise("LSUN", _FETCH)
def _open(
    path: epath.PathLike,
    variant: str,
    size: Size | None = None,
    *,
    allow_partial: bool = False,
) -> Archive:
    """Opens a category's training images; how many there should be is not checked."""
    category = resolve_variant("lsun", variant, SCENES + OBJECTS, ALIASES)
    root = epath.Path(path).expanduser()
    if (root / DATA_FILE).exists():
        other = _category_of(root.resolve().name)
        if other not in (category, None):
            raise ArchiveError(f"{root} is LSUN's {other}, not {category}.")
        folder = root
    else:
        folder = find_folder(root, _folder_names(category))
    archive = open_archive(folder)
    archive.name = f"lsun_{category}"
    return archive


def _folder_names(category: str) -> list[str]:
    """Returns what a category's folder may be called: scenes and objects differ as published."""
    return [f"{category}_train_lmdb", f"{category}_lmdb", category]


def _category_of(folder_name: str) -> str | None:
    """Returns the category that a folder is named after, if any."""
    return next((c for c in SCENES + OBJECTS if folder_name in _folder_names(c)), None)


LSUN = DatasetSpec(
    name="lsun",
    variants=SCENES + OBJECTS,
    homepage="https://www.yf.io/p/lsun",
    license="None stated; the images belong to their photographers. For research.",
    citation=_CITATION,
    fetch=_FETCH,
    # Cars are trained at 384x512 within 512x512, all else at 256x256.
    default_crop=lambda variant: "center-crop-wide" if variant == "car" else "center-crop",
    resolutions=(4, 512),
    open=_open,
    aliases=ALIASES,
)
