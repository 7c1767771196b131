"""From a path to a generator's parameters, whatever wrote them.

Runs of this package are read by `workdir.py`, which brings the code of training along; exports and
files of other projects need none of it.
"""

import dataclasses
import importlib
from typing import Any

from etils import epath

from stylegan_jax.convert.checkpoint import load_checkpoint
from stylegan_jax.convert.networks import LoadedNetwork
from stylegan_jax.convert.readers.records import CheckpointFileError
from stylegan_jax.files import as_path

# What draws images.
GENERATOR_NETWORKS = ("G_ema", "G")
# Ends of names of files with networks.
SUFFIXES = (".pkl", ".pickle", ".pt", ".pth", ".safetensors")


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where a generator comes from.

    Attributes:
        path: What was opened.
        kind: `run` or `file`.
        network: `G_ema` or `G`.
        family: Key of `GENERATORS`.
        kimg: Thousands of images that it was trained on; None where nothing says so.
        notes: What a user should know, a sentence each.
    """

    path: str
    kind: str
    network: str
    family: str
    kimg: float | None
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Opened:
    """A generator's parameters and what is known of it.

    Attributes:
        origin: Where it comes from.
        network: Its structure, parameters and buffers.
        class_names: Names of its classes, or none.
        config: Config of the run that trained it, an `ml_collections.ConfigDict`, where it is one.
        resolution: Where a network stands that has not grown to its size; None: at its size.
        fade: Share of the resolution below, where one was growing in.
    """

    origin: Origin
    network: LoadedNetwork
    class_names: tuple[str, ...] = ()
    config: Any = None
    resolution: int | None = None
    fade: float | None = None


def open_generator(
    path: epath.PathLike, *, step: int | str = "latest", network: str = "G_ema"
) -> Opened:
    """Reads one generator; see `load` for what may be given.

    Raises:
        ValueError: Another network, a file without generators, or one that is no such file.
        OSError: There is nothing of that name.
    """
    if network not in GENERATOR_NETWORKS:
        raise ValueError(f"network={network!r} draws no images: give G_ema (the average) or G.")
    path = as_path(path).expanduser()
    if path.suffix.lower() not in SUFFIXES or path.is_dir():
        # Brings Orbax and the code of training along, which files do without.
        workdir = importlib.import_module("stylegan_jax.inference.workdir")
        return workdir.open_run(path, step=step, network=network)
    return _open_file(path, step, network)


def _open_file(path: epath.Path, step: int | str, network: str) -> Opened:
    """Reads a file of another project."""
    if step != "latest":
        raise ValueError(f"step={step!r}: {path} is one file, which has no steps; leave it out.")
    try:
        found = load_checkpoint(path, networks=[network])
    except CheckpointFileError as error:
        raise CheckpointFileError(f"{error} network={network!r} was asked for.") from error
    loaded = found.networks[network]
    origin = Origin(str(path), "file", network, loaded.name, found.kimg, found.notes)
    return Opened(origin, loaded)
