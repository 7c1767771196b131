"""Generators of this package's runs: a workdir, its checkpoints folder, or one step."""

from etils import epath
from ml_collections import ConfigDict

from stylegan_jax.convert.networks import LoadedNetwork
from stylegan_jax.inference.opening import Opened, Origin
from stylegan_jax.run.input import saved_shape
from stylegan_jax.run.restore import restore_subtree
from stylegan_jax.training.build import generator_arguments, level_at


def open_run(path: epath.PathLike, *, step: int | str, network: str) -> Opened:
    """Reads a generator of a checkpoint, and the statistics that belong to it.

    Args:
        path: Workdir, its checkpoints folder, or one step.
        step: Image count (a number, or its digits), `latest` or `best`.
        network: `G_ema` or `G`.

    Raises:
        FileNotFoundError: There is no checkpoint.
        NotADirectoryError: It is a file.
        ValueError: No step has a metric to be best by.
        CorruptCheckpointError: The checkpoint is damaged.
    """
    step = int(step) if str(step).isdigit() else step
    trees, meta = restore_subtree(path, [network, "stats"], step=step)
    stats = trees["stats"]
    config = ConfigDict(meta["config"])
    name, kwargs = generator_arguments(config, saved_shape(meta["data"]))

    # A checkpoint leaves out what is empty: noise of networks without, what the network moves.
    buffers = {key: stats[key] for key in ("w_avg", "noise_const") if key in stats}
    if "G" in stats:
        buffers["moving"] = stats["G"]
    # A run that is stopped while it grows draws as far as it has come.
    level = level_at(config, meta["nimg"])
    fade = level.fade(meta["nimg"])
    return Opened(
        Origin(str(path), "run", network, name, meta["nimg"] / 1000),
        LoadedNetwork(name, kwargs, trees[network], buffers),
        class_names=tuple(meta["data"]["class_names"]),
        config=config,
        resolution=level.resolution,
        fade=None if fade is None else float(fade),
    )
