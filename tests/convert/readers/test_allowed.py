import argparse
import collections
import pickle

import numpy as np
import pytest

from stylegan_jax.convert.readers.allowed import ALLOWED, SCRIPT_ALLOWED
from stylegan_jax.convert.readers.files import read_bytes
from stylegan_jax.convert.readers.records import CheckpointFileError, Instance
from stylegan_jax.convert.readers.trees import flatten_module, flatten_tensors, to_arrays
from tests.convert.writing import (
    Module,
    Network,
    Storage,
    Tensor,
    join_script,
    join_zip,
    make_module,
    write_pickle,
    write_stream,
)

WEIGHT = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)


def test_old_names_stand_for_the_same():
    for new, old in [
        (("numpy._core.multiarray", "scalar"), ("numpy.core.multiarray", "scalar")),
        (("builtins", "set"), ("__builtin__", "set")),
        (("copyreg", "_reconstructor"), ("copy_reg", "_reconstructor")),
    ]:
        assert ALLOWED[new] is ALLOWED[old]


@pytest.mark.parametrize("protocol", range(6))
def test_modules_of_every_protocol(protocol):
    arrays = {"conv.weight": WEIGHT, "conv.bias": WEIGHT[0, 0, 0], "gain": WEIGHT[0, 0, 0, 0]}
    # Channels last, and a corner of a larger array, as strides and offsets.
    arrays["conv.last"] = np.ascontiguousarray(WEIGHT.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    arrays["turned"] = np.ascontiguousarray(WEIGHT[0, 0].T).T
    root = make_module(arrays, frozen="conv.bias")
    got = read_bytes(write_pickle({"G": root}, protocol)).root["G"]
    tensors, _ = flatten_module(got)
    assert got.class_name == "Network" and got.version == 6
    read = to_arrays(tensors, 10**6)
    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)
        assert read[name].strides == np.asarray(array).strides or not array.ndim


@pytest.mark.parametrize("protocol", range(6))
def test_objects_and_containers_of_every_protocol(protocol):
    value = {
        "network": Network({"version": 4, "name": "G"}),
        "args": argparse.Namespace(lr=0.5),
        "pairs": collections.OrderedDict(a=1),
        "set": {7},
        "raw": b"\x00\xff",
        "none": b"",
        "array": bytearray(b"ab"),
    }
    got = read_bytes(write_pickle(value, protocol)).root
    assert got["network"] == Instance("Network", {"version": 4, "name": "G"})
    assert got["args"].state == {"lr": 0.5}
    assert got["pairs"] == {"a": 1} and got["set"] == [7]
    assert [bytes(got[name]) for name in ("raw", "none", "array")] == [b"\x00\xff", b"", b"ab"]


def test_the_attributes_of_a_dict_are_left_out():
    state = collections.OrderedDict(weight=1)
    state._metadata = {"version": 2}
    assert read_bytes(pickle.dumps(state)).root == {"weight": 1}


def test_pairs_of_python_2():
    data = b"ccollections\nOrderedDict\n((lp0\n(lp1\nS'a'\naI1\naatR."
    assert read_bytes(data).root == {"a": 1}


@pytest.mark.parametrize(
    "attributes",
    [
        {"_parameters": {"weight": 3}},
        {"_parameters": [1]},
        {"_buffers": {3: None}},
        {"_modules": {"child": {}}},
        {"_modules": {"x" * 300: Module("Part")}},
    ],
)
def test_modules_that_are_none(attributes):
    data = write_pickle({"G": Module("Network", **attributes)})
    with pytest.raises(CheckpointFileError):
        flatten_module(read_bytes(data).root["G"])


@pytest.mark.parametrize(
    "call",
    [
        b"ctorch._utils\n_rebuild_tensor_v2\n)R",
        b"ctorch._utils\n_rebuild_tensor_v2\n(NK\x00))tR",
        b"ctorch._utils\n_rebuild_parameter\nN\x88}\x87R",
        b"ctorch.storage\n_load_from_bytes\nU\x01a\x85R",
        b"ctorch.storage\n_load_from_bytes\nC\x01a\x85R",
        b"cnumpy\ndtype\n)R",
        b"cnumpy.core.multiarray\nscalar\nN\x85R",
        b"cnumpy.core.multiarray\n_reconstruct\nctorch\nSize\n)U\x01b\x87R",
        b"cnumpy.core.numeric\n_frombuffer\nN\x85R",
        b"cdnnlib.tflib.network\nNetwork\nN\x85R",
        b"cbuiltins\nset\nN\x85R",
        b"ccopy_reg\n_reconstructor\nctorch\nSize\nc__builtin__\nobject\nN\x87R",
        b"ccollections\nOrderedDict\n(]N\x86lN\x86R",
        b"c_codecs\nencode\nX\x02\x00\x00\x00\xc4\x80U\x06latin1\x86R",
    ],
)
def test_odd_arguments(call):
    with pytest.raises(CheckpointFileError):
        read_bytes(b"\x80\x02" + call + b".")


@pytest.mark.parametrize("change", [{"offset": None}, {"size": (2.0,)}, {"stride": (True,)}])
def test_numbers_of_tensors(change):
    class Odd(Tensor):
        def __reduce__(self):
            function, args = super().__reduce__()
            numbers = {"offset": 0, "size": (2,), "stride": (1,)} | change
            return function, (args[0], *numbers.values(), False, {})

    with pytest.raises(CheckpointFileError, match="_rebuild_tensor_v2"):
        read_bytes(write_pickle({"a": Odd(WEIGHT)}))


SCRIPT = b"\x80\x02c__torch__.a\nNet\n)\x81"


@pytest.mark.parametrize("value", [7, [1, 2], "List[str]", None])
def test_values_of_torchscript_are_their_first_argument(value):
    """Lists and texts come with their type; classes are names that mean nothing here."""
    names = ("restore_type_tag", "build_intlist", "build_doublelist", "build_boollist")
    for name in (*names, "build_tensorlist"):
        call = SCRIPT_ALLOWED["torch.jit._pickle", name]
        assert call((value,), None) is value and call((value, "List[int]"), None) is value


@pytest.mark.parametrize(
    ("pickled", "message"),
    [
        (b"\x80\x02c__torch__\nNet\nN\x85\x81.", "calls a class of TorchScript with 1"),
        (b"\x80\x02c__torch__\nNet\nN\x85R.", "calls a class of TorchScript with 1"),
        (b"\x80\x02c__torch__\nNet\n.", "holds Global"),
        (SCRIPT + b"N\x85b.", "gives ScriptObject a state of type tuple"),
        (SCRIPT + b"}K\x07Nsb.", "odd name"),
        (SCRIPT + b"}X\x90\x01\x00\x00" + b"a" * 400 + b"Nsb.", "odd name"),
        (b"\x80\x02ctorch.jit._pickle\nbuild_intlist\n)R.", "calls torch.jit._pickle with 0"),
        (b"\x80\x02ctorch.jit._pickle\nrestore_type_tag\nNN\x86R.", "torch.jit._pickle with 2"),
        (b"\x80\x02ctorch.jit._pickle\nbuild_tensor_from_id\nK\x00\x85R.", "names 'torch.jit"),
        # What other files may name, and what no file may.
        (b"\x80\x02c__torch__x\nNet\n)\x81.", "names '__torch__x.Net'"),
        (b"\x80\x02c__builtin__\nset\n)R.", "names '__builtin__.set'"),
        (b"\x80\x02cos\nsystem\nX\x01\x00\x00\x00a\x85R.", "names 'os.system'"),
        (SCRIPT[:-1], "ends at byte"),
    ],
)
def test_odd_archives_of_torchscript(pickled, message):
    with pytest.raises(CheckpointFileError, match=message):
        flatten_tensors(read_bytes(join_script(pickled, [])).root)


def test_classes_of_torchscript_are_names_of_its_archives_alone():
    for data in (SCRIPT + b".", join_zip(SCRIPT + b".", [])):
        with pytest.raises(CheckpointFileError, match="names '__torch__.a.Net'"):
            read_bytes(data)


def test_only_storages_in_the_stream_of_a_storage():
    class Evil(Storage):
        def __reduce__(self):
            return Storage(self.elements).__reduce__()[0], (write_stream({"a": Network({})}),)

    with pytest.raises(CheckpointFileError, match="names 'dnnlib.tflib.network.Network'"):
        read_bytes(write_pickle(Evil(WEIGHT.reshape(-1))))
    with pytest.raises(CheckpointFileError, match="_load_from_bytes"):
        Evil.__reduce__ = lambda self: (Storage.__reduce__(self)[0], (write_stream({"a": 1}),))
        read_bytes(write_pickle(Evil(WEIGHT.reshape(-1))))
