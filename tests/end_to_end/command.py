"""Commands of the package in processes whose programs are compiled as those of the tests are."""

import sys

COMPILER_OPTIONS = {"cpu": {"xla_backend_optimization_level": 0}}


def python_module(name, prelude=""):
    """The command that runs `python -m stylegan_jax.NAME`, after some lines of Python."""
    lines = [
        "import runpy",
        "from stylegan_jax.training import programs",
        f"programs._COMPILER_OPTIONS = {COMPILER_OPTIONS}",
        prelude,
        f"runpy.run_module('stylegan_jax.{name}', run_name='__main__')",
    ]
    return [sys.executable, "-c", "\n".join(lines)]
