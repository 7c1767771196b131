"""What is scored: a generator of any checkpoint or a set of images, and the reals beside it."""

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
from etils import epath
from jax.sharding import Mesh
from ml_collections import ConfigDict

from stylegan_jax.convert.networks import LoadedCheckpoint, LoadedNetwork
from stylegan_jax.data import ImageSource, open_source
from stylegan_jax.data.catalog import DATA_DIR
from stylegan_jax.data.labels import Labels
from stylegan_jax.files import as_path
from stylegan_jax.metrics import Images
from stylegan_jax.metrics.statistics_cache import StatisticsCache
from stylegan_jax.models import GENERATORS, IN_FLOAT32, make_model
from stylegan_jax.run.extractors import FrozenNetworks
from stylegan_jax.run.fakes import Draw, FakesMaker, GreyLevels, Snapshot
from stylegan_jax.run.input import open_companion, open_config_source
from stylegan_jax.run.networks import load_networks
from stylegan_jax.run.restore import read_meta
from stylegan_jax.run.scores import Context
from stylegan_jax.tools.evaluate.images import DrawnImages, ImageSet
from stylegan_jax.training.sharding import make_mesh, put_everywhere, replicated

# Where results of a run are kept, beside its metrics.
RESULTS = "evaluations.jsonl"
_NO_LABELS = Labels("none", np.full(1, -1, np.int32))


@dataclasses.dataclass(frozen=True)
class Subject:
    """What is scored in one go.

    Attributes:
        draw: Gives its images.
        context: What they are compared with, and by what.
        about: What results say of it.
        class_name: The class that both sides are of; None: all.
        num_images: Images that there are; None: as many as are asked for.
    """

    draw: Draw
    context: Context
    about: Mapping[str, Any]
    class_name: str | None = None
    num_images: int | None = None


@dataclasses.dataclass(frozen=True)
class Reals:
    """The reals of a generator.

    Attributes:
        source: The data set; None: none is known.
        mirror: Whether training mirrors it.
        config: Of the run; None where there is none.
    """

    source: ImageSource | None
    mirror: bool = False
    config: ConfigDict | None = None


class _Part:
    """Some of a set's images."""

    def __init__(self, images: Images, positions: np.ndarray):
        """Remembers which."""
        self._images = images
        self._positions = positions

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, index: int | np.integer) -> np.ndarray:
        return self._images[int(self._positions[index])]


def open_image_sets(
    path: str, data: str | None, *, mirror: bool | None, cache_dir: str
) -> tuple[Subject, ...]:
    """Opens two sets of images, the one to be scored and the reals (None: none are needed).

    Raises:
        ValueError: One of them cannot be read.
    """
    frozen = FrozenNetworks(make_mesh())
    images = ImageSet(path)
    reals = None if data is None else ImageSet(data)
    context = Context(
        reals=reals,
        fingerprint="" if reals is None else reals.fingerprint,
        mirror=bool(mirror),
        open_unseen=_no_unseen,
        frozen=frozen,
        cache=StatisticsCache(cache_dir),
    )
    about = {"images": path, "size": _spell(images.shape), "data": data}
    if reals is not None:
        about["data_size"] = _spell(reals.shape)
    draw = DrawnImages(images, frozen.sharding)
    return (Subject(draw, context, about, num_images=len(images)),)


def open_generator(
    path: str,
    *,
    step: int | str,
    network: str,
    data: str | None,
    data_dir: str | None,
    mirror: bool | None,
    per_class: bool,
    seed: int,
    cache_dir: str,
) -> tuple[Subject, ...]:
    """Opens a generator and its reals; with `per_class` once more for each class.

    Raises:
        OSError: There is no such checkpoint.
        ValueError: It holds no generator, or the data do not fit it.
    """
    # The generator, and the data that it was trained on, or those that are named.
    checkpoint = load_networks(path, step=step, networks=[network])
    loaded = checkpoint.networks[network]
    reals = _open_reals(path, loaded, data, data_dir, mirror)
    mesh = make_mesh()
    build = GENERATORS[loaded.name]
    maker = FakesMaker(
        make_model(build, **loaded.kwargs)[0],
        loaded.kwargs["z_dim"],
        _labels(loaded, reals.source),
        mesh,
        make_key(seed, 0, mesh),
        float32=make_model(build, **{**loaded.kwargs, **IN_FLOAT32})[0],
    )
    fakes = maker.of(_snapshot(checkpoint, loaded, mesh))
    # What its fakes are compared with, and by what.
    source = reals.source
    context = Context(
        reals=None if source is None else GreyLevels(source),
        fingerprint="" if source is None else source.fingerprint,
        mirror=reals.mirror,
        open_unseen=functools.partial(_open_unseen, reals.config),
        frozen=FrozenNetworks(mesh),
        cache=StatisticsCache(cache_dir),
        network=loaded.name,
        takes_transform=fakes.functions.takes_transform,
    )
    # What a value must not be read without.
    about = {
        "checkpoint": str(path),
        "network": network,
        "model": loaded.name,
        "nimg": checkpoint.nimg,
        "kimg": checkpoint.kimg,
        "size": _spell((*loaded.size, loaded.kwargs["img_channels"])),
        "data": None if source is None else source.name,
        "truncation_psi": 1.0,
        "noise": "random",
    }
    whole = Subject(fakes, context, about)
    if not per_class:
        return (whole,)
    return (whole, *_classes(whole, maker, fakes, source))


def make_key(seed: int, role: int, mesh: Mesh) -> jax.Array:
    """Returns a random key that the devices of all processes hold, as those of a run."""
    make = jax.jit(
        lambda: jax.random.fold_in(jax.random.key(seed), role), out_shardings=replicated(mesh)
    )
    return make()


def _open_reals(
    path: str,
    loaded: LoadedNetwork,
    data: str | None,
    data_dir: str | None,
    mirror: bool | None,
) -> Reals:
    """Opens the data set that is named, or the one that the run was trained on."""
    config = None
    if as_path(path).expanduser().is_dir():
        config = ConfigDict(read_meta(path)["config"])
    folder = data_dir or (config.data.data_dir if config is not None else DATA_DIR)
    # Reals are mirrored as training does, unless it is said otherwise.
    mirrored = mirror if mirror is not None else config is not None and config.data.mirror
    if data is None and config is not None:
        config.data.data_dir = folder
        return Reals(open_config_source(config), mirrored, config)
    if data is None:
        return Reals(None)
    source = open_source(
        data,
        size=loaded.size,
        labels=loaded.kwargs["c_dim"] > 0,
        channels=0,
        data_dir=folder,
    )
    if source.img_channels != loaded.kwargs["img_channels"]:
        raise ValueError(
            f"{source.name} has images of {source.img_channels} channel(s), the network draws "
            f"{loaded.kwargs['img_channels']}: give the data set that it was trained on."
        )
    return Reals(source, mirrored, config)


def _labels(loaded: LoadedNetwork, source: ImageSource | None) -> Labels:
    """Returns the labels that fakes are given."""
    c_dim = loaded.kwargs["c_dim"]
    if not c_dim:
        return _NO_LABELS
    if source is None:
        raise ValueError(
            f"The network wants labels of length {c_dim}, as often as they occur in its data: give "
            "--data."
        )
    if source.c_dim != c_dim:
        raise ValueError(
            f"{source.name} has labels of length {source.c_dim}, the network wants {c_dim}: give "
            "the data set that it was trained on."
        )
    return source.labels


def _snapshot(checkpoint: LoadedCheckpoint, loaded: LoadedNetwork, mesh: Mesh) -> Snapshot:
    """Puts a generator on all devices."""
    stats = {
        "noise_const": loaded.buffers.get("noise_const", {}),
        "G": loaded.buffers.get("moving", {}),
    }
    params, stats = jax.tree.map(
        lambda x: put_everywhere(mesh, np.asarray(x)), (loaded.params, stats)
    )
    resolution = checkpoint.resolution or loaded.kwargs["img_resolution"]
    fade = None if checkpoint.fade is None else np.float32(checkpoint.fade)
    return Snapshot(params, stats, resolution, fade)


def _classes(
    whole: Subject, maker: FakesMaker, fakes: Any, source: ImageSource | None
) -> Iterator[Subject]:
    """Yields each class: fakes of it, and reals of it."""
    if source is None or maker.labels.kind != "classes":
        raise ValueError("--per_class wants a network that was trained on classes, and its data.")
    assert whole.context.reals is not None
    for number, name in enumerate(maker.labels.class_names):
        positions = np.flatnonzero(maker.labels.values == number)
        # A class without images has nothing to be compared with.
        if not len(positions):
            continue
        context = dataclasses.replace(
            whole.context,
            reals=_Part(whole.context.reals, positions),
            fingerprint=f"{whole.context.fingerprint} class {number}",
        )
        about = {**whole.about, "class": name}
        yield Subject(fakes.of_class(number), context, about, class_name=name)


def _open_unseen(config: ConfigDict | None) -> Images:
    """Opens the images that a run names as not trained on."""
    if config is None or not config.metrics.get("memory_unseen"):
        return _no_unseen()
    return GreyLevels(open_companion(config, config.metrics.memory_unseen))


def _no_unseen() -> Images:
    """Refuses what needs images that were not trained on."""
    raise ValueError(
        "memory compares with images that were not trained on, and only a run says which "
        "(config.metrics.memory_unseen)."
    )


def _spell(shape: tuple[int, ...]) -> str:
    """Spells height x width x channels."""
    return "x".join(map(str, shape))


def results_path(checkpoint: str | None, out: str | None) -> epath.Path | None:
    """Returns where results are added; None: they are only printed."""
    if out is not None:
        return as_path(out).expanduser()
    if checkpoint is None or not as_path(checkpoint).expanduser().is_dir():
        return None
    # A step lies in WORKDIR/checkpoints.
    folder = as_path(checkpoint).expanduser()
    while not (folder / "config.json").exists() and folder != folder.parent:
        folder = folder.parent
    return folder / RESULTS if (folder / "config.json").exists() else None
