"""One run per folder: who is refused, who takes over, and what is said."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from stylegan_jax import files
from stylegan_jax.files import CloudObject, as_path
from stylegan_jax.run import ownership
from stylegan_jax.run.ownership import OWNER_FILE, WorkdirInUseError, own_workdir, wait_for_owner
from tests import gcs

# Owns a folder until it is killed.
_OWNER = """
import sys, time
from stylegan_jax.run.ownership import own_workdir
with own_workdir(sys.argv[1]):
    print("mine", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def other_run(tmp_path):
    """A process that owns `tmp_path / "run"`."""
    command = [sys.executable, "-c", _OWNER, str(tmp_path / "run")]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)
    assert process.stdout is not None and process.stdout.readline() == "mine\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_run_is_refused_until_the_first_is_dead(tmp_path, other_run):
    folder = tmp_path / "run"
    said = rf"host {socket.gethostname()}, process {other_run.pid}, started .* already writes to"
    for _ in range(2):  # being refused takes nothing from the owner
        with pytest.raises(WorkdirInUseError, match=said):
            with own_workdir(folder):
                pytest.fail("two own one folder")
    other_run.send_signal(signal.SIGKILL)
    other_run.wait()
    with own_workdir(folder):
        assert json.loads((folder / OWNER_FILE).read_text())["process"] == os.getpid()
    assert not (folder / OWNER_FILE).exists()
    with own_workdir(folder):
        pass


def test_waiting_for_an_owner_that_leaves(tmp_path, other_run, capsys):
    wait_for_owner(tmp_path / "nothing", 60)
    wait_for_owner(tmp_path / "run", 0.2)
    assert "is in use: waiting up to 0 s" in capsys.readouterr().out
    threading.Timer(0.3, other_run.kill).start()
    start = time.monotonic()
    wait_for_owner(tmp_path / "run", 60)
    assert 0.2 < time.monotonic() - start < 30
    with own_workdir(tmp_path / "run"):  # nothing is held by having waited
        pass


def test_a_torn_owner_is_named_as_well_as_can_be(tmp_path, other_run):
    for text in ("", "{", "[1]", "\0"):
        (tmp_path / "run" / OWNER_FILE).write_text(text)
        with pytest.raises(WorkdirInUseError, match="Another run already writes to .*/run: wait"):
            with own_workdir(tmp_path / "run"):
                pass


@pytest.fixture
def bucket(monkeypatch):
    """A bucket, with owners that speak three times a second."""
    files._check_bucket.cache_clear()
    monkeypatch.setattr(ownership, "BEAT_SEC", 0.3)
    monkeypatch.setattr(ownership, "_POLL_SEC", 0.01)
    with gcs.serve("bucket") as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        yield "gs://bucket/run"
    files._check_bucket.cache_clear()


def write_owner(workdir, **owner):
    assert CloudObject(as_path(workdir) / OWNER_FILE).write(json.dumps(owner))


def test_a_bucket_is_owned_while_its_owner_speaks(bucket, capsys):
    me = json.dumps({"host": "elsewhere", "process": 7, "start": "today"})
    ended = threading.Event()
    owner = CloudObject(as_path(bucket) / OWNER_FILE)

    def speak():
        while not ended.wait(0.05):
            assert owner.write(me)

    assert owner.write(me)
    thread = threading.Thread(target=speak)
    thread.start()
    try:
        with pytest.raises(WorkdirInUseError, match="host elsewhere, process 7, started today"):
            with own_workdir(bucket):
                pass
    finally:
        ended.set()
        thread.join()
    assert "may still run here; waiting up to" in capsys.readouterr().out
    # It has fallen silent: three beats later the folder is free.
    with own_workdir(bucket):
        there = owner.read()
        assert there is not None and json.loads(there.text)["process"] == os.getpid()
    assert owner.read() is None


def test_a_dead_process_of_this_machine_leaves_a_bucket_at_once(bucket, monkeypatch):
    monkeypatch.setattr(ownership, "BEAT_SEC", 1000.0)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    write_owner(bucket, host=socket.gethostname(), process=dead.pid, start="today")
    with own_workdir(bucket):
        pass


def test_of_two_that_write_at_once_one_is_told(bucket):
    one = CloudObject(as_path(bucket) / OWNER_FILE)
    two = CloudObject(as_path(bucket) / OWNER_FILE)
    assert one.read() is None and two.read() is None
    assert one.write("one") and not two.write("two")
    two.delete()
    there = one.read()
    assert there is not None and there.text == "one"
