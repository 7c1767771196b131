"""Bars of a long evaluation, on a terminal: the fakes that are drawn, the reals that are read."""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from stylegan_jax.metrics import Images
from stylegan_jax.metrics.generator_scores import Generator

# What is done sooner needs no bar.
_DELAY_SEC = 2.0


class Bars:
    """Bars that appear when something is counted, and go when a metric is done."""

    def __init__(self):
        """Begins with none."""
        self._bars: dict[str, tqdm] = {}
        # How many there will be, as far as it is known.
        self._totals: dict[str, int] = {}

    def count(self, what: str, number: int) -> None:
        """Counts images of a kind, as "reals"; other processes than the first show nothing."""
        if what not in self._bars:
            self._bars[what] = tqdm(
                total=self._totals.get(what),
                desc=what,
                unit=" images",
                leave=False,
                delay=_DELAY_SEC,
                disable=True if jax.process_index() else None,
            )
        self._bars[what].update(number)

    @contextlib.contextmanager
    def showing(self, **totals: int | None) -> Iterator[None]:
        """Shows bars inside the block.

        Args:
            **totals: How many images of a kind there will be; None or none: it is not known.
        """
        self._close()  # what was looked at before counts for nothing
        self._totals = {what: total for what, total in totals.items() if total}
        try:
            yield
        finally:
            self._close()

    def _close(self) -> None:
        """Takes all bars away, so that other lines stand alone."""
        for bar in self._bars.values():
            bar.close()
        self._bars = {}


class CountedImages:
    """Images of a set, each counted when it is read."""

    def __init__(self, images: Images, bars: Bars, what: str = "reals"):
        """Remembers the set, and what its images are called."""
        self._images = images
        self._bars = bars
        self._what = what

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int | np.integer) -> np.ndarray:
        self._bars.count(self._what, 1)
        return self._images[int(index)]


class CountedDraw:
    """A draw of images, each counted when it is made."""

    def __init__(self, draw: Any, bars: Bars):
        """Remembers the draw."""
        self._draw = draw
        self._bars = bars

    def __call__(self, num_images: int) -> Iterator[jax.Array]:
        """Yields batches of at least so many images."""
        left = num_images
        for batch in self._draw(num_images):
            yield batch
            self._bars.count("fakes", min(len(batch), left))
            left -= min(len(batch), left)


class CountedGenerator(CountedDraw):
    """The same of a generator, into which metrics may look; see `Generator`."""

    def __init__(self, draw: Generator, bars: Bars):
        """Takes over what metrics look into."""
        super().__init__(draw, bars)
        self.functions = draw.functions
        self.snapshot = draw.snapshot

    def draw_labels(self, seeds: Sequence[int], count: int) -> np.ndarray:
        """Returns labels of samples that a metric is about to draw for itself."""
        self._bars.count("fakes", len(seeds) * count)
        return self._draw.draw_labels(seeds, count)


def counted(subject: Any, bars: Bars) -> Any:
    """Returns a `Subject` whose images are counted on both sides."""
    is_generator = isinstance(subject.draw, Generator)
    draw = (CountedGenerator if is_generator else CountedDraw)(subject.draw, bars)
    context = subject.context
    if context.reals is not None:
        context = dataclasses.replace(context, reals=CountedImages(context.reals, bars))
    return dataclasses.replace(subject, draw=draw, context=context)
