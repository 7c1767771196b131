"""Files that the sampling tool writes."""

import os
import pathlib
import subprocess
import sys

import numpy as np
from PIL import Image

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
