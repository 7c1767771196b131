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
from stylegan_jax.metrics import Images, MemoryScore, SwdScore
from stylegan_jax.run.images import to_uint8
from stylegan_jax.run.input import open_companion
from stylegan_jax.run.processes import as_first_process
from stylegan_jax.run.samples import chunks
from stylegan_jax.training.programs import make_sampler
from stylegan_jax.training.schedules import Level
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
        evaluate: Maps fakes to values by name. All processes of a run call it together.
        describe: Says these values in a line.
    """

    name: str
    kimg: float
    evaluate: Callable[[Draw], dict[str, float]]
    describe: Callable[[Mapping[str, float]], str]


@runtime_checkable
class Metric(Protocol):
    """What a row of `MAKERS` makes."""

    def evaluate(self, draw: Draw) -> dict[str, float]:
        """Returns values by name."""
        ...

    def describe(self, values: Mapping[str, float]) -> str:
        """Says them in a line."""
        ...


class Context(NamedTuple):
    """What a metric may be made from.

    Attributes:
        reals: The training images.
        key: Random key of everything but the fakes.
        mirror: Whether training mirrors its images.
        open_images: Maps the name or path of another data set to its images, of the reals' size.
    """

    reals: Images
    key: jax.Array
    mirror: bool
    open_images: Callable[[str], Images]


def _make_swd(context: Context, *, num_images: int) -> Metric:
    """Sliced Wasserstein distance to the reals."""
    return SwdScore(context.reals, context.key, num_images=num_images, mirror=context.mirror)


def _make_memory(context: Context, *, num_images: int, unseen: str) -> Metric:
    """Distance to the nearest real, beside that of images which training does not see."""
    if not unseen:
        raise ValueError(
            "metrics.memory_unseen is empty: name a data set of the same kind and size that is not "
            "trained on, or leave the score out with metrics.memory_kimg=0."
        )
    return MemoryScore(context.reals, context.open_images(unseen), num_images=num_images)


# Name -> what makes the metric from `(context, <setting>=...)`; settings that cannot work are
# refused there, and nothing is computed yet. `config.metrics.<name>_kimg` is the interval, 0 for
# never, and any other `config.metrics.<name>_<setting>` one of the arguments.
MAKERS: dict[str, Callable[..., Metric]] = {"swd": _make_swd, "memory": _make_memory}


def make_scores(config: ConfigDict, source: ImageSource, key: jax.Array) -> tuple[Score, ...]:
    """Returns the scores that a run takes; none is computed yet.

    Args:
        config: Of the run.
        source: Its training set.
        key: The run's key for scores.

    Raises:
        ValueError: A score is asked for where it is not defined, such as at a low resolution.
    """
    # One key for what the metrics draw themselves, one for the fakes.
    key_scores, _ = jax.random.split(key)

    def open_images(name: str) -> Images:
        return GreyLevels(open_companion(config, name))

    context = Context(GreyLevels(source), key_scores, config.data.mirror, open_images)

    # What the config says of a score beside its interval is the metric's own business.
    def make(name: str) -> Score:
        settings = _settings(config, name)
        kimg = settings.pop("kimg")
        metric = MAKERS[name](context, **settings)
        return Score(name, kimg, metric.evaluate, metric.describe)

    return tuple(make(name) for name in MAKERS if _is_on(config, name))


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
    is_due: Callable[[float], bool],
    announce: Callable[[str, int], None],
) -> dict[str, float]:
    """Evaluates the scores that are due, and prints a line about each.

    Args:
        scores: From `make_scores`.
        draw: Fakes of the state as it is now.
        nimg: Images shown so far.
        is_due: Whether something that is done every so many kimg is done now.
        announce: Called as `announce("scoring swd", nimg)` before each, which may take minutes.

    Returns:
        All values by name, on every process those of the first; empty if nothing is due.
    """
    values: dict[str, float] = {}
    for score in scores:
        if is_due(score.kimg):
            announce(f"scoring {score.name}", nimg)
            # What is decided by a score must not differ in a last bit between processes.
            found = as_first_process(score.evaluate(draw))
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
