"""What the whole runs share."""

import pytest

from stylegan_jax.training import programs

# A few iterations do not repay what optimising costs.
FAST_COMPILER = {"cpu": {"xla_backend_optimization_level": 0}}


@pytest.fixture(autouse=True, scope="module")
def fast_compiler():
    """Programs of whole runs in two thirds of the time; those of a subprocess are its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(programs, "_COMPILER_OPTIONS", FAST_COMPILER)
        yield


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    """Where the built-in data is prepared, once."""
    return tmp_path_factory.mktemp("data")
