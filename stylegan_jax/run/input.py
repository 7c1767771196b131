"""What a run reads: the data set that its config names, and its batches in order."""

import os
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from stylegan_jax.data import ImageSource, make_dataset, make_iterator, open_source
from stylegan_jax.run.images import describe_hidden
from stylegan_jax.sizes import ImageShape, find_base_grid, size_at
from stylegan_jax.training.inputs import Constants
from stylegan_jax.training.schedules import Level
from stylegan_jax.training.settings import image_size
from stylegan_jax.training.sharding import local_rows, put_everywhere

# Labels of a whole data set lie on every device up to this size; above, fakes get those of a batch.
_MAX_LABELS_BYTES = 2**24
# A run that waits for data more than this share of its time is told so.
_INPUT_BOUND = 0.2


def open_config_source(config: ConfigDict) -> ImageSource:
    """Opens the config's data set.

    Raises:
        ValueError: There is no such data set, or it does not fit the config.
    """
    data = config.data
    return open_source(
        data.dataset,
        size=image_size(config),
        labels=data.labels,
        channels=data.channels,
        subset=data.subset,
        seed=config.seed,
        data_dir=os.path.expanduser(data.data_dir),
    )


def open_companion(config: ConfigDict, name: str) -> ImageSource:
    """Opens another data set, by name or path, as images like those of the config's.

    Raises:
        ValueError: There is no such data set, or its images do not fit.
    """
    data = config.data
    return open_source(
        name,
        size=image_size(config),
        channels=data.channels,
        data_dir=os.path.expanduser(data.data_dir),
    )


def tell_what_is_not_used(source: ImageSource) -> None:
    """Prints what the data set has beside what the networks get, and what of that is nothing."""
    # Labels that lie there and are left out are often a flag that was forgotten.
    if source.unused is not None:
        print(f"NOTE: {source.name} has {source.unused.describe()}, which this run does not use.")
        if source.unused.kind != "captions":
            print("To train with them: --config.data.labels")
    if source.label_names and source.c_dim == 0:
        names = "|".join(source.label_names)
        print(f"Labels by names, to train with: --config.data.labels={names}")
    if silent := source.describe_silent_channels():
        print(f"NOTE: {source.name}: {silent}")
    if hidden := describe_hidden(source.img_channels):
        print(f"NOTE: pictures of {source.name}: {hidden}.")


def image_shape(source: ImageSource) -> ImageShape:
    """Returns what networks and programs must know of the data."""
    return ImageShape(*source.size, source.img_channels, source.c_dim, source.format.dtype)


def make_constants(source: ImageSource, mesh: Mesh) -> Constants:
    """Places what all steps read and none changes: the labels that fakes are given.

    Labels of more than 16 MiB are left where they are, and fakes are given labels of the batch's
    reals: as exact, since a batch is a function of the seed and the image count.
    """
    # Class numbers [m], or vectors [m, c_dim].
    values = source.labels.values
    if source.c_dim == 0 or values.nbytes > _MAX_LABELS_BYTES:
        return {}
    return {"labels": put_everywhere(mesh, values)}


class InputStream(Iterator[dict[str, np.ndarray]]):
    """Real images of a level's size, from an image count on; knows how long it was waited for."""

    def __init__(
        self, nimg: int, config: ConfigDict, source: ImageSource, level: Level, mesh: Mesh
    ):
        """Starts reading what this process's devices hold; the first batch is there on return."""
        # Batches in the order that seed and image count give, of this process the rows it holds.
        dataset = make_dataset(
            source,
            batch_size=level.batch_size,
            size=size_at(level.resolution, find_base_grid(source.size)[1]),
            seed=config.seed,
            mirror=config.data.mirror,
            rows=local_rows(mesh, level.batch_size).tolist(),
            start=nimg,
        )
        # The first batch is read here, where a failure still names the data.
        self._batches = make_iterator(dataset, num_workers=config.data.num_workers)
        # Waiting since the last report, and whether that was too much.
        self._wait_sec = 0.0
        self._is_bound = False

    def __next__(self) -> dict[str, np.ndarray]:
        start = time.monotonic()
        batch = next(self._batches)
        self._wait_sec += time.monotonic() - start
        return batch

    def report(self, seconds: float) -> dict[str, float]:
        """Returns the share of the last `seconds` spent waiting; warns when it becomes much."""
        share = self._wait_sec / seconds
        self._wait_sec = 0.0

        # Said when it begins, not at every tick.
        was_bound = self._is_bound
        self._is_bound = share > _INPUT_BOUND
        if self._is_bound and not was_bound:
            print(
                f"WARNING: input-bound: the last tick waited {share:.0%} of its time for images. "
                "Read with more processes (--config.data.num_workers=N), or store the images in a "
                "format that is decoded faster (tools.dataset prepare --encoding=raw or qoi).",
                flush=True,
            )
        return {"Timing/data_wait": share}


def data_position(config: ConfigDict, source: ImageSource) -> dict[str, Any]:
    """Returns what decides the order of the data, the image counter apart, and its sizes."""
    return {
        "fingerprint": source.fingerprint,
        "seed": config.seed,
        "batch_size": config.schedule.batch_size,
        "growth": config.growth.to_dict(),
        "mirror": config.data.mirror,
        "height": source.size[0],
        "width": source.size[1],
        "img_channels": source.img_channels,
        "img_dtype": source.format.dtype,
        "c_dim": source.c_dim,
        "class_names": list(source.class_names),
    }


def saved_shape(data: dict[str, Any]) -> ImageShape:
    """Returns what networks must know of the data that a run was trained on.

    Args:
        data: What `data_position` gave when a checkpoint was written.
    """
    data = _with_size(data)
    return ImageShape(data["height"], data["width"], data["img_channels"], data["c_dim"])


def _with_size(data: dict[str, Any]) -> dict[str, Any]:
    """Adds height and width where an older checkpoint has the side of squares."""
    side = data.get("img_resolution")
    return data if side is None else {**data, "height": side, "width": side}


def check_same_data(saved: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Refuses to go on with other data than the run began with, or in another order.

    Raises:
        ValueError: Names what differs.
    """
    # What older checkpoints do not have counts as None.
    saved = _with_size(saved)
    changed = [
        f"{name}: {saved.get(name)!r} then, {value!r} now"
        for name, value in wanted.items()
        if saved.get(name) != value
    ]
    if changed:
        raise ValueError(
            "The run in this workdir was started with other data: " + "; ".join(changed) + ". "
            "Start the command with the old settings to continue, or give another --workdir."
        )
