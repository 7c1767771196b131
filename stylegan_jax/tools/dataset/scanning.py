"""Work on every image of an archive, in threads: decoders and hashes let go of the interpreter."""

import collections
import concurrent.futures
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
from tqdm import tqdm

from stylegan_jax.data.archives import Archive, ArchiveError
from stylegan_jax.data.codecs import ImageFormat

T = TypeVar("T")


def map_images(
    function: Callable[[int], T],
    indices: Sequence[int],
    *,
    doing: str,
    num_threads: int | None = None,
) -> Iterator[T]:
    """Calls a function with every index, in threads, and gives the results in order.

    Few results wait at a time, however many images there are. On a terminal a progress bar shows
    (on stderr).

    Args:
        function: Reads an image and returns what is wanted of it.
        indices: The images.
        doing: What the progress bar says, such as `checking`.
        num_threads: Default: some more than there are cores, as files may be slow to come.

    Raises:
        ValueError: `num_threads` is below 1.
        Exception: What the function raises; the work on other images is then given up.
    """
    num_threads = (os.cpu_count() or 1) + 4 if num_threads is None else num_threads
    bar = tqdm(total=len(indices), desc=doing, unit=" images", disable=None)
    remaining = iter(indices)
    with bar, concurrent.futures.ThreadPoolExecutor(num_threads) as pool:
        # Twice as many tasks as threads: no thread waits for the caller, and few results for it.
        first = itertools.islice(remaining, 2 * num_threads)
        waiting = collections.deque(pool.submit(function, index) for index in first)
        try:
            while waiting:
                result = waiting.popleft().result()
                for index in itertools.islice(remaining, 1):
                    waiting.append(pool.submit(function, index))
                bar.update()
                yield result
        finally:
            # After an error, or where the caller has seen enough.
            for future in waiting:
                future.cancel()


def read_named(archive: Archive, index: int) -> np.ndarray:
    """Reads one image as `Archive.read_pixels` does; the error says which image is damaged.

    Raises:
        ArchiveError: The image is damaged or cannot be read.
    """
    try:
        return archive.read_pixels(index)
    except ArchiveError:
        raise
    except ValueError as error:
        raise ArchiveError(
            f"{archive.where(index)}: {error}. The command `check` lists all such images."
        ) from error


def format_of(pixels: np.ndarray) -> ImageFormat:
    """Returns size and type of decoded pixels [h, w, c]."""
    return ImageFormat(*pixels.shape, dtype=str(pixels.dtype))
