"""Settings of the whole suite: four virtual CPU devices and checked type annotations."""

import os
import pathlib
import tempfile

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
    " --xla_backend_optimization_level=0"
)

import jax  # noqa: E402
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


@pytest.fixture(autouse=True, scope="session")
def compile_cache():
    """Programs that one test has compiled are there for the next, and for the next run."""
    default = pathlib.Path(tempfile.gettempdir()) / f"stylegan_jax_tests_{os.getuid()}"
    cache = os.environ.get("JAX_COMPILATION_CACHE_DIR", str(default))
    jax.config.update("jax_compilation_cache_dir", cache)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
