"""CIFAR-10: 50,000 images of ten classes at 32x32."""

from etils import epath

from stylegan_jax.data.archives import Archive, CifarArchive
from stylegan_jax.data.builders.dataset import DatasetSpec, advise, check_count
from stylegan_jax.sizes import Size

COUNT = 50_000

_FILE, _FOLDER = "cifar-10-python.tar.gz", "cifar-10-batches-py"
_FETCH = (
    f"from https://www.cs.toronto.edu/~kriz/cifar.html fetch {_FILE} (the python version, 163 MB) "
    "and give that file or its folder; it need not be unpacked."
)
_CITATION = """@techreport{krizhevsky2009learning,
  title={Learning Multiple Layers of Features from Tiny Images},
  author={Krizhevsky, Alex},
  institution={University of Toronto},
  year={2009}
}"""


@advise("CIFAR-10", _FETCH)
def _open(
    path: epath.PathLike,
    variant: str = "",
    size: Size | None = None,
    *,
    allow_partial: bool = False,
) -> Archive:
    """Opens the training images with their classes."""
    root = epath.Path(path).expanduser()
    inside = [root / _FILE, root / _FOLDER]
    archive = CifarArchive(next((p for p in inside if root.is_dir() and p.exists()), root))
    check_count(archive, COUNT, allow_partial=allow_partial)
    return archive


CIFAR10 = DatasetSpec(
    name="cifar10",
    variants=(),
    homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
    license="None stated.",
    citation=_CITATION,
    fetch=_FETCH,
    default_crop=lambda variant: "none",
    resolutions=(4, 32),
    open=_open,
)
