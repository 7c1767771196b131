"""Numbers that describe a data set: its pixels' mean and spread, its classes, its fingerprint."""

import collections
import dataclasses
import math
import statistics
from typing import Any

import numpy as np

from stylegan_jax.data.archives import Archive
from stylegan_jax.data.codecs import ImageFormat
from stylegan_jax.data.fingerprint import content_fingerprint, hash_pixels
from stylegan_jax.data.labels import Labels
from stylegan_jax.tools.dataset.scanning import format_of, map_images, read_named


@dataclasses.dataclass(frozen=True)
class Statistics:
    """What `measure` finds. Means and deviations are in grey levels (0 to 255, or to 65535).

    Attributes:
        name: Of the data set.
        count: Images.
        formats: Number of images of each size and type, the commonest first.
        mean: Per channel; None, as the three below, where images differ in type.
        std: Per channel, over the pixels of all images.
        global_mean: Over all pixels and channels.
        global_std: Likewise; with `global_mean`, what images are whitened with before
            their spectra are averaged (Karras et al. 2021).
        labels: A few words.
        per_class: Images of each class, by its name.
        stored_bytes: Size on disk.
        fingerprint: SHA-256 of pixels and labels in order: equal for equal data sets, however their
            files are encoded, named and packed. Names of classes do not count.
        named_labels: A few words about each that goes by a name.
        version: Of what the images were made from, where that is known.
    """

    name: str
    count: int
    formats: dict[str, int]
    mean: list[float] | None
    std: list[float] | None
    global_mean: float | None
    global_std: float | None
    labels: str
    per_class: dict[str, int]
    stored_bytes: int
    fingerprint: str
    named_labels: dict[str, str]
    version: str

    def to_json(self) -> dict[str, Any]:
        """Returns all values, for `json.dumps`."""
        return dataclasses.asdict(self)

    def to_text(self) -> str:
        """Makes a table for the terminal."""
        lines = {
            "name": self.name,
            "images": f"{self.count}",
            "format": "; ".join(
                form if count == self.count else f"{count} of {form}"
                for form, count in self.formats.items()
            ),
            "mean": _numbers(self.mean),
            "std": _numbers(self.std),
            "global mean": _numbers(self.global_mean),
            "global std": _numbers(self.global_std),
            "labels": self.labels,
            "by names": "; ".join(f"{name}: {some}" for name, some in self.named_labels.items()),
            "per class": _spread(self.per_class),
            "on disk": f"{self.stored_bytes} bytes ({self.stored_bytes / 2**20:.1f} MiB)",
            "made from": self.version,
            "fingerprint": self.fingerprint,
        }
        return "\n".join(f"{key:12s} {value}" for key, value in lines.items() if value)


def measure(archive: Archive, *, num_threads: int | None = None) -> Statistics:
    """Reads a data set through and describes it.

    Args:
        archive: The data set.
        num_threads: See `map_images`.

    Raises:
        ArchiveError: An image is damaged, or labels are.
    """
    labels = archive.labels
    hashes: list[str] = []
    formats: collections.Counter[ImageFormat] = collections.Counter()
    histogram: np.ndarray | None = None
    uniform = True
    results = map_images(
        lambda index: _read(archive, index),
        range(len(archive)),
        doing="measuring",
        num_threads=num_threads,
    )
    # Pixels of each channel and grey level [c, levels]; images of other types have no place in it.
    for form, counts, pixel_hash in results:
        hashes.append(pixel_hash)
        formats[form] += 1
        if histogram is None:
            histogram = counts
        elif uniform and counts.shape == histogram.shape:
            histogram += counts
        else:
            uniform = False
    mean = None
    std = None
    global_mean = None
    global_std = None
    if uniform and histogram is not None:
        per_channel = [_mean_and_std(counts) for counts in histogram]
        mean = [mean_of_one for mean_of_one, _ in per_channel]
        std = [std_of_one for _, std_of_one in per_channel]
        global_mean, global_std = _mean_and_std(histogram.sum(axis=0))
    return Statistics(
        name=archive.name,
        count=len(archive),
        formats={str(form): count for form, count in formats.most_common()},
        mean=mean,
        std=std,
        global_mean=global_mean,
        global_std=global_std,
        labels=labels.describe(),
        per_class=_count_classes(labels),
        stored_bytes=sum(archive.sizes),
        fingerprint=content_fingerprint(hashes, labels, archive.named_labels),
        named_labels={name: some.describe() for name, some in archive.named_labels.items()},
        version=archive.version,
    )


def _read(archive: Archive, index: int) -> tuple[ImageFormat, np.ndarray, str]:
    """Reads an image's format, its pixels per channel and grey level, and their hash."""
    pixels = read_named(archive, index)
    levels = 1 << 8 * pixels.dtype.itemsize
    channels = np.moveaxis(pixels, 2, 0)
    counts = np.stack([np.bincount(channel.ravel(), minlength=levels) for channel in channels])
    return format_of(pixels), counts, hash_pixels(pixels)


def _mean_and_std(counts: np.ndarray) -> tuple[float, float]:
    """Computes both from the pixels of each grey level, in whole numbers up to a division."""
    n = 0
    total = 0
    squares = 0
    for level, count in enumerate(counts.tolist()):
        n += count
        total += level * count
        squares += level * level * count
    # variance = E[x^2] - E[x]^2, over a common denominator
    return total / n, math.sqrt((n * squares - total * total) / (n * n))


def _count_classes(labels: Labels) -> dict[str, int]:
    """Counts the images of each class; none for other labels."""
    if labels.kind != "classes":
        return {}
    counts = np.bincount(labels.values, minlength=len(labels.class_names))
    return dict(zip(labels.class_names, counts.tolist()))


def _numbers(values: list[float] | float | None) -> str:
    """Shortens numbers, which `--json` does not round."""
    if values is None:
        return ""
    return "  ".join(f"{value:.4f}" for value in np.atleast_1d(values))


def _spread(per_class: dict[str, int]) -> str:
    """Describes the smallest, median and largest class."""
    if not per_class:
        return ""
    counts = per_class.values()
    smallest = min(per_class, key=per_class.__getitem__)
    largest = max(per_class, key=per_class.__getitem__)
    return (
        f"min {min(counts)} ({smallest}), median {statistics.median(counts):g}, "
        f"max {max(counts)} ({largest})"
    )
