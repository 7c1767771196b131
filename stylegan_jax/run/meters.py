"""Numbers of a run: averages kept on the devices, and metrics on disk.

Only MeanMeter works with arrays on the devices.
"""

import functools
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tensorboardX
from etils import epath

from stylegan_jax.files import Mirror, naming

METRICS_FILE = "metrics.jsonl"
# Longest time between an event and its file.
EVENT_DELAY_SEC = 5
# How TensorBoard names its files.
_EVENT_FILES = "events.*"

# What JSON cannot spell.
_NON_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}

Scalar = bool | int | float | str | None


class MetricWriter:
    """Appends to `metrics.jsonl` and to TensorBoard events in the run's folder.

    Each line is one flat JSON object that starts with `kimg`. JSON has no NaN: non-finite numbers
    are written as the strings "nan", "inf" and "-inf", which tell a divergence apart from a missing
    value, and which float() and read_metrics() turn back. A line is on disk when `write` returns;
    TensorBoard events, whose step is `nimg`, follow within seconds on the library's own thread. In
    a bucket both follow as `Mirror` says.
    """

    def __init__(self, workdir: epath.PathLike, *, nimg: int | None = None, enabled: bool = True):
        """Opens the files and mends what a killed run left behind.

        Args:
            workdir: Folder of the run, made if missing.
            nimg: Image counter at which the run starts or resumes. Lines and events beyond it, from
                a run that was killed after its last checkpoint, are dropped. None keeps them.
            enabled: False on all processes but the first; every call then does nothing.
        """
        self.path = epath.Path(workdir) / METRICS_FILE
        self._events = None
        self._num_event_files = 0
        if enabled:
            # A line beyond the resumed state would stand twice in the file.
            self._mirror = Mirror(workdir, METRICS_FILE)
            self._path = self._mirror.folder / METRICS_FILE
            truncate_metrics(self._path, nimg)
            # TensorBoard hides older events from the purge step on.
            self._events = self._open_events(None if nimg is None else nimg + 1)

    def write(self, nimg: int, metrics: Mapping[str, Any]) -> None:
        """Writes one line, and its finite numbers as TensorBoard scalars.

        Args:
            nimg: Images shown so far.
            metrics: Names to numbers, bools, strings or None; NumPy and JAX scalars are fetched.

        Raises:
            ValueError: A value is not a scalar, or a metric is itself called `kimg`.
        """
        if self._events is None:
            return
        if "kimg" in metrics:
            raise ValueError("A metric is called 'kimg'; that name holds nimg / 1000. Rename it.")
        values = {name: _plain(name, value) for name, value in metrics.items()}

        # The line. Opened and closed each time: it is on disk when this returns.
        record = {"kimg": nimg / 1000} | {k: _spell_non_finite(v) for k, v in values.items()}
        with naming(self._path), self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, allow_nan=False) + "\n")

        # The events, whose axis is in images.
        for name, value in values.items():
            if isinstance(value, int | float) and math.isfinite(value):
                self._events.add_scalar(name, value, nimg)  # plots have no place for the rest

    def write_images(self, nimg: int, pictures: Mapping[str, np.ndarray]) -> None:
        """Writes pictures to TensorBoard.

        Args:
            nimg: Images shown so far.
            pictures: Names to uint8 [h, w, c], c being 1, 3 or 4; see images.make_grid.
        """
        if self._events is None:
            return
        for name, picture in pictures.items():
            self._events.add_image(name, np.asarray(picture), nimg, dataformats="HWC")
        # A bucket takes whole files: one with pictures that grows on would be sent many times.
        if self._mirror.is_cloud:
            self._events.close()
            self._mirror.finish(_EVENT_FILES)
            self._events = self._open_events()

    def _open_events(self, purge_step: int | None = None) -> tensorboardX.SummaryWriter:
        """Begins an event file; within a second, only the number tells two of them apart."""
        self._num_event_files += 1
        return tensorboardX.SummaryWriter(
            str(self._mirror.folder),
            purge_step=purge_step,
            flush_secs=EVENT_DELAY_SEC,
            filename_suffix=f".{self._num_event_files:04d}" if self._mirror.is_cloud else "",
        )

    def close(self) -> None:
        """Closes the files."""
        if self._events is not None:
            self._events.close()
            self._events = None
            self._mirror.close()

    def __enter__(self) -> "MetricWriter":
        """Returns itself."""
        return self

    def __exit__(self, *exc_info) -> None:
        """Closes the files."""
        self.close()


def _plain(name: str, value: Any) -> Scalar:
    """Turns NumPy and JAX scalars into Python's own and refuses all else."""
    # Arrays of no dimension are numbers; this is where JAX's are fetched.
    if isinstance(value, np.generic | np.ndarray | jax.Array) and np.ndim(value) == 0:
        value = np.asarray(value).item()
    if value is None or isinstance(value, bool | int | float | str):
        return value

    # All else is refused with its shape, which tells what was forgotten: mostly a mean.
    shape = getattr(value, "shape", None)
    given = type(value).__name__ + ("" if shape is None else f" of shape {shape}")
    raise ValueError(
        f"Metric {name!r} is {given}; wanted one number, bool, string or None. "
        f"Flatten it into several names or average it first."
    )


def _spell_non_finite(value: Scalar) -> Scalar:
    """Writes NaN and infinities as strings."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def read_metrics(path: epath.PathLike) -> list[dict[str, Any]]:
    """Reads a `metrics.jsonl`, also while a run writes to it.

    Args:
        path: The file; a missing one reads as empty.

    Returns:
        One dictionary per line. Unfinished lines are left out, "nan" and "inf" are floats again.
    """
    path = epath.Path(path)
    # A kill can also tear a character in two.
    lines = path.read_bytes().decode(errors="replace").splitlines() if path.exists() else []
    records = (_parse(line) for line in lines)
    return [{k: _read_value(v) for k, v in r.items()} for r in records if r is not None]


def _parse(line: str) -> dict[str, Any] | None:
    """Returns a line's object, or None for a line torn by a kill."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _read_value(value: Scalar) -> Scalar:
    """Undoes _spell_non_finite."""
    return _NON_FINITE.get(value, value) if isinstance(value, str) else value


def truncate_metrics(path: str | os.PathLike, nimg: int | None = None) -> None:
    """Drops torn lines, and lines beyond an image counter; the file changes at once or not at all.

    Args:
        path: A `metrics.jsonl`; a missing one is left missing.
        nimg: Last image counter to keep; None keeps all whole lines.
    """
    path = Path(path)
    if not path.exists():
        return

    # The lines to keep.
    last_kimg = math.inf if nimg is None else nimg / 1000
    text = path.read_text("utf-8", errors="replace")
    # A line without its newline is torn even if it parses: 12 may have been 123.
    lines = text.split("\n")[:-1]
    records = [(line, _parse(line)) for line in lines]
    kept = "".join(f"{s}\n" for s, r in records if r is not None and r.get("kimg", 0) <= last_kimg)
    if kept == text:
        return

    # The new file takes the place of the old one in a single step, once it is on disk.
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(kept)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


class MeanMeter:
    """Averages reports of scalars on the device, fetching them once a tick.

    `add` only enqueues an addition, so the host never waits for a step. Each name is averaged over
    the reports that held it: regularisation phases report less often than main ones.
    """

    def __init__(self):
        """Starts empty."""
        # By the names of a report: `{name: sum}`, and how many reports were added up.
        self._sums: dict[tuple[str, ...], tuple[dict[str, jax.Array], int]] = {}

    def add(self, report: Mapping[str, Any]) -> None:
        """Adds one step's report.

        Args:
            report: Names to scalar arrays, possibly nested; inner names are joined with "/". It is
                neither donated nor changed. One small program is compiled per set of names.

        Raises:
            ValueError: A value is not a scalar.
        """
        # {"Loss": {"G": x}} -> {"Loss/G": x}
        leaves = jax.tree_util.tree_leaves_with_path(dict(report))
        flat = {jax.tree_util.keystr(p, simple=True, separator="/"): leaf for p, leaf in leaves}
        for name, value in flat.items():
            if np.shape(value):
                raise ValueError(
                    f"Report {name!r} has shape {np.shape(value)}; wanted a scalar. Take its mean "
                    f"inside the training step."
                )

        # Reports with the same names share a program and its sums.
        names = tuple(sorted(flat))
        if names not in self._sums:
            self._sums[names] = (_start_sums(flat), 1)
        else:
            sums, count = self._sums[names]
            self._sums[names] = (_add_to_sums(sums, flat), count + 1)

    def means(self) -> dict[str, float]:
        """Fetches the means since the last call and starts again.

        Returns:
            Names to means, sorted by name; empty if nothing was added.
        """
        # The one transfer of a tick.
        fetched = jax.device_get(self._sums)
        self._sums = {}

        # A name may stand in several kinds of reports: sums and counts over all of them.
        totals: dict[str, float] = {}
        counts: dict[str, int] = {}
        for sums, count in fetched.values():
            for name, value in sums.items():
                totals[name] = totals.get(name, 0.0) + float(value)
                counts[name] = counts.get(name, 0) + count
        return {name: totals[name] / counts[name] for name in sorted(totals)}


@jax.jit
def _start_sums(report):
    """Copies a report: the sums are donated later and must not be the caller's own buffers."""
    return jax.tree.map(lambda x: jnp.array(x, jnp.float32, copy=True), report)


@functools.partial(jax.jit, donate_argnums=0)
def _add_to_sums(sums, report):
    """Adds in float32 whatever the report's type."""
    return jax.tree.map(lambda s, x: s + jnp.asarray(x, jnp.float32), sums, report)
