"""Loading parts of a checkpoint, such as `G_ema`, without the code or the memory of training."""

import contextlib
from collections.abc import Sequence
from typing import Any

import jax
import orbax.checkpoint as ocp
from etils import epath

from stylegan_jax.run.checkpoint_format import (
    SUBDIRECTORY,
    CorruptCheckpointError,
    absolute_path,
    best_value,
    lowest_step,
    nest,
    public_meta,
    read_arrays,
    read_record,
    with_sharding,
)


def _find_step(directory: epath.PathLike, step: int | str) -> epath.Path:
    """Resolves a workdir, its checkpoints folder or a step folder to a step folder."""
    path = absolute_path(directory)
    if not path.exists():
        raise FileNotFoundError(
            f"{path} does not exist; give a workdir, its {SUBDIRECTORY} folder or one step in it"
        )
    if not path.is_dir():
        raise NotADirectoryError(
            f"{path} is a file; give a workdir, its {SUBDIRECTORY} folder or one step in it"
        )
    # One step.
    if (path / "state").exists() and (path / "meta").exists():
        return path

    # A workdir, or the folder of its checkpoints: steps that Orbax has finished.
    if (path / SUBDIRECTORY).exists():
        path = path / SUBDIRECTORY
    steps = sorted(ocp.utils.checkpoint_steps(path))
    if not steps:
        raise FileNotFoundError(
            f"no finished checkpoint in {path}; give a workdir, its {SUBDIRECTORY} folder or one"
            " step in it"
        )

    # One of them.
    if step == "latest":
        return path / str(steps[-1])
    if step == "best":
        return path / str(_find_best(path, steps))
    if step not in steps:
        raise FileNotFoundError(f"no checkpoint {step!r} in {path}; there are {steps}")
    return path / str(step)


def _find_best(path: epath.Path, steps: Sequence[int]) -> int:
    """Returns the step with the lowest value of the metric that was used last."""
    # A damaged step cannot be the best.
    records = {}
    for step in steps:
        with contextlib.suppress(CorruptCheckpointError):
            records[step] = read_record(path / str(step))
    # A run may have changed its metric on the way, and values of two cannot be compared.
    used = [record["best_metric"] for record in records.values() if record["best_metric"]]
    metric = used[-1] if used else None

    # A run without any metric has no best step.
    best = lowest_step({step: best_value(record, metric) for step, record in records.items()})
    if best is None:
        raise ValueError(f"no step of {path} has a metric; use step='latest' or one of {steps}")
    return best


def saved_names(directory: epath.PathLike, *, step: int | str = "latest") -> set[str]:
    """Lists the top level of a checkpoint, such as `G_ema`; arguments and errors as below."""
    record = read_record(_find_step(directory, step))
    return {path.split("/")[0] for path in record["leaves"]}


def read_meta(directory: epath.PathLike, *, step: int | str = "latest") -> dict[str, Any]:
    """Returns the metadata of a checkpoint, among them `config`; arguments and errors as below."""
    return public_meta(read_record(_find_step(directory, step)))


def restore_subtree(
    directory: epath.PathLike,
    names: Sequence[str],
    *,
    step: int | str = "latest",
    sharding: jax.sharding.Sharding | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Loads chosen parts of a checkpoint without the code or the memory of training.

    Args:
        directory: A workdir, its checkpoints folder or one step folder. It is only read.
        names: Paths in the state, such as "G_ema" or "stats/w_avg".
        step: Image count of the step, "latest", or "best" by the metric of the run. Not used
            if `directory` is a step folder.
        sharding: Where the arrays go; by default the first local device.

    Returns:
        (trees, meta): for each name a nested dict of arrays (or the array itself), and the
        metadata of the checkpoint, among them `config`.

    Raises:
        FileNotFoundError: There is no such checkpoint.
        NotADirectoryError: `directory` is a file.
        ValueError: A name is not in the checkpoint, or no step has a metric to be best by.
        CorruptCheckpointError: The checkpoint is damaged; choose another step.
    """
    # What lies in the step is listed in its record.
    step_dir = _find_step(directory, step)
    record = read_record(step_dir)
    wanted = {}
    for name in names:
        found = {
            path: with_sharding(leaf["shape"], leaf["dtype"], sharding)
            for path, leaf in record["leaves"].items()
            if path == name or path.startswith(f"{name}/")
        }
        if not found:
            tops = sorted({path.split("/")[0] for path in record["leaves"]})
            raise ValueError(f"{name!r} is not in {step_dir}; its top level has {tops}")
        wanted |= found

    # {"stats/w_avg": array} from {"stats": {"w_avg": array}}
    arrays = nest(read_arrays(step_dir, record, wanted))
    trees = {}
    for name in names:
        trees[name] = arrays
        for part in name.split("/"):
            trees[name] = trees[name][part]
    return trees, public_meta(record)
