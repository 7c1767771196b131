"""What tells two data sets apart, however their files are encoded, named and packed."""

import hashlib
import json
from collections.abc import Iterable

import numpy as np

from stylegan_jax.data.labels import Labels


def hash_pixels(pixels: np.ndarray) -> str:
    """SHA-256 of an image's shape, type and pixels, whatever machine and file they come from."""
    digest = hashlib.sha256(f"{pixels.shape} {pixels.dtype.name} ".encode())
    digest.update(np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<")).data)
    return digest.hexdigest()


def content_fingerprint(hashes: Iterable[str], labels: Labels) -> str:
    """SHA-256 of all images, given by `hash_pixels`, and labels in order; names do not count."""
    digest = hashlib.sha256()
    for pixel_hash in hashes:
        digest.update(pixel_hash.encode())
    for index in range(len(labels)):
        digest.update(json.dumps(labels.item(index)).encode() + b"\n")
    return digest.hexdigest()
