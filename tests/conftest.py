"""Settings of the whole suite: four virtual CPU devices and checked type annotations."""

import collections
import gc
import os
import pathlib
import tempfile

from tests.compiler import FAST_FLAGS

# Programs that one process has compiled are there for the next, and for the next run; processes
# that tests start inherit all of it.
CACHE = pathlib.Path(tempfile.gettempdir()) / f"stylegan_jax_tests_{os.getuid()}"
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(CACHE))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
# Instructions do not remember which lines they come from: a tenth less to compile.
os.environ.setdefault("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "0")
# XLA's threads on CPUs; it takes one per device where these are more. How it blocks its sums
# depends on them: with as many in all processes, results are equal to the bit.
os.environ["NPROC"] = "4"
os.environ["XLA_FLAGS"] = " ".join(
    [os.environ.get("XLA_FLAGS", ""), "--xla_force_host_platform_device_count=4", FAST_FLAGS]
)

import numpy as np  # noqa: E402
import pytest  # noqa: E402
from jaxtyping import install_import_hook  # noqa: E402

# Imported before the hook: it reads files in thousands of small steps, which checks of types would
# make a hundred times slower.
import stylegan_jax.convert.readers.files  # noqa: E402, F401
import tests.typechecking  # noqa: E402, F401

# Tracing makes millions of small objects that stay: looked through again and again, they take a
# fifth of its time.
gc.freeze()
gc.set_threshold(100_000, 20, 10)

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


def pytest_collection_modifyitems(items):
    """Files with the most slow tests first, so that no worker begins one when the others end."""
    slow = collections.Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])
