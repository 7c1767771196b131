"""The import rule: each part of the package knows only what stands below it."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / "stylegan_jax"

# Part -> the parts of ours that it may import besides itself.
MAY_IMPORT = {
    "errors": set(),
    "files": set(),
    "sizes": set(),
    "download": {"files"},
    "cost": set(),
    "ops": {"sizes"},
    "losses": {"ops"},
    "augment": {"ops"},
    "models": {"ops", "sizes"},
    "metrics": {"files", "models", "ops", "sizes"},
    "convert": {"download", "files", "models", "ops", "sizes"},
    "data": {"files", "sizes"},
    # Only `workdir` needs run and training: an export is opened without.
    "inference": {"files", "sizes", "convert", "models", "ops", "run", "training"},
    "training": {"errors", "models", "losses", "augment", "ops", "sizes"},
    "run": {
        "errors",
        "files",
        "sizes",
        "cost",
        "training",
        "data",
        "metrics",
        "models",
        "convert",
        "ops",
    },
    "train": {"errors", "files", "sizes", "run", "training", "data"},
    "plan": {"files", "sizes", "cost", "run", "training", "data", "ops"},
    "configs": set(),
    "recipes": {"configs", "training"},
    "main": {"errors", "train", "plan", "run", "recipes", "training"},
    "tools": {
        "recipes",
        "files",
        "sizes",
        "run",
        "training",
        "data",
        "metrics",
        "convert",
        "models",
        "losses",
        "augment",
        "ops",
        "inference",
    },
}
# Nothing of these is ever imported; torch not even in data.
FORBIDDEN = {"torch", "tensorflow", "tensorflow_io"}
FILES = sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


def imported_modules(path: pathlib.Path) -> set[str]:
    """Every module that a file imports, at its top or inside."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert "*" not in {alias.name for alias in node.names}, f"{path}: import *"
            found.add(node.module or "")
    return found


def part_of(module: str) -> str | None:
    """The part of the package that a module belongs to; None for others' modules."""
    names = module.split(".")
    return names[1] if names[0] == "stylegan_jax" and len(names) > 1 else None


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_downward(path):
    part = part_of(".".join(path.relative_to(ROOT).with_suffix("").parts))
    modules = imported_modules(path)
    ours = {part_of(m) for m in modules} - {None, part}
    assert ours <= MAY_IMPORT[part], f"{part} must not import {sorted(ours - MAY_IMPORT[part])}"
    assert not {m.split(".")[0] for m in modules} & FORBIDDEN


def test_configs_know_no_code():
    for path in (PACKAGE / "configs").glob("*.py"):
        modules = imported_modules(path)
        assert modules <= {"stylegan_jax.configs.common", "ml_collections", "typing"} | {
            "ml_collections.config_dict"
        }, path
