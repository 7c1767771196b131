"""Stored cases of the originals, and the files that they would lie in."""

import functools
import inspect
import json
import pathlib
from typing import Any

import jax
import numpy as np

from stylegan_jax.convert.networks import LoadedNetwork
from stylegan_jax.models import DISCRIMINATORS, GENERATORS

FOLDER = pathlib.Path(__file__).parents[1] / "data"
GOLDEN = FOLDER / "golden"
CHECKPOINTS = FOLDER / "checkpoints"


@functools.cache
def _index() -> dict[str, Any]:
    cases = json.loads((GOLDEN / "index.json").read_text())["cases"]
    return {case["file"].removesuffix(".npz"): case["args"] for case in cases}


def read_case(name: str) -> tuple[dict[str, np.ndarray], dict[str, Any], str]:
    """Tensors of a stored network by official name, its arguments there, and its build function."""
    args = _index()[name]
    with np.load(GOLDEN / f"{name}.npz", allow_pickle=False) as data:
        arrays = {n.removeprefix("params/"): data[n] for n in data.files if n[:7] == "params/"}
    return arrays, args["kwargs"], args.get("func", args.get("constructor"))


def full_kwargs(network: LoadedNetwork, is_generator: bool) -> dict[str, Any]:
    """Arguments of a network, those that it leaves at their default included."""
    build: Any = (GENERATORS if is_generator else DISCRIMINATORS)[network.name]
    parameters = inspect.signature(build.__init__).parameters
    return {name: p.default for name, p in parameters.items()} | network.kwargs


def assert_trees_equal(got: Any, want: Any) -> None:
    """Same names, same bits."""
    got, want = (
        {jax.tree_util.keystr(path): leaf for path, leaf in leaves}
        for leaves in map(jax.tree_util.tree_leaves_with_path, (got, want))
    )
    assert got.keys() == want.keys()
    for name, leaf in got.items():
        np.testing.assert_array_equal(leaf, want[name], err_msg=name)
