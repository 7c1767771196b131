"""CelebA-HQ: 30,000 portraits at up to 1024x1024."""

from etils import epath

from stylegan_jax.data.archives import Archive, open_archive
from stylegan_jax.data.builders.dataset import DatasetSpec, advise, check_count
from stylegan_jax.sizes import Size

COUNT = 30_000

_MASK_FOLDER = "CelebA-HQ-img"
_FETCH = (
    "from https://github.com/switchablenorms/CelebAMask-HQ fetch CelebAMask-HQ.zip, unpack it and "
    f"give the folder that holds {_MASK_FOLDER}/0.jpg to {_MASK_FOLDER}/29999.jpg. A folder of "
    "30,000 PNG files will do as well, or TFRecords celebahq-r02.tfrecords to "
    "celebahq-r10.tfrecords as https://github.com/tkarras/progressive_growing_of_gans describes "
    "them; NumPy files as its tools write them ([1, 3, h, w]) and HDF5 will not: save them as PNG."
)
_CITATION = """@inproceedings{karras2018progressive,
  title={Progressive Growing of {GAN}s for Improved Quality, Stability, and Variation},
  author={Karras, Tero and Aila, Timo and Laine, Samuli and Lehtinen, Jaakko},
  booktitle={International Conference on Learning Representations},
  year={2018}
}"""


@advise("CelebA-HQ", _FETCH)
def _open(
    path: epath.PathLike,
    variant: str = "",
    size: Size | None = None,
    *,
    allow_partial: bool = False,
) -> Archive:
    """Opens a folder of images, a zip or TFRecords."""
    root = epath.Path(path).expanduser()
    images = root / _MASK_FOLDER
    archive = open_archive(images if images.is_dir() else root, size=size)
    archive.name = "celebahq"
    check_count(archive, COUNT, allow_partial=allow_partial)
    return archive


CELEBAHQ = DatasetSpec(
    name="celebahq",
    variants=(),
    homepage="https://github.com/tkarras/progressive_growing_of_gans",
    license="CC BY-NC 4.0, and CelebA's terms: research that is not commercial.",
    citation=_CITATION,
    fetch=_FETCH,
    default_crop=lambda variant: "none",
    resolutions=(4, 1024),
    open=_open,
)
