"""A full disk is told in a sentence: what failed, what is safe, how much is needed."""

import contextlib
import errno
import resource
import shutil
from collections import namedtuple

import jax.numpy as jnp
import pytest

from stylegan_jax.files import naming, replacing
from stylegan_jax.run.checkpoint import CheckpointStore
from stylegan_jax.run.disk import DiskFullError, explaining_full_disk, warn_of_little_room
from tests.run.saved import META

Usage = namedtuple("Usage", ["total", "used", "free"])


@contextlib.contextmanager
def largest_file(count):
    """The system writes no file beyond so many bytes, which it reports much as a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def save(workdir, step, size):
    with CheckpointStore(workdir, keep_newest=1) as store:
        store.save({"w": jnp.arange(float(size))}, step, META)


def test_a_checkpoint_that_does_not_fit(tmp_path, capfd, caplog):
    save(tmp_path, 2000, 1000)
    with (
        pytest.raises(DiskFullError) as caught,
        explaining_full_disk(tmp_path),
        largest_file(40_000),
    ):
        save(tmp_path, 3000, 100_000)
    text = str(caught.value)
    assert text.startswith(f"{tmp_path}/checkpoints/3000 could not be written (File too large): ")
    assert "a checkpoint takes" in text
    assert f"All is safe up to 2 kimg, saved in {tmp_path}/checkpoints/2000" in text
    assert "\n" not in text and "Traceback" not in caplog.text + capfd.readouterr().err


def test_without_a_checkpoint_the_run_begins_anew(tmp_path):
    with pytest.raises(DiskFullError, match=r"a\.png could not.*No checkpoint is saved yet"):
        with explaining_full_disk(tmp_path), largest_file(100):
            with replacing(tmp_path / "a.png") as file:
                file.write_bytes(bytes(200))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_the_cause_may_be_hidden(tmp_path, number):
    with pytest.raises(DiskFullError, match="A file of the run could not be written"):
        with explaining_full_disk(tmp_path):
            try:
                raise OSError(number, "no room")
            except OSError as error:
                raise RuntimeError("cannot be written") from error


def test_files_that_grow_are_named(tmp_path):
    with pytest.raises(DiskFullError, match="log.txt could not be written"):
        with explaining_full_disk(tmp_path), naming(tmp_path / "log.txt"):
            raise OSError(errno.ENOSPC, "no room")


@pytest.mark.parametrize("error", [OSError(errno.EIO, "broken"), ValueError("28"), KeyError("a")])
def test_other_errors_pass(tmp_path, error):
    with pytest.raises(type(error)) as caught, explaining_full_disk(tmp_path):
        raise error
    assert caught.value is error


def test_little_room_is_told_at_the_start(tmp_path, monkeypatch, caplog):
    """Two are kept besides the best, another is being written: four of 1 MiB."""
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, 4 * 2**20))
    warn_of_little_room(tmp_path, 2**20, keep_newest=2)
    assert not caplog.text
    warn_of_little_room(tmp_path, 2**20 + 1, keep_newest=2)
    assert "4 MiB free" in caplog.text and "io.keep_newest" in caplog.text
    # Those that are there already need no more.
    caplog.clear()
    for step in (1, 2, 3):
        (tmp_path / "checkpoints" / str(step)).mkdir(parents=True)
    warn_of_little_room(tmp_path, 2**20 + 1, keep_newest=2)
    assert not caplog.text
