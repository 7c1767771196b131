import numpy as np
import pytest

from stylegan_jax.convert.readers.files import read_bytes
from stylegan_jax.convert.readers.records import (
    CheckpointFileError,
    Instance,
    ScriptObject,
    Storage,
    Tensor,
)
from stylegan_jax.convert.readers.trees import (
    flatten_module,
    flatten_tensors,
    flatten_variables,
    to_arrays,
)
from tests.convert.writing import make_module, make_network, write_pickle

WEIGHT = np.arange(6, dtype=np.float32).reshape(2, 3)


def test_names_and_facts_of_a_module():
    module = make_module({"a.b.weight": WEIGHT, "a.bias": WEIGHT[0]}, frozen="a.b")
    module.state["_modules"]["a"].state |= {"clamp": None, "gain": np.float64(0.5), "hook": [1]}
    tensors, facts = flatten_module(read_bytes(write_pickle({"G": module})).root["G"])
    assert set(tensors) == {"a.b.weight", "a.bias"}
    assert facts == {"a.clamp": None, "a.gain": 0.5}


def test_names_of_torchscript_are_paths_of_attributes():
    tensor = Tensor(Storage(WEIGHT.dtype, 6, memoryview(WEIGHT.tobytes())), 0, (6,), (1,))
    shared = ScriptObject({"w": tensor, "size": 3})
    part = ScriptObject({"0": shared, "odd": [tensor]})
    root = ScriptObject({"b": shared, "a": part, "t": tensor})
    assert set(flatten_tensors(root)) == {"b.w", "a.0.w", "t"}
    # One that holds itself, one of many names.
    part.state["root"] = root
    many = ScriptObject(dict.fromkeys(map(str, range(100_001)), tensor))
    for odd in (root, many):
        with pytest.raises(CheckpointFileError, match="absurdly many"):
            flatten_tensors(odd)


def test_names_of_variables():
    network = make_network("G", "G_main", {"lod": np.float32(1), "G_mapping/Dense0/w": WEIGHT}, {})
    read = read_bytes(write_pickle(network)).root
    assert set(flatten_variables(read)) == {"lod", "G_mapping/Dense0/w"}


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"variables": [("a",)]},
        {"variables": [("a", 3)]},
        {"variables": [], "components": []},
        {"variables": [], "components": {"a": 3}},
        {"variables": [], "components": {"a": Instance("Network", {"components": {"b": 1}})}},
    ],
)
def test_networks_of_tensorflow_that_are_none(state):
    with pytest.raises(CheckpointFileError):
        flatten_variables(Instance("Network", state))


def test_arrays_are_those_of_the_file_and_no_larger():
    tensor = Tensor(Storage(WEIGHT.dtype, 6, memoryview(WEIGHT.tobytes())), 0, (6,), (1,))
    arrays = to_arrays({"a": tensor, "b": WEIGHT, "c": 3, 4: WEIGHT}, 48)
    assert set(arrays) == {"a", "b"}
    with pytest.raises(CheckpointFileError, match="larger than their file"):
        to_arrays({"a": tensor, "b": WEIGHT}, 47)
