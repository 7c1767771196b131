"""Trained generators: opened from any checkpoint, drawn from, exported as one function."""

from stylegan_jax.inference.generator import Generator, load
from stylegan_jax.inference.pictures import to_pil
from stylegan_jax.inference.saved import SavedStyles, read_styles, write_styles
from stylegan_jax.inference.transforms import make_transform

__all__ = [
    "Generator",
    "SavedStyles",
    "load",
    "make_transform",
    "read_styles",
    "to_pil",
    "write_styles",
]
