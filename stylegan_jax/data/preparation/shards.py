"""From an archive to ArrayRecord shards, in parallel: a killed preparation goes on where it was.

Each shard is recorded once it is whole and on disk. TensorFlow is not needed.
"""

import concurrent.futures
import contextlib
import dataclasses
import errno
import hashlib
import json
import multiprocessing
import os
import pathlib
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter
from tqdm import tqdm

from stylegan_jax.data.archives import Archive
from stylegan_jax.data.channels import useful_channels
from stylegan_jax.data.codecs import decode, is_to_be_turned
from stylegan_jax.data.fingerprint import hash_pixels
from stylegan_jax.data.preparation.records import (
    Recipe,
    convert_image,
    encode_record,
    make_features,
)

# Records are compressed images already, and each is read alone.
_WRITER_OPTIONS = "group_size:1,uncompressed"
# Of pixels, before they are compressed: a kill loses little, and a set has not too many files.
_SHARD_BYTES = 128 * 2**20
_MAX_SHARD_IMAGES = 1024
_SHOWN_PROBLEMS = 20
# Below this many images, starting processes takes longer than they save.
_FEW_IMAGES = 1000
UNGUARDED = 'a script that prepares data must do so under `if __name__ == "__main__":`'
_BROKEN_POOL = (
    "A worker process died; what is done is kept. If memory is short, run the same command again "
    f"with fewer num_workers; {UNGUARDED}."
)


@dataclasses.dataclass(frozen=True)
class Shard:
    """A shard that is on disk.

    Attributes:
        signature: Changes when the shard would: with its images, their names and labels, or the
            recipe.
        kept: Positions in the archive of the images that it holds, in order.
        digests: `fingerprint.hash_pixels` of each.
        num_bytes: Size of the records.
        problems: Names of images that were left out, and why.
        useful: `channels.useful_channels` of each that it holds.
        num_turned: How many a camera noted to be turned, which is not done.
    """

    signature: str
    kept: list[int]
    digests: list[str]
    num_bytes: int
    problems: list[list[str]]
    useful: list[int]
    num_turned: int = 0


def write_shards(
    archive: Archive,
    work: pathlib.Path,
    recipe: Recipe,
    *,
    skip_bad: bool = False,
    num_workers: int | None = None,
) -> list[tuple[pathlib.Path, Shard]]:
    """Writes the shards of a data set that are not there yet.

    Args:
        archive: The images.
        work: Folder of the unfinished preparation; made if missing. One process at a time.
        recipe: What is done with each image.
        skip_bad: Leave out images that cannot be used.
        num_workers: Processes; 0 works in this one. Default: one per CPU, none for few images.

    Returns:
        The file and the record of each shard, in the archive's order.

    Raises:
        ValueError: Images cannot be used and `skip_bad` is off: the message lists them. All good
            shards are written before that.
        OSError: The disk is full; what is done is kept.
    """
    work.mkdir(parents=True, exist_ok=True)
    # Killed processes leave these.
    for partial in work.glob("*.partial"):
        partial.unlink()

    # Which shards are there, whole and of the same images, labels and recipe.
    parts = plan_shards(archive, recipe)
    shards: dict[int, Shard] = {}
    for index, part in enumerate(parts):
        shard = _find_shard(work, index, _sign(archive, recipe, part))
        if shard is not None and (skip_bad or not shard.problems):
            shards[index] = shard
    missing = [index for index in range(len(parts)) if index not in shards]
    done = len(archive) - sum(len(parts[index]) for index in missing)
    if done:
        print(f"continuing in {work}: {done} of {len(archive)} images done", file=sys.stderr)

    # The others are written.
    if num_workers is None:
        num_workers = 0 if len(archive) < _FEW_IMAGES else os.cpu_count() or 1
    task = _Task(work, archive, recipe, skip_bad)
    with tqdm(total=len(archive), initial=done, desc=archive.name, unit=" images", delay=2) as bar:
        for index, shard in _run(task, missing, parts, num_workers):
            shards[index] = shard
            bar.update(len(parts[index]))

    # Bad images are told of all at once, when all others are safe.
    ordered = [shards[index] for index in range(len(parts))]
    problems = [problem for shard in ordered for problem in shard.problems]
    if problems and not skip_bad:
        raise ValueError(_describe_problems(archive, problems))
    if len(problems) == len(archive):
        raise ValueError(f"{archive.name}: none of the {len(archive)} images can be used.")
    return [(work / _shard_name(index), shard) for index, shard in enumerate(ordered)]


def plan_shards(archive: Archive, recipe: Recipe) -> list[range]:
    """Divides images among shards: a function of the data alone, so that it can resume."""
    form = recipe.format()
    pixel_bytes = form.height * form.width * form.channels * np.dtype(form.dtype).itemsize
    images = min(max(_SHARD_BYTES // pixel_bytes, 1), _MAX_SHARD_IMAGES)
    return [range(i, min(i + images, len(archive))) for i in range(0, len(archive), images)]


def _sign(archive: Archive, recipe: Recipe, part: range) -> str:
    """Computes a shard's signature."""
    # What is known without reading the images, which may take days.
    images = [[archive.names[i], archive.stamp(i)] for i in part]
    known = dataclasses.asdict(recipe) | {"transform": recipe.transform.facts()}
    facts = [images, archive.labels.take(part).digest, known]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _shard_name(index: int) -> str:
    return f"shard-{index:05d}"


def _find_shard(work: pathlib.Path, index: int, signature: str) -> Shard | None:
    """Returns a shard's record, if it is whole and still what is wanted."""
    # Of a killed process or an older version: as if it were not there.
    try:
        shard = Shard(**json.loads((work / f"{_shard_name(index)}.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None
    is_whole = shard.signature == signature and (work / _shard_name(index)).exists()
    return shard if is_whole else None


@dataclasses.dataclass(frozen=True)
class _Task:
    """What every shard of a preparation shares."""

    work: pathlib.Path
    archive: Archive
    recipe: Recipe
    skip_bad: bool

    def write(self, index: int, part: range) -> Shard:
        """Writes a shard and, once it is on disk, its record.

        With bad images neither appears, unless they are to be skipped.
        """
        # Each file appears under its name when it is whole; the record of a shard after its data.
        partial = self.work / f"{_shard_name(index)}.{os.getpid()}.partial"
        try:
            shard = self._write_records(partial, part)
            if shard.problems and not self.skip_bad:
                return shard
            _sync(partial)
            os.replace(partial, self.work / _shard_name(index))
            record = self.work / f"{_shard_name(index)}.json"
            partial.write_text(json.dumps(dataclasses.asdict(shard)))
            _sync(partial)
            os.replace(partial, record)
        finally:
            # On a full disk even a part is too much.
            partial.unlink(missing_ok=True)
        return shard

    def _write_records(self, path: pathlib.Path, part: range) -> Shard:
        """Writes the records of a shard."""
        archive = self.archive
        features = make_features(self.recipe, archive.labels)
        shard = Shard(_sign(archive, self.recipe, part), [], [], 0, [], [])
        num_bytes = num_turned = 0
        with _writing(path) as write:
            for index in part:
                try:
                    content = archive.read(index)
                    is_file = isinstance(content, bytes)
                    before = decode(content, convert=True) if is_file else content
                    after = convert_image(before, self.recipe)
                # Damaged, too small, of other channels: the others go on.
                except ValueError as error:
                    shard.problems.append([archive.names[index], str(error)])
                    continue
                stored = encode_record(content, before, after, self.recipe.encoding)
                record = features.serialize_example(_make_example(archive, index, stored))
                write(record)
                num_bytes += len(record)
                shard.kept.append(index)
                shard.digests.append(hash_pixels(after))
                shard.useful.append(useful_channels(after))
                num_turned += isinstance(content, bytes) and is_to_be_turned(content)
        return dataclasses.replace(shard, num_bytes=num_bytes, num_turned=num_turned)


def _make_example(archive: Archive, index: int, stored: Any) -> dict[str, Any]:
    """Puts an image, its name and its label together, as `make_features` describes them."""
    # Names of files may be any bytes, not only UTF-8; Python holds those as surrogates.
    name = archive.names[index].encode(errors="surrogateescape")
    example = {"image": stored, "name": name}
    labels = archive.labels
    if labels.kind != "none":
        example["caption" if labels.kind == "captions" else "label"] = labels.values[index]
    return example


def _run(
    task: _Task, missing: Sequence[int], parts: Sequence[range], num_workers: int
) -> Iterator[tuple[int, Shard]]:
    """Yields each missing shard as it is done."""
    # In this process: few images, or none to share.
    if not num_workers or len(missing) < 2:
        for index in missing:
            with _explain_full_disk(task):
                shard = task.write(index, parts[index])
            yield index, shard
        return
    # Fresh processes: forked ones would inherit the locks of threads that they do not have.
    pool = concurrent.futures.ProcessPoolExecutor(
        min(num_workers, len(missing)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(task,),
    )
    try:
        futures = {pool.submit(_work, index, parts[index]): index for index in missing}
        for future in concurrent.futures.as_completed(futures):
            try:
                with _explain_full_disk(task):
                    shard = future.result()
            # Killed for memory, or unable to start.
            except concurrent.futures.process.BrokenProcessPool as error:
                raise ChildProcessError(_BROKEN_POOL) from error
            yield futures[future], shard
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


# Of a worker process: sent once, not with each of its shards.
_worker_task: _Task | None = None


def _start_worker(task: _Task) -> None:
    """Readies a process; it ends with its parent, even where that is killed."""
    global _worker_task
    _worker_task = task
    # The thread ends the process when the parent is gone.
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()


def _work(index: int, part: range) -> Shard:
    """Writes a shard in a worker."""
    assert _worker_task is not None
    return _worker_task.write(index, part)


@contextlib.contextmanager
def _writing(path: pathlib.Path) -> Iterator[Callable[[bytes], None]]:
    """Writes records to a file; a full disk, a RuntimeError of the library, is an OSError."""
    writer = ArrayRecordWriter(str(path), _WRITER_OPTIONS)

    def write(record: bytes) -> None:
        with _os_errors():
            writer.write(record)

    try:
        yield write
    finally:
        with _os_errors():
            writer.close()


@contextlib.contextmanager
def _os_errors() -> Iterator[None]:
    """Gives an error of the record library its type."""
    try:
        yield
    except RuntimeError as error:
        raise OSError(errno.EIO, str(error)) from error


@contextlib.contextmanager
def _explain_full_disk(task: _Task) -> Iterator[None]:
    """Says what is kept when nothing more can be written."""
    try:
        yield
    except OSError as error:
        # What is kept, and how much room there is.
        records = task.work.glob("shard-*.json")
        done = sum(len(json.loads(path.read_text())["kept"]) for path in records)
        free = shutil.disk_usage(task.work).free
        raise OSError(
            error.errno or errno.EIO,
            f"writing to {task.work} failed ({error.strerror or error}; {free / 2**20:.0f} MiB are "
            f"free there). {done} of {len(task.archive)} images are done and kept: make room and "
            "run the same command again",
        ) from error


def _describe_problems(archive: Archive, problems: Sequence[Sequence[str]]) -> str:
    """Lists the first of the bad images."""
    shown = "\n".join(f"  {name}: {reason}" for name, reason in problems[:_SHOWN_PROBLEMS])
    if len(problems) > _SHOWN_PROBLEMS:
        shown += f"\n  ... and {len(problems) - _SHOWN_PROBLEMS} more"
    return (
        f"{archive.name}: {len(problems)} of {len(archive)} images cannot be used:\n{shown}\n"
        "Mend or remove them and run the same command again, which keeps what is done; or leave "
        "them out with --skip_bad."
    )


def _sync(path: pathlib.Path) -> None:
    """Waits until a file is on disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
