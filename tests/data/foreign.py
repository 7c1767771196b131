"""Small data sets in the layouts that others publish, made of the built-in drawings."""

import functools
import hashlib
import io
import json
import pathlib
import struct
import tarfile
import zipfile
from collections.abc import Sequence
from typing import Any

import google_crc32c
import lmdb
import numpy as np
from PIL import Image
from tensorflow_datasets.proto import tf_example_generated_pb2

from stylegan_jax.data.archives import Archive
from stylegan_jax.data.builders.openmoji import list_drawings, render_drawing
from stylegan_jax.data.codecs import ENCODINGS, ImageFormat, encode

CIFAR_CLASSES = (
    "airplane automobile bird cat deer dog frog horse ship truck"  # as published
).split()


@functools.cache
def drawings(n: int, resolution: int) -> np.ndarray:
    """The first country flags: uint8 [n, resolution, resolution, 3], read-only."""
    names = list_drawings("flags")[:n]
    flags = [
        np.asarray(render_drawing(name, (resolution, resolution), fill=True)) for name in names
    ]
    stacked = np.stack(flags)
    stacked.setflags(write=False)
    return stacked


def assert_holds(archive: Archive, images: Sequence[np.ndarray]) -> None:
    """Asserts that an archive gives these pixels and their formats."""
    assert len(archive) == len(images) == len(archive.names) == len(archive.sizes)
    for index, expected in enumerate(images):
        np.testing.assert_array_equal(archive.read_pixels(index), expected)
        assert archive.read_format(index) == ImageFormat(*expected.shape)


def encode_as(suffix: str, pixels: np.ndarray, **options: Any) -> bytes:
    """An image file's content, the suffix being `png`, `qoi`, `jpg`, `webp` or `bmp`."""
    if suffix in ENCODINGS:
        return encode(pixels, suffix)
    content = io.BytesIO()
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    image.save(content, format="JPEG" if suffix == "jpg" else suffix, **options)
    return content.getvalue()


def write_folder(path: pathlib.Path, images: Sequence[np.ndarray], names: Sequence[str]) -> None:
    """Image files of the given names, such as `cat/1.png`."""
    for pixels, name in zip(images, names, strict=True):
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encode_as(file.suffix[1:], pixels))


def write_zip(
    path: pathlib.Path,
    images: Sequence[np.ndarray],
    names: Sequence[str],
    labels: Sequence[Any] | None = None,
) -> None:
    """NVIDIA's form: stored members, and `dataset.json` where labels are given."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        for pixels, name in zip(images, names, strict=True):
            file.writestr(name, encode_as(name.rpartition(".")[2], pixels))
        if labels is not None:
            pairs = [[name, label] for name, label in zip(names, labels, strict=True)]
            file.writestr("dataset.json", json.dumps({"labels": pairs}))


def append_to_zip(path: pathlib.Path, files: dict[str, str | bytes]) -> None:
    """More members of a zip."""
    with zipfile.ZipFile(path, "a", zipfile.ZIP_STORED) as file:
        for name, content in files.items():
            file.writestr(name, content)


def lsun_keys(n: int) -> list[bytes]:
    """Keys of LSUN's form, 40 hexadecimal digits, in the order of a database."""
    return sorted(hashlib.sha1(b"%d" % index).hexdigest().encode() for index in range(n))


def write_lmdb(
    path: pathlib.Path, images: Sequence[np.ndarray], *, lossless: bool = True, quality: int = 75
) -> list[bytes]:
    """LSUN's form: WebP values; returns them. LSUN's own are lossy, of quality 75."""
    values = [encode_as("webp", p, lossless=lossless, quality=quality) for p in images]
    path.mkdir(parents=True)
    with lmdb.open(str(path), map_size=2**24) as database, database.begin(write=True) as writer:
        for key, value in zip(lsun_keys(len(images)), values):
            writer.put(key, value)
    (path / "lock.mdb").unlink()
    return values


def shrink_levels(images: np.ndarray) -> dict[int, np.ndarray]:
    """ProGAN's levels: each the 2x2 mean of the one above before it was rounded, down to 4x4.

    Args:
        images: uint8 [n, r, r, c].

    Returns:
        uint8 images by resolution.
    """
    levels, exact = {}, images.astype(np.float32)
    while exact.shape[1] >= 4:
        levels[exact.shape[1]] = np.clip(np.rint(exact), 0, 255).astype(np.uint8)
        exact = (
            exact[:, ::2, ::2] + exact[:, 1::2, ::2] + exact[:, ::2, 1::2] + exact[:, 1::2, 1::2]
        ) / 4
    return levels


def tf_example(pixels: np.ndarray) -> bytes:
    """A serialised tf.train.Example of an image [h, w, c]."""
    chw = pixels.transpose(2, 0, 1)
    example = tf_example_generated_pb2.Example()
    example.features.feature["shape"].int64_list.value.extend(chw.shape)
    example.features.feature["data"].bytes_list.value.append(chw.tobytes())
    return example.SerializeToString()


def frame_record(data: bytes) -> bytes:
    """A record as TFRecord files hold it."""

    def masked(content: bytes) -> int:
        crc = google_crc32c.value(content)
        return (((crc >> 15) | (crc << 17 & 0xFFFFFFFF)) + 0xA282EAD8) % 2**32

    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked(length)) + data + struct.pack("<I", masked(data))


def write_tfrecords(
    folder: pathlib.Path, name: str, images: np.ndarray, labels: np.ndarray | None = None
) -> None:
    """ProGAN's form: a file per resolution and `name-rxx.labels`.

    Args:
        folder: Where to put them; made if missing.
        name: What the files' names begin with.
        images: uint8 [n, r, r, c], r a power of two.
        labels: float32 [n, classes].
    """
    folder.mkdir(parents=True, exist_ok=True)
    for resolution, level in shrink_levels(images).items():
        file = folder / f"{name}-r{resolution.bit_length() - 1:02d}.tfrecords"
        file.write_bytes(b"".join(frame_record(tf_example(pixels)) for pixels in level))
    if labels is not None:
        with (folder / f"{name}-rxx.labels").open("wb") as file:
            np.save(file, np.asarray(labels, np.float32))


def python2_pickle(value: Any) -> bytes:
    """Pickles as Python 2 with protocol 2 does: its texts are byte strings."""
    return b"\x80\x02" + _python2_opcodes(value) + b"."


def _python2_opcodes(value: Any) -> bytes:
    if isinstance(value, bool):
        return b"\x88" if value else b"\x89"
    if isinstance(value, int):
        return b"J" + struct.pack("<i", value)
    if isinstance(value, bytes):
        return b"T" + struct.pack("<i", len(value)) + value
    if isinstance(value, list):
        return b"](" + b"".join(map(_python2_opcodes, value)) + b"e"
    if isinstance(value, tuple):
        return b"(" + b"".join(map(_python2_opcodes, value)) + b"t"
    if isinstance(value, dict):
        pairs = (_python2_opcodes(k) + _python2_opcodes(v) for k, v in value.items())
        return b"}(" + b"".join(pairs) + b"u"
    dtype = b"cnumpy\ndtype\n" + _python2_opcodes((b"u1", 0, 1)) + b"R"
    dtype += b"(" + _python2_opcodes(3) + _python2_opcodes(b"|") + b"NNN"
    dtype += _python2_opcodes(-1) * 2 + _python2_opcodes(0) + b"tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n"
    array += _python2_opcodes((0,)) + _python2_opcodes(b"b") + b"tR"
    state = _python2_opcodes(1) + _python2_opcodes(value.shape) + dtype + b"\x89"
    return array + b"(" + state + _python2_opcodes(value.tobytes()) + b"tb"


def cifar_batches(images: np.ndarray, labels: Sequence[int]) -> dict[str, bytes]:
    """The files of CIFAR-10's python version: images [n, 32, 32, 3] in five batches and a test."""
    parts = np.array_split(np.arange(len(images)), 6)
    files = {}
    for part, name in zip(parts, [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        rows = images[part].transpose(0, 3, 1, 2).reshape(len(part), -1)
        files[name] = python2_pickle(
            {b"batch_label": b"x", b"labels": [int(labels[i]) for i in part], b"data": rows}
        )
    names = [name.encode() for name in CIFAR_CLASSES]
    files["batches.meta"] = python2_pickle({b"num_vis": 3072, b"label_names": names})
    return files


def write_cifar10(path: pathlib.Path, files: dict[str, bytes]) -> None:
    """`cifar-10-python.tar.gz` from the files that `cifar_batches` gives."""
    with tarfile.open(path, "w:gz") as tar:
        for name, content in {"readme.html": b"", **files}.items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
