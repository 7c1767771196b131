"""SkyPilot's tasks: their keys, and what they run."""

import os
import subprocess

import pytest
import yaml

# What SkyPilot 0.14 allows; its own schema is not installed here.
TASK_KEYS = {
    "name",
    "envs",
    "secrets",
    "workdir",
    "num_nodes",
    "resources",
    "file_mounts",
    "setup",
    "run",
}
RESOURCE_KEYS = {
    "infra",
    "accelerators",
    "accelerator_args",
    "use_spot",
    "job_recovery",
    "image_id",
}
NESTED_KEYS = {
    "accelerator_args": {"tpu_vm", "runtime_version"},
    "job_recovery": {"strategy", "max_restarts_on_errors", "recover_on_exit_codes"},
}


@pytest.fixture(params=["tpu", "gpu"])
def task(request, launch):
    return yaml.safe_load((launch / "sky" / f"{request.param}.yaml").read_text())


def test_keys(task):
    resources = task["resources"]
    assert not task.keys() - TASK_KEYS
    assert not resources.keys() - RESOURCE_KEYS
    for name, keys in NESTED_KEYS.items():
        assert not resources.get(name, {}).keys() - keys


def test_recovery(task):
    assert task["resources"]["use_spot"] is True
    assert task["resources"]["job_recovery"]["recover_on_exit_codes"] == [42, 75]


def test_run(task, tmp_path):
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\nfor word in "$@"; do echo "$word"; done\n')
    python.chmod(0o755)
    nodes = {
        "SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2",
        "SKYPILOT_NUM_NODES": "2",
        "SKYPILOT_NODE_RANK": "1",
    }
    env = os.environ | task["envs"] | nodes | {"HOME": str(tmp_path)}
    done = subprocess.run(["bash", "-c", task["run"]], env=env, capture_output=True, text=True)
    distributed = ["--coordinator=10.0.0.1:8476", "--num_processes=2", "--process_id=1"]
    assert done.stdout.split() == [
        *("-m", "stylegan_jax.main", "--config=configs/ffhq.py", "--workdir=gs://BUCKET/runs/ffhq"),
        "--config.data.data_dir=gs://BUCKET/data",
        # A TPU knows its neighbours.
        *(distributed if "num_nodes" in task else []),
    ]
