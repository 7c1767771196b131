"""Means, deviations and fingerprints, against numbers worked out by NumPy and by hand."""

import hashlib
import json
import zipfile

import numpy as np
import pytest

from stylegan_jax.data.archives import ArchiveError, FolderArchive, ZipArchive
from stylegan_jax.data.builders.openmoji import list_drawings, render_drawing
from stylegan_jax.data.codecs import encode
from stylegan_jax.tools.dataset.statistics import measure

FLAGS = list_drawings("flags")[:5]


def write(root, images, *, encoding="png"):
    root.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images):
        (root / f"{number}.{encoding}").write_bytes(encode(image, encoding))
    return FolderArchive(root)


@pytest.fixture
def images():
    """Five flags, 16 px."""
    return [np.array(render_drawing(name, (16, 16), fill=True)) for name in FLAGS]


def test_by_hand(tmp_path):
    pixels = np.array([[[0, 10], [255, 10]], [[0, 10], [255, 14]]], np.uint8)
    found = measure(write(tmp_path / "x", [np.dstack([pixels, pixels[..., :1]])]))
    assert found.mean == [127.5, 11, 127.5]
    assert found.std == [127.5, 3**0.5, 127.5]
    assert found.global_mean == pytest.approx(1064 / 12)
    assert found.formats == {"2x2 pixels, 3 channel(s), uint8": 1}
    assert (found.count, found.labels, found.per_class) == (1, "no labels", {})
    assert found.stored_bytes == (tmp_path / "x" / "0.png").stat().st_size


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_against_numpy(tmp_path, images, dtype):
    images = [image.astype(dtype) * (257 if dtype == np.uint16 else 1) for image in images]
    found = measure(write(tmp_path / "x", images), num_threads=2)
    stacked = np.stack(images).astype(np.float64)
    np.testing.assert_allclose(found.mean, stacked.mean((0, 1, 2)), rtol=1e-13)
    np.testing.assert_allclose(found.std, stacked.std((0, 1, 2)), rtol=1e-13)
    np.testing.assert_allclose(found.global_mean, stacked.mean(), rtol=1e-13)
    np.testing.assert_allclose(found.global_std, stacked.std(), rtol=1e-13)


def test_unequal_images(tmp_path, images):
    smaller = measure(write(tmp_path / "a", [*images[:2], images[2][:8]]))
    assert list(smaller.formats.items()) == [
        ("16x16 pixels, 3 channel(s), uint8", 2),
        ("8x16 pixels (height x width), 3 channel(s), uint8", 1),
    ]
    pixels = np.concatenate([image.reshape(-1, 3) for image in [*images[:2], images[2][:8]]])
    np.testing.assert_allclose(smaller.mean, pixels.mean(0), rtol=1e-13)
    grey = measure(write(tmp_path / "b", [images[0][..., :1], *images]))
    assert grey.mean is grey.std is grey.global_mean is grey.global_std is None
    assert "mean" not in grey.to_text()
    json.dumps(grey.to_json())


def test_classes(tmp_path, images):
    for number, image in enumerate(images):
        write(tmp_path / "x" / ("cat" if number else "dog"), [image] * (number + 1))
    found = measure(FolderArchive(tmp_path / "x"))
    assert found.labels == "2 classes" and found.per_class == {"cat": 5, "dog": 1}
    lines = dict(line.split(maxsplit=1) for line in found.to_text().splitlines())
    assert lines["per"] == "class    min 1 (dog), median 3, max 5 (cat)"
    assert lines["images"] == "6" and lines["fingerprint"] == found.fingerprint


def test_the_fingerprint_is_that_of_pixels_and_labels(tmp_path, images):
    found = measure(write(tmp_path / "a", images[:2]))
    digests = [
        hashlib.sha256(b"(16, 16, 3) uint8 " + image.tobytes()).hexdigest() for image in images[:2]
    ]
    labels = b"none <i4 (2,) " + b"\xff" * 8
    text = "".join([*digests, hashlib.sha256(labels).hexdigest()])
    assert found.fingerprint == hashlib.sha256(text.encode()).hexdigest()


def test_the_fingerprint_does_not_depend_on_files(tmp_path, images):
    expected = measure(write(tmp_path / "a", images)).fingerprint
    assert measure(write(tmp_path / "b", images, encoding="qoi")).fingerprint == expected
    with zipfile.ZipFile(tmp_path / "c.zip", "w", zipfile.ZIP_DEFLATED) as members:
        for number, image in enumerate(images):
            members.writestr(f"{number:05d}/x.png", encode(image, level=0))
        members.writestr("dataset.json", '{"labels": null}')
    assert measure(ZipArchive(tmp_path / "c.zip")).fingerprint == expected


def test_the_fingerprint_tells_data_sets_apart(tmp_path, images):
    one_off = [*images[:4], images[4].copy()]
    one_off[4][3, 3, 1] ^= 1
    fingerprints = [
        measure(write(tmp_path / str(number), changed)).fingerprint
        for number, changed in enumerate([images, images[::-1], images[:4], one_off])
    ]
    for labels in ([0, 1, 0, 1, 0], [0, 1, 0, 1, 1]):
        pairs = [[f"{number}.png", label] for number, label in enumerate(labels)]
        (tmp_path / "0" / "dataset.json").write_text(json.dumps({"labels": pairs}))
        fingerprints.append(measure(FolderArchive(tmp_path / "0")).fingerprint)
    assert len(set(fingerprints)) == 6


def test_damaged_images_are_named(tmp_path, images):
    archive = write(tmp_path / "x", images)
    (tmp_path / "x" / "2.png").write_text("no image")
    with pytest.raises(ArchiveError, match="2.png: not a readable image"):
        measure(archive)
