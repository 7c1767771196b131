"""Files that the sampling tool writes."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from absl.app import UsageError
from PIL import Image

from stylegan_jax.data import open_source
from stylegan_jax.inference.generator import Generator
from stylegan_jax.inference.saved import write_styles
from stylegan_jax.run.images import describe_hidden, make_grid
from stylegan_jax.sizes import ImageShape
from stylegan_jax.tools import sample
from stylegan_jax.tools.sample import write_images, write_saved
from tests.commands import run_module

ROOT = pathlib.Path(__file__).parents[2]


def read(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_a_grid_or_files(generator, tmp_path, capsys):
    write_images(generator, range(9), tmp_path / "grid.png", truncation_psi=0.7)
    grid = read(tmp_path / "grid.png")
    images = generator.sample(range(9), truncation_psi=0.7)
    assert grid.shape == (48, 48, 3)
    np.testing.assert_array_equal(grid[16:32, 32:48], images[5])
    write_images(generator, [3, 7], tmp_path / "files")
    written = sorted((tmp_path / "files").iterdir())
    assert [p.name for p in written] == ["seed0003.png", "seed0007.png"]
    np.testing.assert_array_equal(read(written[1]), generator.sample([3, 7])[1])
    assert capsys.readouterr().out.count("wrote") == 2


def test_single_files_go_on_where_they_stopped(generator, tmp_path, monkeypatch, capsys):
    """A part at a time; files of the same network and options stay, all others are drawn."""
    monkeypatch.setattr(sample, "CHUNK", 3)
    drawn = []
    images = generator.sample

    def counting(seeds, **kwargs):
        drawn.append(list(seeds))
        return images(seeds, **kwargs)

    monkeypatch.setattr(generator, "sample", counting)
    write_images(generator, range(8), tmp_path, truncation_psi=0.7)
    assert drawn == [[0, 1, 2], [3, 4, 5], [6, 7]]
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert sorted(before) == [f"seed{i:04d}.png" for i in range(8)]

    # One is missing, one cannot be read: their parts are drawn again, to the same bytes.
    (tmp_path / "seed0004.png").unlink()
    (tmp_path / "seed0006.png").write_bytes(b"half")
    drawn.clear()
    write_images(generator, range(8), tmp_path, truncation_psi=0.7)
    assert drawn == [[3, 4, 5], [6, 7]]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert "wrote 5 files" in capsys.readouterr().out

    # A seed that is given twice is one file.
    write_images(generator, [1, 1, 2], tmp_path / "twice")
    assert len(list((tmp_path / "twice").iterdir())) == 2
    np.testing.assert_array_equal(read(tmp_path / "twice" / "seed0002.png"), images([2])[0])

    # What other options or another network have drawn is not taken for it.
    for change in (dict(truncation_psi=0.5), dict(truncation_psi=0.5, noise_mode="none")):
        drawn.clear()
        write_images(generator, [0], tmp_path, **change)
        write_images(generator, [0], tmp_path, **change)
        assert drawn == [[0]]
    monkeypatch.setattr(generator, "fingerprint", lambda: "another")
    write_images(generator, [0], tmp_path, truncation_psi=0.5, noise_mode="none")
    assert drawn == [[0], [0]]


class Painter(Generator):
    """Draws without a network: an image's values follow from its seed."""

    def __init__(self, channels, c_dim=0):
        self.z_dim = 4
        self.shape = ImageShape(12, 8, channels, c_dim)
        self.class_names = [f"class {i}" for i in range(c_dim)]

    def fingerprint(self):
        return "painter"

    def sample(self, seeds, **kwargs):
        shape = (12, 8, self.shape.img_channels)
        draw = [np.random.RandomState(seed).randint(256, size=shape) for seed in seeds]
        return np.stack(draw).astype(np.uint8)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 16])
@pytest.mark.parametrize("out", ["files", "x.npy", "x.npz"])
def test_what_is_written_is_a_data_set(tmp_path, monkeypatch, channels, out):
    """With every channel, in the order of the seeds."""
    monkeypatch.setattr(sample, "CHUNK", 4)
    painter = Painter(channels)
    write_images(painter, range(7), tmp_path / out)
    source = open_source(str(tmp_path / out), size=(12, 8))
    np.testing.assert_array_equal(np.stack(list(source)), painter.sample(range(7)))


@pytest.mark.parametrize("channels", [2, 6])
def test_grids_show_what_can_be_shown(tmp_path, channels, capsys):
    painter = Painter(channels)
    write_images(painter, range(4), tmp_path / "grid.png")
    # Three columns of 8 px and two rows of 12: a square.
    shown = read(tmp_path / "grid.png").reshape(24, 24, -1)
    np.testing.assert_array_equal(shown, make_grid(painter.sample(range(4)), 3))
    with Image.open(tmp_path / "grid.png") as picture:
        assert picture.info == ({"Comment": describe_hidden(6)} if channels == 6 else {})
    said = ", channels 1 to 3 of 6 shown as red, green and blue" if channels == 6 else ""
    assert capsys.readouterr().out == f"wrote {tmp_path / 'grid.png'}: 4 images{said}\n"


def test_an_array_has_the_classes_and_no_date(tmp_path):
    painter = Painter(6, c_dim=3)
    for name in ("a.npz", "b.npz"):
        write_images(painter, range(7), tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    source = open_source(str(tmp_path / "a.npz"), size=(12, 8), labels=True)
    # As they are drawn behind the latents.
    draws = [np.random.RandomState(seed) for seed in range(7)]
    expected = [[draw.randn(4), draw.randint(3)][1] for draw in draws]
    assert source.labels.values.tolist() == expected and len(set(expected)) > 1
    with np.load(tmp_path / "a.npz") as arrays:
        assert sorted(arrays) == ["images", "labels"] and arrays["images"].shape == (7, 12, 8, 6)
    write_images(painter, range(2), tmp_path / "c.npz", class_idx="class 2")
    with np.load(tmp_path / "c.npz") as arrays:
        assert arrays["labels"].tolist() == [2, 2]


def test_tiff_files_go_on_where_they_stopped(tmp_path, capsys, monkeypatch):
    painter = Painter(6)
    write_images(painter, range(3), tmp_path / "x")
    (tmp_path / "x" / "seed0001.tif").write_bytes(b"half")
    write_images(painter, range(3), tmp_path / "x")
    write_images(painter, range(3), tmp_path / "x")
    assert capsys.readouterr().out.splitlines()[-1].startswith("wrote 0 files")
    monkeypatch.setattr(painter, "fingerprint", lambda: "another")
    write_images(painter, range(3), tmp_path / "x")
    assert capsys.readouterr().out.startswith("wrote 3 files")


def test_saved_styles_are_drawn_with_their_noise(workdir, generator, tmp_path, monkeypatch, capsys):
    ws, noise = generator.styles([3, 8]), generator.random_noise([5, 6])
    write_styles(tmp_path / "a.npz", generator, ws, noise)
    write_styles(tmp_path / "b.npz", generator, ws[:1])  # the network's own noise
    words = ["stylegan_jax.tools.sample", f"--checkpoint={workdir}", f"--ws={tmp_path}/a.npz"]
    words += [f"--ws={tmp_path}/b.npz"]
    want = np.concatenate([generator.synthesis(ws, noise), generator.sample([3])])
    for out in ("files", "x.npy", "x.npz"):
        run_module(monkeypatch, [*words, f"--out={tmp_path}/{out}"])
    for i, image in enumerate(want):
        np.testing.assert_array_equal(read(tmp_path / "files" / f"ws000{i}.png"), image)
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), want)
    with np.load(tmp_path / "x.npz") as arrays:
        np.testing.assert_array_equal(arrays["images"], want)

    # Files that are there stay, those of other noise or options are drawn again.
    capsys.readouterr()
    write_saved(generator, [tmp_path / "a.npz", tmp_path / "b.npz"], tmp_path / "files")
    write_saved(generator, [tmp_path / "b.npz", tmp_path / "a.npz"], tmp_path / "files")
    counts = [line.split(" files")[0] for line in capsys.readouterr().out.splitlines()]
    assert counts == ["wrote 0", "wrote 3"]
    mean = dict(truncation_psi=0.0, noise_mode="none")
    write_saved(generator, [tmp_path / "a.npz"], tmp_path / "mean.png", **mean)
    grid = generator.sample([0, 1], **mean)
    np.testing.assert_array_equal(read(tmp_path / "mean.png"), make_grid(grid, 2))

    for option in ("--seeds=3", "--class=3"):
        with pytest.raises(UsageError, match=f"in place of {option[:-2]}: leave it out"):
            run_module(monkeypatch, [*words, f"--out={tmp_path}/y", option], load=None)


def test_a_network_is_known_by_its_numbers(noisy, make_generator):
    workdir, generator = noisy
    assert Generator(str(workdir)).fingerprint() == generator.fingerprint()
    assert make_generator(0.25)[1].fingerprint() != generator.fingerprint()


def test_a_grid_that_no_picture_holds_is_refused(generator, tmp_path, monkeypatch):
    monkeypatch.setattr(generator, "sample", None)
    with pytest.raises(ValueError, match="20000 seeds .* holds 16384 images of 16 px: .* a folder"):
        write_images(generator, range(20000), tmp_path / "grid.png")


def test_the_command_line(workdir, generator, tmp_path):
    command = [
        *(sys.executable, "-m", "stylegan_jax.tools.sample", f"--checkpoint={workdir}"),
        *("--seeds=0-3", f"--out={tmp_path / 'grid.png'}", "--truncation_psi=0.5"),
        *("--truncation_cutoff=4", "--noise_mode=none", "--step=16"),
    ]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run(command, cwd=tmp_path, env=env, check=True)
    images = generator.sample(range(4), truncation_psi=0.5, truncation_cutoff=4, noise_mode="none")
    np.testing.assert_array_equal(read(tmp_path / "grid.png")[16:, 16:], images[3])


def test_the_type_of_feature_maps(workdir, generator, tmp_path, monkeypatch):
    words = ["stylegan_jax.tools.sample", f"--checkpoint={workdir}", "--compute_dtype=bfloat16"]
    run_module(monkeypatch, [*words, "--seeds=3", f"--out={tmp_path}/half.npy"])
    half, whole = np.load(tmp_path / "half.npy").astype(int), generator.sample([3])
    assert 0 < np.abs(half - whole).max() < 16
