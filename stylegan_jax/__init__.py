"""The StyleGAN family in JAX and Flax, for TPU and GPU pods and for a laptop's first look.

`stylegan_jax.load(path)` opens a trained generator: docs/inference.md.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stylegan_jax.inference import Generator as Generator
    from stylegan_jax.inference import load as load

__version__ = "0.1.0"

# Where TensorFlow is installed, paths in buckets would import it, and it would take the devices.
os.environ.setdefault("EPATH_USE_TF", "false")

# Brought along when they are first used: jax and flax take seconds to import.
_INFERENCE = ("Generator", "load")


def __getattr__(name: str) -> Any:
    """Imports what is asked for."""
    if name in _INFERENCE:
        return getattr(importlib.import_module("stylegan_jax.inference"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
