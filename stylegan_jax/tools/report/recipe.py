"""Which settings of a run differ from its recipe, and from those of other runs."""

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from stylegan_jax.recipes import load_recipe, recipe_names
from stylegan_jax.tools.report.reading import Run

# What a recipe leaves to the place where it runs.
_OF_THE_MACHINE = {"data.data_dir", "data.num_workers", "cpu_devices"}
# Recipes with their arguments that a run may have used; of these the nearest is taken.
_ARGUMENTS = {
    "quickstart": [
        ",".join(filter(None, (length, model)))
        for model in ("", "model=stylegan1", "model=progan")
        for length in ("", "fast", "smoke")
    ]
}


class SettingRow(NamedTuple):
    """One setting of a run.

    Attributes:
        key: Such as `loss.r1_gamma`.
        value: As JSON.
        recipe_value: Likewise; None where the recipe has no such setting.
        differs: From the recipe.
        by_hand: Whether the command line gave it.
    """

    key: str
    value: str
    recipe_value: str | None
    differs: bool
    by_hand: bool


class Comparison(NamedTuple):
    """A run's settings beside those of a recipe.

    Attributes:
        recipe: Its name; empty where there is none to compare with.
        is_recorded: Whether the run says that it is this one; else it is the nearest one.
        rows: Every setting.
    """

    recipe: str
    is_recorded: bool
    rows: tuple[SettingRow, ...]

    @property
    def num_different(self) -> int:
        """Counts the settings that differ."""
        return sum(row.differs for row in self.rows)


def flatten_settings(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Returns `{"loss.r1_gamma": "5.0"}` and so on; values as JSON, so that tuples equal lists."""
    found: dict[str, str] = {}
    for name, value in config.items():
        if isinstance(value, Mapping) and value:
            found |= flatten_settings(value, f"{prefix}{name}.")
        else:
            # 10 and 10.0 are the same setting.
            if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
                value = int(value)
            found[f"{prefix}{name}"] = json.dumps(value, default=str)
    return found


def compare_with_recipe(run: Run) -> Comparison:
    """Compares with the recipe that the run names, else with the installed one that is nearest.

    Only installed recipes are taken: a path in a run's folder is never followed.
    """
    settings = flatten_settings(run.config)
    recorded = settings.pop("recipe", None)
    if not settings:
        return Comparison("", False, ())
    name, recipe = "", None
    if recorded is not None:
        name = str(json.loads(recorded))
        recipe = _load(name)
    is_recorded = recipe is not None
    if recipe is None:
        name, recipe = _nearest(settings)

    by_hand = set(run.log.overrides)
    rows = []
    for key, value in settings.items():
        differs = recipe.get(key) != value and key not in _OF_THE_MACHINE
        rows.append(SettingRow(key, value, recipe.get(key), differs, key in by_hand))
    return Comparison(name, is_recorded, tuple(rows))


@functools.cache
def _load(text: str) -> dict[str, str] | None:
    """Returns an installed recipe's settings, or None where there is none of that name."""
    # `configs/quickstart.py:fast` is `quickstart:fast`, whatever lies in the working directory.
    path, colon, arg = text.partition(":")
    name = path.removeprefix("configs/").removesuffix(".py")
    if name not in recipe_names():
        return None
    try:
        config = load_recipe(f"{name}{colon}{arg}")
    except ValueError:  # an argument of another version
        return None
    return flatten_settings(config.to_dict())


def _nearest(settings: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Returns the installed recipe that differs least, with its settings."""
    names = [
        f"{name}:{arg}" if arg else name
        for name in recipe_names()
        for arg in _ARGUMENTS.get(name, [""])
    ]
    recipes = {name: recipe for name in names if (recipe := _load(name)) is not None}

    def distance(name: str) -> int:
        recipe = recipes[name]
        keys = settings.keys() | recipe.keys()
        return sum(settings.get(key) != recipe.get(key) for key in keys - _OF_THE_MACHINE)

    best = min(recipes, key=distance)
    return best, recipes[best]


def differences(runs: Sequence[Run]) -> list[tuple[str, list[str | None]]]:
    """Returns the settings in which runs differ, with the value of each; None: it has none."""
    each = [flatten_settings(run.config) for run in runs]
    keys = sorted(set().union(*each))
    table = [(key, [settings.get(key) for settings in each]) for key in keys]
    return [(key, values) for key, values in table if len(set(values)) > 1]
