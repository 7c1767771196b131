"""Recipes by name and by path, from any folder."""

import os
import pathlib
import subprocess
import sys
import sysconfig

import pytest

from stylegan_jax.configs import ffhq, quickstart
from stylegan_jax.recipes import define_recipe_flag, load_recipe, recipe_names
from tests.commands import own_flags

ROOT = pathlib.Path(__file__).parents[1]
OUTSIDE = """
from stylegan_jax.configs.common import stylegan2_defaults

def get_config(arg=None):
    config = stylegan2_defaults()
    config.data.dataset = arg or "mine"
    return config
"""


@pytest.mark.parametrize("name", ["quickstart", "quickstart.py", "configs/quickstart.py"])
def test_an_installed_recipe_from_another_folder(monkeypatch, tmp_path, name):
    monkeypatch.chdir(tmp_path)
    assert load_recipe(name).to_dict() == quickstart.get_config().to_dict()
    fast = quickstart.get_config("fast,res=64").to_dict()
    assert load_recipe(f"{name}:fast,res=64").to_dict() == fast


def test_all_recipes_are_found():
    names = {path.stem for path in (ROOT / "stylegan_jax" / "configs").glob("*.py")}
    assert set(recipe_names()) == names - {"__init__", "common"}
    assert load_recipe(ffhq.__file__).to_dict() == ffhq.get_config().to_dict()


def test_a_recipe_of_ones_own(monkeypatch, tmp_path):
    (tmp_path / "ffhq.py").write_text(OUTSIDE)
    assert load_recipe(f"{tmp_path}/ffhq.py:here").data.dataset == "here"
    # A file that is there goes before an installed recipe of its name.
    monkeypatch.chdir(tmp_path)
    assert load_recipe("ffhq.py").data.dataset == "mine"
    assert load_recipe("ffhq").data.dataset == "ffhq"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("quickstrat", "no recipe 'quickstrat'.*ffhq, lsun"),
        ("common", "no recipe 'common'"),
        ("elsewhere/ffhq.py", "no recipe 'elsewhere/ffhq.py'"),
        ("empty.py", "empty.py is no recipe.*get_config"),
        ("nothing.py", "nothing.py returned no ConfigDict"),
        ("", "no recipe ''"),
        ("ffhq:config=G", "config='G'"),
    ],
)
def test_what_is_no_recipe(monkeypatch, tmp_path, name, message):
    (tmp_path / "empty.py").write_text("")
    (tmp_path / "nothing.py").write_text("def get_config():\n    pass\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        load_recipe(name)


def test_settings_follow_the_recipe(monkeypatch, tmp_path):
    argv = ["main", "--config=ffhq:config=E", "--config.schedule.batch_size=64"]
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.chdir(tmp_path)
    with own_flags(monkeypatch) as values:
        define_recipe_flag()
        values(argv)
    assert (values.config.loss.r1_gamma, values.config.schedule.batch_size) == (100, 64)


def test_what_pip_installs_has_the_recipes(tmp_path):
    """The files that a wheel is made of, without the checkout on the path."""
    pytest.importorskip("setuptools")
    for name in ("setup.py", "README.md", "stylegan_jax"):
        (tmp_path / name).symlink_to(ROOT / name)
    build = [sys.executable, "setup.py", "--quiet", "build_py", f"--build-lib={tmp_path}/site"]
    subprocess.run(build, cwd=tmp_path, check=True, capture_output=True)
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    paths = f"{tmp_path / 'site'}{os.pathsep}{sysconfig.get_path('purelib')}"
    code = "import stylegan_jax.recipes as r; print(r.__file__, r.load_recipe('lsun').data.dataset)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=env | {"PYTHONPATH": paths},
        cwd=tmp_path / "site" / "stylegan_jax",
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == [f"{tmp_path}/site/stylegan_jax/recipes.py", "lsun/church"]
