"""Paths of users, files that replace others at once, and mirrors of folders in buckets.

The mirrors' bucket is a folder here; `tests/end_to_end/test_cloud.py` has real clients.
"""

import importlib.util
import os
import subprocess
import sys
import threading
import time

import pytest
from etils import epath

from stylegan_jax import files
from stylegan_jax.files import Mirror, as_path, replacing
from stylegan_jax.run.meters import MetricWriter, read_metrics
from stylegan_jax.run.progress import tee_log
from tests.gcs import serve

_USE_BUCKETS = """
from stylegan_jax.files import Mirror, as_path
for use, name in ((as_path, "absent"), (as_path, "forbidden"), (Mirror, "read_only")):
    try:
        use(f"gs://{name}/run", *(["log.txt"] if use is Mirror else []))
    except OSError as error:
        print(repr(error))
print(as_path("gs://bucket/run"))
"""


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    """A folder that passes for one in a bucket; temporary folders lie beside it."""
    folder = tmp_path / "bucket"
    folder.mkdir()
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(files, "is_cloud", lambda path: os.fspath(path).startswith(str(folder)))
    monkeypatch.setattr(files, "_check_bucket", lambda name: None)
    monkeypatch.setattr(files.tempfile, "tempdir", str(tmp_path / "tmp"))
    return epath.Path(folder)


def wait_for(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("path", ["gs://bucket/run[1]", "gs://bucket/*", "gs://bucket/a?b/c"])
def test_letters_of_patterns_in_a_bucket_are_refused(path):
    with pytest.raises(ValueError, match="without the letters"):
        as_path(path)


@pytest.mark.parametrize("path", ["s4://a/b", "gs://", "gs:/a/b", "file:///a", "s3://a/b"])
def test_other_schemes_are_refused(path):
    with pytest.raises(ValueError, match="neither a local path nor in a bucket that"):
        as_path(path)


def test_local_paths_are_themselves(tmp_path):
    for path in ("runs/a", "a b/c:d", str(tmp_path), tmp_path):
        assert str(as_path(path)) == str(path)


def test_without_gcsfs_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"gcsfs: pip install -e '\.\[gcs\]'"):
        as_path("gs://no-gcsfs/run")


def test_buckets_that_cannot_be_used_are_named():
    def fault(method, path):
        refused = "forbidden" in path or ("read_only" in path and method == "POST")
        return 403 if refused else None

    with serve("bucket", "forbidden", "read_only") as gcs:
        gcs.fault = fault
        result = subprocess.run(
            [sys.executable, "-c", _USE_BUCKETS],
            env=os.environ | gcs.environment(),
            capture_output=True,
            text=True,
        )
    absent, forbidden, read_only, path = result.stdout.splitlines()
    assert absent.startswith("FileNotFoundError('There is no bucket gs://absent")
    assert forbidden.startswith("PermissionError") and "gcloud auth" in forbidden
    assert "gs://read_only/run cannot be read and written: Forbidden" in read_only
    assert path == "gs://bucket/run"


@pytest.mark.parametrize("place", ["bucket", "local"])
def test_replacing_writes_all_or_nothing(bucket, tmp_path, place):
    path = tmp_path / place / "a.txt"
    with replacing(path) as file:
        file.write_text("whole")
    with pytest.raises(RuntimeError), replacing(path) as file:
        file.write_text("half")
        raise RuntimeError
    assert path.read_text() == "whole" and os.listdir(path.parent) == ["a.txt"]
    assert not os.listdir(tmp_path / "tmp")


def test_a_local_run_has_no_copy(tmp_path):
    with Mirror(tmp_path / "run", "log.txt") as folder:
        assert folder == tmp_path / "run"
        assert not os.listdir(folder)


def test_what_is_there_continues_and_is_sent_at_intervals(bucket, monkeypatch):
    monkeypatch.setattr(files, "SEND_INTERVAL_SEC", 0.02)
    (bucket / "log.txt").write_text("first\n")
    with Mirror(bucket, "log.txt", "new.txt") as folder:
        assert (bucket / "new.txt").exists(), "sent at once"
        with (folder / "log.txt").open("a") as file:
            file.write("second\n")
            file.flush()
            wait_for(lambda: (bucket / "log.txt").read_text() == "first\nsecond\n")
            file.write("third\n")
        (folder / ".partial").write_text("unfinished")
    assert (bucket / "log.txt").read_text() == "first\nsecond\nthird\n"
    assert not (bucket / ".partial").exists() and not folder.exists()


def test_a_bucket_that_fails_for_a_while_gets_everything_later(bucket, monkeypatch, caplog):
    monkeypatch.setattr(files, "SEND_INTERVAL_SEC", 0.02)
    failing = threading.Event()
    write = type(bucket).write_bytes

    def write_bytes(self, data):
        if failing.is_set():
            raise OSError("503")
        return write(self, data)

    monkeypatch.setattr(type(bucket), "write_bytes", write_bytes)
    mirror = Mirror(bucket, "log.txt")
    failing.set()
    (mirror.folder / "log.txt").write_text("line\n")
    wait_for(lambda: "could not be written now: 503" in caplog.text)
    failing.clear()
    wait_for(lambda: (bucket / "log.txt").read_text() == "line\n")
    # At the end there is no later: the error names the copy that is kept.
    failing.set()
    (mirror.folder / "log.txt").write_text("line\nlast\n")
    with pytest.raises(OSError, match=f"kept in {mirror.folder}"):
        mirror.close()
    assert (mirror.folder / "log.txt").read_text() == "line\nlast\n"
    mirror.close()


def test_finished_files_are_freed_once_they_are_sent(bucket):
    mirror = Mirror(bucket)
    (mirror.folder / "events.1").write_text("whole")
    mirror.finish("events.*")
    (mirror.folder / "events.2").write_text("growing")
    mirror._send()
    assert [path.name for path in mirror.folder.iterdir()] == ["events.2"]
    assert {path.name for path in bucket.iterdir()} == {"events.1", "events.2"}
    mirror.close()


def test_an_exception_reaches_the_log_in_the_bucket(bucket):
    for line in ("one", "two"):
        with pytest.raises(RuntimeError, match="broke"), tee_log(bucket):
            print(line)
            raise RuntimeError("broke")
    log = (bucket / "log.txt").read_text()
    assert log.index("one") < log.index("broke") < log.index("two")


def test_metrics_in_a_bucket_are_cut_back_on_resume(bucket):
    with MetricWriter(bucket) as writer:
        for nimg in (1000, 2000, 3000):
            writer.write(nimg, {"loss": 1.0})
    with MetricWriter(bucket, nimg=2000) as writer:
        writer.write(4000, {"loss": 2.0})
    assert [record["kimg"] for record in read_metrics(bucket / "metrics.jsonl")] == [1, 2, 4]
    assert read_metrics(writer.path) == read_metrics(bucket / "metrics.jsonl")
