"""Settings of the whole suite: four virtual CPU devices and checked type annotations."""

import os
import pathlib

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
)

import numpy as np  # noqa: E402
import pytest  # noqa: E402
from jaxtyping import install_import_hook  # noqa: E402

import tests.typechecking  # noqa: E402, F401

install_import_hook("stylegan_jax", "tests.typechecking.typechecker")


def pytest_addoption(parser):
    """Adds the folder of stored cases."""
    default = pathlib.Path(__file__).parent / "data" / "golden"
    parser.addoption(
        "--golden", default=str(default), help="folder with index.json and .npz cases to compare"
    )


@pytest.fixture
def rng():
    """The same random numbers in every run."""
    return np.random.default_rng(0)
