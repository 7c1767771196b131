"""Sets of images in one NumPy file: pixels, labels, damage, and what is read when."""

import concurrent.futures
import io
import pickle
import zipfile

import numpy as np
import pytest

from stylegan_jax.data import open_source, prepare
from stylegan_jax.data.archives import ArchiveError, array, draw_subset, open_archive
from stylegan_jax.data.sources import ImageSource

N, PX = 7, 8


def noise(channels=3, dtype="u1", n=N):
    rng = np.random.default_rng(0)
    return rng.integers(np.iinfo(dtype).max, size=(n, PX, PX, channels)).astype(dtype)


def write(path, images, **more):
    """The images as the file's name has it; returns the path."""
    if path.suffix == ".npy":
        np.save(path, images)
    else:
        save = np.savez_compressed if "packed" in path.name else np.savez
        save(path, images=images, **more)
    return path


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "packed.npz"])
@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2"])
@pytest.mark.parametrize("channels", [1, 2, 6, 16])
def test_images_are_read_as_they_were_written(tmp_path, name, dtype, channels):
    images = noise(channels, dtype)
    archive = open_archive(write(tmp_path / name, images))
    assert (len(archive), archive.name) == (N, name.partition(".")[0])
    for copy in (archive, pickle.loads(pickle.dumps(archive))):
        for index in range(N):
            pixels = copy.read_pixels(index)
            np.testing.assert_array_equal(pixels, images[index])
            assert pixels.dtype == images.dtype.newbyteorder("=") and not pixels.flags.writeable
    source = ImageSource(archive, size=(PX, PX))
    assert source.img_channels == channels and source.format == archive.read_format(3)
    subset = draw_subset(archive, 3, seed=0)
    np.testing.assert_array_equal(
        subset.read_pixels(1), images[archive.names.index(subset.names[1])]
    )


def test_grey_images_without_an_axis_for_it(tmp_path):
    images = noise(1)
    archive = open_archive(write(tmp_path / "x.npy", images[..., 0]))
    np.testing.assert_array_equal(archive.read_pixels(2), images[2])


@pytest.mark.parametrize("name", ["x.npy", "x.npz"])
def test_images_are_read_one_by_one(tmp_path, name, monkeypatch):
    monkeypatch.setattr(array, "MAX_WHOLE_BYTES", 0)
    images = noise()
    archive = open_archive(write(tmp_path / name, images))
    np.testing.assert_array_equal(archive.read_pixels(5), images[5])


@pytest.mark.parametrize("name", ["x.npy", "x.npz"])
def test_a_file_that_cannot_be_read_by_position(tmp_path, name):
    # As in a bucket: one position in the file, which threads must not take from one another.
    images = noise()
    archive = open_archive(write(tmp_path / name, images))
    archive._file._is_local = False
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for index, pixels in zip([*range(N)] * 20, pool.map(archive.read, [*range(N)] * 20)):
            np.testing.assert_array_equal(pixels, images[index])


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "packed.npz"])
def test_what_cannot_be_read_one_by_one(tmp_path, name, monkeypatch):
    images = np.asfortranarray(noise())
    path = write(tmp_path / name, images)
    archive = open_archive(path)
    np.testing.assert_array_equal(archive.read_pixels(5), images[5])
    monkeypatch.setattr(array, "MAX_WHOLE_BYTES", images.nbytes - 1)
    with pytest.raises(ArchiveError, match="1344 bytes that are packed or in Fortran.*1343"):
        open_archive(path)


@pytest.mark.parametrize(
    ("values", "kind", "class_names"),
    [
        (np.arange(N) % 3, "classes", ("0", "1", "2")),
        (np.eye(2, dtype=np.float32)[np.arange(N) % 2], "classes", ("0", "1")),
        (np.arange(2 * N).reshape(N, 2) / 8, "vectors", ()),
        (np.array([f"text {i}" for i in range(N)]), "captions", ()),
        (np.zeros((N, 0), np.float32), "none", ()),
    ],
)
def test_labels(tmp_path, values, kind, class_names):
    archive = open_archive(write(tmp_path / "x.npz", noise(), labels=values))
    assert (archive.labels.kind, archive.labels.class_names) == (kind, class_names)
    assert len(archive.labels) == N
    expected = values.argmax(1) if kind == "classes" and values.ndim == 2 else values
    if kind != "none":
        items = [archive.labels.item(index) for index in range(N)]
        np.testing.assert_array_equal(items, expected)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros(N - 1, int), r"shape \(6,\), wanted one label for each of 7 images"),
        (np.zeros((N, 1, 1)), "wanted one label for each"),
        (np.full(N, -1), "number the classes from 0"),
        (np.zeros(N), "labels are a float; wanted integers"),
        (np.full((N, 2), np.nan), "a vector with NaN"),
        (np.zeros(N, complex), "complex128"),
        (np.array([None] * N), "Object arrays cannot be loaded"),
    ],
)
def test_labels_that_are_none(tmp_path, values, message):
    archive = open_archive(write(tmp_path / "x.npz", noise(), labels=values))
    with pytest.raises(ArchiveError, match=f"x.npz: labels: .*{message}"):
        _ = archive.labels


def test_without_labels_and_with_other_arrays(tmp_path):
    archive = open_archive(write(tmp_path / "x.npz", noise(), seeds=np.arange(N), a=np.arange(2)))
    assert archive.labels.kind == "none" and archive.notes == ["2 array(s) are left out: a, seeds."]
    np.savez(tmp_path / "y.npz", noise())
    archive = open_archive(tmp_path / "y.npz")
    assert not archive.notes and len(archive) == N
    np.savez(tmp_path / "z.npz", x=noise(), y=noise())
    with pytest.raises(ArchiveError, match="2 arrays .x, y.: call that of the images 'images'"):
        open_archive(tmp_path / "z.npz")


def test_identity_follows_the_pixels_and_not_the_file(tmp_path):
    images = noise()
    paths = [write(tmp_path / name, images) for name in ("x.npy", "y.npz", "packed.npz")]
    first, *others = [open_archive(path).identity() for path in paths]
    assert others == [first, first]
    images[3, 0, 0, 0] ^= 1
    assert open_archive(write(tmp_path / "x.npy", images)).identity() != first


def test_a_set_is_prepared_with_its_labels(tmp_path):
    images = noise(6, "u2")
    path = write(tmp_path / "x.npz", images, labels=np.arange(N) % 2)
    folder = prepare("mine", path, size=(PX, PX), data_dir=tmp_path)
    source = open_source(str(folder), size=(PX, PX), labels=True)
    np.testing.assert_array_equal(np.stack(list(source)), images)
    assert source.labels.values.tolist() == [0, 1, 0, 1, 0, 1, 0]


def test_stamp_changes_with_the_file(tmp_path):
    path = write(tmp_path / "x.npy", noise())
    stamp = open_archive(path).stamp(0)
    assert stamp == open_archive(path).stamp(1)
    assert open_archive(write(path, noise(n=8))).stamp(0) != stamp


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a readable array.* It is empty"),
        (b"<html>", "It is a web page"),
        (b"\x93NUMPY\1\0", "damaged or cut off"),
    ],
)
def test_files_that_are_none(tmp_path, content, message):
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(ArchiveError, match=f"x.npy: .*{message}"):
        open_archive(tmp_path / "x.npy")


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "packed.npz"])
def test_files_that_are_cut_off(tmp_path, name):
    path = write(tmp_path / name, noise())
    content = path.read_bytes()
    for length in range(0, len(content), 97):
        path.write_bytes(content[:length])
        with pytest.raises(ArchiveError, match=f"{name}: "):
            open_archive(path)
    path.write_bytes(content)
    archive = open_archive(path)
    path.write_bytes(content[:500])
    if name != "packed.npz":  # which lies in memory
        with pytest.raises(ArchiveError, match="image 6.: the file was cut off since"):
            archive.read(6)


def test_headers_that_do_not_fit_their_values(tmp_path):
    content = io.BytesIO()
    np.save(content, noise())
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("images.npy", content.getvalue() + bytes(2**24))
    with pytest.raises(ArchiveError, match="in 16778688 bytes, which do not fit"):
        open_archive(tmp_path / "x.npz")
    (tmp_path / "x.npy").write_bytes(content.getvalue() + b"x")
    with pytest.raises(ArchiveError, match="longer than its array"):
        open_archive(tmp_path / "x.npy")


def test_folders_and_files_that_are_called_so(tmp_path):
    write(tmp_path / "x.npy", noise())
    archive = open_archive(tmp_path)
    with pytest.raises(ValueError, match="a set of 7 images: give the file itself as the data set"):
        ImageSource(archive)
    with pytest.raises(ArchiveError, match="looks like one image .h, w, c.: give the folder"):
        open_archive(write(tmp_path / "one.npy", noise()[0]))
