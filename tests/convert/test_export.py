import dataclasses
import functools
import json

import numpy as np
import pytest

from stylegan_jax.convert.checkpoint import load_checkpoint, read_networks
from stylegan_jax.convert.export import (
    FORMAT_VERSION,
    _digest,
    read_export,
    write_export,
    write_official,
)
from stylegan_jax.convert.networks import LoadedCheckpoint
from stylegan_jax.convert.readers.files import read_file
from stylegan_jax.convert.readers.records import CheckpointFileError
from stylegan_jax.convert.safetensors import write_safetensors
from tests.convert.official import CHECKPOINTS, assert_trees_equal

FILES = ("sg2ada_r16_proto4", "tf_stylegan2_r32", "tf_stylegan1_r16")


@functools.cache
def official(name: str = FILES[0]) -> LoadedCheckpoint:
    return load_checkpoint(CHECKPOINTS / f"{name}.pkl")


def assert_same(got, want):
    """Networks, arguments, bits and all else that is said."""
    assert got == dataclasses.replace(want, networks=got.networks)
    assert set(got.networks) == set(want.networks)
    for net, network in want.networks.items():
        assert got.networks[net].name == network.name
        assert got.networks[net].kwargs == network.kwargs
        assert_trees_equal(got.networks[net].params, network.params)
        assert_trees_equal(got.networks[net].buffers, network.buffers)


@pytest.fixture
def export(tmp_path):
    path = tmp_path / "x.safetensors"
    write_export(path, official())
    return path


@pytest.mark.parametrize("name", FILES)
def test_what_is_written_comes_back(name, tmp_path):
    stated = dataclasses.replace(
        official(name), nimg=1500, class_names=("a", "\u00e4"), resolution=8, fade=0.25
    )
    path = tmp_path / "new" / "x.safetensors"
    write_export(path, stated)
    got = read_export(path)
    assert_same(got, stated)
    assert got.kimg == 1.5
    # The reader of all files knows it, too.
    assert set(load_checkpoint(path, networks=["D"]).networks) == {"D"}
    assert [p.name for p in path.parent.iterdir()] == ["x.safetensors"]


def rewrite(path, change):
    """The file with its header changed and the right checksum."""
    contents = read_file(path)
    header = json.loads(contents.metadata["stylegan_jax"])
    arrays = {name: tensor.array() for name, tensor in contents.root.items()}
    change(header, arrays)
    text = json.dumps(header)
    write_safetensors(path, arrays, {"stylegan_jax": text, "sha256": _digest(text, arrays)})


CHANGES = [
    (lambda h, a: h.update(format_version=FORMAT_VERSION + 1), "version 2; .* install a newer"),
    (lambda h, a: h.update(format_version="1"), "says no version"),
    (lambda h, a: h.update(nimg="many"), "no sound nimg"),
    (lambda h, a: h.update(class_names=[1]), "no sound class_names"),
    (lambda h, a: h.pop("networks"), "no sound networks"),
    (lambda h, a: h["networks"].update(D=3), "no sound entry of D"),
    (lambda h, a: h["networks"]["G"].update(name="stylegan9"), "G is a 'stylegan9'; known here"),
    (lambda h, a: h["networks"]["G"]["kwargs"].update(z_dim=2**40), "z_dim=.*no such network"),
    (lambda h, a: h["networks"]["G"]["kwargs"].update(z_dim={}), "z_dim=.*no such network"),
    (lambda h, a: h["networks"]["G"]["kwargs"].update(mapping_layers=65), "mapping_layers=65"),
    (lambda h, a: h["networks"]["G"]["kwargs"].update(img_resolution="x"), "G: No 'stylegan2' can"),
    (lambda h, a: h["networks"]["G"]["kwargs"].update(newer=1), "has newer=1.*no such option"),
    (lambda h, a: a.pop("G/buffers/w_avg"), "G: .* missing are w_avg"),
    (lambda h, a: a.update({"G/other": np.zeros(1, np.float32)}), "G/other has no place"),
]


@pytest.mark.parametrize(("change", "message"), CHANGES)
def test_what_is_no_sound_export(export, change, message):
    rewrite(export, change)
    with pytest.raises(CheckpointFileError, match=message) as error:
        read_export(export)
    assert str(error.value).startswith(str(export))


@pytest.mark.parametrize("at", [0.001, 0.2, 0.5, 0.99])
def test_a_bit_that_is_wrong(export, at):
    data = bytearray(export.read_bytes())
    data[int(len(data) * at)] ^= 0x10
    export.write_bytes(data)
    with pytest.raises(CheckpointFileError, match="damaged|odd|beyond"):
        read_export(export)


def test_half_a_file(export):
    export.write_bytes(export.read_bytes()[:-1000])
    with pytest.raises(CheckpointFileError, match="beyond the end"):
        read_export(export)


def test_files_that_are_none(tmp_path):
    with pytest.raises(CheckpointFileError, match="no export of this package"):
        read_export(CHECKPOINTS / f"{FILES[0]}.pkl")
    with pytest.raises(FileNotFoundError):
        read_export(tmp_path / "none.safetensors")
    with pytest.raises(ValueError, match="no network to write"):
        write_export(tmp_path / "x.safetensors", LoadedCheckpoint({}))
    assert not list(tmp_path.iterdir())


def test_networks_are_those_that_are_asked_for(export):
    assert set(read_export(export, networks=["G_ema"]).networks) == {"G_ema"}
    write_export(export, load_checkpoint(export, networks=["D"]))
    with pytest.raises(CheckpointFileError, match="networks D, and none of G_ema"):
        read_export(export, networks=["G_ema"])


def test_only_float32_is_written(tmp_path):
    with pytest.raises(ValueError, match="x is of float64"):
        write_safetensors(tmp_path / "x", {"x": np.zeros(2)}, {})


def test_official_names_of_a_file_of_torch(tmp_path):
    """From the pickle and back: every network as it was read, bit for bit."""
    path = tmp_path / "x.safetensors"
    write_official(path, official())
    there = read_networks(CHECKPOINTS / f"{FILES[0]}.pkl")
    got = read_networks(path)
    for net in ("G", "D", "G_ema"):
        assert_trees_equal(got[net].arrays, there[net].arrays)
    assert_same(load_checkpoint(path), official())
    # Without what lies beside, names alone tell as much as of any such file.
    bare = {name: tensor.array() for name, tensor in read_file(path).root.items()}
    write_safetensors(path, bare, {"format": "pt"})
    loaded = load_checkpoint(path)
    assert "tensors alone" in loaded.notes[0]
    assert_trees_equal(loaded.networks["D"].params, official().networks["D"].params)


def test_official_names_of_a_file_of_tensorflow(tmp_path):
    """Those that the original's own converter gave."""
    path = tmp_path / "x.safetensors"
    name = "tf_stylegan2_r32"
    write_official(path, official(name))
    with np.load(CHECKPOINTS / f"{name}.npz", allow_pickle=False) as data:
        there = {
            n.removeprefix("converted/"): data[n] for n in data.files if n[:10] == "converted/"
        }
    assert_trees_equal({n: t.array() for n, t in read_file(path).root.items()}, there)
    assert_same(load_checkpoint(path), official(name))


def test_one_network_stands_alone(tmp_path):
    path = tmp_path / "x.safetensors"
    for net in ("G", "D"):
        write_official(path, load_checkpoint(CHECKPOINTS / f"{FILES[0]}.pkl", networks=[net]))
        first = next(iter(read_file(path).root))
        assert first.startswith(("mapping.", "synthesis.", "b"))
        loaded = load_checkpoint(path)
        assert_trees_equal(loaded.networks[net].params, official().networks[net].params)


def test_families_without_an_original_in_torch(tmp_path):
    with pytest.raises(ValueError, match="'stylegan1' has no original in PyTorch"):
        write_official(tmp_path / "x.safetensors", official("tf_stylegan1_r16"))
