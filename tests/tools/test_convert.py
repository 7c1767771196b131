"""The command that shows and converts checkpoints."""

import pytest

from stylegan_jax.convert.checkpoint import load_checkpoint
from stylegan_jax.convert.export import read_export, write_export
from stylegan_jax.run.networks import load_networks
from tests.commands import run_module
from tests.convert.official import CHECKPOINTS, assert_trees_equal

PICKLE = str(CHECKPOINTS / "sg2ada_r16_proto4.pkl")
STYLEGAN1 = str(CHECKPOINTS / "tf_stylegan1_r16.pkl")


@pytest.fixture
def convert(monkeypatch, capsys):
    """Runs the command; returns what it printed."""

    def run(*words):
        run_module(monkeypatch, ["stylegan_jax.tools.convert", *map(str, words)])
        return capsys.readouterr().out

    return run


def test_a_pickle_is_shown_and_not_converted(convert, tmp_path):
    out = convert(PICKLE)
    assert "G_ema: stylegan2, 16x16 pixels, 1 channel(s), 0 label(s), 6,344 parameters" in out
    assert "mapping_layers=8" in out
    assert not list(tmp_path.iterdir())


def test_a_workdir_to_an_export_to_official_names_and_back(convert, workdir, tmp_path):
    out = convert(workdir, tmp_path / "a.safetensors")
    assert "not there: G, D" in out and "trained on 0.016 kimg" in out
    convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors", "--to=official")
    convert(tmp_path / "b.safetensors", tmp_path / "c.safetensors")
    want = load_networks(workdir).networks["G_ema"]
    for name in "abc":
        got = load_networks(tmp_path / f"{name}.safetensors").networks["G_ema"]
        assert got.kwargs == want.kwargs
        assert_trees_equal(got.params, want.params)
        assert_trees_equal(got.buffers, want.buffers)


def test_tables(convert):
    out = convert(PICKLE, "--table", "--networks=D")
    assert "D b4/fc/weight" in out and "128x8" in out and "G_ema" not in out
    out = convert(PICKLE, "--table", "--networks=D", "--to=official")
    assert "D b4.fc.weight" in out and "8x128" in out and "D b8.resample_filter" in out
    with pytest.raises(ValueError, match="'stylegan1' has no original in PyTorch"):
        convert(STYLEGAN1, "--table", "--to=official")


def test_nothing_is_replaced_unless_asked(convert, tmp_path):
    path = tmp_path / "x.safetensors"
    write_export(path, load_checkpoint(PICKLE, networks=["D"]))
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"x\.safetensors exists: give another name"):
        convert(PICKLE, path)
    assert path.read_bytes() == before
    convert(PICKLE, path, "--overwrite")
    assert set(read_export(path).networks) == {"G", "D", "G_ema"}


def test_what_the_original_could_not_make_is_said(convert, workdir, tmp_path):
    convert(PICKLE, tmp_path / "x.safetensors", "--to=official")
    loaded = load_checkpoint(PICKLE, networks=["D"])
    loaded.networks["D"].kwargs["mbstd_grouping"] = "contiguous"
    write_export(tmp_path / "y.safetensors", loaded)
    out = convert(tmp_path / "y.safetensors", tmp_path / "z.safetensors", "--to=official")
    assert "NOTE: D: Minibatch groups of neighbours" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([PICKLE, "x.npz"], "--DST=x.npz: give the name of a file that ends in .safetensors"),
        (
            [PICKLE, "a/x.pkl"],
            "x.pkl: pickles are read, and never .* Give a/x.safetensors and --to=",
        ),
        (["gone", "x.PT"], "x.PT: pickles are read, .* Give x.safetensors and --to=official"),
        ([PICKLE, "x.pth", "--to=official", "--overwrite"], "x.pth: .* PyTorch loads"),
        ([PICKLE, "--networks=g"], "--networks=g: choose G, D, G_ema"),
        ([PICKLE, "--step=best"], "step=best: .* which has no steps"),
        ([CHECKPOINTS / "cyc_resnet2_official_style.pth"], "holds model.1.bias.* wanted are"),
        (["gone"], "gone does not exist"),
    ],
)
def test_what_cannot_be_converted(convert, words, message):
    with pytest.raises((ValueError, OSError), match=message):
        convert(*words)
