"""What lies in a run's folder, read as far as it can be: runs may still write, or were killed.

What is missing is empty, what cannot be read is a note; only what is no run's folder is an error.
"""

import dataclasses
import json
import re
from collections.abc import Sequence
from typing import Any

from etils import epath

from stylegan_jax.files import as_path
from stylegan_jax.run.checkpoint_format import (
    SUBDIRECTORY,
    CorruptCheckpointError,
    read_record,
)
from stylegan_jax.run.meters import METRICS_FILE, read_metrics
from stylegan_jax.run.ownership import OWNER_FILE
from stylegan_jax.run.progress import LOG_FILE
from stylegan_jax.tools.report.curves import is_finite
from stylegan_jax.tools.report.log import Log, read_log

CONFIG_FILE = "config.json"
# What `tools.evaluate` adds a line to for every metric that it takes.
EVALUATIONS_FILE = "evaluations.jsonl"
# One of these makes a folder that of a run.
_SIGNS = (CONFIG_FILE, METRICS_FILE, SUBDIRECTORY, LOG_FILE)
_EVENTS = re.compile(r"events\.out\.tfevents\.(\d{9,11})\.(.*?)(?:\.\d{4})?")
_CHECKPOINT = re.compile(r"(\d+)(?:\.([a-z]+)\d*)?")


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """One folder among a run's checkpoints.

    Attributes:
        nimg: Images shown.
        state: `kept`, or what a run calls those that it has set aside: `corrupt`, `diverged`.
        metrics: Values that were measured on it.
        best_metric: The one that decides.
        versions: Of the packages that wrote it.
    """

    nimg: int
    state: str = "kept"
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    best_metric: str | None = None
    versions: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Run:
    """A run as its folder has it.

    Attributes:
        name: Of the folder, different from that of every other run of the page.
        path: The folder.
        given: The folder as the user named it, for the page: it may be sent to others.
        config: Of `config.json`, without `environment`.
        environment: Of `config.json`: what a shell set that may change bits.
        records: Lines of `metrics.jsonl`.
        log: What the log says.
        checkpoints: By images.
        evaluations: Lines of `evaluations.jsonl`.
        owner: Host, process and start of the program that writes there now, if one does.
        hosts: Names of machines that have written there.
        started: Seconds since 1970; None where nothing tells.
        changed: When something was last written.
        notes: What could not be read.
    """

    name: str
    path: epath.Path
    given: str
    config: dict[str, Any]
    environment: dict[str, Any]
    records: list[dict[str, Any]]
    log: Log
    checkpoints: tuple[Checkpoint, ...]
    evaluations: list[dict[str, Any]]
    owner: dict[str, Any] | None
    hosts: tuple[str, ...]
    started: float | None
    changed: float | None
    notes: tuple[str, ...]


def read_runs(workdirs: Sequence[str]) -> list[Run]:
    """Reads the folders of runs.

    Args:
        workdirs: Local or in buckets.

    Raises:
        ValueError: One of them is not the folder of a run, or is given twice.
        OSError: One of them is not there, or must not be read.
    """
    # All are looked at before one is read.
    paths = [_check_workdir(text) for text in workdirs]
    for text, path in zip(workdirs, paths):
        if paths.count(path) > 1:
            raise ValueError(f"{text} is given twice: give each run once.")
    names = _name_apart(paths)
    return [_read_run(path, name, text) for path, name, text in zip(paths, names, workdirs)]


def _check_workdir(text: str) -> epath.Path:
    """Returns the folder of a run."""
    path = as_path(text).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"{text} does not exist: give the --workdir of a training run.")
    if not path.is_dir():
        raise NotADirectoryError(f"{text} is a file: give the folder of a run, its --workdir.")
    if not any((path / sign).exists() for sign in _SIGNS):
        # Folders of a run's folder are the likely mistake.
        is_inside = any((path.parent / sign).exists() for sign in (CONFIG_FILE, METRICS_FILE))
        advice = f"give {path.parent}" if is_inside else "give the --workdir of a training run"
        raise ValueError(
            f"{text} is not the folder of a run, as it holds none of {', '.join(_SIGNS)}: {advice}."
        )
    return path.resolve() if "://" not in text else path


def _name_apart(paths: Sequence[epath.Path]) -> list[str]:
    """Names runs by their folders, with as many of those above as tell them apart."""
    for depth in range(1, 1 + max(len(path.parts) for path in paths)):
        names = ["/".join(path.parts[-depth:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]


def _read_run(path: epath.Path, name: str, given: str) -> Run:
    """Reads all but pictures."""
    notes: list[str] = []
    files = {file.name: file for file in path.iterdir()}
    checkpoints = _read_checkpoints(path / SUBDIRECTORY, notes)
    config = _read_json(path / CONFIG_FILE, notes) if CONFIG_FILE in files else None
    if config is None:
        config = _saved_config(path / SUBDIRECTORY, checkpoints)
    environment = config.pop("environment", None)
    events = sorted(match.groups() for file in files if (match := _EVENTS.fullmatch(file)))
    return Run(
        name=name,
        path=path,
        given=given,
        config=config,
        environment=environment if isinstance(environment, dict) else {},
        records=read_metrics(path / METRICS_FILE),
        log=read_log(_read_text(path / LOG_FILE, notes) if LOG_FILE in files else ""),
        checkpoints=checkpoints,
        evaluations=_read_evaluations(path / EVALUATIONS_FILE),
        owner=_read_json(path / OWNER_FILE, notes) if OWNER_FILE in files else None,
        hosts=tuple(dict.fromkeys(host for _, host in events)),
        started=float(events[0][0]) if events else None,
        changed=_last_change(files),
        notes=tuple(notes),
    )


def _read_text(path: epath.Path, notes: list[str]) -> str:
    """Reads text; a kill may have torn a character in two."""
    try:
        return path.read_bytes().decode(errors="replace")
    except OSError as error:
        notes.append(f"{path.name} cannot be read: {error}")
        return ""


def _read_json(path: epath.Path, notes: list[str]) -> dict[str, Any] | None:
    """Reads an object, or notes why it cannot be."""
    text = _read_text(path, notes)
    try:
        found = json.loads(text)
    except ValueError as error:
        notes.append(f"{path.name} is not JSON: {error}")
        return None
    if not isinstance(found, dict):
        notes.append(f"{path.name} holds no object but {type(found).__name__}")
        return None
    return found


def _parse(line: str) -> dict[str, Any] | None:
    """Returns a line's object, or None where it is torn or another thing."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _read_evaluations(path: epath.Path) -> list[dict[str, Any]]:
    """Reads the lines that name a metric; fields of another type than theirs are empty."""
    kinds = {"metric": str, "checkpoint": str, "values": dict, "protocol": dict, "time": str}
    found = []
    text = path.read_bytes().decode(errors="replace") if path.exists() else ""
    for line in filter(None, map(_parse, text.splitlines())):
        known = {name: line[name] for name, kind in kinds.items() if type(line.get(name)) is kind}
        if "metric" not in known:
            continue
        for name in ("nimg", "seconds", "images_per_sec", "time"):
            value = line.get(name)
            if is_finite(value):
                known[name] = value
        found.append(known)
    return found


def _read_checkpoints(folder: epath.Path, notes: list[str]) -> tuple[Checkpoint, ...]:
    """Lists the checkpoints, those that were set aside too; one that is damaged says so."""
    found = []
    for path in folder.iterdir() if folder.exists() else ():
        match = _CHECKPOINT.fullmatch(path.name)
        if match is None:
            continue
        nimg, state = int(match[1]), match[2] or "kept"
        record: dict[str, Any] = {}
        try:
            record = read_record(path)
        except (CorruptCheckpointError, ValueError, OSError) as error:
            # Those that were set aside as damaged are known to be.
            if state == "kept":
                state = "unreadable"
                notes.append(f"checkpoint {path.name} cannot be read: {error}")
        found.append(
            Checkpoint(
                nimg,
                state,
                record.get("metrics", {}),
                record.get("best_metric"),
                record.get("versions", {}),
            )
        )
    return tuple(sorted(found, key=lambda one: (one.nimg, one.state)))


def _saved_config(folder: epath.Path, checkpoints: Sequence[Checkpoint]) -> dict[str, Any]:
    """Returns the config of the newest checkpoint; of none, an empty one."""
    for checkpoint in reversed(checkpoints):
        if checkpoint.state == "kept":
            return dict(read_record(folder / str(checkpoint.nimg)).get("config", {}))
    return {}


def _last_change(files: dict[str, epath.Path]) -> float | None:
    """Returns when one of the files that grow was last written, in seconds since 1970."""
    times = []
    for name, path in files.items():
        if name in (METRICS_FILE, LOG_FILE, CONFIG_FILE):
            times.append(path.stat().mtime)
    return max((float(time) for time in times if time), default=None)
