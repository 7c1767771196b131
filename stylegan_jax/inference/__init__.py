"""Trained generators: opened from any checkpoint, drawn from, exported as one function."""

from stylegan_jax.inference.generator import Generator, load
from stylegan_jax.inference.pictures import to_pil

__all__ = ["Generator", "load", "to_pil"]
