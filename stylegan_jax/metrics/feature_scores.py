"""Scores that compare the features of fakes with those of reals: one pass serves all of a network.

Here is what they share: which reals, how many fakes, what is kept. What each does with features is
an entry in `comparisons.py`.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from stylegan_jax.metrics.comparisons import COMPARISONS, Comparison
from stylegan_jax.metrics.features import (
    Extractor,
    choose_reals,
    device_batches,
    gather_features,
)
from stylegan_jax.metrics.names import MetricName
from stylegan_jax.metrics.reals import Images, seed_from_key
from stylegan_jax.metrics.statistics_cache import StatisticsCache

# Which halves of the reals are held against each other.
_SPLIT_SEED = 0
# Images whose pixels say that a set is the one that it was.
_LOOKED_AT = 16


@dataclasses.dataclass(frozen=True)
class Reals:
    """The reals of feature scores.

    Attributes:
        images: The data set; None where there is none.
        fingerprint: What tells it, and how it is read, from others.
        mirror: Whether training mirrors its images.
    """

    images: Images | None
    fingerprint: str
    mirror: bool


def _look_at(images: Images) -> str:
    """Hashes some images: files that were replaced by others of their names and lengths differ."""
    digest = hashlib.sha256()
    for position in np.linspace(0, len(images) - 1, min(len(images), _LOOKED_AT)).astype(int):
        digest.update(np.ascontiguousarray(images[int(position)]).data)
    return digest.hexdigest()[:16]


class FeatureScore:
    """Metrics that look at images through one network."""

    def __init__(
        self,
        names: Sequence[MetricName],
        reals: Reals,
        extractor: Extractor,
        cache: StatisticsCache,
    ):
        """Remembers what is compared; nothing is computed before the first score.

        Args:
            names: Metrics of this network.
            reals: What fakes are compared with.
            extractor: The network.
            cache: Where the reals' side is kept.

        Raises:
            ValueError: There are no reals, or too few.
        """
        self._names = names
        self._reals = reals
        self._extractor = extractor
        self._cache = cache
        # The reals' side stays the same throughout a run.
        self._collected: dict[str, Any] = {}
        self._looks = "" if reals.images is None else _look_at(reals.images)
        for name in names:
            self._check(name)

    def _check(self, name: MetricName) -> None:
        """Refuses a metric that these reals cannot have."""
        comparison = COMPARISONS[name.family][1]
        wanted, least = name.num_images or 0, comparison.least(name)
        if wanted < least:
            raise ValueError(f"{name.text} looks at {wanted} images and needs {least} or more.")
        if not comparison.has_reals:
            return
        if self._reals.images is None:
            raise ValueError(f"{name.text} compares with reals, and there are none: give data.")
        count = len(self._positions(name))
        least *= 2 if comparison.has_floor else 1
        if count < least:
            raise ValueError(f"{name.text} needs {least} reals or more, and there are {count}.")
        # With fewer reals than its name says a value would pass for what it is not.
        if not name.options.get("full") and count < wanted:
            raise ValueError(
                f"{name.text} compares {wanted} fakes with as many reals, and there are {count}: "
                f"{name.text}_full compares with all of them."
            )

    def host_bytes(self, num_images: int) -> int:
        """Returns the memory of the host that scoring so many images takes, at most."""
        total = 0
        for name in self._names:
            comparison = COMPARISONS[name.family][1]
            reals = len(self._positions(name)) if comparison.has_reals else 0
            # Rows lie in memory twice when they are joined.
            total += 2 * comparison.row_bytes * (num_images + reals)
        return total

    def evaluate(
        self, draw: Callable[[int], Iterable[jax.Array]], key: jax.Array
    ) -> dict[str, float]:
        """Scores the fakes that `draw(num_images)` yields.

        Args:
            draw: What draws the fakes.
            key: Random key of everything else; the same one every time.

        Returns:
            Values by name, see `Comparison`; and for those with a floor `<name>_split`, disjoint
            halves of the reals held against each other, of `<name>_split_n` images each.
        """
        seed = seed_from_key(key)
        fakes = self._collect_fakes(draw)
        values: dict[str, float] = {}
        for name, collected in zip(self._names, fakes):
            comparison = COMPARISONS[name.family][1]
            reals = self._collect_reals(name) if comparison.has_reals else None
            values |= comparison.compare(name, reals, collected, seed)
            if comparison.has_floor:
                values |= self._floor(name, seed)
        return values

    def describe(self, values: Mapping[str, float]) -> str:
        """Says the values, and the reals' own where they are known."""
        parts = []
        for name in self._names:
            own = [
                f"{key} {values[key]:.4g}"
                for key in values
                if key.startswith(name.text) and "_split" not in key
            ]
            split = f"{name.text}_split"
            floor = ""
            if split in values:
                each = int(values[f"{split}_n"])
                floor = f" (reals against reals {values[split]:.4g}, of {each} each)"
            parts.append(", ".join(own) + floor)
        return "; ".join(parts)

    def protocol(self, name: MetricName) -> dict[str, Any]:
        """Says what made the values of a metric."""
        comparison = COMPARISONS[name.family][1]
        about: dict[str, Any] = dict(self._extractor.protocol)
        if comparison.has_reals:
            about |= {
                "reals": len(self._positions(name)),
                "mirror": self._mirror(name),
                "data_fingerprint": self._reals.fingerprint,
            }
        return about

    def _mirror(self, name: MetricName) -> bool:
        """Tells whether mirror images of the reals are looked at, too."""
        # `_full` are the images as they are.
        return self._reals.mirror and not name.options.get("full")

    def _positions(self, name: MetricName) -> np.ndarray:
        """Returns which reals a metric looks at."""
        assert self._reals.images is not None
        comparison = COMPARISONS[name.family][1]
        most = comparison.most_reals if name.options.get("full") else name.num_images
        return choose_reals(len(self._reals.images), most=most, mirror=self._mirror(name))

    def _collect_fakes(self, draw: Callable[[int], Iterable[jax.Array]]) -> list[Any]:
        """Collects features of the fakes: each metric those of the first that it wants."""
        wanted = [name.num_images or 0 for name in self._names]
        comparisons = [COMPARISONS[name.family][1] for name in self._names]
        collected = [self._make(comparison) for comparison in comparisons]
        for batch in draw(max(wanted)):
            outputs = self._extractor.extract(batch)
            # Outputs that several metrics read are brought together once.
            rows = {c.output: gather_features(outputs[c.output]) for c in comparisons}
            for comparison, into, most in zip(comparisons, collected, wanted):
                left = most - into.num
                if left > 0:
                    into.add(rows[comparison.output][:left])
        for name, into, most in zip(self._names, collected, wanted):
            if into.num < most:
                raise ValueError(f"{name.text} wants {most} images and got {into.num}.")
        return collected

    def _collect_reals(self, name: MetricName) -> Any:
        """Collects features of a metric's reals."""
        return self._collect(name, self._positions(name), "")

    def _floor(self, name: MetricName, seed: int) -> dict[str, float]:
        """Holds disjoint halves of the reals against each other."""
        positions = self._positions(name)
        order = np.random.default_rng(_SPLIT_SEED).permutation(len(positions))
        # As many as there are fakes, if there are twice as many reals.
        each = min(len(positions) // 2, name.num_images or len(positions))
        halves = [
            self._collect(name, positions[order[i * each : (i + 1) * each]], f"half {i}")
            for i in range(2)
        ]
        comparison = COMPARISONS[name.family][1]
        found = comparison.compare(name, halves[0], halves[1], seed)
        return {f"{name.text}_split": found[name.text], f"{name.text}_split_n": float(each)}

    def _collect(self, name: MetricName, positions: np.ndarray, part: str) -> Any:
        """Collects features of reals, or takes what was kept of them."""
        comparison = COMPARISONS[name.family][1]
        key = self._cache_key(comparison, positions, part)
        spelt = str(sorted(key.items()))
        if spelt in self._collected:
            return self._collected[spelt]
        kept = self._cache.load(key)
        if kept is not None:
            into = comparison.collector.from_arrays(kept)
        else:
            into = self._make(comparison)
            for rows in self._real_rows(positions, comparison.output):
                into.add(rows)
            self._cache.store(key, into.to_arrays())
        self._collected[spelt] = into
        return into

    def _make(self, comparison: Comparison) -> Any:
        """Makes what collects the features of one side."""
        return comparison.collector(self._extractor.widths[comparison.output])

    def _cache_key(
        self, comparison: Comparison, positions: np.ndarray, part: str
    ) -> dict[str, str | int | bool | None]:
        """Returns what tells features of reals from others."""
        return {
            "data": self._reals.fingerprint,
            "pixels": self._looks,
            "images": len(positions),
            "mirrored": int(np.sum(positions < 0)),
            "part": part,
            "network": self._extractor.name,
            "output": comparison.output,
            "kept": comparison.collector.__name__,
            **self._extractor.protocol,
        }

    def _real_rows(self, positions: np.ndarray, output: str) -> Iterator[np.ndarray]:
        """Yields features of reals."""
        assert self._reals.images is not None
        batches = device_batches(self._reals.images, positions, self._extractor.sharding)
        for batch, count in batches:
            yield gather_features(self._extractor.extract(batch)[output])[:count]
