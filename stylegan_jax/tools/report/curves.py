"""A run's numbers against kimg: branches that were given up, thinning, and time."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeGuard

import numpy as np

# Points of a curve that a page shows; a screen has no more columns.
MAX_POINTS = 2000
# Whole numbers of JSON have no end.
_MOST = 1e300
# Shorter curves are shown as they are.
_LEAST_TO_SMOOTH = 150
# A running mean is taken over so large a part of a curve, and shown with so many points.
_SMOOTH_PART = 60
_SMOOTH_POINTS = 300


class Curve(NamedTuple):
    """One number of a run.

    Attributes:
        kimg: float64 [n], ascending except where a run went back.
        values: float64 [n]; what is not finite is a gap.
        num_bad: Values of the whole curve that are not finite.
    """

    kimg: np.ndarray
    values: np.ndarray
    num_bad: int = 0


def is_number(value: Any) -> TypeGuard[float]:
    """Tells numbers from text, bools, what is missing, and what JSON spells that no float holds."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, float) or abs(value) < _MOST


def is_finite(value: Any) -> TypeGuard[float]:
    """Tells numbers from all else, and from infinities and NaN."""
    return is_number(value) and math.isfinite(value)


def split_branches(
    records: Iterable[Mapping[str, Any]],
) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """Tells the lines that led to where a run is from those that it went back behind.

    A run that resumes drops lines beyond its checkpoint itself; files that were copied or joined
    may still hold them.

    Returns:
        (kept, given up), each in the order of the file. Lines without a place, `kimg`, are in
        neither.
    """
    kept: list[Mapping[str, Any]] = []
    given_up: list[Mapping[str, Any]] = []
    for record in records:
        kimg = record.get("kimg")
        if not is_finite(kimg) or kimg < 0:
            continue
        # What was said from here on was said of another future.
        if kept and kimg < kept[-1]["kimg"]:
            start = len(kept)
            while start and kept[start - 1]["kimg"] >= kimg:
                start -= 1
            given_up += kept[start:]
            del kept[start:]
        kept.append(record)
    return kept, given_up


def make_curves(records: Sequence[Mapping[str, Any]]) -> dict[str, Curve]:
    """Returns a curve for every name that has a number in some line, not thinned."""
    found: dict[str, tuple[list[float], list[float]]] = {}
    for record in records:
        for name, value in record.items():
            if name != "kimg" and is_number(value):
                kimg, values = found.setdefault(name, ([], []))
                kimg.append(float(record["kimg"]))
                values.append(float(value))
    curves = {}
    for name, (kimg, values) in found.items():
        y = np.asarray(values)
        num_bad = int(np.sum(~np.isfinite(y)))
        curves[name] = Curve(np.asarray(kimg), np.where(np.isfinite(y), y, np.nan), num_bad)
    return curves


def thin(curve: Curve, most: int = MAX_POINTS) -> Curve:
    """Leaves points out evenly, but never an extreme, a gap, or an end.

    Of each of equal parts of the curve remain the lowest and the highest value and one that is not
    finite.

    Args:
        curve: Of any length.
        most: Points that may remain, 8 or more.
    """
    n = len(curve.kimg)
    if n <= most:
        return curve
    chosen = {0, n - 1}
    for part in np.array_split(np.arange(n), (most - 2) // 3):
        values = curve.values[part]
        bad = np.isnan(values)
        if bad.any():
            chosen.add(int(part[np.argmax(bad)]))
        if not bad.all():
            chosen |= {int(part[np.nanargmin(values)]), int(part[np.nanargmax(values)])}
    index = np.asarray(sorted(chosen))
    return Curve(curve.kimg[index], curve.values[index], curve.num_bad)


def smooth(curve: Curve) -> Curve | None:
    """Returns the running mean of a long curve, or None where there is too little to smooth.

    The median of five values first: one tick that explodes is a spike of the curve itself, and no
    hill of its mean.
    """
    good = np.isfinite(curve.values)
    kimg, values = curve.kimg[good], curve.values[good]
    n = len(values)
    if n < _LEAST_TO_SMOOTH or np.ptp(values) == 0:
        return None
    padded = np.pad(values, 2, mode="edge")
    calm = np.median(np.lib.stride_tricks.sliding_window_view(padded, 5), axis=1)
    # Sums of windows that shrink at both ends, from those of everything before.
    half = max(n // _SMOOTH_PART // 2, 1)
    sums = np.concatenate([[0.0], np.cumsum(calm)])
    index = np.unique(np.linspace(0, n - 1, _SMOOTH_POINTS).round().astype(int))
    first, last = np.maximum(index - half, 0), np.minimum(index + half + 1, n)
    return Curve(kimg[index], (sums[last] - sums[first]) / (last - first))


def elapsed_hours(
    records: Sequence[Mapping[str, Any]], start_kimg: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Adds up what ticks took: everything but compiling, and stops between starts.

    Args:
        records: Lines in the order of the file.
        start_kimg: Where the first of them begins.

    Returns:
        kimg [n] of ticks, and hours of training until then [n].
    """
    kimg, hours, last = [start_kimg], [0.0], start_kimg
    for record in records:
        seconds = record.get("Timing/sec_per_kimg")
        if not is_finite(seconds):
            continue
        # A run that went back trains these images again.
        step = max(record["kimg"] - last, 0.0)
        last = record["kimg"]
        kimg.append(last)
        hours.append(hours[-1] + step * seconds / 3600)
    return np.asarray(kimg), np.asarray(hours)
