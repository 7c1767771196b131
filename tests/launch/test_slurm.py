"""The batch script among stand-ins for srun and scontrol."""

import json
import re
import shutil
import sys

import pytest

# A training that writes down how it was started and ends as told: CODES has a code per task.
TASK = """
import json, os, signal, sys, time
out, task = os.environ["OUT"], int(os.environ["SLURM_PROCID"])
codes = json.loads(os.environ["CODES"])
code = codes[task]
if code == "TERM":  # one that has not come to its handler yet, or has left it behind
    code = 0
else:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(code))
env = {key: value for key, value in os.environ.items() if key.startswith("SLURM_")}
with open(f"{out}/task{task}.part", "w") as file:
    json.dump({"argv": sys.argv[1:], "env": env}, file)
os.rename(file.name, f"{out}/task{task}.json")
while not all(os.path.exists(f"{out}/task{other}.json") for other in range(len(codes))):
    time.sleep(0.01)
if code == 42:
    time.sleep(float(os.environ.get("SLEEP", 0)))
if codes[task] == "TERM":
    time.sleep(20)
if code < 0:
    if code != -9:
        signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
os._exit(code)  # leaving is at once: no signal can come between
"""


@pytest.fixture
def sbatch(launch, run_faked, tmp_path):
    """Runs the script with two tasks that end with the given codes."""
    (tmp_path / "task.py").write_text(TASK)

    def run(*codes: int | str, **env: object):
        settings = {
            "TRAIN_COMMAND": f"{sys.executable} {tmp_path}/task.py",
            "SLURM_JOB_ID": "77",
            "OUT": tmp_path,
            "CODES": json.dumps(codes),
        }
        script = launch / "slurm" / "train.sbatch"
        flags = ["--config=configs/ffhq.py", "--workdir=/scratch/a b"]
        return run_faked("bash", script, *flags, **settings | env)

    return run


def test_tasks_get_flags_and_ids(sbatch, tmp_path):
    done, asked = sbatch(0, 0)
    assert (done.returncode, asked) == (0, [])
    for task in range(2):
        seen = json.loads((tmp_path / f"task{task}.json").read_text())
        assert seen["argv"] == ["--config=configs/ffhq.py", "--workdir=/scratch/a b"]
        expected = {
            "SLURM_JOB_ID": "77",
            "SLURM_LOCALID": str(task),
            "SLURM_NTASKS": "2",
            "SLURM_PROCID": str(task),
            "SLURM_STEP_NODELIST": "127.0.0.1",
            "SLURM_STEP_NUM_NODES": "1",
        }
        assert expected.items() <= seen["env"].items()


def test_default_command(launch):
    text = (launch / "slurm" / "train.sbatch").read_text()
    assert "${TRAIN_COMMAND:-python -m stylegan_jax.main}" in text


@pytest.mark.parametrize("codes", [(42, 42), (42, 0)])
def test_saved_is_queued_again(sbatch, codes):
    done, asked = sbatch(*codes)
    assert (done.returncode, asked) == (0, ["scontrol requeue 77"])


@pytest.mark.parametrize("code", [-6, -9, -15, 75])
def test_lost_is_queued_again_unless_at_the_start(sbatch, code):
    done, asked = sbatch(code, 0, MIN_SECONDS=0)
    assert (done.returncode, asked) == (0, ["scontrol requeue 77"])


@pytest.mark.parametrize("code, returned", [(-9, 137), (75, 75)])
def test_lost_at_the_start_is_broken(sbatch, code, returned):
    done, asked = sbatch(code, 0)
    assert (done.returncode, asked) == (returned, [])


def test_ended_while_it_leaves_counts_as_saved(sbatch):
    # The second task has no handler of its own: the step's end reaches it first.
    done, asked = sbatch(42, "TERM", SLEEP=0.1)
    assert (done.returncode, asked) == (0, ["scontrol requeue 77"])


def test_an_error_is_final(sbatch):
    done, asked = sbatch(1, 1)
    assert done.returncode == 1
    assert set(asked) == {"scontrol update JobId=77 Requeue=0"}


def test_an_error_is_not_hidden_by_the_tasks_that_it_ends(sbatch):
    # The other task is told to end, and saves: the step's code is 42.
    done, asked = sbatch(1, 42, SLEEP=20, MIN_SECONDS=0)
    assert done.returncode == 42
    assert asked == ["scontrol update JobId=77 Requeue=0"]
    assert "disabled" in done.stderr


def test_cancelled_is_final(launch, run_faked, sbatch, tmp_path):
    # scancel signals the batch shell and the tasks.
    script = launch / "slurm" / "train.sbatch"
    (tmp_path / "scancel.sh").write_text(
        f"set -m\nbash {script} & shell=$!\n"
        "until [[ -e $OUT/task0.json && -e $OUT/task1.json ]]; do sleep 0.05; done\n"
        "kill -TERM -- -$shell\nwait $shell\n"
    )
    done, asked = run_faked(
        "bash",
        tmp_path / "scancel.sh",
        TRAIN_COMMAND=f"{sys.executable} {tmp_path}/task.py",
        SLURM_JOB_ID="77",
        OUT=tmp_path,
        CODES="[42, 42]",
        SLEEP="20",
    )
    assert (done.returncode, asked) == (42, []), done.stderr


def test_it_is_not_queued_for_ever(sbatch):
    done, asked = sbatch(42, 42, SLURM_RESTART_COUNT=100)
    assert (done.returncode, asked) == (42, [])
    assert "give the same sbatch" in done.stderr


@pytest.mark.parametrize(
    "env, message",
    [
        ({}, "give the script to sbatch"),
        ({"SLURM_JOB_ID": "77", "PATH": "/nowhere"}, "the command srun is not on"),
    ],
)
def test_what_is_missing_is_said_at_once(launch, run_faked, env, message):
    script = launch / "slurm" / "train.sbatch"
    done, asked = run_faked(shutil.which("bash"), script, "--config=a", **env)
    assert (done.returncode, asked) == (2, [])
    assert message in done.stderr and done.stderr.count("\n") == 1


def test_options(launch):
    text = (launch / "slurm" / "train.sbatch").read_text()
    options = dict(re.findall(r"^#SBATCH --([\w-]+)(?:=(.*))?$", text, re.MULTILINE))
    assert options["signal"] == "TERM@120"  # of the tasks; with B: it would be the shell alone
    assert options["open-mode"] == "append" and "requeue" in options
    assert options["ntasks-per-node"] == options["gpus-per-node"]
    # jax counts tasks by their number on the node, so each has to see all of its GPUs.
    assert not {"gpus-per-task", "gpu-bind"} & options.keys()
