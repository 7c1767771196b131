"""Notebooks as a user runs them, top to bottom, and as they lie in the repository."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.notebooks.execution import NOTEBOOKS, ROOT, execute, pictures, read, texts

# What the forms of sample.ipynb hold in tests.
SMALL = dict(
    SEEDS="0-3",
    COLUMNS=2,
    TRUNCATION_SEEDS="0",
    ROW_SEEDS="0",
    COLUMN_SEEDS="1,2",
    CLASS_SEEDS="0,1",
    VIDEO_SEEDS="0,1",
    FRAMES=2,
    VIDEO_FILE="passage.mp4",
    STEPS=2,
)


def decode(picture):
    """Pixels of a PNG in base64."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(picture))))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_nothing_that_a_run_leaves_is_kept(path):
    for cell in read(path).cells:
        if cell.cell_type == "code":
            assert not cell.outputs and cell.execution_count is None, cell.id
            assert not cell.metadata.keys() - {"cellView", "tags"}, cell.id


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_path_of_a_machine(path):
    assert not re.findall(
        r"[\"'](?:/(?:home|root|work|content|tmp|Users)|[A-Z]:)", path.read_text()
    )


def test_one_address_of_the_repository():
    texts = [path.read_text() for path in (*NOTEBOOKS, ROOT / "README.md")]
    owners = {owner for text in texts for owner in re.findall(r"/([\w-]+)/stylegan_jax\b", text)}
    assert len(owners) == 1
    for path in NOTEBOOKS:
        badge = f"colab/github/{min(owners)}/stylegan_jax/blob/main/notebooks/{path.name}"
        assert badge.removeprefix("colab/") in path.read_text()


def test_drawing_from_a_run(workdir, tmp_path):
    # An uploaded picture: a disc on a square.
    drawn = Image.new("RGB", (40, 30), "navy")
    ImageDraw.Draw(drawn).ellipse((10, 5, 30, 25), "orange")
    drawn.save(tmp_path / "drawn.png")
    cells = execute("sample", tmp_path, CHECKPOINT=str(workdir), PICTURE="drawn.png", **SMALL)
    assert re.search(r"runs on cpu: .+\n", texts(cells["setup"]))
    assert "Generator(stylegan2, 16x16x3" in texts(cells["checkpoint"])

    # Two columns of two images, enlarged to 128 px; a row each of three images, with labels.
    assert decode(pictures(cells["samples"])[0]).shape == (256, 256, 3)
    assert [len(pictures(cells[name])) for name in ("truncation", "mixing")] == [1, 1]
    assert "without labels" in texts(cells["classes"])

    # The video is in the notebook itself; the picture is the square in the middle of the drawing.
    assert "data:video/mp4;base64," in cells["video"][-2].data["text/html"]
    assert (tmp_path / "passage.mp4").stat().st_size
    left, right = np.split(decode(pictures(cells["projection"])[0]), 2, axis=1)
    assert left.shape == right.shape == (128, 128, 3)
    np.testing.assert_array_equal(left[64, 64], [255, 165, 0])
    for name in cells.keys() - {"install", "setup"}:
        assert re.search(r"\(\d+\.\d s\)\n$", texts(cells[name])), name


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder in which train.ipynb has run, and what its cells showed."""
    folder = tmp_path_factory.mktemp("train")
    rng = np.random.default_rng(0)
    (folder / "images").mkdir()
    for number in range(8):
        pixels = rng.integers(0, 256, (24, 20, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
    own = dict(IMAGES="images", SIZE="16", OWN_RECIPE="ffhq:smoke", KIMG=0.016, SAVE_KIMG=0.016)
    return folder, execute("train", folder, RECIPE="quickstart:smoke", **own)


@pytest.mark.slow
def test_training(trained):
    folder, cells = trained
    # One picture that is replaced, of the last samples; what the kernel printed as it came.
    assert "first step done" in texts(cells["quickstart"])
    samples = folder / "runs" / "quickstart_fast" / "samples" / "fakes_000000.064.png"
    with Image.open(samples) as want:
        (picture,) = pictures(cells["quickstart"])
        np.testing.assert_array_equal(decode(picture), want.convert("RGB"))
    assert decode(pictures(cells["metrics"])[0]).std() > 10

    # The folder is prepared, trained on and plotted.
    assert "8 images of 16x16 pixels" in texts(cells["own"])
    assert len(pictures(cells["own"])) == 2
    assert (folder / "runs" / "mine" / "checkpoints" / "16").is_dir()


@pytest.mark.slow
def test_nothing_given_draws_from_the_quickstart(trained, tmp_path):
    # The run is there and finished: the cell goes on from it.
    run = trained[0] / "runs" / "quickstart_fast"
    cells = execute("sample", tmp_path, QUICKSTART="quickstart:smoke", WORKDIR=str(run), **SMALL)
    assert "continuing at 0.064 kimg" in texts(cells["checkpoint"])
    assert f"Generator(stylegan2, 16x16x3, {run})" in texts(cells["checkpoint"])
    assert "seed 1000" in texts(cells["projection"])
    assert len(pictures(cells["samples"])) == 1
