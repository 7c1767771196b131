"""Files that the sampling tool writes."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from stylegan_jax.tools import sample
from stylegan_jax.tools.generator import Generator
from stylegan_jax.tools.sample import write_images

ROOT = pathlib.Path(__file__).parents[2]


def read(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_a_grid_or_files(generator, tmp_path, capsys):
    write_images(generator, range(9), tmp_path / "grid.png", truncation_psi=0.7)
    grid = read(tmp_path / "grid.png")
    images = generator.images(range(9), truncation_psi=0.7)
    assert grid.shape == (48, 48, 3)
    np.testing.assert_array_equal(grid[16:32, 32:48], images[5])
    write_images(generator, [3, 7], tmp_path / "files")
    written = sorted((tmp_path / "files").iterdir())
    assert [p.name for p in written] == ["seed0003.png", "seed0007.png"]
    np.testing.assert_array_equal(read(written[1]), generator.images([3, 7])[1])
    assert capsys.readouterr().out.count("wrote") == 2


def test_single_files_go_on_where_they_stopped(generator, tmp_path, monkeypatch, capsys):
    """A part at a time; files of the same network and options stay, all others are drawn."""
    monkeypatch.setattr(sample, "CHUNK", 3)
    drawn = []
    images = generator.images

    def counting(seeds, **kwargs):
        drawn.append(list(seeds))
        return images(seeds, **kwargs)

    monkeypatch.setattr(generator, "images", counting)
    write_images(generator, range(8), tmp_path, truncation_psi=0.7)
    assert drawn == [[0, 1, 2], [3, 4, 5], [6, 7, 7]]
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert sorted(before) == [f"seed{i:04d}.png" for i in range(8)]

    # One is missing, one cannot be read: their parts are drawn again, to the same bytes.
    (tmp_path / "seed0004.png").unlink()
    (tmp_path / "seed0006.png").write_bytes(b"half")
    drawn.clear()
    write_images(generator, range(8), tmp_path, truncation_psi=0.7)
    assert drawn == [[3, 4, 5], [6, 7, 7]]
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


def test_a_network_is_known_by_its_numbers(noisy, make_generator):
    workdir, generator = noisy
    assert Generator(str(workdir)).fingerprint() == generator.fingerprint()
    assert make_generator(0.25)[1].fingerprint() != generator.fingerprint()


def test_a_grid_that_no_picture_holds_is_refused(generator, tmp_path, monkeypatch):
    monkeypatch.setattr(generator, "images", None)
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
    images = generator.images(range(4), truncation_psi=0.5, truncation_cutoff=4, noise_mode="none")
    np.testing.assert_array_equal(read(tmp_path / "grid.png")[16:, 16:], images[3])
