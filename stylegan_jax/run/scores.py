"""Scores of a run: how far samples of `G_ema` are from the reals.

A further score is a file in `metrics/`, a row of `MAKERS` and its interval in `config.metrics`.
"""

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, UInt8
from ml_collections import ConfigDict

from stylegan_jax.data import ImageSource
from stylegan_jax.data.labels import Labels
from stylegan_jax.metrics import Images, MemoryScore, SwdScore
from stylegan_jax.run.capacity import host_memory_bytes
from stylegan_jax.run.images import to_uint8
from stylegan_jax.run.input import open_companion
from stylegan_jax.run.processes import as_first_process
from stylegan_jax.run.samples import chunks
from stylegan_jax.training.programs import make_sampler
from stylegan_jax.training.schedules import Level
from stylegan_jax.training.settings import SettingsError
from stylegan_jax.training.setup import Networks
from stylegan_jax.training.sharding import batch_sharding, num_batch_devices
from stylegan_jax.training.state import TrainState

# Images whose latents, labels and noise are drawn from one key.
_IMAGES_PER_KEY = 32

# `draw(num_images)` yields at least so many fakes, the same ones every time: uint8 batches
# [n, h, w, c] whose images stay on the devices, and processes, that made them.
Draw = Callable[[int], Iterator[jax.Array]]


class Score(NamedTuple):
    """A score, and when a run takes it.

    Attributes:
        name: The one among its values that tells how good samples are: positive, lower is better.
        kimg: Interval, in thousands of images.
        evaluate: Maps fakes, and a key that is always the same, to values by name. All processes of
            a run call it together.
        describe: Says these values in a line.
    """

    name: str
    kimg: float
    evaluate: Callable[[Draw, jax.Array], dict[str, float]]
    describe: Callable[[Mapping[str, float]], str]


@runtime_checkable
class Metric(Protocol):
    """What a row of `MAKERS` makes."""

    def evaluate(self, draw: Draw, key: jax.Array) -> dict[str, float]:
        """Returns values by name; the key is for what the metric draws itself."""
        ...

    def describe(self, values: Mapping[str, float]) -> str:
        """Says them in a line."""
        ...

    def host_bytes(self, num_images: int) -> int:
        """Returns the memory of the host that scoring so many images takes; grows linearly."""
        ...


class Context(NamedTuple):
    """What a metric may be made from.

    Attributes:
        reals: The training images.
        labels: Theirs; of kind `none` where training uses none.
        mirror: Whether training mirrors its images.
        open_images: Maps the name or path of another data set to its images, of the reals' size.
    """

    reals: Images
    labels: Labels
    mirror: bool
    open_images: Callable[[str], Images]


def _make_swd(context: Context, *, num_images: int) -> Metric:
    """Sliced Wasserstein distance to the reals."""
    return SwdScore(context.reals, num_images=num_images, mirror=context.mirror)


def _make_memory(context: Context, *, num_images: int, unseen: str) -> Metric:
    """Distance to the nearest real, beside that of images which training does not see."""
    return MemoryScore(context.reals, context.open_images(unseen), num_images=num_images)


# Name -> what makes the metric from `(context, <setting>=...)`. Settings and data that it cannot
# work with (too few images, too small ones, no labels) are refused there, by ValueErrors of one
# line, and nothing is computed yet: such a run ends before it begins.
# `config.metrics.<name>_kimg` is the interval, 0 for never, and any other
# `config.metrics.<name>_<setting>` one of the arguments.
MAKERS: dict[str, Callable[..., Metric]] = {"swd": _make_swd, "memory": _make_memory}


def make_scores(config: ConfigDict, source: ImageSource) -> tuple[Score, ...]:
    """Returns the scores that a run takes; none is computed yet.

    Args:
        config: Of the run.
        source: Its training set.

    Raises:
        SettingsError: A score is asked for that these data or this machine cannot have: says why,
            and what to set.
    """

    def open_images(name: str) -> Images:
        other = open_companion(config, name)
        # However its path is spelt.
        if other.fingerprint == source.fingerprint:
            raise ValueError(f"{name} is what is trained on: name images that are not.")
        return GreyLevels(other)

    context = Context(GreyLevels(source), source.labels, config.data.mirror, open_images)
    return tuple(_make_score(config, name, context) for name in MAKERS if _is_on(config, name))


def _make_score(config: ConfigDict, name: str, context: Context) -> Score:
    """Makes a score, or says in a line why it cannot be and how a run goes without it."""
    # What the config says of a score beside its interval is the metric's own business.
    settings = _settings(config, name)
    kimg = settings.pop("kimg")
    try:
        metric = MAKERS[name](context, **settings)
        _check_memory(name, metric, settings.get("num_images", 0))
    except ValueError as error:
        raise SettingsError(
            f"metrics.{name}_kimg={kimg:g}: {error} Or leave the score out with "
            f"metrics.{name}_kimg=0."
        ) from error
    return Score(name, kimg, metric.evaluate, metric.describe)


def _check_memory(name: str, metric: Metric, num_images: int) -> None:
    """Refuses a score of more images than the host's memory holds."""
    limit = host_memory_bytes()
    wanted = metric.host_bytes(num_images)
    if wanted <= limit:
        return
    # What one image takes, and what there is without any.
    fixed = metric.host_bytes(0)
    possible = (limit - fixed) // max(metric.host_bytes(1) - fixed, 1)
    raise ValueError(
        f"with metrics.{name}_num_images={num_images} and these data it takes "
        f"{wanted / 2**30:.0f} GiB, and this machine has {limit / 2**30:.0f}: "
        + (f"give at most {possible}." if possible > 0 else "give fewer images (data.subset).")
    )


def best_score(config: ConfigDict) -> str | None:
    """Returns the score that decides about the best checkpoint and about going back.

    Returns:
        Its name, or None where it is never taken.

    Raises:
        ValueError: There is no score of that name.
    """
    name = config.metrics.best
    if name not in MAKERS:
        raise ValueError(
            f"config.metrics.best={name!r} is no score; there are {sorted(MAKERS)}. It names the "
            "one that decides which checkpoint is the best."
        )
    return name if _is_on(config, name) else None


def _settings(config: ConfigDict, name: str) -> dict[str, Any]:
    """Returns what the config says of a score, by the rest of each name."""
    prefix = f"{name}_"
    return {
        key.removeprefix(prefix): value
        for key, value in config.metrics.items()
        if key.startswith(prefix)
    }


def _is_on(config: ConfigDict, name: str) -> bool:
    """Tells whether a run ever takes a score."""
    return config.metrics[f"{name}_kimg"] > 0


def take_scores(
    scores: Sequence[Score],
    draw: Draw,
    nimg: int,
    *,
    key: jax.Array,
    is_due: Callable[[float], bool],
    announce: Callable[[str, int], None],
) -> dict[str, float]:
    """Evaluates the scores that are due, and prints a line about each.

    Args:
        scores: From `make_scores`.
        draw: Fakes of the state as it is now.
        nimg: Images shown so far.
        key: The run's key for scores, as for `make_draw`.
        is_due: Whether something that is done every so many kimg is done now.
        announce: Called as `announce("scoring swd", nimg)` before each, which may take minutes.

    Returns:
        All values by name, on every process those of the first; empty if nothing is due.
    """
    values: dict[str, float] = {}
    for score in scores:
        if is_due(score.kimg):
            announce(f"scoring {score.name}", nimg)
            # One key for what the metrics draw themselves, the other is that of the fakes.
            key_score, _ = jax.random.split(key)
            # What is decided by a score must not differ in a last bit between processes.
            found = as_first_process(score.evaluate(draw, key_score))
            print(f"{nimg / 1000:.1f} kimg: {score.describe(found)}")
            values |= found
    return values


# ----------------------------------------------------------------------------------------------
# Fakes


def make_draw(
    source: ImageSource, networks: Networks, mesh: Mesh, key: jax.Array
) -> Callable[[TrainState, Level], Draw]:
    """Returns what draws fakes of `G_ema`, with random noise and the labels of random reals.

    It is compiled on first use.

    Args:
        source: The training set, for its labels.
        networks: Of the run.
        mesh: Devices, which share the work.
        key: The run's key for scores. The same one gives the same latents, labels and noise on any
            number of devices.

    Returns:
        `draw_from(state, level)`, whose result is a `Draw`.
    """
    _, key_fakes = jax.random.split(key)
    inputs = jax.jit(functools.partial(_draw_inputs, networks.z_dim, len(source)))
    sample = make_sampler(networks.G, mesh, out_sharding=batch_sharding(mesh))
    # Images of a call: all those of one key or of several, and as many on each device.
    size = math.lcm(_IMAGES_PER_KEY, num_batch_devices(mesh))

    def draw(state: TrainState, level: Level, num_images: int) -> Iterator[jax.Array]:
        fade = level.fade(state.nimg)
        for part in chunks(num_images, size):
            # Every call is a whole one, so that one program serves all; the last may give images
            # that are not wanted.
            numbers = np.arange(part.start, part.start + size, _IMAGES_PER_KEY) // _IMAGES_PER_KEY
            z, index, keys = inputs(key_fakes, numbers)  # [n, z_dim], [n], [n / 32]
            c = source.labels.rows(np.asarray(index))
            img = sample(state.G_ema, state.stats, z, c, keys, fade, resolution=level.resolution)
            yield _to_grey_levels(img)

    def draw_from(state: TrainState, level: Level) -> Draw:
        return functools.partial(draw, state, level)

    return draw_from


@jax.jit
def _to_grey_levels(img: Float[Array, "n h w c"]) -> UInt8[Array, "n h w c"]:
    """Truncates as metrics of the papers do, on the devices where the images are."""
    # 127.5 x + 128 = 127.5 (x + 1) + 1/2: what is cut off leaves the nearest grey level.
    return jnp.clip(img * 127.5 + 128, 0, 255).astype(jnp.uint8)


def _draw_inputs(
    z_dim: int, num_labels: int, key: jax.Array, numbers: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Draws latents, indices of labels and keys of the noise from the numbers of their keys."""

    def draw(number: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        key_z, key_c, key_noise = jax.random.split(jax.random.fold_in(key, number), 3)
        z = jax.random.normal(key_z, (_IMAGES_PER_KEY, z_dim))
        index = jax.random.randint(key_c, (_IMAGES_PER_KEY,), 0, num_labels)
        return z, index, key_noise

    z, index, keys = jax.vmap(draw)(numbers)  # [k, n, z_dim], [k, n], [k]
    return jnp.concatenate(z), jnp.concatenate(index), keys


class GreyLevels:
    """The images of a source as metrics read them: uint8, whatever is stored."""

    def __init__(self, source: ImageSource):
        """Wraps a source; its labels are left out."""
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int | np.integer) -> np.ndarray:
        return to_uint8(self._source[int(index)])
