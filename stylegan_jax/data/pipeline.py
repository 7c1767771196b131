"""From a source to batches: shuffled, mirrored, shared among processes, exact after a resume.

A batch is a pure function of the source, the seed and the number of images before it. So that
number is all that a checkpoint needs to keep, and any number of processes sees the same batches.
"""

import contextlib
import functools
import multiprocessing.resource_tracker
import os
import signal
import threading
from collections.abc import Iterator, Sequence

import grain
import numpy as np

from stylegan_jax.data.sources import ImageSource
from stylegan_jax.sizes import Size, name_size

Batch = dict[str, np.ndarray]

# glibc gives free memory back to the system, which clears it page by page when it is asked for
# again, unless it has seen a block as large as this freed: 15 % of the time at 1024 px. 32 MiB is
# the most that it takes as an example.
np.empty(2**25 - 2**16, np.uint8)
# Number of batches of a data set that has no end; a length must be given to Grain.
_ENDLESS = 2**40
# What a terminal or a scheduler sends to all processes at once.
_SIGNALS = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)


# A batch may reach into the next epoch, so two orders are in use at a time.
@functools.lru_cache(maxsize=2)
def _draw_epoch(size: int, seed: int, epoch: int) -> np.ndarray:
    """Draws the order of an epoch, uint32 [size]."""
    rng = np.random.default_rng((seed, epoch))
    return rng.permutation(size).astype(np.uint32)


def _stack(source: ImageSource, indices: Sequence[int], flips: Sequence[bool], size: Size) -> Batch:
    """Makes the batch of some images, each shrunk and mirrored or not."""
    shape = (len(indices), *size, source.img_channels)
    images = np.empty(shape, source.format.dtype)
    for target, index, flip in zip(images, indices, flips):
        image = _shrink(source[index], size)
        if flip:
            # Channel by channel: NumPy reverses single bytes several times faster than pixels.
            for channel in range(image.shape[2]):
                target[..., channel] = image[:, ::-1, channel]
        else:
            target[...] = image
    return {"image": images, "label": source.labels.rows(indices)}


def _shrink(image: np.ndarray, size: Size) -> np.ndarray:
    """Takes rounded means of squares of pixels: what growing networks learn from at first."""
    height, width = size
    factor = image.shape[0] // height
    if factor == 1:
        return image
    # [h, w, c] -> [h / factor, factor, w / factor, factor, c]
    squares = image.reshape(height, factor, width, factor, image.shape[2])
    return np.rint(squares.mean(axis=(1, 3), dtype=np.float32)).astype(image.dtype)


class _Batches:
    """Random access to some rows of the batches: what Grain reads.

    Whole batches are made here, not image by image in Grain's own shuffle, map and batch: for small
    images those spend far more time on each image than reading it takes.
    """

    def __init__(
        self,
        source: ImageSource,
        *,
        batch_size: int,
        rows: Sequence[int],
        seed: int,
        mirror: bool,
        start: int,
        size: Size,
    ):
        self._source = source
        self._batch_size = batch_size
        self._rows = rows
        self._seed = seed
        self._mirror = mirror
        self._start = start
        self._size = size

    def __len__(self) -> int:
        return _ENDLESS

    def __getitem__(self, index: int) -> Batch:
        # Counted from the start of training, over all processes.
        start = self._start + index * self._batch_size
        count = len(self._source)
        # The second half of an epoch's numbers are the images again, mirrored.
        epoch_size = 2 * count if self._mirror else count
        indices = []
        flips = []
        for row in self._rows:
            epoch, offset = divmod(start + row, epoch_size)
            flip, index = divmod(int(_draw_epoch(epoch_size, self._seed, epoch)[offset]), count)
            indices.append(index)
            flips.append(bool(flip))
        return _stack(self._source, indices, flips, self._size)

    def __repr__(self) -> str:
        return f"_Batches({self._source!r}, batch_size={self._batch_size}, seed={self._seed})"


def make_dataset(
    source: ImageSource,
    *,
    batch_size: int,
    seed: int,
    mirror: bool = False,
    rows: Sequence[int] | np.ndarray | None = None,
    start: int = 0,
    size: Size | None = None,
) -> grain.MapDataset:
    """Makes the batches, or some rows of each, from an image count on.

    Epochs are permutations of the source, each another one, laid end to end: a batch may reach
    into the next epoch and no image is dropped. With `mirror` an epoch has every image twice, as
    it is and mirrored left to right, as in the official repositories.

    Args:
        source: Images and labels.
        batch_size: Images per step, over all processes.
        seed: Fixes the order and the mirroring, 0 to 2**32 - 1.
        mirror: Show every image mirrored as often as not.
        rows: Which images of every batch this process reads, 0 to `batch_size` - 1. Default: all.
        start: Number of images that were consumed before, over all processes.
        size: Height and width of the images to make, by means over squares of pixels: the source's
            divided by one whole number. Default: the source's.

    Returns:
        An endless data set. Item `i` holds the images from `start + i * batch_size` on, of these
        the rows: `image`: uint8 or uint16 [rows, h, w, c], `label`: float32 [rows, c_dim].

    Raises:
        ValueError: A number is out of range.
    """
    # Which rows of which images.
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}, wanted 1 or more.")
    rows = range(batch_size) if rows is None else [int(row) for row in rows]
    if not rows or not 0 <= min(rows) <= max(rows) < batch_size:
        raise ValueError(f"rows are {list(rows)}, wanted some of 0 to {batch_size - 1}.")
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed is {seed}, wanted 0 to 2**32 - 1.")
    if start < 0:
        raise ValueError(f"start is {start}, wanted 0 or more.")
    # Growing networks begin with smaller images.
    size = source.size if size is None else size
    _check_divides(size, source.size)
    batches = _Batches(
        source,
        batch_size=batch_size,
        rows=rows,
        seed=seed,
        mirror=mirror,
        start=start,
        size=size,
    )
    return grain.MapDataset.source(batches)


def _check_divides(size: Size, full: Size) -> None:
    """Refuses sizes that are not the full one divided by a whole number."""
    factor = full[0] // max(size[0], 1)
    if (size[0] * factor, size[1] * factor) != full:
        raise ValueError(
            f"size is {name_size(size)}, wanted the source's {name_size(full)} divided by a whole "
            "number."
        )


@contextlib.contextmanager
def _deaf_children() -> Iterator[None]:
    """Lets processes that are started in the block, and by its threads, begin without signals.

    The run that reads obeys them, and needs batches until it has: Ctrl-C reaches its workers too.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        # Whoever starts this helper of every worker hears two of the signals again.
        multiprocessing.resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _live_with_parent(index: int, count: int) -> None:
    """Ends a worker when its parent has ended, however it did, or says that it should."""
    del index, count
    parent = multiprocessing.parent_process()
    if parent is None:  # Grain reads with threads where Python has no lock
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)

    def wait_for_parent() -> None:
        parent.join()
        os._exit(1)

    def wait_for_signal() -> None:
        # Others' are dropped, one by one.
        while signal.sigwaitinfo(_SIGNALS).si_pid != parent.pid:
            pass
        os._exit(1)

    for target in (wait_for_parent, wait_for_signal):
        threading.Thread(target=target, daemon=True).start()


def make_iterator(
    dataset: grain.MapDataset, *, num_threads: int | None = None, num_workers: int = 0
) -> Iterator[Batch]:
    """Reads a data set in order, some batches ahead.

    Neither number changes what is read. To resume, make the data set anew at the image count:
    batches that were read ahead and not used do not count.

    Args:
        dataset: From `make_dataset`.
        num_threads: Batches that are made at the same time, and kept ready, in each process that
            reads. Default: the number of CPUs, at most 8.
        num_workers: Processes to read with; 0 reads in this one. They help where decoding keeps
            many CPUs busy, take seconds to start, and need a script that is guarded by
            `if __name__ == "__main__"` with absl's flags parsed.

    Returns:
        An endless iterator over the data set's items, of which the first has been read.
    """
    # Decoders let go of the interpreter: threads serve until Python's own share is the limit.
    num_threads = num_threads or min(8, os.cpu_count() or 1)
    read_options = grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=num_threads)
    batches = dataset.to_iter_dataset(read_options)
    if num_workers:
        options = grain.MultiprocessingOptions(num_workers=num_workers)
        batches = batches.mp_prefetch(options, _live_with_parent)
    iterator = iter(batches)
    # Grain starts its processes when the first batch is asked for.
    with _deaf_children() if num_workers else contextlib.nullcontext():
        first = [next(iterator)]
    return _begin_with(first, iterator)


def _begin_with(first: list[Batch], iterator: Iterator[Batch]) -> Iterator[Batch]:
    """Yields what has been read, without holding it (itertools.chain would), then the rest."""
    yield first.pop()
    yield from iterator


def fixed_batch(source: ImageSource, indices: Sequence[int] | np.ndarray) -> Batch:
    """Reads chosen images in order, never mirrored: for the grid of reals and for metrics.

    Args:
        source: Images and labels.
        indices: Positions in the source.

    Returns:
        `image`: uint8 or uint16 [n, h, w, c]; `label`: float32 [n, c_dim].

    Raises:
        ValueError: No index is given.
    """
    if len(indices) == 0:
        raise ValueError("fixed_batch needs at least one index.")
    indices = [int(index) for index in indices]
    return _stack(source, indices, [False] * len(indices), source.size)
