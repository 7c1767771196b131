"""Variables of the attribute classifiers, which lie in pickles of TensorFlow."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from etils import epath
from flax import nnx

from stylegan_jax.convert import stylegan1
from stylegan_jax.convert.networks import check_names, fit_params, shorten
from stylegan_jax.convert.pretrained.loading import weights_folder
from stylegan_jax.convert.readers.files import read_file
from stylegan_jax.convert.readers.records import CheckpointFileError, Instance
from stylegan_jax.convert.readers.trees import flatten_variables, to_arrays
from stylegan_jax.models import make_model
from stylegan_jax.models.pretrained.attributes import ATTRIBUTES, AttributeClassifier

_URL = "https://nvlabs-fi-cdn.nvidia.com/stylegan/networks/metrics/"

_NAMES = {
    # Colours enter at full size alone; the others' are left over from growing.
    r"FromRGB_lod\d{1,2}/weight": 4,
    r"FromRGB_lod\d{1,2}/bias": 1,
    "lod": 0,
    r"\d+x\d+/(Conv|Conv0|Conv1_down)/weight": 4,
    r"\d+x\d+/(Conv|Conv0|Conv1_down)/bias": 1,
    r"4x4/Dense[01]/weight": 2,
    r"4x4/Dense[01]/bias": 1,
}


def params_from_official(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Turns variables into parameters of `models.pretrained.attributes.AttributeClassifier`.

    Args:
        arrays: `{"FromRGB_lod0/weight": ..., "256x256/Conv0/weight": ..., ...}`.

    Raises:
        CheckpointFileError: A name is not a classifier's.
    """
    check_names(arrays, _NAMES)
    used = {
        name: np.asarray(array, np.float32)
        for name, array in arrays.items()
        if not name.startswith("FromRGB") or name.startswith("FromRGB_lod0/")
    }
    return stylegan1.params_from_official(used, network="D", fused_scale=True)[0]


class Classifiers(NamedTuple):
    """The classifiers of all attributes.

    Attributes:
        graphdef: Structure of each.
        params: Attribute -> its classifier's parameters, on the host; in the order of
            `models.pretrained.attributes.ATTRIBUTES`.
    """

    graphdef: nnx.GraphDef[AttributeClassifier]
    params: dict[str, dict[str, Any]]


def classifier_file(attribute: str) -> str:
    """Returns the official name of an attribute's file."""
    return f"celebahq-classifier-{ATTRIBUTES.index(attribute):02d}-{attribute}.pkl"


def load_classifiers(folder: epath.PathLike | None = None, **sizes: Any) -> Classifiers:
    """Reads the official classifiers of all 40 attributes.

    No hashes of these files are known, so they are read where a user put them and never downloaded.

    Args:
        folder: Where they lie; default as for `load_pretrained`.
        **sizes: Of smaller classifiers, see `AttributeClassifier`.

    Raises:
        FileNotFoundError: Some are missing; says which, and where to get them.
        CheckpointFileError: One is damaged, or no classifier of these sizes.
    """
    folder = weights_folder(folder)
    paths = {name: folder / classifier_file(name) for name in ATTRIBUTES}
    missing = [path.name for path in paths.values() if not path.exists()]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of {len(paths)} attribute classifiers are not in {folder}: "
            f"{shorten(missing)}. Put there the files from {_URL} (about 90 MB each, CC BY-NC 4.0)."
        )
    graphdef, init = make_model(AttributeClassifier, **sizes)
    wanted = jax.eval_shape(init, jax.random.key(0))
    return Classifiers(graphdef, {name: _read(path, wanted) for name, path in paths.items()})


def _read(path: epath.Path, wanted: Any) -> dict[str, Any]:
    """Reads one classifier's parameters."""
    contents = read_file(path)
    try:
        if not isinstance(contents.root, Instance):
            raise CheckpointFileError("It holds no network of TensorFlow.")
        arrays = to_arrays(flatten_variables(contents.root), 4 * contents.num_bytes)
        return fit_params(params_from_official(arrays), wanted)
    except CheckpointFileError as error:
        raise CheckpointFileError(f"{path}: {error}") from error
