"""What tells two data sets apart, however their files are encoded, named and packed."""

import hashlib
from collections.abc import Iterable, Mapping

import numpy as np

from stylegan_jax.data.labels import Labels


def hash_pixels(pixels: np.ndarray) -> str:
    """Returns SHA-256 of an image's shape, type and pixels, whatever file they come from."""
    digest = hashlib.sha256(f"{pixels.shape} {pixels.dtype.name} ".encode())
    digest.update(np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<")).data)
    return digest.hexdigest()


def content_fingerprint(
    hashes: Iterable[str], labels: Labels, named: Mapping[str, Labels] | None = None
) -> str:
    """Returns SHA-256 of all images, as `hash_pixels` gives them, and labels, in order.

    Names of images and classes do not count; those that labels go by do.
    """
    digest = hashlib.sha256()
    for pixel_hash in hashes:
        digest.update(pixel_hash.encode())
    digest.update(labels.digest.encode())
    for name, others in sorted((named or {}).items()):
        digest.update(f" {name} {others.digest}".encode())
    return digest.hexdigest()
