"""What all commands refuse before they load anything, and how they say it."""

import os
import pathlib
import subprocess
import sys

import pytest
from PIL import Image

from stylegan_jax.tools.command import check_output
from tests.commands import run_module
from tests.data.foreign import drawings, write_folder

ROOT = pathlib.Path(__file__).parents[2]


def never(*args, **kwargs):
    """Stands where a network would be loaded."""
    raise AssertionError("the network was loaded")


@pytest.fixture
def places(tmp_path):
    """A folder, a file, and a folder that must not be written."""
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "closed").mkdir(mode=0o500)
    return tmp_path


OUTPUTS = [
    ("folder.png", ValueError, "folder.png is a folder: give the name of a file"),
    ("file/grid.png", ValueError, "file is a file, where a folder is wanted"),
    ("file", ValueError, "file is a file, where a folder is wanted"),
    ("closed/new/grid.png", PermissionError, "closed must not be written"),
]


@pytest.mark.parametrize(("name", "error", "message"), OUTPUTS)
def test_outputs_are_looked_at_before_a_network_is_loaded(
    places, monkeypatch, name, error, message
):
    # The rights of files do not bind root.
    monkeypatch.setattr(os, "access", lambda path, mode: "closed" not in str(path))
    out = f"--out={places / name}"
    with pytest.raises(error, match=message):
        run_module(
            monkeypatch,
            ["stylegan_jax.tools.sample", "--checkpoint=gone", out],
            load=never,
        )
    if name.endswith(".png"):
        for tool in (["figures", "--figure=truncation", "--checkpoint=gone"],
                     ["dataset", "show", "--source=gone"]):  # fmt: skip
            name, *options = tool
            with pytest.raises(error, match=message):
                run_module(monkeypatch, [f"stylegan_jax.tools.{name}", *options, out], load=never)


def test_suffixes_and_new_folders(tmp_path):
    assert check_output(f"{tmp_path}/a/b/GRID.PNG", ".png") == tmp_path / "a" / "b" / "GRID.PNG"
    assert check_output(f"{tmp_path}/a/b", None) == tmp_path / "a" / "b"
    assert not list(tmp_path.iterdir())
    for text in ("grid.jpg", "", "png"):
        with pytest.raises(ValueError, match=f"--out={text}: give the name of a file .* .png"):
            check_output(text, ".png")


@pytest.mark.parametrize(
    ("tool", "options", "message"),
    [
        ("sample", ["--seeds=4294967296"], "seeds: 4294967296 is no seed.*0 to 4294967295"),
        ("sample", ["--seeds=0-99999999999"], "are more than 1000000"),
        ("figures", ["--figure=truncation", "--psis=1,nan"], "psis='1,nan': give numbers"),
        ("figures", ["--figure=style_mixing", "--row_seeds=-1"], "row_seeds='-1'"),
    ],
)
def test_numbers_are_read_before_a_network_is_loaded(tmp_path, monkeypatch, tool, options, message):
    words = [f"stylegan_jax.tools.{tool}", "--checkpoint=gone", f"--out={tmp_path}/x.png", *options]
    with pytest.raises(ValueError, match=message):
        run_module(monkeypatch, words, load=never)


@pytest.mark.parametrize("flag", ["class", "class_idx", "class_index"])
def test_a_class_by_its_name(flag, tmp_path, monkeypatch):
    asked = []

    def write_images(generator, seeds, out, *, class_idx, **kwargs):
        asked.append(class_idx)

    words = ["stylegan_jax.tools.sample", "--checkpoint=x", f"--out={tmp_path}/x.png"]
    words.append(f"--{flag}=firefighter")
    run_module(monkeypatch, words, load=lambda *_, **__: None, write_images=write_images)
    assert asked == ["firefighter"]


def test_a_terminal_of_ascii_and_a_file_for_a_checkpoint(tmp_path):
    write_folder(tmp_path / "d", drawings(1, 16), ["\u00e4.png"])
    (tmp_path / "d" / "\u00f6.png").write_text("no image")
    env = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    tools = {
        "dataset": ["check", f"--source={tmp_path / 'd'}"],
        "sample": [f"--checkpoint={tmp_path}/d/\u00e4.png", f"--out={tmp_path}/x.png"],
    }
    done = {
        name: subprocess.run(
            [sys.executable, "-m", f"stylegan_jax.tools.{name}", *options],
            env=env, capture_output=True, text=True,
        )
        for name, options in tools.items()
    }  # fmt: skip
    assert done["dataset"].returncode == 1 and "d/\\xf6.png: unreadable" in done["dataset"].stdout
    assert done["sample"].returncode == 2 and "Traceback" not in done["sample"].stderr
    assert "d/\\xe4.png: " in done["sample"].stderr and "no pickle" in done["sample"].stderr
    with Image.open(tmp_path / "d" / "\u00e4.png") as picture:
        assert picture.size == (16, 16)
