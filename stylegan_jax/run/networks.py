"""Trained networks, wherever they lie: a run's folder, an export, a file of another project."""

from collections.abc import Collection
from typing import Any

import jax
import numpy as np
from etils import epath
from flax import nnx
from ml_collections import ConfigDict

from stylegan_jax.convert.checkpoint import load_checkpoint
from stylegan_jax.convert.networks import (
    NETWORKS,
    LoadedCheckpoint,
    LoadedNetwork,
    make_loaded,
)
from stylegan_jax.errors import InputError
from stylegan_jax.files import as_path
from stylegan_jax.run.input import saved_shape
from stylegan_jax.run.restore import restore_subtree, saved_names
from stylegan_jax.sizes import ImageShape
from stylegan_jax.training.build import level_at, make_generator, network_arguments


def load_networks(
    path: epath.PathLike,
    *,
    step: int | str = "latest",
    networks: Collection[str] = NETWORKS,
) -> LoadedCheckpoint:
    """Reads networks of any kind of checkpoint.

    Args:
        path: A workdir, its checkpoints folder or one step; or a file: an export, an official
            pickle, `.pt`, `.pth` or `.safetensors`. Local, or in a bucket.
        step: Of a workdir: image count, `latest`, or `best` by the metric of the run.
        networks: Which of `NETWORKS` are wanted; those that are not there are left out.

    Returns:
        The networks; arrays are NumPy's.

    Raises:
        FileNotFoundError: There is no such file or checkpoint.
        ValueError: The file is damaged, holds no network that is wanted, or one that this package
            does not have (`CheckpointFileError`); or a step was asked for of a file.
    """
    path = as_path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(
            f"{path} does not exist; give a workdir, one step in it, or a file of networks."
        )
    # A folder is a run of ours.
    if path.is_dir():
        return _load_workdir(path, step, networks)
    if step != "latest":
        raise InputError(f"step={step}: {path} is a file, which has no steps.")
    return load_checkpoint(path, networks=networks)


def _load_workdir(path: epath.Path, step: int | str, networks: Collection[str]) -> LoadedCheckpoint:
    """Reads networks of one of our own runs."""
    there = saved_names(path, step=step)
    wanted = [net for net in NETWORKS if net in networks and net in there]
    if not wanted:
        raise InputError(f"{path} has none of the networks {', '.join(networks)}.")
    trees, meta = restore_subtree(path, [*wanted, *({"stats"} & there)], step=step)
    trees = jax.tree.map(np.asarray, trees)
    stats = trees.pop("stats", {})

    # A run that is still growing draws as far as it has come.
    config = ConfigDict(meta["config"])
    level = level_at(config, meta["nimg"])
    fade = level.fade(meta["nimg"])
    shape = saved_shape(meta["data"])
    return LoadedCheckpoint(
        {net: _make_network(net, trees[net], stats, config, shape) for net in wanted},
        nimg=meta["nimg"],
        augment_p=float(stats["augment"]["p"]) if "augment" in stats else None,
        training_set=meta["data"],
        class_names=tuple(meta["data"].get("class_names", ())),
        resolution=level.resolution if level.lod else None,
        fade=None if fade is None else float(fade),
        origin=str(path),
    )


def _make_network(
    net: str, params: Any, stats: dict[str, Any], config: ConfigDict, shape: ImageShape
) -> LoadedNetwork:
    """Returns one network of a run with what of the state belongs to it."""
    name, kwargs = network_arguments(config, shape, "D" if net == "D" else "G")
    # A checkpoint leaves out what is empty.
    moving = stats.get("D" if net == "D" else "G")
    buffers = {"moving": moving} if moving else {}
    if net != "D":
        # All copies of a generator share them; the state has a mean style also where none is read.
        network = nnx.merge(make_generator(config, shape)[0], params)
        own = {"w_avg": network.has_styles, "noise_const": network.noise_layers}
        buffers |= {key: stats[key] for key, is_read in own.items() if is_read and key in stats}
    return make_loaded(name, kwargs, params, buffers, is_generator=net != "D")
