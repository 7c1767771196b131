"""The StyleGAN family in JAX and Flax, for TPU and GPU pods and for a laptop's first look."""

import os

__version__ = "0.1.0"

# Where TensorFlow is installed, paths in buckets would import it, and it would take the devices.
os.environ.setdefault("EPATH_USE_TF", "false")
