"""Order, errors and hashes of what is read in threads."""

import threading
import time

import pytest

from stylegan_jax.data.archives import ArchiveError, FolderArchive
from stylegan_jax.tools.dataset.scanning import map_images, read_named


def test_results_come_in_order():
    def slow_when_even(index):
        time.sleep(0.002 * (index % 2 == 0))
        return index * index

    results = map_images(slow_when_even, range(3, 40), doing="testing", num_threads=4)
    assert list(results) == [index * index for index in range(3, 40)]
    assert list(map_images(slow_when_even, [], doing="testing")) == []


def test_few_results_wait():
    read, most = [], 0
    for done, _ in enumerate(map_images(read.append, range(100), doing="testing", num_threads=2)):
        time.sleep(0.001)
        most = max(most, len(read) - done)
    assert len(read) == 100 and most <= 5


def test_the_first_error_ends_the_work():
    started = []

    def fail(index):
        started.append(index)
        if index == 5:
            raise RuntimeError("five")
        return index

    results = map_images(fail, range(1000), doing="testing", num_threads=2)
    with pytest.raises(RuntimeError, match="five"):
        list(results)
    assert len(started) < 20
    assert not [t for t in threading.enumerate() if "ThreadPool" in t.name]
    with pytest.raises(ValueError, match="max_workers"):
        list(map_images(fail, range(2), doing="testing", num_threads=0))


def test_errors_name_the_image(tmp_path):
    (tmp_path / "bad.png").write_text("no image")
    with pytest.raises(ArchiveError, match="bad.png: not a readable image. The command `check`"):
        read_named(FolderArchive(tmp_path), 0)
