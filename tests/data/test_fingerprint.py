"""Fingerprints: of pixels and labels alone, and of all of them."""

import hashlib

import numpy as np

from stylegan_jax.data.fingerprint import content_fingerprint, hash_pixels
from stylegan_jax.data.labels import class_labels, no_labels


def test_digest_knows_shape_and_type():
    zeros = np.zeros((4, 4, 2), np.uint8)
    digests = {hash_pixels(x) for x in (zeros, zeros.reshape(2, 8, 2), zeros.view(np.uint16))}
    assert len(digests) == 3
    labels = [no_labels(2), class_labels([0, 1], "ab"), class_labels([1, 0], "ab")]
    assert len({content_fingerprint(["x", "y"], some) for some in labels}) == 3
    assert content_fingerprint(["x", "y"], labels[0]) != content_fingerprint(["y", "x"], labels[0])


def test_hashes_are_those_of_pixels():
    pixels = np.arange(2 * 3 * 1, dtype=np.uint16).reshape(2, 3, 1)
    expected = hashlib.sha256(b"(2, 3, 1) uint16 " + pixels.astype("<u2").tobytes()).hexdigest()
    assert hash_pixels(pixels) == expected
    assert hash_pixels(np.moveaxis(pixels, 0, 1).copy(order="K").swapaxes(0, 1)) == expected
    others = [pixels.reshape(3, 2, 1), pixels.astype(np.uint8), pixels + np.uint16(1)]
    assert len({expected, *map(hash_pixels, others)}) == 4
