"""The commands: what they print and write, how they exit, and which options they refuse."""

import functools
import json
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
from absl import app, flags
from PIL import Image

from stylegan_jax.data.archives import ZipArchive
from stylegan_jax.data.builders.openmoji import list_drawings, render_drawing
from stylegan_jax.data.codecs import encode
from stylegan_jax.tools.command import telling_errors
from stylegan_jax.tools.dataset import __main__ as dataset

ROOT = pathlib.Path(__file__).parents[3]


@pytest.fixture
def folder(tmp_path):
    """Four flags of two classes, 16 px."""
    for number, name in enumerate(list_drawings("flags")[:4]):
        file = tmp_path / "flags" / "ab"[number % 2] / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encode(np.array(render_drawing(name, (16, 16), fill=True))))
    return tmp_path / "flags"


@pytest.fixture
def command(monkeypatch):
    """Runs the tool within this process, with flags of its own."""

    def run(*argv):
        values = flags.FlagValues()
        flags.DEFINE_integer("verbosity", -1, "", flag_values=values)
        with monkeypatch.context() as patch:
            patch.setattr(flags, "FLAGS", values)
            for kind in ("string", "integer", "bool", "enum"):
                define = getattr(flags, f"DEFINE_{kind}")
                own = functools.partial(define, flag_values=values)
                patch.setattr(flags, f"DEFINE_{kind}", own)
            dataset.define_flags()
            main = telling_errors(dataset.main)
            return main(values(["dataset", *map(str, argv)]))

    return run


def test_check(command, folder, tmp_path, capsys):
    report = tmp_path / "new" / "report.json"
    options = [f"--source={folder}", "--resolution=16", "--labels", f"--report={report}"]
    assert command("check", *options) == 0
    assert capsys.readouterr().out == "flags: 4 images, 0 with problems\n"
    assert json.loads(report.read_text())["problems"] == []
    (folder / "a" / "bad.png").write_text("no image")
    (folder / "b" / "twin.png").write_bytes(next(folder.glob("b/1*.png")).read_bytes())
    assert command("check", *options) == 1
    out = capsys.readouterr().out
    assert f"{folder}/a/bad.png: unreadable: not a readable image\n" in out
    assert re.search(r"twin.png: duplicate: the same file as b/1\S+.png\n", out)
    assert re.search(r"flags: 6 images, 2 with problems\n  unreadable +1\n  dup\w+ +1\n$", out)
    written = json.loads(report.read_text())
    assert written["images"] == 6 and written["counts"] == {"unreadable": 1, "duplicate": 1}
    assert written["problems"][0] == {
        "file": f"{folder}/a/bad.png",
        "reason": "unreadable",
        "detail": "not a readable image",
    }


def test_show_a_built_in_set(command, tmp_path, capsys):
    out = tmp_path / "sheet.png"
    options = ["--source=openmoji/portraits/unseen", "--labels=tone", "--resolution=16"]
    assert command("show", *options, f"--out={out}", "--count=6") == 0
    assert "of 53 images, 16x16 pixels" in capsys.readouterr().out


def test_show(command, folder, tmp_path, capsys):
    out = tmp_path / "new" / "sheet.png"
    assert command("show", f"--source={folder}", f"--out={out}", "--labels", "--count=4") == 0
    assert "4 of 4 images, 16x16 pixels, enlarged 6 times, 2 of 2 cl" in capsys.readouterr().out
    with Image.open(out) as image:
        assert image.mode == "RGB" and image.height > 192
    assert command("show", f"--source={folder}", "--out=sheet.jpg") == 2
    assert "give the name of a file that ends in .png" in capsys.readouterr().err


def test_export_and_stats(command, folder, tmp_path, capsys):
    out = tmp_path / "flags.zip"
    assert command("export", f"--source={folder}", f"--out={out}") == 0
    assert f"wrote {out}: 4 images, 2 classes" in capsys.readouterr().out
    assert ZipArchive(out).labels.values.tolist() == [0, 0, 1, 1]
    found = []
    for source in (folder, out):
        assert command("stats", f"--source={source}", "--json") == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[0]["fingerprint"] == found[1]["fingerprint"]
    assert found[0]["mean"] == found[1]["mean"]
    assert command("stats", f"--source={out}", "--num_workers=1") == 0
    assert f"fingerprint  {found[0]['fingerprint']}" in capsys.readouterr().out
    assert command("export", f"--source={folder}", f"--out={out}") == 2
    assert f"error: {out} exists" in capsys.readouterr().err


def test_prepare_then_look_at_it(command, folder, tmp_path, capsys):
    where = ["--name=mine", f"--source={folder}", f"--data_dir={tmp_path}"]
    options = ["--resolution=8", "--crop=center-crop", "--encoding=qoi", "--max_images=3"]
    assert command("prepare", *where, *options, "--channels=4") == 0
    prepared = tmp_path / "mine/8/1.0.0"
    out = capsys.readouterr().out
    assert f"{prepared}\n" in out and "--config.data.dataset=mine" in out
    assert command("stats", f"--source={prepared}", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["formats"] == {"8x8 pixels, 4 channel(s), uint8": 3}
    metadata = json.loads((prepared / "metadata.json").read_text())
    assert metadata["fingerprint"] == found["fingerprint"]
    assert command("prepare", *where, *options) == 2
    assert "holds something else" in capsys.readouterr().err


def test_sizes_that_are_not_square(command, folder, tmp_path, capsys):
    where = ["--name=mine", f"--source={folder}", f"--data_dir={tmp_path}"]
    assert command("prepare", *where, "--resolution=12x8") == 2
    assert "16x16 pixels, other proportions than 12x8: choose crop" in capsys.readouterr().err
    assert command("prepare", *where, "--resolution=12x8", "--crop=pad") == 0
    prepared = tmp_path / "mine/12x8/1.0.0"
    out = capsys.readouterr().out
    assert f"{prepared}\n" in out and "--config.data.resolution=12x8" in out
    assert command("check", f"--source={prepared}", "--resolution=12x8") == 0
    assert command("check", f"--source={prepared}", "--resolution=8x12") == 1
    out = capsys.readouterr().out
    assert "size: 12x8 pixels (height x width); 8x12 were asked for" in out
    for size in ("9x16", "0", "1080x1920"):
        for name, options in {"check": where[1:2], "prepare": where}.items():
            assert command(name, *options, f"--resolution={size}") == 2
            assert f"error: resolution={size}: no network makes" in capsys.readouterr().err
    assert command("export", f"--source={prepared}", f"--out={tmp_path / 'x.zip'}") == 0
    assert "NOTE: images of 12x8 pixels (height x width) are read" in capsys.readouterr().out
    found = []
    for source in (prepared, tmp_path / "x.zip"):
        assert command("stats", f"--source={source}", "--json") == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[0]["formats"] == {"12x8 pixels (height x width), 3 channel(s), uint8": 4}
    assert found[0]["fingerprint"] == found[1]["fingerprint"]


@pytest.mark.parametrize("text", ["48X32", "48 x 32", "48x", "-4", "1e3", "48x32x3", "", "1234567"])
def test_words_that_are_no_size(command, folder, text):
    with pytest.raises(flags.IllegalFlagValueError, match="256, or height x width, such as 48x32"):
        command("check", f"--source={folder}", f"--resolution={text}")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "Got no command; wanted one of prepare, check, show, export, stats"),
        (["chekc"], "Got chekc; wanted one of"),
        (["check", "flags"], "Got check flags; wanted one of"),
        (["check", "--out=x.zip"], "check has no option --out"),
        (["stats", "--seed=1", "--report=x"], "stats has no option --report, --seed"),
        (["export"], "export needs --out"),
        (["prepare"], "prepare needs --name, --resolution"),
    ],
)
def test_wrong_commands(command, folder, argv, message):
    with pytest.raises(app.UsageError, match=re.escape(message)):
        command(*argv, f"--source={folder}")


def test_sources_that_are_none(command, tmp_path, capsys):
    assert command("stats", f"--source={tmp_path / 'nowhere'}") == 2
    assert "There is no" in capsys.readouterr().err
    assert command("stats", f"--source={tmp_path / 'nowhere.zip'}") == 2
    assert "nowhere.zip. Wanted a prepared" in capsys.readouterr().err


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_the_command_line(folder, encoding):
    # Letters that few terminals know, and bytes that are none.
    names = ["bad", "gr\u00f6\u00dfer", os.fsdecode(b"\xff")]
    for name in names:
        (folder / "a" / f"{name}.png").write_text("no image")
    argv = [sys.executable, "-m", "stylegan_jax.tools.dataset", "check", f"--source={folder}"]
    env = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": encoding}
    done = subprocess.run(argv, cwd=folder, env=env, capture_output=True)
    assert done.returncode == 1 and not done.stderr
    for name in names:
        shown = name.encode(encoding, "backslashreplace")
        assert b"a/" + shown + b".png: unreadable" in done.stdout


def test_labels_that_do_not_fit_stop_neither_stats_nor_export(command, folder, tmp_path, capsys):
    (folder / "dataset.json").write_text('{"labels": [["x.png", 1]]}')
    assert command("stats", f"--source={folder}") == 0
    said = capsys.readouterr()
    assert "no labels" in said.out and "4 of 4 images have no label" in said.err
    assert command("export", f"--source={folder}", f"--out={tmp_path / 'x.zip'}") == 0
    assert "4 of 4 images have no label" in capsys.readouterr().err
    assert ZipArchive(tmp_path / "x.zip").labels.kind == "none"
    assert command("show", f"--source={folder}", f"--out={tmp_path / 'x.png'}") == 0
    assert command("show", f"--source={folder}", f"--out={tmp_path / 'x.png'}", "--labels") == 2
    assert "4 of 4 images have no label" in capsys.readouterr().err


def test_bits_for_nvidias_zips(command, folder, tmp_path, capsys):
    for file in folder.rglob("*.png"):
        with Image.open(file) as image:
            pixels = np.array(image).astype(np.uint16) * 257
        file.write_bytes(encode(pixels))
    assert command("export", f"--source={folder}", f"--out={tmp_path / 'x.zip'}") == 2
    assert "uint16. This format holds" in capsys.readouterr().err
    options = [f"--source={folder}", "--resolution=16", f"--data_dir={tmp_path}"]
    assert command("prepare", "--name=mine", "--bits=8", *options) == 0
    prepared = tmp_path / "mine/16/1.0.0"
    assert command("export", f"--source={prepared}", f"--out={tmp_path / 'x.zip'}") == 0
