"""From a path to a generator's parameters, whatever wrote them."""

import dataclasses
import importlib

from etils import epath

from stylegan_jax.convert.checkpoint import load_checkpoint
from stylegan_jax.convert.networks import LoadedCheckpoint
from stylegan_jax.files import as_path

# What draws images.
GENERATOR_NETWORKS = ("G_ema", "G")


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where a generator comes from.

    Attributes:
        path: What was opened.
        source: File or folder that its parameters were first read from: the run of an export.
        network: `G_ema` or `G`.
        family: Key of `GENERATORS`.
        kimg: Thousands of images that it was trained on; None where nothing says so.
        notes: What a user should know, a sentence each.
    """

    path: str
    source: str
    network: str
    family: str
    kimg: float | None
    notes: tuple[str, ...]


def open_generator(
    path: epath.PathLike, *, step: int | str, network: str
) -> tuple[Origin, LoadedCheckpoint]:
    """Reads one generator; see `load` for what may be given.

    Raises:
        ValueError: Another network, or a file that is damaged or has none of this name.
        OSError: There is no such file, checkpoint or bucket.
    """
    if network not in GENERATOR_NETWORKS:
        raise ValueError(f"network={network!r} draws no images: give G_ema (the average) or G.")
    step = int(step) if str(step).isdecimal() else step
    path = as_path(path).expanduser()
    if path.is_file() and step == "latest":
        found = load_checkpoint(path, networks=[network])
    else:
        # Runs bring Orbax and the code of training along, which files do without.
        run_networks = importlib.import_module("stylegan_jax.run.networks")
        found = run_networks.load_networks(path, step=step, networks=[network])
    family = found.networks[network].name
    return Origin(str(path), found.origin, network, family, found.kimg, found.notes), found
