"""What the whole runs share."""

import pytest


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    """Where the built-in data is prepared, once."""
    return tmp_path_factory.mktemp("data")
