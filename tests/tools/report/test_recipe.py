"""Settings beside those of a recipe, and of other runs."""

import json

import pytest

from stylegan_jax.configs import ffhq
from stylegan_jax.tools.report.reading import read_runs
from stylegan_jax.tools.report.recipe import compare_with_recipe, differences, flatten_settings


def compare(folder):
    return compare_with_recipe(read_runs([str(folder)])[0])


def different(comparison):
    return {row.key: (row.value, row.recipe_value) for row in comparison.rows if row.differs}


def test_flat_settings():
    nested = {"a": {"b": 1.0, "c": {"d": (1, 2)}}, "e": None, "f": {}, "g": 0.5, "h": True}
    flat = {"a.b": "1", "a.c.d": "[1, 2]", "e": "null", "f": "{}", "g": "0.5", "h": "true"}
    assert flatten_settings(nested) == flat


def test_the_nearest_recipe(make_run):
    found = compare(make_run(settings={"loss.r1_gamma": 7.0, "data.data_dir": "/elsewhere"}))
    assert (found.recipe, found.is_recorded) == ("quickstart:fast", False)
    assert different(found) == {"loss.r1_gamma": ("7", "5")} and found.num_different == 1
    assert [row.key for row in found.rows if row.by_hand] == ["loss.r1_gamma", "seed"]


def test_another_recipe(make_run, config):
    config.clear()
    config.update(json.loads(json.dumps(ffhq.get_config().to_dict())))
    assert compare(make_run(settings={"new": 3})).recipe.startswith("ffhq")


@pytest.mark.parametrize(
    ("recorded", "recipe"),
    [("quickstart", "quickstart"), ("configs/quickstart.py:labels=tone", "configs/quickstart.py")],
)
def test_a_recorded_recipe(make_run, recorded, recipe):
    found = compare(make_run(settings={"recipe": recorded}))
    assert found.recipe.startswith(recipe) and found.is_recorded
    assert different(found)["schedule.total_kimg"] == ("3", "100")


def test_a_path_in_a_folder_is_never_run(make_run, tmp_path, monkeypatch):
    (tmp_path / "quickstart.py").write_text("raise SystemExit('this was run')")
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "quickstart.py").write_text("raise SystemExit('this was run')")
    monkeypatch.chdir(tmp_path)
    wanted = {
        f"{tmp_path}/quickstart.py": False,
        "./quickstart.py": False,
        "quickstart.py:fast": True,
        "configs/quickstart.py:fast": True,
        "quickstart:no_such_argument": False,
    }
    for number, (recorded, is_recorded) in enumerate(wanted.items()):
        found = compare(make_run(f"run{number}", settings={"recipe": recorded}))
        assert found.is_recorded == is_recorded and different(found) == {}


def test_no_config(make_run):
    folder = make_run()
    (folder / "config.json").unlink()
    assert compare(folder).rows == () and compare(folder).recipe == ""


def test_differences(make_run):
    changes = {"a": {}, "b": {"seed": 9}, "c": {"extra": 1}}
    runs = read_runs([str(make_run(name, settings=new)) for name, new in changes.items()])
    assert differences(runs) == [("extra", [None, None, "1"]), ("seed", ["0", "9", "9"])]
    assert differences(runs[:1]) == []
