"""The commands of launch/README.md: programs, flags, files and links that it names are there."""

import inspect
import re
import shlex
import string
import subprocess

import pytest
import yaml

from stylegan_jax.configs import ffhq
from stylegan_jax.tools.dataset import __main__ as dataset
from tests.launch.conftest import ROOT

README = (ROOT / "launch" / "README.md").read_text()
COMMANDS = [
    line
    for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
]
INLINE = re.findall(r"`([^`\n]+)`", README)


def main_flags():
    """The flags of main.py, by its source: another test may have defined those of a tool."""
    files = [ROOT / "stylegan_jax" / name for name in ("main.py", "recipes.py")]
    source = "".join(path.read_text() for path in files)
    return set(re.findall(r'DEFINE_\w+\(\s*"(\w+)"', source))


def check_main(words):
    """Fails for a flag that main.py does not have or a setting that the recipe does not have."""
    for word in words:
        name = word.removeprefix("--").split("=")[0]
        if name.startswith("config."):
            config = ffhq.get_config()
            for key in name.split(".")[1:]:
                config = config[key]
        else:
            assert name in main_flags(), word


def starting(*words):
    found = [line for line in COMMANDS if line.startswith(words)]
    assert found, f"no command of the README starts with {words}"
    return found


@pytest.mark.parametrize("line", starting("python -m stylegan_jax.main"))
def test_training(line):
    check_main(shlex.split(line)[3:])


def test_flags_in_the_text():
    flags = [word for text in INLINE for word in text.split() if word.startswith("--")]
    ours = [
        flag
        for flag in flags
        if flag.startswith(("--config.", "--coordinator", "--mode", "--topology"))
    ]
    assert len(ours) >= 4
    check_main(ours)


@pytest.mark.parametrize("line", starting("python -m stylegan_jax.tools.dataset"))
def test_dataset(line):
    _, _, _, command, *options = shlex.split(line)
    known = inspect.signature(dataset.COMMANDS[command]).parameters
    assert not {option.removeprefix("--").split("=")[0] for option in options} - known.keys()


def pod_lines():
    return starting("launch/tpu_vm/pod.sh") + [
        text for text in INLINE if text.startswith("launch/tpu_vm")
    ]


@pytest.mark.parametrize("line", sorted(set(pod_lines())))
def test_pod(line):
    script, command, *options = shlex.split(line)
    done = subprocess.run(
        [script, command, "--dry_run", *options], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0 and "gcloud compute tpus" in done.stdout, done.stderr
    if "--" in options:
        check_main(options[options.index("--") + 1 :])


@pytest.mark.parametrize("line", starting("sbatch "))
def test_sbatch(line):
    words = shlex.split(line)
    script = words.index("launch/slurm/train.sbatch")
    assert all(word.startswith("--") for word in words[1:script])
    check_main(words[script + 1 :])


@pytest.mark.parametrize("line", starting("docker build"))
def test_docker(line):
    options = dict(
        word.removeprefix("--").split("=", 1) for word in shlex.split(line) if "=" in word
    )
    text = (ROOT / options["file"]).read_text()
    arguments = re.findall(r"--build-arg=(\w+)=", README)
    assert {"EXTRA", "USER_ID"} == set(arguments)
    assert all(f"ARG {argument}=" in text for argument in arguments)


@pytest.mark.parametrize("line", [line for line in COMMANDS if "job.sh" in line])
def test_manifests_are_filled(line, run_faked):
    for kind in re.findall(r"`(jobset_\w+\.yaml)`", README):
        script = line.replace("jobset_tpu.yaml", f"{kind} --dry_run")
        done, _ = run_faked("bash", "-c", script)
        assert done.returncode == 0, done.stderr
        jobset = list(yaml.safe_load_all(done.stdout))[-1]
        (job,) = jobset["spec"]["replicatedJobs"]
        (container,) = job["template"]["spec"]["template"]["spec"]["containers"]
        assert container["image"] == "IMAGE"
        assert container["args"][1:] == [
            "--workdir=gs://BUCKET/runs/ffhq",
            "--config.data.data_dir=gs://BUCKET/data",
        ]
        check_main(container["args"])


def test_settings_of_the_manifests():
    known = set(re.findall(r"^(\w+)=", (ROOT / "launch/gke/job.env").read_text(), re.MULTILINE))
    used = set()
    for manifest in (ROOT / "launch" / "gke").glob("*.yaml"):
        used |= set(string.Template(manifest.read_text()).get_identifiers())
    assert used == known


@pytest.mark.parametrize("line", starting("xpk workload create"))
def test_xpk(line):
    (command,) = [word for word in shlex.split(line) if word.startswith("--command=")]
    words = command.removeprefix("--command=").split()
    assert words[:3] == ["python", "-m", "stylegan_jax.main"]
    check_main(words[3:])


@pytest.mark.parametrize("line", starting("sky jobs launch"))
def test_sky(line):
    words = shlex.split(line)
    task = yaml.safe_load((ROOT / words[3]).read_text())
    names = [word.split("=")[1] for word in words if word.startswith("--env=")]
    assert names and set(names) <= task["envs"].keys()


def test_links():
    headings = {
        re.sub(r"[^a-z -]", "", text.lower()).replace(" ", "-")
        for text in re.findall(r"^## (.*)$", README, re.MULTILINE)
    }
    for target in re.findall(r"\]\(([^)]+)\)", README):
        if target.startswith("#"):
            assert target[1:] in headings
        elif not target.startswith("https://"):
            assert (ROOT / "launch" / target).exists(), target
