"""Commands that pages and docstrings show: those of tools run, those of training are accepted."""

import re
import shutil

import numpy as np
import pytest
from PIL import Image

from stylegan_jax.tools.evaluate import subjects
from stylegan_jax.tools.project import optimise
from stylegan_jax.training.build import check_config
from tests.commands import ROOT, load_module, own_flags, run_module, shown_commands
from tests.convert.official import CHECKPOINTS
from tests.data.foreign import drawings, write_folder
from tests.run.frozen import TinyFrozen

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FILES = [
    *sorted((ROOT / "stylegan_jax" / "configs").glob("*.py")),
    *sorted((ROOT / "stylegan_jax" / "tools").rglob("*.py")),
]
# What is shown more than once, for whatever checkpoint or folder, is run once.
PLACES = re.compile(r"(--checkpoint|--beside|--source|--target|--ws)=(?!openmoji).*")
SHOWN = sorted(
    {
        tuple(PLACES.sub(r"\1=HERE", word) for word in words)
        for page in PAGES + FILES
        for words in shown_commands(page)
    }
)
# The page of settings is compared in tests/training/test_settings.py.
# Published images, which are not here; tests/data/builders has their layouts.
PUBLISHED = {f"--name={name}" for name in ("ffhq", "lsun", "celebahq", "afhqv2", "cifar10")}
TOOLS = [
    words
    for words in SHOWN
    if words[0].startswith("stylegan_jax.tools") and not (PUBLISHED | {">"}) & set(words)
]
RUNS = [
    words
    for words in SHOWN
    if words[0] in ("stylegan_jax.main", "benchmarks.bench_step")
    and any(word.startswith("--config=") for word in words)
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Four flags of two classes."""
    path = tmp_path_factory.mktemp("images")
    write_folder(path, drawings(4, 16), ["a/0.png", "a/1.png", "b/0.png", "b/1.png"])
    # Beside it styles of the tiny network, as others write them.
    np.savez(path.with_suffix(".npz"), w=np.ones((1, 6, 16), np.float32))
    return path


def shrink(words, workdir, folder, tmp_path):
    """The command on what is here: a tiny checkpoint, a small folder."""
    here = {
        "--checkpoint": workdir,
        "--beside": workdir,
        "--source": folder,
        "--target": folder / "a" / "0.png",
        "--ws": folder.with_suffix(".npz"),
        "--resolution": 16,
    }
    shrunken = []
    for word in words:
        name, equals, value = word.partition("=")
        if name == "--out":
            word = f"{name}={tmp_path}/{value}"
        elif name in here and not value.startswith("openmoji"):
            word = f"{name}={here[name]}"
        elif word == "--seeds=0-9999":
            word = "--seeds=0-99"
        shrunken.append(word)
    if "stylegan_jax.tools.convert" in words:
        shrunken[1:] = shrink_paths(shrunken[1:], workdir, tmp_path)
    if "stylegan_jax.tools.report" in words:
        # RUN and RUN, which must be two.
        runs = [word for word in shrunken[1:] if not word.startswith("--")]
        for number, run in enumerate(runs):
            shutil.copytree(workdir, tmp_path / f"run{number}")
            shrunken[shrunken.index(run)] = f"{tmp_path}/run{number}"
    if "prepare" in words:
        shrunken.append(f"--data_dir={tmp_path}/data")
    if "--figure=nearest" in words:
        shrunken.append(f"--data={folder}")
    small = {
        "video": ["--w_frames=2"],
        "project": ["--num_steps=2"],
        "directions": ["--num_samples=32"],
        "spectra": ["--num_images=4", f"--data={folder}"],
    }
    if "--figure=augmentations" in words:
        kept = [word for word in shrunken if not word.startswith(("--data=", "--size="))]
        shrunken = [*kept, f"--data={folder}", "--size=16", "--num_images=2"]
    if words[0].endswith("evaluate"):
        shrunken = shrink_metrics(shrunken, folder, tmp_path)
    shrunken += small.get(words[0].rpartition(".")[2], [])
    if "--source=openmoji/portraits" in words:
        shrunken.append("--resolution=16")
    return shrunken


def shrink_metrics(words, folder, tmp_path):
    """Scores of a few images of the folder; what needs a generator's own data gets these."""
    kept = [word for word in words if not word.startswith(("--images", "--data", "--metrics"))]
    named = next(word for word in words if word.startswith("--metrics")).partition("=")[2]
    few = [re.sub(r"(\D)(?:\d+k|\d{2,})", r"\g<1>4", name) for name in named.split(",")]
    kept += [f"--metrics={','.join(few)}", f"--data={folder}", f"--cache_dir={tmp_path}/cache"]
    is_set = any(word.startswith("--images") for word in words)
    return [*kept, f"--images={folder}"] if is_set else [*kept, f"--out={tmp_path}/out.jsonl"]


def shrink_paths(words, workdir, tmp_path):
    """SRC and DST of conversions: an official pickle, else the checkpoint; a new file."""
    paths = [word for word in words if not word.startswith("--")]
    is_pickle = paths[0].endswith(".pkl")
    paths[0] = str(CHECKPOINTS / "sg2ada_r16_proto4.pkl") if is_pickle else str(workdir)
    paths[1:] = [str(tmp_path / name) for name in paths[1:]]
    return [*paths, *(word for word in words if word.startswith("--"))]


def test_commands_are_found():
    assert len(TOOLS) >= 14 and len(RUNS) >= 8


@pytest.mark.parametrize("words", TOOLS, ids=" ".join)
def test_a_tool_runs(words, workdir, movable, folder, tmp_path, monkeypatch):
    # Few networks can be told to move their images.
    if re.search(r"--(translate|rotate|motion|metrics=.*\beq)", " ".join(words)):
        workdir = movable[0]
    monkeypatch.setattr(optimise, "_NUM_SAMPLES", 64)
    monkeypatch.setattr(subjects, "FrozenNetworks", TinyFrozen)
    assert not run_module(monkeypatch, shrink(words, workdir, folder, tmp_path))
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    # What only shows names no place to write to.
    only_shows = {"check", "stats", "--table"} & set(words) or "--images" in " ".join(words)
    assert written or only_shows or len(words) == 2
    for path in tmp_path.rglob("*.png"):
        with Image.open(path) as picture:
            assert np.asarray(picture).std() > 0


@pytest.mark.parametrize("words", RUNS, ids=" ".join)
def test_a_run_is_accepted(words, monkeypatch):
    """Shrunken recipes run in tests/end_to_end; here all flags and settings are those shown."""
    name, *argv = words
    monkeypatch.setattr("sys.argv", [name, *argv])
    with own_flags(monkeypatch) as values:
        load_module(name)
        values([name, *argv])
        config = values.config
    check_config(config, num_devices=1)
