"""Recipes by name or path, and the flag of commands that take one: `--config=RECIPE[:ARG]`."""

import importlib
import importlib.util
import pathlib
import pkgutil
import re
import sys
from types import ModuleType

from absl import flags
from ml_collections import ConfigDict, config_flags

from stylegan_jax import configs
from stylegan_jax.training.settings import describe_unknown, flatten

# Modules of the folder that are no recipes.
_SHARED = {"common"}


def recipe_names() -> list[str]:
    """Lists the recipes that are installed."""
    found = {module.name for module in pkgutil.iter_modules(configs.__path__)}
    return sorted(found - _SHARED)


def load_recipe(text: str) -> ConfigDict:
    """Makes the config of a recipe.

    Args:
        text: `RECIPE` or `RECIPE:ARG`. A recipe is a Python file with `get_config(arg)`, or one of
            the installed ones: `quickstart`, `quickstart.py` and `configs/quickstart.py` name the
            same, whatever the working directory, unless there is a file of that name.

    Raises:
        ValueError: There is no such recipe, or it refuses the argument.
    """
    name, colon, arg = text.partition(":")
    module = _load_module(name)
    if not hasattr(module, "get_config"):
        raise ValueError(
            f"--config={name} is no recipe: give a Python file with a function get_config(arg), "
            f"or one of {', '.join(recipe_names())}."
        )
    config = module.get_config(arg) if colon else module.get_config()
    if not isinstance(config, ConfigDict):
        raise ValueError(f"get_config of {name} returned no ConfigDict but {type(config)}.")
    return config


def _load_module(name: str) -> ModuleType:
    """Imports the file at a path, else the installed recipe of that name."""
    path = pathlib.Path(name).expanduser()
    if path.suffix == ".py" and path.is_file():
        spec = importlib.util.spec_from_file_location("recipe", path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    if str(path.parent) in (".", "configs") and path.stem in recipe_names():
        return importlib.import_module(f"{configs.__name__}.{path.stem}")
    raise ValueError(
        f"There is no recipe {name!r} in {pathlib.Path.cwd()}: give the path of a Python file, or "
        f"one of {', '.join(recipe_names())}."
    )


class _RecipeParser(flags.ArgumentParser):
    """Reads the value of `--config`, before its settings."""

    def parse(self, argument: str) -> ConfigDict:
        """Returns the locked config, if it has all settings that the command line names."""
        config = load_recipe(argument)
        known = dict(flatten(config))
        for word in sys.argv[1:]:
            setting = re.match(r"--?(?:no)?config\.([^=\[]+)", word)
            if setting and setting[1] not in known:
                raise ValueError(describe_unknown(setting[1], known))
        return config.lock()


def define_recipe_flag() -> flags.FlagHolder:
    """Declares `--config` and its settings, `--config.SECTION.KEY=VALUE`."""
    holder = config_flags.DEFINE_config_file("config", None, "The recipe, NAME or FILE.py[:ARG].")
    # The same flag with another way to find the file: from any folder.
    flags.FLAGS["config"].parser = _RecipeParser()
    return holder
