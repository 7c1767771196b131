"""Options of jax that decide about bits: which are not followed, which are kept and compared."""

import jax
import pytest

from stylegan_jax.run.numerics import (
    PINNED,
    check_numerics,
    numeric_environment,
    pin_numerics,
    tell_changes,
    tell_environment,
)
from stylegan_jax.training.settings import SettingsError

OTHERS = {
    "jax_enable_x64": True,
    "jax_default_prng_impl": "rbg",
    "jax_threefry_partitionable": False,
    "jax_random_seed_offset": 3,
    "jax_numpy_dtype_promotion": "strict",
    "jax_numpy_rank_promotion": "raise",
    "jax_disable_jit": True,
}


@pytest.fixture
def restored():
    """Leaves jax as every other test wants it."""
    yield
    for option, value in PINNED.items():
        jax.config.update(option, value)


@pytest.mark.parametrize("option", PINNED)
def test_options_that_give_another_run_are_not_followed(option, restored, monkeypatch, capsys):
    check_numerics()
    pin_numerics()
    assert capsys.readouterr().err == ""
    jax.config.update(option, OTHERS[option])
    monkeypatch.setenv(option.upper(), "as it was typed")
    wrong = f"{option}={OTHERS[option]}: .* unset {option.upper()}"
    with pytest.raises(SettingsError, match=wrong):
        check_numerics()
    pin_numerics()
    assert f"NOTE: {option.upper()}=as it was typed of this environment" in capsys.readouterr().err
    check_numerics()
    assert option.upper() not in numeric_environment()


def test_variables_that_may_change_bits_are_listed():
    found = numeric_environment(
        {
            "JAX_DEFAULT_MATMUL_PRECISION": "tensorfloat32",
            "JAX_AN_OPTION_TO_COME": "1",
            "JAX_PLATFORMS": "cpu",
            "JAX_COMPILATION_CACHE_DIR": "/cache",
            "JAX_ENABLE_X64": "1",
            "XLA_FLAGS": "--xla_dump_to=/dump --xla_cpu_enable_fast_math=true  --xla_a='b c'",
            "LIBTPU_INIT_ARGS": "--xla_dump_to=/dump",
            "NVIDIA_TF32_OVERRIDE": "0",
            "HOME": "/home",
        }
    )
    assert found == {
        "JAX_AN_OPTION_TO_COME": "1",
        "JAX_DEFAULT_MATMUL_PRECISION": "tensorfloat32",
        "NVIDIA_TF32_OVERRIDE": "0",
        "XLA_FLAGS": "--xla_cpu_enable_fast_math=true --xla_a=b c",
    }
    assert numeric_environment({"XLA_FLAGS": "--xla_a='"}) == {"XLA_FLAGS": "--xla_a='"}


def test_they_are_told_at_the_start_and_where_they_changed(capsys):
    tell_environment({})
    tell_changes({"XLA_FLAGS": "--a"}, {"XLA_FLAGS": "--a"})
    assert capsys.readouterr().out == ""
    tell_environment({"XLA_FLAGS": "--a"})
    assert "NOTE: XLA_FLAGS=--a may give other bits" in capsys.readouterr().out
    tell_changes({"XLA_FLAGS": "--a", "JAX_B": "1"}, {"JAX_B": "2", "JAX_C": "3"})
    told = capsys.readouterr().out
    assert "(JAX_B was 1, is 2; JAX_C was not set, is 3; XLA_FLAGS was --a, is not set)" in told
    assert told.count("\n") == 1
