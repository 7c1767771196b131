import dataclasses
import functools
import json

import numpy as np
import pytest

from stylegan_jax.convert.checkpoint import load_checkpoint
from stylegan_jax.convert.export import FORMAT_VERSION, _digest, read_export, write_export
from stylegan_jax.convert.networks import LoadedCheckpoint
from stylegan_jax.convert.readers.files import read_file
from stylegan_jax.convert.readers.records import CheckpointFileError
from stylegan_jax.convert.safetensors import write_safetensors
from tests.convert.official import CHECKPOINTS, assert_trees_equal

FILES = ("sg2ada_r16_proto4", "tf_stylegan2_r32", "tf_stylegan1_r16")


@functools.cache
def official(name: str = FILES[0]) -> LoadedCheckpoint:
    return load_checkpoint(CHECKPOINTS / f"{name}.pkl")


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
    for net, network in stated.networks.items():
        assert got.networks[net].name == network.name
        assert got.networks[net].kwargs == network.kwargs
        assert_trees_equal(got.networks[net].params, network.params)
        assert_trees_equal(got.networks[net].buffers, network.buffers)
    assert got == dataclasses.replace(stated, networks=got.networks)
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
