"""SkyPilot's tasks: against its schema, and what they run."""

import json
import os
import pathlib
import subprocess

import jsonschema
import pytest
import yaml

# Of SkyPilot 0.14.1 (Apache-2.0), whose package is too large to install for this: what
# `get_task_schema` and `get_resources_schema` of `sky.utils.schemas` give.
SCHEMAS = json.loads((pathlib.Path(__file__).parent / "skypilot_schemas.json").read_text())


def check(task):
    """Raises what SkyPilot would find."""
    jsonschema.validate(task, SCHEMAS["task"])
    jsonschema.validate(task["resources"], SCHEMAS["resources"])


@pytest.fixture(params=["tpu", "gpu"])
def task(request, launch):
    return yaml.safe_load((launch / "sky" / f"{request.param}.yaml").read_text())


def test_schema(task):
    check(task)


@pytest.mark.parametrize("place", [(), ("resources",)])
def test_the_schema_catches_a_wrong_word(task, place):
    node = task
    for key in place:
        node = node[key]
    node["num_nodez"] = 2
    with pytest.raises(jsonschema.ValidationError, match="num_nodez"):
        check(task)


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
    given = {"WORKDIR": "gs://BUCKET/runs/ffhq", "DATA_DIR": "gs://BUCKET/data"}
    # sky asks for what has no value.
    assert {key for key, value in task["envs"].items() if value is None} == given.keys()
    env = os.environ | task["envs"] | given | nodes | {"HOME": str(tmp_path)}
    done = subprocess.run(["bash", "-c", task["run"]], env=env, capture_output=True, text=True)
    distributed = ["--coordinator=10.0.0.1:8476", "--num_processes=2", "--process_id=1"]
    assert done.stdout.split() == [
        *("-m", "stylegan_jax.main", "--config=configs/ffhq.py", "--workdir=gs://BUCKET/runs/ffhq"),
        "--config.data.data_dir=gs://BUCKET/data",
        # A TPU knows its neighbours.
        *(distributed if "num_nodes" in task else []),
    ]
