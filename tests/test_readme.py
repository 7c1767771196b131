"""What the README shows in Python is run."""

import pathlib
import re

import pytest
from PIL import Image

from tests.inference.tiny import make_generator, noisy, workdir

README = (pathlib.Path(__file__).parents[1] / "README.md").read_text()

__all__ = ["make_generator", "noisy", "workdir"]


@pytest.fixture
def quickstart(workdir, tmp_path, monkeypatch):
    """A folder that looks as if the quickstart had been trained in it."""
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "quickstart").symlink_to(workdir)
    monkeypatch.chdir(tmp_path)


def test_python_of_the_readme_draws_images(quickstart):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.S)
    names = {}
    exec(code, names)
    assert names["images"].shape == (2, 16, 16, 3) and names["images"].dtype == "uint8"
    with Image.open("seed0.png") as picture:
        assert picture.size == (16, 16)
