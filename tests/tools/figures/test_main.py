"""The command line of the figures."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from stylegan_jax.tools.command import parse_numbers
from stylegan_jax.tools.figures.picture import render
from stylegan_jax.tools.figures.stylegan import truncation

ROOT = pathlib.Path(__file__).parents[3]


def run_tool(*args):
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "stylegan_jax.tools.figures", *args]
    return subprocess.run(command, env=env, capture_output=True, text=True)


def test_the_command_line(workdir, generator, tmp_path):
    out = tmp_path / "new" / "figure.png"
    checkpoint = [f"--checkpoint={workdir}", f"--out={out}"]
    done = run_tool(*checkpoint, "--figure=truncation", "--seeds=1-3", "--psis=1,-.5")
    assert done.returncode == 0, done.stderr
    assert "3 rows x 2 columns" in done.stdout
    with Image.open(out) as picture:
        got = np.asarray(picture)
    want = render(truncation(generator, seeds=[1, 2, 3], psis=[1, -0.5]))
    np.testing.assert_array_equal(got, want)
    out.unlink()
    refused = run_tool(*checkpoint, "--figure=truncation", "--num_noise=9")
    assert refused.returncode != 0 and "truncation has no option --num_noise" in refused.stderr
    assert not out.exists()


def test_numbers():
    assert parse_numbers("1,.5,-1e-1", "psis") == [1, 0.5, -0.1]
    with pytest.raises(ValueError, match="psis='1,x': give numbers"):
        parse_numbers("1,x", "psis")
