"""What the head of the page says about a run: how far it is, how good, how fast, on what."""

import datetime
import math
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from stylegan_jax.run.progress import describe_duration
from stylegan_jax.tools.report.curves import (
    Curve,
    elapsed_hours,
    is_finite,
    make_curves,
    split_branches,
)
from stylegan_jax.tools.report.reading import Checkpoint, Run

# A run that has written nothing for so long has stopped or hangs; the longest ticks take minutes.
_SILENT_SEC = 30 * 60
# Scores that tell copies from new images, of which the best is no best network: one that has not
# been trained copies nothing.
_NO_QUALITY = {"memory"}
# Metrics of which more is better; of all others less is.
_HIGHER_IS_BETTER = re.compile(
    r"(is|inception|precision|recall|pr|density|coverage|psnr|eq|eqt|eqr|ssim)([_\d].*)?",
    re.IGNORECASE,
)


class Best(NamedTuple):
    """The best value of a score, and where it was taken."""

    name: str
    value: float
    kimg: float


class CheckpointRow(NamedTuple):
    """A checkpoint, there or not.

    Attributes:
        kimg: Where it was saved.
        state: `kept`, `deleted`, `corrupt`, `diverged`, ...
        scores: Names to values.
        is_best: Whether it is the one that `--step=best` takes.
    """

    kimg: float
    state: str
    scores: dict[str, float]
    is_best: bool


class Summary(NamedTuple):
    """The head of the page for one run.

    Attributes:
        state: `finished`, `running`, `silent` or `stopped`.
        state_text: In words.
        kimg: Shown so far.
        total_kimg: Of the whole run; None where no config says.
        grid_kimg: Sample grids of later images are those of a future that was given up.
        facts: Titles and texts.
        best: Of each score.
        checkpoints: Newest last.
        alarm_hours: Hours of training at each alarm, in the log's order; None where unknown.
    """

    state: str
    state_text: str
    kimg: float
    total_kimg: float | None
    grid_kimg: float
    facts: list[tuple[str, str]]
    best: list[Best]
    checkpoints: list[CheckpointRow]
    alarm_hours: list[str]


def summarise(run: Run, *, now: float | None = None) -> Summary:
    """Gathers what is known of a run; `now` is the time in seconds, for tests."""
    kept, given_up = split_branches(run.records)
    curves = make_curves(kept)
    times = [float(record["kimg"]) for record in kept]
    times += [checkpoint.nimg / 1000 for checkpoint in run.checkpoints if _is_there(checkpoint)]
    kimg = max(times, default=0.0)
    total = _lookup(run.config, "schedule", "total_kimg")
    total_kimg = float(total) if is_finite(total) else None

    # Grids may be drawn between two ticks; without ticks nothing tells where a run is.
    tick = _lookup(run.config, "io", "tick_kimg")
    grid_kimg = kimg + tick if kept and is_finite(tick) else math.inf

    ticks, hours = elapsed_hours(kept)
    state, text = _describe_state(run, kimg, total_kimg, time.time() if now is None else now)
    start = given_up[0]["kimg"] if given_up else 0.0
    given_up_hours = elapsed_hours(given_up, start)[1][-1]
    return Summary(
        state=state,
        state_text=text,
        kimg=kimg,
        total_kimg=total_kimg,
        grid_kimg=grid_kimg,
        facts=list(_facts(run, curves, hours[-1], given_up_hours)),
        best=best_scores(run, curves),
        checkpoints=list_checkpoints(run, curves, kimg),
        alarm_hours=[_hours_at(alarm.kimg, ticks, hours) for alarm in run.log.alarms],
    )


def _lookup(config: Mapping[str, Any], *keys: str) -> Any:
    """Returns a setting, or None."""
    value: Any = config
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _is_there(checkpoint: Checkpoint) -> bool:
    """Tells whether a run could continue from a checkpoint."""
    return checkpoint.state == "kept"


def _describe_state(run: Run, kimg: float, total_kimg: float | None, now: float) -> tuple[str, str]:
    """Tells whether a run is done, and if not, whether it still writes."""
    if total_kimg is not None and 0 < total_kimg <= kimg:
        return "finished", "finished"
    silence = None if run.changed is None else now - run.changed
    if run.owner is not None and silence is not None and silence < _SILENT_SEC:
        return "running", f"running on {run.owner.get('host', 'another machine')}"
    ago = "" if silence is None else f" for {describe_duration(silence)}"
    if run.owner is not None:
        return "silent", f"silent{ago}: it hangs, or was killed"
    return "stopped", f"stopped before its end, silent{ago}"


def _facts(
    run: Run, curves: Mapping[str, Curve], hours: float, given_up_hours: float
) -> list[tuple[str, str]]:
    """Returns what identifies a run, as titles with texts; without what nothing tells."""
    facts = run.log.facts
    networks = [f"{net} {facts[net]}" for net in ("G", "D") if net in facts]
    data = facts.get("data") or str(_lookup(run.config, "data", "dataset") or "")
    spent = describe_duration(3600 * hours) if hours else ""
    if given_up_hours:
        spent += f", and {describe_duration(3600 * given_up_hours)} that were given up"
    speed = curves.get("Timing/img_per_sec")
    versions = run.checkpoints[-1].versions if run.checkpoints else {}
    started = describe_time(run.started)
    found = {
        "Model": " · ".join(networks) or str(_lookup(run.config, "G", "name") or ""),
        "Data": data,
        "Resolution": str(_lookup(run.config, "data", "resolution") or ""),
        "Hardware": facts.get("devices", "") + "".join(f" on {host}" for host in run.hosts[:3]),
        "Training": spent,
        "Speed": _describe_speed(speed),
        "Started": started,
        "Last written": describe_time(run.changed),
        "Packages": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "Environment": ", ".join(f"{name}={value}" for name, value in run.environment.items()),
        "Command line": ", ".join(run.log.overrides),
        "Folder": run.given,
    }
    return [(title, text) for title, text in found.items() if text.strip()]


def _describe_speed(curve: Curve | None) -> str:
    """Returns the usual speed: the median does not mind the first tick."""
    if curve is None or np.isnan(curve.values).all():
        return ""
    speed = float(np.nanmedian(curve.values))
    return f"{speed:,.1f} images / s, {1000 / speed:,.2f} s per kimg" if speed > 0 else ""


def describe_time(seconds: float | None) -> str:
    """Writes a time, in UTC as the files of a pod come from anywhere."""
    if seconds is None:
        return ""
    try:
        moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    except (ValueError, OverflowError, OSError):  # a number that is no time
        return f"{seconds}"
    return moment.strftime("%Y-%m-%d %H:%M UTC")


def _hours_at(kimg: float, ticks: np.ndarray, hours: np.ndarray) -> str:
    """Says how long a run had trained at some image."""
    if len(ticks) < 2:
        return ""
    return describe_duration(3600 * float(np.interp(kimg, ticks, hours)))


def is_lower_better(name: str) -> bool:
    """Tells which end of a metric is the good one."""
    return _HIGHER_IS_BETTER.fullmatch(name) is None


def best_scores(run: Run, curves: Mapping[str, Curve]) -> list[Best]:
    """Returns the best value of each score: that of the config first, then evaluations."""
    metrics = run.config.get("metrics")
    chosen = metrics.get("best") if isinstance(metrics, Mapping) else None
    names = [name for name in curves if _is_score(name, curves)]
    names = [name for name in names if name not in _NO_QUALITY or name == chosen]
    found = []
    for name in sorted(names, key=lambda name: (name != chosen, name)):
        values = curves[name].values
        if not np.isnan(values).all():
            index = int(np.nanargmin(values) if is_lower_better(name) else np.nanargmax(values))
            found.append(Best(name, float(values[index]), float(curves[name].kimg[index])))
    return found + _best_evaluations(run.evaluations)


def _is_score(name: str, curves: Mapping[str, Curve]) -> bool:
    """Tells whether a number says how good samples are, and is no part of one that does."""
    return "/" not in name and not any(name.startswith(f"{other}_") for other in curves)


def _best_evaluations(evaluations: Sequence[Mapping[str, Any]]) -> list[Best]:
    """Returns the best value of each evaluated metric."""
    found: dict[str, Best] = {}
    for line in evaluations:
        for name, value in line.get("values", {}).items():
            if not is_finite(value):
                continue
            new = Best(name, float(value), line.get("nimg", 0) / 1000)
            sign = 1 if is_lower_better(name) else -1
            if name not in found or sign * new.value < sign * found[name].value:
                found[name] = new
    return list(found.values())


def list_checkpoints(run: Run, curves: Mapping[str, Curve], kimg: float) -> list[CheckpointRow]:
    """Lists the checkpoints that are there, and those that the run has deleted since.

    A run saves every `io.checkpoint_kimg`; where no checkpoint is, it was deleted.
    """
    kept = [one for one in run.checkpoints if _is_there(one)]
    names = [best.name for best in best_scores(run, curves)]
    evaluated = _evaluated(run.evaluations)
    metric = next((one.best_metric for one in reversed(kept) if one.best_metric), None)
    values = {one.nimg: one.metrics.get(metric or "", np.nan) for one in kept}
    finite = {nimg: value for nimg, value in values.items() if np.isfinite(value)}
    best = min(finite, key=lambda nimg: (finite[nimg], -nimg), default=None)
    rows = [
        CheckpointRow(
            one.nimg / 1000,
            one.state,
            {name: one.metrics[name] for name in names if name in one.metrics}
            | evaluated.get(one.nimg, {}),
            _is_there(one) and one.nimg == best,
        )
        for one in run.checkpoints
    ]

    every = _lookup(run.config, "io", "checkpoint_kimg")
    if not is_finite(every) or every <= 0 or kimg / every > 10000:
        return rows
    batch = _lookup(run.config, "schedule", "batch_size")
    batch_kimg = 2 * batch / 1000 if is_finite(batch) else 0.0
    for step in (every * count for count in range(1, int(kimg / every) + 1)):
        # A save is due with the batch that reaches the interval.
        if not any(step - 1e-6 <= row.kimg < step + max(batch_kimg, 1e-6) for row in rows):
            scores = {name: _value_at(curves[name], step) for name in names if name in curves}
            found = {name: value for name, value in scores.items() if value is not None}
            found |= evaluated.get(round(step * 1000), {})
            rows.append(CheckpointRow(step, "deleted", found, False))
    return sorted(rows, key=lambda row: row.kimg)


def _evaluated(evaluations: Sequence[Mapping[str, Any]]) -> dict[int, dict[str, float]]:
    """Returns evaluated values by image count."""
    found: dict[int, dict[str, float]] = {}
    for line in evaluations:
        numbers = {k: v for k, v in line.get("values", {}).items() if is_finite(v)}
        found.setdefault(int(line.get("nimg", -1)), {}).update(numbers)
    return found


def _value_at(curve: Curve, kimg: float) -> float | None:
    """Returns the value that was taken there, or None."""
    near = np.flatnonzero(np.isclose(curve.kimg, kimg, rtol=1e-3, atol=1e-6))
    return float(curve.values[near[0]]) if len(near) else None
