"""Every piece of shell, by ShellCheck; the Dockerfile, by hadolint."""

import pathlib
import subprocess

import pytest
import yaml

from tests.launch.conftest import FAKES, ROOT

LAUNCH = ROOT / "launch"
SCRIPTS = [
    *LAUNCH.rglob("*.sh"),
    *LAUNCH.rglob("*.sbatch"),
    LAUNCH / "gke" / "job.env",
    *FAKES.iterdir(),
]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck(script, tool):
    # The settings of job.env are used by what reads it.
    options = ["--exclude=SC2034"] if script.suffix == ".env" else []
    command = [tool("shellcheck"), "--shell=bash", "--severity=style", *options, script]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("script", [*LAUNCH.rglob("*.sh"), *LAUNCH.rglob("*.sbatch")], ids=str)
def test_scripts_stop_at_errors(script):
    assert "\nset -euo pipefail\n" in script.read_text()


@pytest.mark.parametrize("part", ["setup", "run"])
@pytest.mark.parametrize("task", ["tpu", "gpu"])
def test_shellcheck_of_sky(task, part, tool):
    text = yaml.safe_load((LAUNCH / "sky" / f"{task}.yaml").read_text())[part]
    # SkyPilot sets the variables.
    command = [tool("shellcheck"), "--shell=bash", "--exclude=SC2154", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_hadolint(tool):
    done = subprocess.run([tool("hadolint"), LAUNCH / "Dockerfile"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_image_has_what_training_needs():
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored[0] == "*"
    kept = [line.removeprefix("!") for line in ignored if line.startswith("!")]
    assert kept == ["README.md", "launch/constraints.txt", "setup.py", "stylegan_jax"]
    assert all((ROOT / name).exists() for name in kept)
    setup = pathlib.Path(ROOT / "setup.py").read_text()
    assert all(f'"{extra}": [' in setup for extra in ("tpu", "cuda", "cuda13", "cpu", "gcs", "k8s"))
