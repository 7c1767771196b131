"""What of the environment decides about bits: set to one value here, or kept beside the config.

Some options of jax would give another run from the same seed. No program of this package follows
them. Others, such as the precision of matrix products, are the user's choice: they are written into
`config.json` and checkpoints, and a run that is continued under others says so.
"""

import os
import shlex
import sys
from collections.abc import Mapping
from typing import Any

import jax

from stylegan_jax.training.settings import SettingsError

# Options of jax with the values that draws and arithmetic here are made for.
PINNED: dict[str, Any] = {
    # Numbers of 64 bits, other generators, and other streams of the same one.
    "jax_enable_x64": False,
    "jax_default_prng_impl": "threefry2x32",
    "jax_threefry_partitionable": True,
    "jax_random_seed_offset": 0,
    # These end programs on their way.
    "jax_numpy_dtype_promotion": "standard",
    "jax_numpy_rank_promotion": "allow",
    "jax_disable_jit": False,
}
# Variables of jax that say where and with whom programs run, what is kept of them and what is told.
_HARMLESS = (
    *("JAX_PLATFORM", "JAX_NUM_CPU_DEVICES", "JAX_CUDA_VISIBLE", "JAX_ROCM_VISIBLE"),
    *("JAX_COORDINATOR", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID", "JAX_LOCAL_DEVICE", "JAX_CROSS_"),
    *("JAX_COMPILATION_CACHE", "JAX_PERSISTENT_CACHE", "JAX_ENABLE_COMPILATION_CACHE"),
    *("JAX_RAISE_PERSISTENT_CACHE", "JAX_EXPLAIN_CACHE", "JAX_LOG", "JAX_DEBUG_LOG", "JAX_DUMP"),
    *("JAX_TRACEBACK", "JAX_INCLUDE_", "JAX_TRANSFER_GUARD", "JAX_CPU_GET_", "JAX_CAPTURED_"),
)
_HARMLESS_FLAGS = ("--xla_dump_", "--xla_force_host_platform_device_count", "--xla_hlo_profile")
# Of the compilers and libraries below jax.
_COMPILERS = ("XLA_FLAGS", "LIBTPU_INIT_ARGS", "NVIDIA_TF32_OVERRIDE", "CUBLAS_WORKSPACE_CONFIG")


def pin_numerics() -> None:
    """Sets the options that a run's numbers depend on; says which variables are not followed.

    For programs: a process that is someone else's keeps its options.
    """
    for option, value in PINNED.items():
        # A later jax may have one way only.
        given = getattr(jax.config, option, value)
        if given == value:
            continue
        jax.config.update(option, value)
        name = option.upper()
        print(
            f"NOTE: {name}={os.environ.get(name, given)} of this environment is not followed: the "
            "same seed would give other numbers, or none.",
            file=sys.stderr,
        )


def check_numerics() -> None:
    """Refuses options of jax under which the same seed gives another run.

    Raises:
        SettingsError: Names them, and what would do.
    """
    for option, value in PINNED.items():
        given = getattr(jax.config, option, value)
        if given != value:
            raise SettingsError(
                f"{option}={given}: the same seed would give another run. Call "
                f"jax.config.update({option!r}, {value!r}), or unset {option.upper()}."
            )


def numeric_environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Returns the variables that may change bits, by name, as far as they are set.

    What is set by `pin_numerics` or changes no number is left out, a flag of XLA's such as
    `--xla_dump_to` too.
    """
    pinned = {option.upper() for option in PINNED}
    found = {}
    for name, value in sorted(environ.items()):
        if name in _COMPILERS:
            words = [word for word in _split(value) if not word.startswith(_HARMLESS_FLAGS)]
            value = " ".join(words)
        elif not name.startswith("JAX_") or name.startswith(_HARMLESS) or name in pinned:
            continue
        if value:
            found[name] = value
    return found


def _split(flags: str) -> list[str]:
    """Splits flags as a shell does; what a shell would not read stays whole."""
    try:
        return shlex.split(flags)
    except ValueError:
        return [flags]


def tell_environment(environment: Mapping[str, str]) -> None:
    """Prints what is set that may change bits, if anything is."""
    given = ", ".join(f"{name}={value}" for name, value in environment.items())
    if given:
        print(f"NOTE: {given} may give other bits than a run without; config.json keeps it.")


def tell_changes(saved: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Prints what of it differs from when a run was saved, if anything does."""
    changed = [
        f"{name} was {saved.get(name, 'not set')}, is {now.get(name, 'not set')}"
        for name in sorted(saved.keys() | now.keys())
        if saved.get(name) != now.get(name)
    ]
    if changed:
        print(
            f"NOTE: this run was saved in another environment ({'; '.join(changed)}): it goes on, "
            "but may no longer be equal bit for bit. Set it as it was to keep the bits."
        )
