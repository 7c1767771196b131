import hashlib

import jax
import numpy as np
import pytest
from flax import nnx

from stylegan_jax.convert.pretrained import load_pretrained, loading
from stylegan_jax.convert.pretrained.files import WEIGHTS, WeightsFile
from stylegan_jax.convert.pretrained.loading import PARAMS_FROM_OFFICIAL, read_arrays
from stylegan_jax.convert.readers.records import CheckpointFileError
from stylegan_jax.download import HashError
from stylegan_jax.models.pretrained import FEATURE_NETWORKS
from tests.convert.pretrained.inception_files import (
    NARROW,
    graph_arrays,
    official_arrays,
)
from tests.convert.writing import (
    Tensor,
    make_module,
    make_script,
    write_pickle,
    write_script,
    write_stream,
    write_zip,
)


def tensors(arrays):
    """As a state dict."""
    return {name: Tensor(array) for name, array in arrays.items()}


@pytest.fixture(scope="module")
def written():
    """Bytes of a narrow network in the layouts of published files."""
    return {
        "zip": write_zip(tensors(official_arrays())),
        "stream": write_stream(tensors(official_arrays())),
        "script": write_script(make_script(graph_arrays())),
    }


@pytest.fixture
def publish(tmp_path, monkeypatch):
    """Puts files where they are downloaded from, `{name: (bytes, is the hash known)}`, or None."""

    def put(**files):
        choices = []
        for name, (data, is_known) in files.items():
            path = tmp_path / "web" / name
            path.parent.mkdir(exist_ok=True)
            if data is not None:
                path.write_bytes(data)
            digest = hashlib.sha256(data or b"").hexdigest()
            file = WeightsFile(name, path.as_uri(), digest if is_known else None, 7, "MIT")
            choices.append((file,))
        monkeypatch.setitem(loading.WEIGHTS, "inception", tuple(choices))
        return tmp_path / "kept"

    return put


def test_tables_have_the_same_networks():
    assert WEIGHTS.keys() == PARAMS_FROM_OFFICIAL.keys()
    assert WEIGHTS.keys() <= FEATURE_NETWORKS.keys()
    files = [file for choices in WEIGHTS.values() for files in choices for file in files]
    assert all(file.url.startswith("https://") and file.licence for file in files)
    assert all(set(file.sha256 or "0") <= set("0123456789abcdef") for file in files)


def test_downloaded_once_and_checked(publish, written, tmp_path):
    folder = publish(first=(written["stream"], False), second=(written["zip"], True))
    # The first has no hash that is known.
    loaded = load_pretrained("inception", folder, **NARROW)
    digest = hashlib.sha256(written["zip"]).hexdigest()
    assert (loaded.name, loaded.path, loaded.sha256) == ("inception", folder / "second", digest)
    assert [path.name for path in folder.iterdir()] == ["second"]
    module = nnx.merge(loaded.graphdef, loaded.params)
    np.testing.assert_array_equal(module.fc.bias[...], official_arrays()["fc.bias"])
    assert {x.dtype for x in jax.tree.leaves(loaded.params)} == {np.dtype(np.float32)}

    # What is there is not asked for again; the file that is preferred comes first.
    (tmp_path / "web" / "second").unlink()
    (folder / "first").write_bytes(written["stream"])
    again = load_pretrained("inception", folder, **NARROW)
    assert again.path == folder / "first"
    assert jax.tree.all(jax.tree.map(np.array_equal, again.params, loaded.params))


def test_an_archive_of_torchscript(publish, written, monkeypatch):
    folder = publish(odd=(written["script"], False))
    folder.mkdir()
    (folder / "odd").write_bytes(written["script"])
    monkeypatch.setenv("STYLEGAN_JAX_WEIGHTS", str(folder))
    loaded = load_pretrained("inception", **NARROW)
    want = PARAMS_FROM_OFFICIAL["inception"](official_arrays())
    assert jax.tree.all(jax.tree.map(np.array_equal, loaded.params, want))


def test_other_files_are_refused(publish, written, tmp_path):
    folder = publish(net=(written["zip"], True))
    (tmp_path / "web" / "net").write_bytes(written["stream"])
    with pytest.raises(HashError, match="web/net gave a file whose SHA-256.*Nothing was kept"):
        load_pretrained("inception", folder)
    assert not folder.exists() or not list(folder.iterdir())
    folder.mkdir(exist_ok=True)
    (folder / "net").write_bytes(written["zip"][:-1])
    with pytest.raises(HashError, match="kept/net has the SHA-256.*Remove it, and it is loaded"):
        load_pretrained("inception", folder)


def test_nothing_can_be_loaded(publish):
    folder = publish(net=(None, True), other=(None, False))
    with pytest.raises(FileNotFoundError) as error:
        load_pretrained("inception", folder)
    for text in (
        "web/net cannot be loaded",
        f"not in {folder}",
        f"net (about 0 MB, MIT, SHA-256 {hashlib.sha256(b'').hexdigest()}) from file:",
        "or other (about 0 MB, MIT, SHA-256 not known here)",
        "STYLEGAN_JAX_WEIGHTS",
    ):
        assert text in str(error.value)
    folder = publish(other=(b"a", False))
    with pytest.raises(FileNotFoundError, match="Put there other"):
        load_pretrained("inception", folder)


def test_files_of_other_networks(publish):
    folder = publish(net=(write_zip(tensors({"a": np.zeros(2, np.float32)})), True))
    with pytest.raises(CheckpointFileError, match="kept/net: The file does not fit Inception"):
        load_pretrained("inception", folder, **NARROW)
    folder = publish(narrow=(write_zip(tensors(official_arrays())), True))
    options = NARROW | {"num_classes": 6}
    with pytest.raises(CheckpointFileError, match="kept/narrow: .*of other shapes are fc/bias"):
        load_pretrained("inception", folder, **options)
    with pytest.raises(ValueError, match="'resnet' is no frozen network: give one of inception"):
        load_pretrained("resnet")
    with pytest.raises(ValueError, match="neither a local path nor in a bucket"):
        load_pretrained("inception", "s3://weights")


def test_several_files_and_the_first_digits_of_a_hash(monkeypatch, tmp_path):
    """Halves of the weights in two files that belong together."""
    arrays = list(official_arrays().items())
    (tmp_path / "web").mkdir()
    files = []
    for name, part in (("a", arrays[:99]), ("b", arrays[99:])):
        path = tmp_path / "web" / name
        path.write_bytes(write_zip(tensors(dict(part))))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        files.append(WeightsFile(name, path.as_uri(), digest[:8], 1, "MIT"))
    monkeypatch.setitem(loading.WEIGHTS, "inception", (tuple(files),))
    loaded = load_pretrained("inception", tmp_path / "kept", **NARROW)
    digests = [hashlib.sha256((tmp_path / "web" / n).read_bytes()).hexdigest() for n in "ab"]
    assert [file.sha256 for file in loaded.files] == digests
    assert loaded.sha256 == hashlib.sha256("".join(digests).encode()).hexdigest()
    # One of them is not enough.
    (tmp_path / "kept" / "b").unlink()
    (tmp_path / "web" / "b").unlink()
    with pytest.raises(FileNotFoundError, match="a .about 0 MB.* and b .about 0 MB"):
        load_pretrained("inception", tmp_path / "kept", **NARROW)


def test_containers_of_tensors(tmp_path):
    arrays = {"a.weight": np.arange(3, dtype=np.float32), "a.bias": np.float16([2])}
    path = tmp_path / "file"
    for data in (
        write_zip({"model": tensors(arrays), "epoch": 3}),
        write_stream({"state_dict": tensors(arrays)}),
        write_pickle(make_module(arrays)),
        write_script(make_script(arrays)),
    ):
        path.write_bytes(data)
        got = read_arrays(path)
        assert got.keys() == arrays.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(got[name], array)
            assert got[name].dtype == array.dtype
    for value in ([1], {"a": 1}, 3):
        path.write_bytes(write_zip(value))
        with pytest.raises(CheckpointFileError, match="file: The file holds"):
            read_arrays(path)
