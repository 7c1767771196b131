"""What several processes agree on; the others are made up here, and real in end_to_end."""

import jax
import numpy as np
import pytest

from stylegan_jax.run import processes as module
from stylegan_jax.run.processes import all_or_none, as_first_process, leave_after_error


@pytest.fixture
def others(monkeypatch):
    """Two processes, of which this is the second; what the first one sends."""
    sent = []
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(module, "wait_for_all", lambda what: None)
    gather = dict(process_allgather=lambda mine: np.stack([sent.pop(), mine]))
    first = dict(broadcast_one_to_all=lambda mine: sent.pop())
    for name, function in (gather | first).items():
        monkeypatch.setattr(module.multihost_utils, name, function)
    return sent


def padded(text):
    return np.frombuffer(text.encode().ljust(1000, b"\0"), np.uint8)


def test_a_process_fails_where_another_does(others):
    others.append(padded(""))
    with all_or_none("opening the data"):
        pass
    others.append(padded("ValueError: no such folder: /daten/größe"))
    message = "Process 0 failed while opening the data: ValueError: .*: /daten/größe$"
    with pytest.raises(RuntimeError, match=message):
        with all_or_none("opening the data"):
            pass


@pytest.mark.parametrize("first", ["", "ValueError: mine too"])
def test_its_own_error_is_the_one_that_counts(others, first):
    others.append(padded(first))
    with pytest.raises(ValueError, match="^" + "long" * 1000):
        with all_or_none("opening the data"):
            raise ValueError("long" * 1000)
    assert not others, "and was told to the others"


def test_a_process_alone_asks_nobody():
    with pytest.raises(ValueError, match="^mine"):
        with all_or_none("opening the data"):
            raise ValueError("mine")
    assert as_first_process({"swd": 0.1}) == {"swd": 0.1}


def test_the_numbers_of_the_first_process_count(others):
    theirs = np.array([1 / 3, np.inf])
    others.append(theirs.view(np.uint32))
    assert as_first_process({"swd": 1 / 3 + 1e-16, "floor": 2.0}) == {"swd": 1 / 3, "floor": np.inf}


@pytest.mark.parametrize(
    ("error", "others_fail", "code"),
    [
        (OSError("disk full"), False, 1),
        (OSError("disk full"), True, None),
        (jax.errors.JaxRuntimeError("connection closed by peer"), False, None),
    ],
)
def test_only_who_fails_alone_leaves_at_once(others, monkeypatch, capsys, error, others_fail, code):
    def barrier(*, key, timeout_ms):
        if not others_fail:
            raise TimeoutError

    codes = []
    monkeypatch.setattr(module.multihost, "get_barrier_sync_fn", lambda: barrier)
    monkeypatch.setattr(module.os, "_exit", codes.append)
    try:
        raise error
    except Exception:
        leave_after_error()
    assert codes == ([code] if code else [])
    assert ("disk full" in capsys.readouterr().err) == bool(code)
