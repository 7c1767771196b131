"""Compiled programs that outlive the process: a second start draws at once."""

import os

import jax

# Beside those of training.
FOLDER = "~/.cache/stylegan_jax/xla"


def keep_programs() -> None:
    """Lets jax keep compiled programs in `FOLDER`.

    Nothing changes where jax was told of a folder, by `JAX_COMPILATION_CACHE_DIR` or its config, or
    told to keep none (`JAX_ENABLE_COMPILATION_CACHE=false`).
    """
    folder = getattr(jax.config, "jax_compilation_cache_dir", None)
    if folder or not getattr(jax.config, "jax_enable_compilation_cache", True):
        return
    jax.config.update("jax_compilation_cache_dir", os.path.expanduser(FOLDER))
    # Smaller programs take longer to read than to compile.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
