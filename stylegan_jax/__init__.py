"""The StyleGAN family in JAX and Flax, for TPU and GPU pods and for a laptop's first look."""

__version__ = "0.1.0"
