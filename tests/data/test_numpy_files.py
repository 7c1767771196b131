"""Arrays as image files: which are read, and what is said of others."""

import io
import struct
import zipfile

import numpy as np
import pytest

from stylegan_jax.data.codecs import ImageFileError, ImageFormat, decode, read_format
from stylegan_jax.data.numpy_files import read_header, set_format

NPY = b"\x93NUMPY"


def npy(array, **options):
    file = io.BytesIO()
    np.lib.format.write_array(file, array, **options)
    return file.getvalue()


def npz(save=np.savez, **arrays):
    file = io.BytesIO()
    save(file, **arrays)
    return file.getvalue()


def header(text, version=1):
    """An `.npy` without values."""
    text = text.encode()
    size = struct.pack("<H" if version == 1 else "<I", len(text))
    return NPY + bytes([version, 0]) + size + text


def shaped(shape, descr="|u1"):
    return header(f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}}}\n")


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2"])
@pytest.mark.parametrize("shape", [(8, 6), (8, 6, 1), (8, 6, 2), (16, 16, 16), (32, 32, 5)])
@pytest.mark.parametrize("wrap", [npy, lambda a: npz(x=a), lambda a: npz(np.savez_compressed, x=a)])
def test_arrays_are_images(rng, dtype, shape, wrap):
    array = rng.integers(256, size=shape).astype(dtype)
    content = wrap(array)
    pixels = decode(content)
    expected = array.reshape(*shape, 1) if len(shape) == 2 else array
    np.testing.assert_array_equal(pixels, expected)
    native = "uint8" if dtype == "u1" else "uint16"
    assert pixels.dtype == native and pixels.flags.c_contiguous
    assert read_format(io.BytesIO(content)) == ImageFormat(*expected.shape, dtype=native)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_orders_and_versions(rng, version):
    array = np.asfortranarray(rng.integers(256, size=(8, 6, 3), dtype=np.uint8))
    content = npy(array, version=version)
    assert b"'fortran_order': True" in content
    pixels = decode(content)
    np.testing.assert_array_equal(pixels, array)
    assert pixels.flags.c_contiguous


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((8, 8), np.nan, np.float32), "float32, wanted uint8 or uint16: scale to 0..255"),
        (np.zeros((8, 8), ">f8"), "float64, wanted .*: scale"),
        (np.zeros((8, 8), np.int16), "int16, wanted .*: store as uint8 or uint16"),
        (np.zeros((8, 8), np.uint32), "uint32, wanted"),
        (np.zeros((8, 8), bool), r"bool, wanted .*: store `array.astype\(np.uint8\) \* 255`"),
        (np.zeros((8, 8), complex), "complex128, wanted"),
        (np.zeros((8, 8), "U3"), "wanted uint8 or uint16"),
        (np.zeros((8, 8), [("r", "u1"), ("g", "u1")]), "wanted uint8 or uint16"),
        (np.zeros((8, 8, 17), np.uint8), "17 channels, wanted 1 to 16"),
        (np.zeros((16, 16, 17), np.uint8), "17 channels, wanted 1 to 16"),
        (np.zeros((3, 48, 32), np.uint8), "channel-first"),
        (np.zeros((3, 32, 32), np.uint8), r"channel-first: .*numpy.moveaxis\(array, 0, -1\)"),
        (np.zeros((6, 16, 16), np.uint8), "channel-first"),
        (np.zeros((1, 3, 32, 32), np.uint8), r"channel-first: .*numpy.moveaxis\(array, 1, -1\)"),
        (np.zeros((5, 8, 8, 3), np.uint8), "a set of 5 images: give the file itself"),
        (np.zeros(8, np.uint8), r"shape \(8,\), wanted \[h, w\] or"),
        (np.zeros((1, 1, 8, 8, 3), np.uint8), "wanted .h, w. or"),
        (np.zeros((8, 0, 3), np.uint8), "which is empty"),
    ],
)
def test_arrays_that_are_no_images(array, message):
    for content in (npy(array), npz(x=array)):
        for read in (decode, lambda content: read_format(io.BytesIO(content))):
            with pytest.raises(ImageFileError, match=message):
                read(content)


def test_objects_are_never_unpickled():
    content = npy(np.array([[print]], object))
    with pytest.raises(ImageFileError, match="object, wanted .*may run code"):
        decode(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (NPY, "not a readable array"),
        (NPY + b"\x09\0\0\0", "not a readable array"),
        (header("{'shape': "), "not a readable array"),
        (header("__import__('os').abort()"), "not a readable array"),
        (header("[" * 5000), "not a readable array"),
        (NPY + b"\2\0\xff\xff\xff\x7f{", "not a readable array"),
        (shaped("(-8, -8)"), "which is empty"),
        (shaped("(10**9, 10**9)"), "not a readable array"),
        (shaped("(1000000000, 1000000000)"), "more than the 178956970 that are read"),
        (shaped("(16384, 8192, 16)"), "of 16 channels, more than the"),
        (shaped("(8, 8)", "|O"), "may run code"),
        (b"PK\5\6" + bytes(18), "a zip without arrays"),
        (b"PK\3\4", "not a readable .npz"),
        (npz(x=np.zeros((8, 8), np.uint8))[:-9], "not a readable .npz"),
        (npz(images=np.zeros((8, 8), np.uint8), labels=np.zeros(1)), "2 arrays .images, labels"),
    ],
)
def test_damage_is_explained(content, message):
    for read in (decode, lambda content: read_format(io.BytesIO(content))):
        with pytest.raises(ImageFileError, match=message):
            read(content)


def test_too_few_and_too_many_values():
    content = npy(np.zeros((8, 8), np.uint8))
    with pytest.raises(ImageFileError, match="in a file that is cut off"):
        decode(content[:-1])
    with pytest.raises(ImageFileError, match="in a file that is longer than its array"):
        decode(content + b"x")
    # What a huge header asks for is not there, and not asked for.
    with pytest.raises(ImageFileError, match="cut off"):
        decode(shaped("(8192, 8192, 4)", "<u2"))


def test_a_member_that_unpacks_to_more_than_it_says():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", npy(np.zeros((8, 8), np.uint8)) + bytes(2**24))
    assert len(file.getvalue()) < 2**15
    with pytest.raises(ImageFileError, match="longer than its array"):
        decode(file.getvalue())


def test_flipped_bits_of_a_packed_array_are_found(rng):
    array = rng.integers(4, size=(8, 8), dtype=np.uint8)
    content = npz(np.savez_compressed, x=array)
    found = 0
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << rng.integers(8)
        try:
            # Dates and the like say nothing of the values.
            np.testing.assert_array_equal(decode(bytes(damaged))[..., 0], array)
        except ImageFileError:
            found += 1
    assert found > len(content) // 2


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((5, 8, 8), (8, 8, 1)),
        ((5, 8, 8, 6), (8, 8, 6)),
        ((1, 4, 4), (4, 4, 1)),
        ((1000, 16, 16), (16, 16, 1)),
        ((16, 16, 16), (16, 16, 1)),
        ((256, 256, 256), (256, 256, 1)),
        ((300, 300, 20), (300, 20, 1)),
    ],
)
def test_sets(shape, expected):
    found = read_header(io.BytesIO(shaped(shape)))
    assert set_format(found) == ImageFormat(*expected)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((8, 8), "wanted .n, h, w. or .n, h, w, c."),
        ((64, 48, 3), "looks like one image .h, w, c.: give the folder"),
        ((64, 64, 6), "looks like one image"),
        ((9, 3, 64, 64), r"channel-first: .*numpy.moveaxis\(array, 1, -1\)"),
        ((9, 64, 64, 20), "20 channels"),
    ],
)
def test_arrays_that_are_no_sets(shape, message):
    with pytest.raises(ImageFileError, match=message):
        set_format(read_header(io.BytesIO(shaped(shape))))
