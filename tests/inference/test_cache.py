"""Where compiled programs are kept."""

import jax
import pytest

from stylegan_jax.inference import cache


@pytest.fixture
def options(monkeypatch):
    """What is set, in place of jax's own settings."""
    found = {}
    monkeypatch.setattr(jax.config, "update", found.__setitem__)
    return found


def test_what_the_user_chose_stays(options):
    assert jax.config.jax_compilation_cache_dir  # that of the tests
    cache.keep_programs()
    assert options == {}
