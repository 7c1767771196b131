"""pod.sh: what it would do, and what it does when a pod comes, goes and comes back."""

import re
import subprocess

import pytest

POD = ["--name=ffhq", "--zone=us-west4-a"]
FLAGS = ["--", "--config=configs/ffhq.py", "--workdir=gs://B/a b"]
LIST = (
    r"queued-resources list --zone=us-west4-a --filter=name~/ffhq\$ --format=value\(state.state\)"
)
CREATE = (
    "queued-resources create ffhq --zone=us-west4-a --node-id=ffhq"
    " --accelerator-type=v5litepod-16 --runtime-version=v2-alpha-tpuv5-lite"
)
DELETE = "queued-resources delete ffhq --zone=us-west4-a --force --quiet"
SSH, SCP = "tpu-vm ssh ffhq --zone=us-west4-a", "tpu-vm scp TMP"
ALL = "ffhq: --zone=us-west4-a --worker=all"


def plan(launch, *arguments):
    """The cloud commands of a dry run; of a remote script its first line."""
    script = launch / "tpu_vm" / "pod.sh"
    done = subprocess.run([script, *arguments, "--dry_run", *FLAGS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("gcloud compute tpus ")]
    lines = [
        re.sub(r"/\S*/tmp\.\w+", "TMP", line).removeprefix("gcloud compute tpus ") for line in lines
    ]
    return [re.sub(r"\$'--command=(.*?)\\n.*'$", r"--command=\1 ...", line) for line in lines]


INSTALL = [f"{SCP}/source.tar.gz {ALL}", f"{SSH} --worker=all --command=set -e ..."]
RUN = [
    f"{SCP}/train.sh {ALL}",
    f"{SSH} --worker=all --command=sudo systemctl enable stylegan_jax@$USER ...",
]
LOOK = (
    f"{SSH} --worker=0 --command=show() {{ systemctl show --property=$1 --value"
    " stylegan_jax@$USER; } ..."
)


@pytest.mark.parametrize(
    "command, expected",
    [
        ("create", [CREATE]),
        ("install", INSTALL),
        ("run", RUN),
        (
            "logs",
            [
                rf"{SSH} --worker=0 --command=journalctl\ --follow\ --lines=100\ --output=cat\ "
                r"--unit=stylegan_jax@\$USER"
            ],
        ),
        (
            "stop",
            [rf"{SSH} --worker=all --command=sudo\ systemctl\ disable\ --now\ stylegan_jax@\$USER"],
        ),
        ("delete", [DELETE]),
        ("up", [LIST, CREATE, LIST, LOOK, *INSTALL, *RUN, LIST, LOOK]),
    ],
)
def test_dry_run(launch, command, expected):
    assert plan(launch, command, *POD) == expected


def test_options_reach_the_pod(launch):
    options = ["--spot", "--project=p", "--type=v6e-16", "--runtime=v2-alpha-tpuv6e"]
    assert plan(launch, "create", *POD, *options) == [
        "queued-resources create ffhq --zone=us-west4-a --project=p --node-id=ffhq"
        " --accelerator-type=v6e-16 --runtime-version=v2-alpha-tpuv6e --spot"
    ]


def test_what_the_workers_run(launch):
    done = subprocess.run(
        [launch / "tpu_vm" / "pod.sh", "run", *POD, "--dry_run", *FLAGS],
        capture_output=True,
        text=True,
    )
    script = [line for line in done.stdout.splitlines() if line.startswith("# train.sh: ")]
    assert [line.removeprefix("# train.sh: ") for line in script] == [
        "cd stylegan_jax",
        r"exec ../venv/bin/python -m stylegan_jax.main --config=configs/ffhq.py"
        r" --workdir=gs://B/a\ b",
    ]


@pytest.fixture
def up(launch, run_faked, tmp_path):
    """Runs `up` against answers of a cloud; returns the exit code and the changes it asked for."""

    def run(*answers: str, **env: str):
        (tmp_path / "answers.txt").write_text("".join(f"{answer}\n" for answer in answers))
        done, asked = run_faked(
            launch / "tpu_vm" / "pod.sh",
            *("up", *POD, *FLAGS),
            FAKE_ANSWERS=str(tmp_path / "answers.txt"),
            POLL_SECONDS="0",
            **env,
        )
        kinds = r"resources (create|delete) | scp \S+/(source.tar.gz|train.sh) |systemctl (restart)"
        changes = [
            word for line in asked for found in re.findall(kinds, line) for word in found if word
        ]
        assert (tmp_path / "answers.txt").read_text() == "", "not every answer was asked for"
        return done.returncode, changes

    return run


START = ["source.tar.gz", "train.sh", "restart"]


def test_up_to_the_end(up):
    answers = ["", "WAITING_FOR_RESOURCES", "PROVISIONING", "ACTIVE", "off"]
    running = ["ACTIVE", "active 0", "ACTIVE", "activating 42"]
    assert up(*answers, *running, "ACTIVE", "inactive 0") == (0, ["create", *START])


def test_up_after_a_preemption(up):
    lost = ["ACTIVE", "error", "SUSPENDING", "SUSPENDED"]
    again = ["PROVISIONING", "ACTIVE", "off", "ACTIVE", "active 0", "ACTIVE", "inactive 0"]
    changes = ["create", *START, "delete", "create", *START]
    assert up("", "ACTIVE", "off", "ACTIVE", "active 0", *lost, *again) == (0, changes)


def test_up_joins_a_training(up):
    assert up("ACTIVE", "active 0", "ACTIVE", "inactive 0") == (0, [])


@pytest.mark.parametrize("service", ["failed 1", "inactive 42", "inactive 0", "off"])
def test_up_starts_what_has_ended_before(up, service):
    assert up("ACTIVE", service, "ACTIVE", "active 0", "ACTIVE", "inactive 0") == (0, START)


@pytest.mark.parametrize("service, code", [("failed 1", 1), ("inactive 42", 42), ("off", 42)])
def test_up_ends_with_the_training(up, service, code):
    assert up("ACTIVE", "active 0", "ACTIVE", service) == (code, [])


def test_up_outlives_a_bad_connection_and_a_restart_of_the_host(up):
    answers = ["error", "ACTIVE", "error", "ACTIVE", "active 0", "ACTIVE", "boot"]
    assert up(*answers, "ACTIVE", "active 0", "ACTIVE", "inactive 0") == (0, [])


def test_up_gives_up_installing(up):
    code, changes = up(*["ACTIVE", "off"] * 5, FAKE_SCP_FAILS="yes")
    assert (code, changes) == (1, ["source.tar.gz"] * 5)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "give a command"),
        (["up", *POD], "flags of the training"),
        (["logs", "--name=a"], "--zone"),
        (["logs", *POD, "--sport"], "unknown option --sport"),
        (["start", *POD], "unknown command start"),
    ],
)
def test_wrong_options(launch, arguments, message):
    script = launch / "tpu_vm" / "pod.sh"
    done = subprocess.run([script, *arguments], capture_output=True, text=True)
    assert done.returncode == 2
    assert message in done.stderr


def test_service(launch):
    text = (launch / "tpu_vm" / "stylegan_jax@.service").read_text()
    settings = dict(line.split("=", 1) for line in text.splitlines() if re.match(r"\w+=", line))
    # Of systemd's rules: any failure starts again, and 42 as well; 1 does not.
    assert settings["Restart"] == "on-failure"
    assert settings["RestartForceExitStatus"] == settings["SuccessExitStatus"] == "42"
    assert settings["RestartPreventExitStatus"] == "1"
