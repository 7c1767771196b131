"""The versions that launchers install: they cover setup.py, and every launcher takes them."""

import ast
import re
import shutil
import subprocess

import pytest
from packaging.requirements import Requirement

from tests.launch.conftest import ROOT

LAUNCH = ROOT / "launch"
EXTRAS = ("tpu", "cuda", "cuda13", "cpu", "gcs", "k8s", "report")
# The files that install something on a machine that trains.
INSTALLERS = ["Dockerfile", "sky/gpu.yaml", "sky/tpu.yaml", "tpu_vm/pod.sh", "README.md"]


def versions():
    """The version of each package."""
    lines = (LAUNCH / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def wanted():
    """What setup.py asks for, with the launchers' extras."""
    tree = ast.parse((ROOT / "setup.py").read_text())
    found = {
        node.arg: ast.literal_eval(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword) and node.arg in ("install_requires", "extras_require")
    }
    extras = [line for extra in EXTRAS for line in found["extras_require"][extra]]
    return [Requirement(line) for line in found["install_requires"] + extras]


@pytest.mark.parametrize("requirement", wanted(), ids=str)
def test_what_setup_asks_for_has_a_version(requirement):
    name = requirement.name.lower().replace("_", "-")
    assert name in versions(), "run launch/lock.sh"
    assert requirement.specifier.contains(versions()[name]), "run launch/lock.sh"


def test_the_parts_of_jax_are_of_one_version():
    found = versions()
    parts = [f"jax-cuda{cuda}-{part}" for cuda in (12, 13) for part in ("pjrt", "plugin")]
    assert {found[part] for part in ("jax", "jaxlib", *parts)} == {found["jax"]}
    assert {"libtpu", "kubernetes", "uv"} <= found.keys()


def test_orbax_stays_below_1():
    (orbax,) = [found for found in wanted() if found.name == "orbax-checkpoint"]
    assert not orbax.specifier.contains("1.0.0")


@pytest.mark.parametrize("name", INSTALLERS)
def test_launchers_take_them(name):
    # Lines that a backslash continues are one.
    text = (LAUNCH / name).read_text().replace("\\\n", " ")
    installs = re.findall(r"pip install [^`\n]*(?:(?:--editable|-e) [^\n`]*|uv$)", text, re.M)
    assert installs
    for line in installs:
        # On one's own machine, where nothing but the data set is prepared, any version will do.
        assert "constraint" in line or line.startswith("pip install -e '.[gcs]'"), line


def test_one_python():
    places = [*INSTALLERS[:4], "lock.sh"]
    text = "".join((LAUNCH / place).read_text() for place in places)
    found = re.findall(r"FROM python:(3\.\d+)|--python(?:-version)?=(3\.\d+)", text)
    assert len(found) == 5 and {a or b for a, b in found} == {"3.12"}


@pytest.fixture
def lock(run_faked, tmp_path):
    """Runs a copy of lock.sh with lines for uv; returns the process, what is written, and where."""

    def run(*lines):
        folder = tmp_path / "launch"
        folder.mkdir()
        for name in ("lock.sh", "checks.sh"):
            shutil.copy(LAUNCH / name, folder)
        (folder / "constraints.txt").write_text("old\n")
        (tmp_path / "uv").write_text("\n".join(["#!/usr/bin/env bash", *lines, ""]))
        (tmp_path / "uv").chmod(0o755)
        path = f"{tmp_path}:/usr/bin:/bin"
        done, _ = run_faked(folder / "lock.sh", PATH=path)
        return done, (folder / "constraints.txt").read_text(), sorted(folder.iterdir())

    return run


def test_lock_writes_what_uv_finds(lock):
    done, text, files = lock("cat", 'echo "$*"')
    assert done.returncode == 0, done.stderr
    note, extra, asked = text.splitlines()
    assert note.startswith("#") and extra == "uv"
    assert asked.startswith("pip compile setup.py - --python-version=3.12 ")
    named = set(re.findall(r"--extra=(\w+)", asked))
    assert named == set(EXTRAS) - {"cpu"}  # which asks for nothing
    assert len(files) == 3


def test_lock_keeps_the_old_file_when_uv_fails(lock):
    done, text, files = lock("echo jax==1", "exit 3")
    assert (done.returncode, text, len(files)) == (3, "old\n", 3)


def test_lock_without_uv(run_faked, tmp_path):
    for name in ("bash", "dirname"):
        (tmp_path / name).symlink_to(shutil.which(name))
    done = subprocess.run(
        [LAUNCH / "lock.sh"], env={"PATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr == "lock.sh: the command uv is not on this machine: pip install uv\n"
