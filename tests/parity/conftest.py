"""Makes one test per entry of a folder's `index.json`, and lists the kinds that have no runner."""

import collections
import json
import pathlib

import pytest

from tests.parity.case import kind_of
from tests.parity.test_golden import RUNNERS

# Kinds with a program per phase, or a large network.
SLOW = ("loss_", "train_", "sg1_losses", "pggan_losses", "feat_vgg16")


def pytest_generate_tests(metafunc):
    """One `test_golden` per case of the folder."""
    if "golden_entry" not in metafunc.fixturenames:
        return
    folder = pathlib.Path(metafunc.config.getoption("--golden"))
    entries = json.loads((folder / "index.json").read_text())["cases"]
    cases = [
        pytest.param(
            *(entry, folder, kind_of(entry)),
            id=entry["file"].removesuffix(".npz"),
            marks=[pytest.mark.slow] if kind_of(entry).startswith(SLOW) else [],
        )
        for entry in entries
    ]
    metafunc.parametrize(("golden_entry", "golden_folder", "golden_kind"), cases)


def pytest_terminal_summary(terminalreporter):
    """Says which kinds of cases nothing of ours was compared with."""
    folder = pathlib.Path(terminalreporter.config.getoption("--golden"))
    entries = json.loads((folder / "index.json").read_text())["cases"]
    missing = collections.Counter(kind for kind in map(kind_of, entries) if kind not in RUNNERS)
    if missing:
        listed = ", ".join(f"{kind} ({n})" for kind, n in sorted(missing.items()))
        terminalreporter.write_line(f"parity: kinds without a runner, not covered: {listed}")
