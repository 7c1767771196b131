"""Data sets that are built here, one TFDS builder per file."""

from stylegan_jax.data.builders.openmoji import prepare_openmoji

__all__ = ["prepare_openmoji"]
