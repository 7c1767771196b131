"""The manifests, filled with their settings, against the schemas of Kubernetes and of JobSet."""

import copy
import math
import shutil
import string
import subprocess

import kubernetes_validate
import pytest
import yaml
from kubeflow_trainer_api.models import JobsetV1alpha2JobSet

from stylegan_jax.run.watchdog import EXIT_CODE

# What JobSet's own schema requires, which its model does not.
REQUIRED = {
    "spec.failurePolicy.rules": {"action", "name"},
    "spec.replicatedJobs": {"name", "template"},
}


def settings(launch, **env):
    """What job.env sets, after the given variables."""
    script = "set -a; . ./job.env; env -0"
    done = subprocess.run(
        ["bash", "-c", script], cwd=launch / "gke", env=env | {"PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return dict(entry.split("=", 1) for entry in done.stdout.split("\0") if entry)


def fill(launch, kind, **env):
    """The documents of a manifest, as envsubst would leave it; a variable without a value fails."""
    text = (launch / "gke" / f"jobset_{kind}.yaml").read_text()
    return list(yaml.safe_load_all(string.Template(text).substitute(settings(launch, **env))))


def at(document, path):
    """The objects at a place; lists are looked through."""
    nodes = [document]
    for key in filter(None, path.split(".")):
        found = [node[key] for node in nodes if key in node]
        nodes = [
            item for value in found for item in (value if isinstance(value, list) else [value])
        ]
    return nodes


def unknown_keys(given, kept, path=""):
    """Keys at any depth that a model has dropped."""
    if isinstance(given, dict):
        for key, value in given.items():
            if key in kept:
                yield from unknown_keys(value, kept[key], f"{path}.{key}")
            else:
                yield f"{path}.{key}"
    elif isinstance(given, list):
        for value, known in zip(given, kept, strict=True):
            yield from unknown_keys(value, known, path)


def check_jobset(jobset):
    """Raises ValueError for wrong types, keys that JobSet does not know, and those it misses."""
    model = JobsetV1alpha2JobSet.from_dict(jobset)
    if unknown := list(unknown_keys(jobset, model.to_dict())):
        raise ValueError(f"unknown {unknown}")
    for path, required in REQUIRED.items():
        for node in at(jobset, path):
            if missing := required - node.keys():
                raise ValueError(f"{path}: missing {sorted(missing)}")


def check_kubernetes(document):
    """Raises what kubernetes-validate finds."""
    kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def job_of(jobset):
    """The only job of a JobSet, as one of its own."""
    (job,) = jobset["spec"]["replicatedJobs"]
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "job"}} | job["template"]


@pytest.fixture(params=["tpu", "tpu_multislice", "gpu"])
def kind(request):
    return request.param


def test_schemas(launch, kind):
    *others, jobset = fill(launch, kind)
    assert (jobset["kind"], jobset["apiVersion"]) == ("JobSet", "jobset.x-k8s.io/v1alpha2")
    check_jobset(jobset)
    check_kubernetes(job_of(jobset))
    for document in others:
        check_kubernetes(document)


def test_schemas_catch_a_wrong_word(launch, kind):
    jobset = fill(launch, kind)[-1]
    for path in ("spec", "spec.failurePolicy", *REQUIRED):
        wrong = copy.deepcopy(jobset)
        at(wrong, path)[0]["replicaz"] = 1
        with pytest.raises(ValueError, match=f"{path}.replicaz"):
            check_jobset(wrong)
    for path, required in REQUIRED.items():
        for key in required:
            wrong = copy.deepcopy(jobset)
            del at(wrong, path)[0][key]
            with pytest.raises(ValueError, match=key):
                check_jobset(wrong)
    wrong = copy.deepcopy(jobset)
    wrong["spec"]["failurePolicy"]["maxRestarts"] = "many"
    with pytest.raises(ValueError, match="maxRestarts"):
        check_jobset(wrong)
    wrong = job_of(jobset)
    wrong["spec"]["template"]["spec"]["containers"][0]["resource"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        check_kubernetes(wrong)


def test_who_starts_again(launch, kind):
    jobset = fill(launch, kind)[-1]
    policy, job = jobset["spec"]["failurePolicy"], job_of(jobset)["spec"]
    # A job fails with the reason PodFailurePolicy only by the rule about exit codes.
    (rule,) = policy["rules"]
    assert (rule["action"], rule["onJobFailureReasons"]) == ("FailJobSet", ["PodFailurePolicy"])
    assert policy["maxRestarts"] > 0 and job["backoffLimit"] == 0
    disruption, error = job["podFailurePolicy"]["rules"]
    assert disruption["action"] == "Count" and error["action"] == "FailJob"
    assert error["onExitCodes"]["operator"] == "NotIn"
    assert error["onExitCodes"]["values"] == [42, EXIT_CODE, 134, 137, 143]
    (container,) = job["template"]["spec"]["containers"]
    assert error["onExitCodes"]["containerName"] == container["name"]
    assert job["template"]["spec"]["restartPolicy"] == "Never"


def test_settings(launch, kind):
    env = {
        "NAME": "cars",
        "QUEUE": "mine",
        "IMAGE": "i:1",
        "CONFIG": "configs/lsun.py:category=car",
    }
    env |= {"WORKDIR": "gs://b/runs/cars", "DATA_DIR": "gs://b/data"}
    jobset = fill(launch, kind, **env)[-1]
    assert jobset["metadata"]["name"] == "cars"
    assert jobset["metadata"]["labels"] == {"kueue.x-k8s.io/queue-name": "mine"}
    (container,) = job_of(jobset)["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "i:1"
    assert container["args"] == [
        "--config=configs/lsun.py:category=car",
        "--workdir=gs://b/runs/cars",
        "--config.data.data_dir=gs://b/data",
    ]


@pytest.mark.parametrize("kind, slices", [("tpu", 1), ("tpu_multislice", 2)])
def test_a_slice_is_complete(launch, kind, slices):
    jobset = fill(launch, kind)[-1]
    assert jobset["spec"]["replicatedJobs"][0]["replicas"] == slices
    job = job_of(jobset)["spec"]
    pod = job["template"]["spec"]
    topology = pod["nodeSelector"]["cloud.google.com/gke-tpu-topology"]
    chips = pod["containers"][0]["resources"]["limits"]["google.com/tpu"]
    assert job["parallelism"] == job["completions"]
    assert job["parallelism"] * chips == math.prod(map(int, topology.split("x")))


def test_gpu_pods_find_each_other(launch):
    role, binding, jobset = fill(launch, "gpu")
    # What jax's detection asks: the pod with its own address, and that pod's job.
    allowed = {
        (kind, verb)
        for rule in role["rules"]
        for kind in rule["resources"]
        for verb in rule["verbs"]
    }
    assert {("pods", "list"), ("jobs", "get")} <= allowed
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    job = job_of(jobset)["spec"]
    assert job["completionMode"] == "Indexed"
    pod = job["template"]["spec"]
    assert pod.get("serviceAccountName", "default") == binding["subjects"][0]["name"]
    # With the node's address a pod would not be told from its neighbours.
    assert "hostNetwork" not in pod


@pytest.fixture
def job(launch, run_faked):
    """Runs job.sh; returns the process and what the cluster was asked."""
    own = {"IMAGE": "i:1", "WORKDIR": "gs://b/runs", "DATA_DIR": "gs://b/data"}

    def run(*words: str, **env: str):
        return run_faked(launch / "gke" / "job.sh", *words, **own | env)

    return run


V7 = {"TPU": "tpu7x", "TPU_TOPOLOGY": "2x2x4", "TPU_HOSTS": "4", "TPU_CHIPS_PER_HOST": "4"}


@pytest.mark.parametrize("env", [{}, V7])
def test_job_starts_the_manifest(launch, job, env):
    done, asked = job("jobset_tpu.yaml", **env)
    assert done.returncode == 0, done.stderr
    look = "kubectl get jobset ffhq --ignore-not-found --output=name"
    assert asked == [look, "kubectl apply --filename=-"]
    own = {"IMAGE": "i:1", "WORKDIR": "gs://b/runs", "DATA_DIR": "gs://b/data"}
    assert list(yaml.safe_load_all(done.stdout)) == fill(launch, "tpu", **own | env)


def test_job_ends_when_the_first_look_fails(job):
    done, asked = job("jobset_tpu.yaml", FAKE_FAILS="get")
    assert (done.returncode, len(asked)) == (2, 1)
    assert done.stderr == (
        "job.sh: the first look at the cluster failed: error: You must be logged in to the server\n"
    )


def test_job_does_not_touch_one_that_is_there(job):
    done, asked = job("jobset_tpu.yaml", FAKE_THERE="jobset.jobset.x-k8s.io/ffhq")
    assert (done.returncode, len(asked)) == (2, 1)
    assert "kubectl delete jobset ffhq" in done.stderr


@pytest.mark.parametrize("missing", ["kubectl", "envsubst"])
def test_job_without_a_command(launch, tmp_path, missing):
    for name in ("bash", "dirname", "kubectl", "envsubst"):
        if name != missing:
            (tmp_path / name).symlink_to(shutil.which(name) or "/bin/true")
    done = subprocess.run(
        [launch / "gke" / "job.sh", "jobset_tpu.yaml"],
        env={"PATH": str(tmp_path)}, capture_output=True, text=True, timeout=10,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith(f"job.sh: the command {missing} is not on this machine: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "env, message",
    [
        ({"NAME": "FFHQ"}, "NAME=FFHQ: give at most 40"),
        ({"NAME": "a" * 41}, "give at most 40"),
        ({"IMAGE": "us-docker.pkg.dev/PROJECT/r/i"}, "in place of PROJECT"),
        ({"WORKDIR": "gs://BUCKET/runs"}, "in place of BUCKET"),
        ({"DATA_DIR": "gs://BUCKET"}, "in place of BUCKET"),
        ({"TPU": "v5litepod-16"}, "TPU=v5litepod-16: give tpu-v4-podslice"),
        ({"TPU_HOSTS": "0"}, "TPU_HOSTS=0: give a number from 1"),
        ({"TPU_HOSTS": "2"}, "are not the 16 chips of 4x4"),
        ({"TPU_TOPOLOGY": "16"}, "TPU_TOPOLOGY=16: give a shape"),
        ({"TPU": "tpu7x"}, "TPU_TOPOLOGY=4x4: give a shape"),
    ],
)
def test_job_checks_names_before_the_cluster(job, env, message):
    done, asked = job("jobset_tpu.yaml", **env)
    assert (done.returncode, asked) == (2, [])
    assert message in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [[], ["jobset_tpus.yaml"], ["jobset_tpu.yaml", "--dryrun"]])
def test_job_refuses_other_words(job, words):
    done, asked = job(*words)
    assert (done.returncode, asked) == (2, [])
    assert done.stderr.startswith("job.sh: ")
