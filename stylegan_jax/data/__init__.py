"""Images for training: sources (folders, prepared data sets) and the pipeline that batches them."""

from stylegan_jax.data.pipeline import fixed_batch, make_dataset, make_iterator
from stylegan_jax.data.sources import DATASETS, FolderSource, ImageSource, TfdsSource, open_source

__all__ = [
    "DATASETS",
    "FolderSource",
    "ImageSource",
    "TfdsSource",
    "fixed_batch",
    "make_dataset",
    "make_iterator",
    "open_source",
]
