"""What a checkpoint holds: the state as named leaves, and the JSON record that vouches for it.

A checkpoint is one Orbax step, `<workdir>/checkpoints/<nimg>/`, with two items:

    state   the train state as a nested dict of arrays, under the paths of its pytree
    meta    JSON: config, data position, metrics, library versions, and for every leaf
            of the state its shape, dtype and CRC-32

Orbax writes a step atomically but stores arrays without checksums: a flipped bit in an array
file is loaded without an error. The checksums in `meta` close that gap. They also separate
the two ways in which a resume can fail: a damaged checkpoint (the one before is used) and a
checkpoint of another architecture (an error, since falling back would hide a mistake).
"""

import contextlib
import gc
import importlib.metadata
import json
import logging as python_logging
import math
import re
import sys
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from etils import epath

from stylegan_jax.errors import UserError
from stylegan_jax.files import as_path, is_cloud

PyTree = Any

# Folder of the checkpoints in a workdir.
SUBDIRECTORY = "checkpoints"

# Raised where older code could not read what is written.
FORMAT_VERSION = 1

# Other versions of these may give other bits.
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "stylegan_jax")
# Keys of the record that are not the caller's.
_OWN_KEYS = frozenset({"format_version", "nimg", "metrics", "best_metric", "versions", "leaves"})
# The key of the record's own checksum.
_CHECKSUM = "crc32"
# Leaves named in an error message.
_LISTED = 5
# Time for abandoned reads to end.
_STRAGGLERS_SEC = 0.2

# Failures of the machine, not of the checkpoint: never a reason to fall back.
_NOT_DAMAGE = (MemoryError, PermissionError, jax.errors.JaxRuntimeError)
# What a bucket says of objects that are missing or make no sense; all else is the network.
_CLOUD_DAMAGE = (FileNotFoundError, ValueError, KeyError, TypeError)
# TensorStore raises ValueErrors for both; these words in front of them mean the network.
_UNANSWERED = {
    *("ABORTED", "CANCELLED", "DEADLINE_EXCEEDED", "PERMISSION_DENIED"),
    *("RESOURCE_EXHAUSTED", "UNAUTHENTICATED", "UNAVAILABLE"),
}


class CorruptCheckpointError(UserError, RuntimeError):
    """A checkpoint is incomplete, unreadable, or differs from its own checksums."""


def _is_damage(error: Exception, path: epath.Path) -> bool:
    """Tells a damaged checkpoint from a network that fails at the moment."""
    if not is_cloud(path):
        return True
    # A bucket that does not answer says nothing about what lies in it.
    unanswered = str(error).partition(":")[0] in _UNANSWERED
    return isinstance(error, _CLOUD_DAMAGE) and not unanswered


def absolute_path(path: epath.PathLike) -> epath.Path:
    """Reads a path as the user gave it, and makes a local one absolute, as Orbax wants it."""
    path = as_path(path)
    return path if is_cloud(path) else path.absolute()  # which would put gs: in this folder


# ----------------------------------------------------------------------------------------------
# Trees as flat dicts {"params/G/synthesis/b4/const": array}


def flatten(tree: PyTree) -> dict[str, Any]:
    """Lists the leaves by path; containers without leaves leave no trace."""
    leaves = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        names = [jax.tree_util.keystr((key,), simple=True) for key in path]
        name = "/".join(names)
        # Orbax joins the names with dots, so a dot inside a name could overwrite another leaf.
        if not names or any(not part or "/" in part or "." in part for part in names):
            raise ValueError(f"state path {name!r}: names must be non-empty, without '/' and '.'")
        # Python numbers have no fixed type, and typed random keys no stable bytes.
        if not hasattr(leaf, "shape") or jnp.issubdtype(leaf.dtype, jax.dtypes.extended):
            raise ValueError(
                f"state leaf {name} is {leaf!r}; store plain arrays (numbers as jnp.asarray,"
                " random keys as jax.random.key_data)"
            )
        leaves[name] = leaf
    return leaves


def nest(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """Turns {"a/b": x} into {"a": {"b": x}}."""
    tree: dict[str, Any] = {}
    for name, leaf in leaves.items():
        *parents, last = name.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = leaf
    return tree


def _is_whole(leaf: Any) -> bool:
    """Tells whether this process holds every element of the array."""
    return not isinstance(leaf, jax.Array) or leaf.is_fully_addressable or leaf.is_fully_replicated


def host_copy(leaf: Any) -> Any:
    """Copies to host memory that no later, donating step can touch.

    `copy=True` matters on CPU, where `np.asarray` of a jax.Array is a view of its buffer. An
    array spread over processes stays as it is: Orbax copies its local shards before it returns.
    """
    return np.array(leaf, copy=True) if _is_whole(leaf) else leaf


def _crc32(leaf: Any) -> int | None:
    """Checksums the bytes in C order; None where other processes hold a part."""
    if not _is_whole(leaf):
        return None
    return zlib.crc32(np.ascontiguousarray(leaf).reshape(-1).view(np.uint8).data)


def _describe(shape: Sequence[int], dtype: Any) -> str:
    """Writes an array's type, such as float32[4, 4, 512]."""
    return f"{np.dtype(dtype).name}{list(shape)}"


# ----------------------------------------------------------------------------------------------
# The JSON record of a checkpoint


def _library_versions() -> dict[str, str]:
    """Returns the versions of what a bit-equal run depends on."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:  # run from a source tree
            versions[package] = "not installed"
    return versions


def _record_crc32(record: Mapping[str, Any]) -> int:
    """Checksums the record in a canonical spelling, its own checksum excepted."""
    body = {key: value for key, value in record.items() if key != _CHECKSUM}
    return zlib.crc32(json.dumps(body, sort_keys=True).encode())


def make_record(
    leaves: Mapping[str, Any],
    nimg: int,
    meta: Mapping[str, Any],
    metrics: Mapping[str, float] | None,
    best_metric: str | None,
) -> dict[str, Any]:
    """Builds the record of a checkpoint from host copies of its leaves."""
    # The caller's part.
    missing = {"config", "data"} - meta.keys()
    taken = (_OWN_KEYS | {_CHECKSUM}) & meta.keys()
    if missing or taken:
        raise ValueError(
            f"meta needs the keys 'config' and 'data' (missing: {sorted(missing)}) and may not"
            f" use {sorted(taken)}"
        )

    # Ours: what the state is, what was measured on it, and a checksum of every leaf.
    record = dict(meta) | {
        "format_version": FORMAT_VERSION,
        "nimg": nimg,
        "metrics": {name: float(value) for name, value in (metrics or {}).items()},
        "best_metric": best_metric,
        "versions": _library_versions(),
        "leaves": {
            name: {
                "shape": list(leaf.shape),
                "dtype": np.dtype(leaf.dtype).name,
                "crc32": _crc32(leaf),
            }
            for name, leaf in leaves.items()
        },
    }

    # Through JSON and back: tuples become lists now, not when the record is read and compared.
    try:
        record = json.loads(json.dumps(record))
    except TypeError as e:
        raise ValueError(f"meta must hold JSON values only: {e}") from e
    return record | {_CHECKSUM: _record_crc32(record)}


def read_record(step_dir: epath.Path) -> dict[str, Any]:
    """Reads and verifies the record of one step."""
    # The file name that Orbax's JsonSave uses.
    path = step_dir / "meta" / "metadata"
    try:
        record = json.loads(path.read_text())
        intact = record[_CHECKSUM] == _record_crc32(record)
    except _NOT_DAMAGE:
        raise
    except (OSError, ValueError, KeyError, TypeError) as e:
        if not _is_damage(e, path):
            raise
        raise CorruptCheckpointError(f"{path}: {type(e).__name__}: {e}") from e

    # Newer formats are told apart from damage: their checksum is right.
    if not intact:
        raise CorruptCheckpointError(f"{path}: contents differ from their checksum")
    if record["format_version"] > FORMAT_VERSION:
        raise ValueError(
            f"{step_dir} has format version {record['format_version']}, this stylegan_jax reads"
            f" up to {FORMAT_VERSION}: upgrade stylegan_jax"
        )
    return record


def public_meta(record: Mapping[str, Any]) -> dict[str, Any]:
    """Drops what only this file needs."""
    return {key: value for key, value in record.items() if key not in ("leaves", _CHECKSUM)}


def best_value(record: Mapping[str, Any], best_metric: str | None) -> float:
    """Returns the deciding metric; infinity, which never wins, where it is absent or NaN.

    That of one of which higher is better, `-` before its name, comes with the other sign.
    """
    name = best_metric or ""
    value = record["metrics"].get(name.removeprefix("-"), math.inf)
    if not math.isfinite(value):
        return math.inf
    return -value if name.startswith("-") else value


def lowest_step(value_by_step: Mapping[int, float]) -> int | None:
    """Returns the step with the lowest finite value, of equal ones the newest, or None."""
    finite = [(value, -step) for step, value in value_by_step.items() if math.isfinite(value)]
    return -min(finite)[1] if finite else None


def log_version_changes(record: Mapping[str, Any], step_dir: epath.Path) -> None:
    """Logs a note if the checkpoint comes from other library versions."""
    here = _library_versions()
    changes = [
        f"{package} {version} -> {here.get(package, 'not used')}"
        for package, version in record["versions"].items()
        if version != here.get(package)
    ]
    if changes:
        logging.warning(
            "note: %s was written with other library versions (%s); the run continues, but may"
            " no longer be equal bit for bit",
            step_dir,
            ", ".join(changes),
        )


# ----------------------------------------------------------------------------------------------
# Reading arrays


def check_same_tree(
    record: Mapping[str, Any], wanted: Mapping[str, Any], step_dir: epath.Path
) -> None:
    """Raises ValueError with the first differences if the state has another structure."""
    saved = {
        name: _describe(leaf["shape"], leaf["dtype"]) for name, leaf in record["leaves"].items()
    }
    asked = {name: _describe(leaf.shape, leaf.dtype) for name, leaf in wanted.items()}
    if saved == asked:
        return

    # The ways in which two states differ.
    groups = {
        "differ": [
            f"{n}: saved {saved[n]}, wanted {asked[n]}"
            for n in asked
            if n in saved and saved[n] != asked[n]
        ],
        "missing from the checkpoint": [f"{n}: wanted {asked[n]}" for n in asked if n not in saved],
        "unexpected in the checkpoint": [f"{n}: saved {saved[n]}" for n in saved if n not in asked],
    }

    # The first few of each.
    lines = [f"{step_dir} does not fit this run ({len(saved)} leaves saved, {len(asked)} wanted)"]
    for title, names in groups.items():
        lines.append(f"  {len(names)} {title}")
        lines.extend(f"    {name}" for name in names[:_LISTED])
        if len(names) > _LISTED:
            lines.append(f"    ... and {len(names) - _LISTED} more")
    lines.append("resume needs the same architecture; use another --workdir. Nothing was changed.")
    raise ValueError("\n".join(lines))


@contextlib.contextmanager
def muted_stragglers() -> Iterator[None]:
    """Hides the tracebacks of what Orbax abandons when another of its reads or writes fails.

    They end later, report to an event loop that is closed by then, and would bury the one line
    that matters under a screen for every leaf. What has failed is raised all the same.
    """
    hook = sys.unraisablehook
    loggers = [python_logging.getLogger("asyncio"), logging.get_absl_logger()]

    def is_news(record: python_logging.LogRecord) -> bool:
        is_error = record.levelno >= python_logging.ERROR
        return not (is_error and re.search("/(orbax|asyncio)/", record.pathname))

    def report_others(unraisable: Any) -> None:
        code = getattr(unraisable.object, "cr_code", None)  # of a coroutine
        is_of_orbax = code is not None and "/orbax/" in code.co_filename
        if not is_of_orbax and str(unraisable.exc_value) != "Event loop is closed":
            hook(unraisable)

    sys.unraisablehook = report_others
    for logger in loggers:
        logger.addFilter(is_news)
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for logger in loggers:
            logger.removeFilter(is_news)


@contextlib.contextmanager
def _blaming(step_dir: epath.Path) -> Iterator[None]:
    """Tells damage of a checkpoint, which may raise anything, from failures around it."""
    problem = None
    is_damage = True
    with muted_stragglers():
        try:
            yield
        except _NOT_DAMAGE:
            raise
        except Exception as e:
            is_damage = _is_damage(e, step_dir)
            problem = f"{type(e).__name__}: {str(e)[:300]}"
        # Other reads of Orbax's are still under way: let them end while they are muted.
        if problem:
            time.sleep(_STRAGGLERS_SEC)
            gc.collect()
    if problem and not is_damage:
        raise ConnectionError(f"{step_dir} cannot be read now; nothing was changed. {problem}")
    if problem:
        raise CorruptCheckpointError(f"{step_dir / 'state'}: {problem}")


def check_readable(step_dir: epath.Path) -> None:
    """Reads the record of one step, and of every array its name, shape and type, but no values.

    Raises:
        CorruptCheckpointError: Something is missing or differs.
    """
    record = read_record(step_dir)
    with _blaming(step_dir):
        tree = ocp.PyTreeCheckpointHandler().metadata(step_dir / "state").tree
        found = {name: _describe(leaf.shape, leaf.dtype) for name, leaf in flatten(tree).items()}
    wanted = {
        name: _describe(leaf["shape"], leaf["dtype"])
        for name, leaf in record["leaves"].items()
        if math.prod(leaf["shape"])
    }
    if found != wanted:
        names = sorted(name for name in found | wanted if found.get(name) != wanted.get(name))
        raise CorruptCheckpointError(
            f"{step_dir / 'state'}: {len(names)} arrays are missing or of another type, the first "
            f"is {names[0]}"
        )


def _check_leaf(leaf: Any, saved: Mapping[str, Any], path: epath.Path, name: str) -> None:
    """Compares a loaded leaf with its record."""
    # Damaged Orbax metadata can also turn an array into something else.
    if not isinstance(leaf, jax.Array) or _describe(leaf.shape, leaf.dtype) != _describe(
        saved["shape"], saved["dtype"]
    ):
        raise CorruptCheckpointError(f"{path}: {name} was loaded as {type(leaf).__name__}")
    # None: spread over processes, now or when it was saved; no process can tell.
    expected = saved["crc32"]
    actual = _crc32(leaf)
    if None not in (expected, actual) and expected != actual:
        raise CorruptCheckpointError(
            f"{path}: {name} differs from its checksum ({actual:08x}, saved as {expected:08x})"
        )


def read_arrays(
    step_dir: epath.Path, record: Mapping[str, Any], wanted: Mapping[str, jax.ShapeDtypeStruct]
) -> dict[str, jax.Array]:
    """Loads the wanted leaves of one step and compares each with its checksum."""
    # Only what is wanted is read, each array straight to its devices.
    item = nest({name: leaf for name, leaf in wanted.items() if math.prod(leaf.shape)})
    args = ocp.args.PyTreeRestore(
        item=item,
        restore_args=ocp.checkpoint_utils.construct_restore_args(item),
        partial_restore=True,
    )
    with (
        _blaming(step_dir),
        ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer,
    ):
        loaded = flatten(checkpointer.restore(step_dir / "state", args=args))

    # Every array against its record.
    arrays = {}
    for name, leaf in wanted.items():
        if name in loaded:
            _check_leaf(loaded[name], record["leaves"][name], step_dir / "state", name)
            arrays[name] = loaded[name]
        else:  # Orbax cannot hold arrays without elements
            arrays[name] = jax.device_put(np.zeros(leaf.shape, leaf.dtype), leaf.sharding)
    return arrays


def with_sharding(shape: Sequence[int], dtype: Any, sharding: Any) -> jax.ShapeDtypeStruct:
    """Describes an array to load; without a sharding it goes to the first local device."""
    if sharding is None:
        sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(tuple(shape), dtype, sharding=sharding)
