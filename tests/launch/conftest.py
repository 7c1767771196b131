"""The folder of launchers, and commands that stand in for those of a cluster."""

import os
import pathlib
import subprocess
import sysconfig
from collections.abc import Callable

import pytest

ROOT = pathlib.Path(__file__).parents[2]
FAKES = pathlib.Path(__file__).parent / "fakes"


@pytest.fixture
def launch() -> pathlib.Path:
    """The folder of launchers."""
    return ROOT / "launch"


@pytest.fixture
def tool() -> Callable[[str], str]:
    """Where a program that pip has installed is."""
    return lambda name: str(pathlib.Path(sysconfig.get_path("scripts")) / name)


@pytest.fixture
def run_faked(tmp_path):
    """Runs a command among the stand-ins; returns the process and what these were asked."""

    def run(*command: object, **env: str) -> tuple[subprocess.CompletedProcess, list[str]]:
        log = tmp_path / "asked.txt"
        done = subprocess.run(
            [str(part) for part in command],
            env=os.environ
            | {"PATH": f"{FAKES}:{os.environ['PATH']}", "FAKE_LOG": str(log)}
            | {key: str(value) for key, value in env.items()},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=30,
        )
        return done, log.read_text().splitlines() if log.exists() else []

    return run
