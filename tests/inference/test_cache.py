"""Where compiled programs are kept."""

import types

import pytest

from stylegan_jax.inference import cache


@pytest.mark.parametrize(
    ("folder", "is_enabled", "is_set"),
    [(None, True, True), ("/chosen", True, False), (None, False, False)],
)
def test_a_folder_unless_the_user_chose(monkeypatch, folder, is_enabled, is_set):
    """Set for the process, so that the tests' own folder must not be touched."""
    config = types.SimpleNamespace(
        jax_compilation_cache_dir=folder, jax_enable_compilation_cache=is_enabled
    )
    config.update = lambda name, value: setattr(config, name, value)
    monkeypatch.setattr(cache.jax, "config", config)
    monkeypatch.setenv("HOME", "/home/one")
    cache.keep_programs()
    want = "/home/one/.cache/stylegan_jax/xla" if is_set else folder
    assert config.jax_compilation_cache_dir == want
