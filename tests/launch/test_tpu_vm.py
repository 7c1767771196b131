"""pod.sh: what it would do, and what it does when a pod comes, goes and comes back."""

import re
import shutil
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
    options = ["--spot", "--project=my-project", "--type=v6e-16", "--runtime=nightly"]
    assert plan(launch, "create", *POD, *options) == [
        "queued-resources create ffhq --zone=us-west4-a --project=my-project --node-id=ffhq"
        " --accelerator-type=v6e-16 --runtime-version=nightly --spot"
    ]


@pytest.mark.parametrize(
    "kind, runtime",
    [
        ("v4-16", "tpu-ubuntu2204-base"),
        ("v5p-16", "v2-alpha-tpuv5"),
        ("v6e-16", "v2-alpha-tpuv6e"),
        ("tpu7x-16", "v2-alpha-tpu7-ubuntu2404"),
    ],
)
def test_chips_bring_their_runtime(launch, kind, runtime):
    (asked,) = plan(launch, "create", *POD, f"--type={kind}")
    assert f"--accelerator-type={kind} --runtime-version={runtime}" in asked


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
    answers = ["ACTIVE", "error", "error", "ACTIVE", "active 0", "ACTIVE", "boot"]
    assert up(*answers, "ACTIVE", "active 0", "ACTIVE", "inactive 0") == (0, [])


def test_up_gives_up_installing(up):
    code, changes = up(*["ACTIVE", "off"] * 5, FAKE_FAILS="scp")
    assert (code, changes) == (1, ["source.tar.gz"] * 5)


def test_up_ends_when_the_first_look_fails(launch, run_faked, tmp_path):
    (tmp_path / "answers.txt").write_text("error\n")
    done, asked = run_faked(
        launch / "tpu_vm" / "pod.sh", "up", *POD, *FLAGS, FAKE_ANSWERS=tmp_path / "answers.txt"
    )
    assert (done.returncode, len(asked)) == (2, 1)
    assert done.stderr == (
        "pod.sh: the first look at us-west4-a failed: ERROR: no account."
        " Please run: gcloud auth login\n"
    )


def test_up_ends_when_the_pod_cannot_be_asked_for(up):
    assert up("", FAKE_FAILS="create") == (1, ["create"])


@pytest.mark.parametrize(
    "answers, fails, changes",
    [
        # The cloud, the worker, giving back and asking again are gone after the first look.
        (["PROVISIONING", *["error"] * 30], "none", []),
        (["ACTIVE", "error"] * 30, "none", []),
        (["SUSPENDED"] * 30, "delete", ["delete"] * 30),
        (["SUSPENDED", *[""] * 29], "create", ["delete", *["create"] * 30]),
        # A request that is refused each time.
        (["FAILED"] * 5, "none", ["delete", "create"] * 4),
    ],
)
def test_up_does_not_go_on_for_ever(up, answers, fails, changes):
    assert up(*answers, FAKE_FAILS=fails) == (1, changes)


@pytest.mark.parametrize("command", ["up", "create", "install", "run", "logs", "stop", "delete"])
def test_without_gcloud(launch, tmp_path, command):
    for name in ("bash", "dirname"):
        (tmp_path / name).symlink_to(shutil.which(name))
    done = subprocess.run(
        [launch / "tpu_vm" / "pod.sh", command, *POD, *FLAGS],
        env={"PATH": str(tmp_path)}, capture_output=True, text=True, timeout=10,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("pod.sh: the command gcloud is not on this machine: https://")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "option, wanted",
    [
        ("--name=FFHQ", "a-z, 0-9 and -"),
        ("--name=ffhq_1", "a-z, 0-9 and -"),
        ("--name=ffhq-", "a-z, 0-9 and -"),
        (f"--name={'a' * 64}", "at most 63"),
        ("--zone=us-west4", "a zone such as us-west4-a"),
        ("--zone=US-west4-a", "a zone such as us-west4-a"),
        ("--project=PROJECT", "ID of a project"),
        ("--project=my project", "ID of a project"),
        ("--type=v5e-16", "v5litepod-N"),
        ("--type=v5litepod-0", "v5litepod-N"),
        ("--type=v6e", "v6e-N"),
        ("--type=tpu7-16", "tpu7x-N"),
        ("--runtime=v2 alpha", "a version such as"),
    ],
)
def test_names_are_checked_before_the_cloud(launch, run_faked, option, wanted):
    done, asked = run_faked(launch / "tpu_vm" / "pod.sh", "up", *POD, option, *FLAGS)
    assert (done.returncode, asked) == (2, [])
    assert done.stderr.startswith(f"pod.sh: {option}: give ") and wanted in done.stderr


def test_words_of_the_readme_are_not_names(launch, run_faked):
    flags = ["--", "--config=configs/ffhq.py", "--workdir=gs://BUCKET/runs"]
    done, asked = run_faked(launch / "tpu_vm" / "pod.sh", "up", *POD, *flags)
    assert (done.returncode, asked) == (2, [])
    assert "--workdir=gs://BUCKET/runs: put your own name in place of BUCKET" in done.stderr


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "give a command"),
        (["up", *POD, "--", "--config=configs/ffhq.py"], "--workdir"),
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
