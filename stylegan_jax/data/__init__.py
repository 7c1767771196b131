"""Images for training: opened or prepared by name or path, and batched in order."""

from stylegan_jax.data.catalog import DATA_DIR, open_source, prepare
from stylegan_jax.data.pipeline import fixed_batch, make_dataset, make_iterator
from stylegan_jax.data.sources import ImageSource

__all__ = [
    "DATA_DIR",
    "ImageSource",
    "fixed_batch",
    "make_dataset",
    "make_iterator",
    "open_source",
    "prepare",
]
