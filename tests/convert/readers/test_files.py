import io
import json
import pathlib
import struct
import zipfile

import numpy as np
import pytest

from stylegan_jax.convert.readers.files import read_bytes, read_file
from stylegan_jax.convert.readers.records import CheckpointFileError
from stylegan_jax.convert.readers.trees import flatten_script, to_arrays
from tests.convert.readers.fuzz import write_safetensors
from tests.convert.writing import Tensor, make_script, write_script, write_zip

DATA = pathlib.Path(__file__).parents[2] / "data" / "checkpoints"
ARRAYS = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b": np.float32(7).reshape(()),
    "c": np.zeros((0, 4), np.float16),
}


def zipped(**kwargs) -> bytes:
    """The arrays as torch's zip."""
    return write_zip({name: Tensor(array) for name, array in ARRAYS.items()}, **kwargs)


@pytest.mark.parametrize("data", [zipped(), write_safetensors(ARRAYS)], ids=["zip", "safetensors"])
def test_arrays_of_a_format(data):
    arrays = to_arrays(read_bytes(data).root, 10**6)
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array)
        assert arrays[name].dtype == array.dtype


def test_files_that_torch_wrote():
    """A state dict in both of torch's formats: names and shapes as torch lists them, same bits."""
    listed = np.load(DATA / "cyc_resnet2_official_style.npz", allow_pickle=False)
    read = [
        to_arrays(read_file(DATA / f"cyc_resnet2_official_style{end}.pth").root, 10**7)
        for end in ("", "_legacy")
    ]
    assert list(read[0]) == list(listed["state_dict_keys"])
    for name, array in read[0].items():
        np.testing.assert_array_equal(array, read[1][name])
    assert read[0]["model.2.num_batches_tracked"].dtype == np.int64


def test_an_archive_of_torchscript():
    """Views as torch has them; what lies beside the pickle is not opened."""
    whole = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    arrays = {"conv.weight": whole.transpose(2, 0, 1), "part.0.bias": whole[0], "x": ARRAYS["c"]}
    root = make_script(arrays, training=False, names=["a"], hook=None)
    # Code that is no text, and constants that are no pickle; any suffix and folder.
    beside = {"code/__torch__.py": b"\xff\x00", "constants.pkl": b"cos\nsystem\n"}
    read = flatten_script(read_bytes(write_script(root, **beside)).root)
    for name, array in to_arrays(read, 10**6).items():
        np.testing.assert_array_equal(array, arrays[name])
        assert array.dtype == arrays[name].dtype and array.strides == arrays[name].strides
    assert read.keys() == arrays.keys()


def test_archives_of_torchscript_that_are_cut_or_lie():
    data = write_script(make_script({"a.b": np.arange(64, dtype=np.float32)}))
    for end in range(0, len(data), 97):
        with pytest.raises(CheckpointFileError):
            flatten_script(read_bytes(data[:end]).root)
    # A length of the directory that the file does not have.
    directory = data.index(b"PK\x01\x02")
    size = data.index((256).to_bytes(4, "little") * 2, directory)
    lie = data[:size] + b"\xff\xff\xff\x7f" * 2 + data[size + 8 :]
    with pytest.raises(CheckpointFileError, match="unfolds to far more|damaged"):
        read_bytes(lie)


def test_metadata_of_safetensors():
    assert read_bytes(write_safetensors(ARRAYS)).metadata == {"format": "pt"}


def test_path_in_the_error(tmp_path):
    path = tmp_path / "page.pkl"
    path.write_text("<html>")
    with pytest.raises(CheckpointFileError, match=r"page\.pkl: Opcode"):
        read_file(path)
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "none.pkl")


def _changed_zip(change) -> bytes:
    """The zip with another file in the place of one."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(zipped())) as old, zipfile.ZipFile(file, "w") as new:
        for name in old.namelist():
            for other, content in change(name, old.read(name)):
                new.writestr(other, content)
    return file.getvalue()


ZIPS = {
    "compressed": (zipped(compression=zipfile.ZIP_DEFLATED), "compressed zip"),
    "big-endian": (zipped(byteorder=b"big"), "big-endian"),
    "cut": (zipped()[:-30], "damaged"),
    "no pickle": (
        _changed_zip(lambda n, c: [] if n.endswith(".pkl") else [(n, c)]),
        "without data.pkl",
    ),
    "two pickles": (
        _changed_zip(lambda n, c: [(n, c), ("b/data.pkl", c)] if n.endswith(".pkl") else []),
        "without data.pkl",
    ),
    "no storage": (
        _changed_zip(lambda n, c: [] if n.endswith("data/0") else [(n, c)]),
        "no file 'run/data/0'",
    ),
    "damaged storage": (
        zipped().replace(ARRAYS["a"].tobytes(), bytes(24)),
        "damaged",
    ),
    "many entries": (zipped() + b"PK\x01\x02" * 100_001, "absurdly many"),
}


@pytest.mark.parametrize(("data", "message"), ZIPS.values(), ids=ZIPS.keys())
def test_zips_that_are_refused(data, message):
    with pytest.raises(CheckpointFileError, match=message):
        read_bytes(data)


def test_a_storage_of_another_length():
    data = _changed_zip(lambda n, c: [(n, c[:4] if n.endswith("data/0") else c)])
    with pytest.raises(CheckpointFileError, match="says 24 bytes and has 4"):
        to_arrays(read_bytes(data).root, 10**6)


def _safetensors(header) -> bytes:
    text = json.dumps(header).encode() if not isinstance(header, bytes) else header
    return struct.pack("<Q", len(text)) + text + bytes(8)


def _entry(**changes):
    return {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | changes}


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (_entry(dtype="F8_E4M3"), "odd entry"),
        (_entry(data_offsets=[0, 80]), "beyond the end"),
        (_entry(data_offsets=[8, 0]), "odd entry"),
        (_entry(data_offsets=[-8, 0]), "odd entry"),
        (_entry(data_offsets=[0]), "odd entry"),
        (_entry(shape=[3]), "has 2 numbers"),
        (_entry(shape=[2, -1, -1]), "shape that is none"),
        (_entry(shape=[2.0]), "shape that is none"),
        (_entry(shape=[1] * 17 + [2]), "shape that is none"),
        ({"a": 3}, "odd entry"),
        ({"__metadata__": {"a": 1}}, "no texts"),
        (b"{" + b'"a":{' * 5000, "no JSON"),
        (b"{\xff", "no JSON"),
    ],
)
def test_safetensors_that_are_refused(header, message):
    with pytest.raises(CheckpointFileError, match=message):
        read_bytes(_safetensors(header))


def test_a_header_that_is_too_long():
    data = struct.pack("<Q", 2**25) + b"{" + bytes(2**25)
    with pytest.raises(CheckpointFileError, match="long header"):
        read_bytes(data)
