import types

import jax
import jax.numpy as jnp
import pytest

from stylegan_jax.run.profiling import Profiler, parse_window
from stylegan_jax.training.settings import SettingsError


def test_windows():
    assert parse_window("10:20") == (10, 20) and parse_window("0:1") == (0, 1)


@pytest.mark.parametrize("text", ["10", "20:10", "5:5", "a:b", "-1:3", "1:2:3", "1.5:3", ":"])
def test_other_windows_are_refused(tmp_path, text):
    with pytest.raises(ValueError, match="give START:STOP.*such as 10:20"):
        Profiler(tmp_path, text)


def test_a_window_that_no_trace_holds_is_refused():
    with pytest.raises(SettingsError, match="trace of 100000 iterations .* at most 1000"):
        parse_window("5:100005")


@pytest.fixture
def traced(monkeypatch):
    """What was asked of jax's profiler, in order."""
    calls = []

    def annotation(name, step_num):
        return types.SimpleNamespace(
            __enter__=lambda: calls.append(step_num), __exit__=lambda *exc: calls.append(-step_num)
        )

    monkeypatch.setattr(jax.profiler, "start_trace", lambda folder: calls.append(folder))
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: calls.append("stop"))
    monkeypatch.setattr(jax.profiler, "StepTraceAnnotation", annotation)
    return calls


def run(profiler, steps):
    for _ in range(steps):
        profiler.step(jnp.zeros(()))
    profiler.close()


def test_exactly_the_window_is_traced(tmp_path, traced, capsys):
    run(Profiler(tmp_path, "2:4"), 8)
    assert traced == [str(tmp_path / "profile"), 2, -2, 3, -3, "stop"]
    assert "iterations 2 to 3 are in" in capsys.readouterr().out


def test_a_run_that_ends_inside_the_window_keeps_what_there_is(tmp_path, traced, capsys):
    run(Profiler(tmp_path, "1:9"), 3)
    assert traced == [str(tmp_path / "profile"), 1, -1, 2, -2, "stop"]
    assert "iterations 1 to 2 are in" in capsys.readouterr().out


@pytest.mark.parametrize(("window", "enabled"), [(None, True), ("1:2", False), ("5:6", True)])
def test_nothing_is_traced_otherwise(tmp_path, traced, capsys, window, enabled):
    run(Profiler(tmp_path, window, enabled=enabled), 4)
    assert traced == [] and capsys.readouterr().out == "" and not list(tmp_path.iterdir())


def test_a_bucket_gets_the_files(tmp_path, monkeypatch, traced):
    bucket = tmp_path / "bucket"
    monkeypatch.setattr("stylegan_jax.run.profiling.is_cloud", lambda path: True)

    def start(folder):
        file = type(tmp_path)(folder) / "plugins" / "profile" / "a" / "x.xplane.pb"
        file.parent.mkdir(parents=True)
        file.write_bytes(b"trace")

    monkeypatch.setattr(jax.profiler, "start_trace", start)
    run(Profiler(bucket, "0:1"), 2)
    assert (bucket / "profile/plugins/profile/a/x.xplane.pb").read_bytes() == b"trace"
