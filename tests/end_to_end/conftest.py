"""What the whole runs share."""

import json

import jax
import pytest

from stylegan_jax import train
from stylegan_jax.run import opening
from stylegan_jax.training import programs
from tests.end_to_end.command import COMPILER_OPTIONS


@pytest.fixture(autouse=True, scope="module")
def fast_compiler():
    """Programs of whole runs in two thirds of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(programs, "_COMPILER_OPTIONS", COMPILER_OPTIONS)
        yield


@pytest.fixture(autouse=True, scope="module")
def shared_programs():
    """Steps are traced and compiled once for all runs of a module whose settings are the same."""
    setups, compiled = {}, {}

    def make_setup(config, shape, *, make=opening.make_setup):
        sections = config.to_dict()
        sections["schedule"].pop("total_kimg")
        named = {name: sections[name] for name in ("G", "D", "loss", "optimizer", "schedule")}
        key = json.dumps(named), shape
        if key not in setups:
            setups[key] = make(config, shape)
        return setups[key]

    def compile_steps(setup, mesh, state, shape, constants, *, make=train.compile_steps, **kwargs):
        assert any(setup.networks is known.networks for known, _ in setups.values())
        labels = jax.tree.map(lambda x: (x.shape, str(x.dtype)), constants)
        key = id(setup.networks), setup.hyper, setup.level, mesh, shape, str(labels)
        if key not in compiled:
            compiled[key] = make(setup, mesh, state, shape, constants, **kwargs)
        return compiled[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opening, "make_setup", make_setup)
        patch.setattr(train, "compile_steps", compile_steps)
        yield


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    """Where the built-in data is prepared, once."""
    return tmp_path_factory.mktemp("data")
