"""Saved runs that tests of checkpoints read."""

import pathlib
import shutil

import pytest

from tests.run.saved import save_steps


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> pathlib.Path:
    """A workdir with steps 1000 and 2000; tests that change it work on a copy."""
    workdir = tmp_path_factory.mktemp("saved")
    save_steps(workdir)
    return workdir


@pytest.fixture
def workdir(saved, tmp_path) -> pathlib.Path:
    shutil.copytree(saved, tmp_path / "run")
    return tmp_path / "run"
