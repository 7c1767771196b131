"""Scores of a run: how far samples of `G_ema` are from the reals.

A further score is a file in `metrics/`, a family in `metrics/names.py` and a row of `MAKERS`.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from stylegan_jax.data import ImageSource
from stylegan_jax.metrics import Images, MemoryScore, SwdScore
from stylegan_jax.metrics.comparisons import COMPARISONS
from stylegan_jax.metrics.equivariance_score import EquivarianceScore, explain_transforms
from stylegan_jax.metrics.feature_scores import FeatureScore, Reals
from stylegan_jax.metrics.generator_scores import (
    MsssimScore,
    PathLengthScore,
    SeparabilityScore,
)
from stylegan_jax.metrics.ms_ssim import check_ms_ssim_size
from stylegan_jax.metrics.names import FAMILIES, MetricName, parse_names
from stylegan_jax.metrics.statistics_cache import StatisticsCache
from stylegan_jax.run.capacity import host_memory_bytes
from stylegan_jax.run.extractors import FrozenNetworks
from stylegan_jax.run.fakes import Draw, GreyLevels
from stylegan_jax.run.input import open_companion
from stylegan_jax.run.processes import as_first_process
from stylegan_jax.training.settings import SettingsError


@runtime_checkable
class Metric(Protocol):
    """What a row of `MAKERS` makes: one metric, or several that share their work."""

    def evaluate(self, draw: Any, key: jax.Array) -> dict[str, float]:
        """Returns values by name; the key is for what the metric draws itself."""
        ...

    def describe(self, values: Mapping[str, float]) -> str:
        """Says them in a line."""
        ...

    def protocol(self, name: MetricName) -> dict[str, Any]:
        """Says what, beside the fakes, made the values of a metric."""
        ...

    def host_bytes(self, num_images: int) -> int:
        """Returns the memory of the host that scoring so many images takes; grows linearly."""
        ...


class Score(NamedTuple):
    """Metrics that are taken together.

    Attributes:
        names: Which.
        metric: What takes them. All processes of a run call it together.
    """

    names: tuple[MetricName, ...]
    metric: Metric


@dataclasses.dataclass(frozen=True)
class Context:
    """What metrics may be made from.

    Attributes:
        reals: The training images, or others to compare with; None: there are none.
        fingerprint: Tells these reals from others.
        mirror: Whether training mirrors its images.
        open_unseen: Opens images of the same kind that are not trained on.
        frozen: Opens frozen networks.
        cache: Where statistics of reals are kept.
        network: Name of what draws the fakes; empty where they are a set of images.
        takes_transform: Whether it can be told to move its images.
    """

    reals: Images | None
    fingerprint: str
    mirror: bool
    open_unseen: Callable[[], Images]
    frozen: FrozenNetworks
    cache: StatisticsCache
    network: str = ""
    takes_transform: bool = False


def _make_features(context: Context, names: Sequence[MetricName]) -> Metric:
    """Metrics that look through one network."""
    extractor = context.frozen.extractor(COMPARISONS[names[0].family][0])
    reals = Reals(context.reals, context.fingerprint, context.mirror)
    return FeatureScore(names, reals, extractor, context.cache)


def _make_swd(context: Context, names: Sequence[MetricName]) -> Metric:
    """Sliced Wasserstein distance to the reals."""
    (name,) = names
    return SwdScore(
        _need_reals(context, name),
        num_images=_count(name),
        mirror=context.mirror,
        name=name.text,
    )


def _make_memory(context: Context, names: Sequence[MetricName]) -> Metric:
    """Distance to the nearest real, beside that of images which training does not see."""
    (name,) = names
    reals = _need_reals(context, name)
    return MemoryScore(reals, context.open_unseen(), num_images=_count(name), name=name.text)


def _need_reals(context: Context, name: MetricName) -> Images:
    """Returns the reals, which this metric cannot do without."""
    if context.reals is None:
        raise ValueError(f"{name.text} compares with reals, and there are none: give data.")
    return context.reals


def _count(name: MetricName) -> int:
    """Returns how many images a metric looks at."""
    if name.num_images is None:
        example = FAMILIES[name.family].example
        raise ValueError(f"{name.text} does not say of how many images: {example} does.")
    return name.num_images


def _make_path_length(context: Context, names: Sequence[MetricName]) -> Metric:
    """Perceptual path length."""
    (name,) = names
    return PathLengthScore(name, context.frozen.distance(), context.frozen.sharding)


def _make_separability(context: Context, names: Sequence[MetricName]) -> Metric:
    """Linear separability."""
    (name,) = names
    return SeparabilityScore(name, context.frozen.classifiers(), context.frozen.sharding)


def _make_msssim(context: Context, names: Sequence[MetricName]) -> Metric:
    """MS-SSIM of pairs; reals tell the size of images, where there are any."""
    (name,) = names
    if context.reals is not None:
        check_ms_ssim_size(*np.shape(context.reals[0])[:2])
    if _count(name) < 2:
        raise ValueError(f"{name.text} compares pairs: name 2 images or more.")
    return MsssimScore(name)


def _make_equivariance(context: Context, names: Sequence[MetricName]) -> Metric:
    """Equivariance to translation or rotation; a set of images is refused when it is scored."""
    (name,) = names
    if context.network and not context.takes_transform:
        raise ValueError(f"{name.text}: {explain_transforms(f'this {context.network!r}')}")
    return EquivarianceScore(name, context.frozen.sharding)


# Family of names -> what makes the metric from `(context, names)`. Settings and data that it cannot
# work with (too few images, too small ones, no labels) are refused there, by ValueErrors of one
# line, and nothing is computed yet: such a run ends before it begins.
MAKERS: dict[str, Callable[[Context, Sequence[MetricName]], Metric]] = {
    **dict.fromkeys(COMPARISONS, _make_features),
    "swd": _make_swd,
    "memory": _make_memory,
    "ppl": _make_path_length,
    "ls": _make_separability,
    "eqt": _make_equivariance,
    "eqr": _make_equivariance,
    "msssim": _make_msssim,
}


def make_metrics(names: Sequence[MetricName], context: Context) -> tuple[Score, ...]:
    """Returns what takes these metrics; none is computed yet.

    Raises:
        ValueError: One is asked for that these data or this machine cannot have: says why.
    """
    # Metrics that look through one network share a pass of the images.
    groups: dict[str, list[MetricName]] = {}
    for name in names:
        network = COMPARISONS[name.family][0] if name.family in COMPARISONS else name.text
        groups.setdefault(network, []).append(name)
    scores = []
    for group in groups.values():
        for name in group:
            _count(name)
        metric = MAKERS[group[0].family](context, group)
        _check_memory(group, metric)
        scores.append(Score(tuple(group), metric))
    return tuple(scores)


def _check_memory(names: Sequence[MetricName], metric: Metric) -> None:
    """Refuses a score of more images than the host's memory holds."""
    limit = host_memory_bytes()
    most = max(map(_count, names))
    wanted = metric.host_bytes(most)
    if wanted <= limit:
        return
    # What one image takes, and what there is without any.
    fixed = metric.host_bytes(0)
    possible = (limit - fixed) // max(metric.host_bytes(1) - fixed, 1)
    raise ValueError(
        f"{', '.join(name.text for name in names)}: with these data it takes "
        f"{wanted / 2**30:.0f} GiB, and this machine has {limit / 2**30:.0f}: "
        + (f"give at most {possible} images." if possible > 0 else "give fewer (data.subset).")
    )


# ----------------------------------------------------------------------------------------------
# Scores of a run


def make_scores(
    config: ConfigDict, source: ImageSource, mesh: Mesh, *, takes_transform: bool = False
) -> tuple[Score, ...]:
    """Returns the scores that a run takes; none is computed yet.

    Args:
        config: Of the run.
        source: Its training set.
        mesh: Devices that share the work.
        takes_transform: Whether its generator can be told to move its images.

    Raises:
        SettingsError: A score is asked for that these data or this machine cannot have: says why,
            and what to set.
    """
    metrics = config.metrics
    if not metrics.kimg:
        return ()

    def open_unseen() -> Images:
        other = open_companion(config, metrics.memory_unseen)
        # However its path is spelt.
        if other.fingerprint == source.fingerprint:
            raise ValueError(
                f"{metrics.memory_unseen} is what is trained on: name images that are not."
            )
        return GreyLevels(other)

    context = Context(
        reals=GreyLevels(source),
        fingerprint=source.fingerprint,
        mirror=config.data.mirror,
        open_unseen=open_unseen,
        frozen=FrozenNetworks(mesh),
        cache=StatisticsCache(metrics.cache_dir),
        network=config.G.name,
        takes_transform=takes_transform,
    )
    try:
        return make_metrics(parse_names(metrics.names), context)
    except ValueError as error:
        raise SettingsError(
            f"metrics.names={metrics.names}: {error} Or leave scores out with metrics.kimg=0."
        ) from error


def best_score(config: ConfigDict) -> str | None:
    """Returns the value that decides about the best checkpoint and about going back.

    Returns:
        The key of one that is the better the lower, `-` before the key of one that is the better
        the higher; None where none is taken.

    Raises:
        ValueError: No score of that name is taken.
    """
    metrics = config.metrics
    if not metrics.kimg:
        return None
    names = {name.text: name for name in parse_names(metrics.names)}
    best = metrics.best or next(iter(names))
    if best not in names:
        raise ValueError(
            f"metrics.best={best}: it is none of metrics.names={metrics.names}, of which it names "
            "the one that decides which checkpoint is the best."
        )
    return ("-" if names[best].is_higher_better else "") + names[best].main


def take_scores(
    scores: Sequence[Score],
    draw: Draw,
    nimg: int,
    *,
    key: jax.Array,
    announce: Callable[[str, int], None],
) -> dict[str, float]:
    """Evaluates scores, and prints a line about each.

    Args:
        scores: From `make_scores`.
        draw: Fakes of the state as it is now.
        nimg: Images shown so far.
        key: The run's key for scores, as for `fakes_of`.
        announce: Called as `announce("scoring swd16k", nimg)` before each, which may take minutes.

    Returns:
        All values by name, on every process those of the first.
    """
    values: dict[str, float] = {}
    # One key for what the metrics draw themselves, the other is that of the fakes.
    key_score, _ = jax.random.split(key)
    for score in scores:
        announce(f"scoring {', '.join(name.text for name in score.names)}", nimg)
        # What is decided by a score must not differ in a last bit between processes.
        found = as_first_process(score.metric.evaluate(draw, key_score))
        print(f"{nimg / 1000:.1f} kimg: {score.metric.describe(found)}")
        values |= found
    return values
