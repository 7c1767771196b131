"""Zips for NVIDIA's repositories: read back, compared byte for byte, refused."""

import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from stylegan_jax.data.archives import ArchiveError, FolderArchive, ZipArchive
from stylegan_jax.data.builders.openmoji import list_drawings, render_drawing
from stylegan_jax.data.codecs import encode
from stylegan_jax.tools.dataset.export import export_zip

FLAGS = list_drawings("flags")[:6]


@pytest.fixture
def folder(tmp_path):
    """Six flags, 16 px, three of each class, as QOI."""
    root = tmp_path / "flags"
    for number, name in enumerate(FLAGS):
        pixels = np.array(render_drawing(name, (16, 16), fill=True))
        (root / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        (root / "ab"[number % 2] / f"{name}.qoi").write_bytes(encode(pixels, "qoi"))
    return root


def test_the_zip_holds_the_same(folder, tmp_path):
    source = FolderArchive(folder)
    out = export_zip(source, tmp_path / "new" / "flags.zip", num_threads=2)
    zipped = ZipArchive(out)
    assert list(zipped.names) == [f"00000/img{i:08d}.png" for i in range(6)]
    for index in range(6):
        np.testing.assert_array_equal(zipped.read_pixels(index), source.read_pixels(index))
    np.testing.assert_array_equal(zipped.labels.values, [0, 0, 0, 1, 1, 1])
    assert [p.name for p in out.parent.iterdir()] == ["flags.zip"]


def test_layout_of_the_file(folder, tmp_path):
    out = export_zip(FolderArchive(folder), tmp_path / "flags.zip")
    with zipfile.ZipFile(out) as members:
        infos = members.infolist()
        labels = json.loads(members.read("dataset.json"))["labels"]
        png = members.read("00000/img00000000.png")
    assert {info.compress_type for info in infos} == {zipfile.ZIP_STORED}
    assert {info.date_time for info in infos} == {(1980, 1, 1, 0, 0, 0)}
    assert labels == [[f"00000/img{i:08d}.png", i // 3] for i in range(6)]
    assert len(png) > 16 * 16 * 3  # not compressed
    assert FolderArchive(folder).read_pixels(0).tobytes()[-48:] in png  # nor filtered
    with Image.open(io.BytesIO(png)) as image:
        assert (image.mode, image.size) == ("RGB", (16, 16))


def test_equal_data_give_equal_files(folder, tmp_path):
    outs = [tmp_path / "1.zip", tmp_path / "2.zip", tmp_path / "3.zip"]
    export_zip(FolderArchive(folder), outs[0], num_threads=1)
    export_zip(FolderArchive(folder), outs[1], num_threads=3)
    export_zip(ZipArchive(outs[0]), outs[2])
    assert outs[0].read_bytes() == outs[1].read_bytes() == outs[2].read_bytes()


def test_a_thousand_images_fill_a_folder(tmp_path):
    class Many(FolderArchive):
        def __init__(self, path):
            super().__init__(path)
            self.names, self.sizes = self.names * 1002, self.sizes * 1002

    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "x.png").write_bytes(encode(np.zeros((4, 4, 1), np.uint8)))
    names = ZipArchive(export_zip(Many(tmp_path / "x"), tmp_path / "x.zip")).names
    assert names[999:] == [
        "00000/img00000999.png",
        "00001/img00001000.png",
        "00001/img00001001.png",
    ]


@pytest.mark.parametrize(
    "labels", [None, [2, 0], [[0.1, 1e-7], [2.0, 3.0]], ["a cat", "zwei Hunde, größer"]]
)
def test_kinds_of_labels(tmp_path, labels):
    root = tmp_path / "x"
    root.mkdir()
    for number in range(2):
        pixels = np.full((4, 4, 1), number, np.uint8)
        (root / f"{number}.png").write_bytes(encode(pixels))
    pairs = None if labels is None else [[f"{n}.png", label] for n, label in enumerate(labels)]
    (root / "dataset.json").write_text(json.dumps({"labels": pairs}))
    source = FolderArchive(root)
    out = export_zip(source, tmp_path / "x.zip")
    zipped = ZipArchive(out)
    assert zipped.labels.kind == source.labels.kind
    np.testing.assert_array_equal(zipped.labels.values, source.labels.values)
    assert zipped.read_pixels(1).shape == (4, 4, 1)
    with zipfile.ZipFile(out) as members:
        assert (json.loads(members.read("dataset.json"))["labels"] is None) == (labels is None)


def test_labels_by_names_go_there_and_back(tmp_path):
    root = tmp_path / "x"
    root.mkdir()
    for number in range(2):
        (root / f"{number}.png").write_bytes(encode(np.full((4, 4, 1), number, np.uint8)))

    def pairs(*labels):
        return {"labels": [[f"{n}.png", label] for n, label in enumerate(labels)]}

    named = {
        "role": pairs(1, 0) | {"class_names": ["cook", "judge", "pilot"]},
        "attributes": pairs([0, 1], [0.5, 0]) | {"columns": ["hat", "veil"]},
        "captions": pairs("a cat", "größer"),
    }
    content = {"labels": None, "named_labels": named}
    (root / "dataset.json").write_text(json.dumps(content))
    source = FolderArchive(root)
    once = ZipArchive(export_zip(source, tmp_path / "1.zip"))
    twice = ZipArchive(export_zip(once, tmp_path / "2.zip"))
    for archive in (source, once, twice):
        found = archive.named_labels
        assert list(found) == list(named) and archive.labels.kind == "none"
        assert found["role"].class_names == ("cook", "judge", "pilot")
        assert found["role"].values.tolist() == [1, 0]
        assert found["attributes"].columns == ("hat", "veil")
        assert found["attributes"].values.tolist() == [[0, 1], [0.5, 0]]
        assert found["captions"].values.tolist() == ["a cat", "größer"]


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ([], ""),
        ({"a b": {"labels": [["0.png", 1]]}}, "'a b' names labels"),
        ({"x": {"labels": [["1.png", 1]]}}, "dataset.json, x: 1 of 1 images have no label"),
        ({"x": {"labels": [["0.png", 1]], "class_names": ["a"]}}, "x: fewer words"),
        ({"x": 3}, "wanted JSON of the form"),
        ({"x": {}}, "wanted JSON of the form"),
    ],
)
def test_damaged_labels_by_names(tmp_path, named, message):
    (tmp_path / "0.png").write_bytes(encode(np.zeros((4, 4, 1), np.uint8)))
    content = {"labels": None, "named_labels": named}
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    archive = FolderArchive(tmp_path)
    if not message:
        assert archive.named_labels == {}
        return
    with pytest.raises(ArchiveError, match=message):
        _ = archive.named_labels


REFUSED = {
    "wide": ([(4, 8, 3), (8, 4, 3)], np.uint8, "1.png: 8x4.*the first image has 4x8"),
    "odd": ([(9, 12, 3)], np.uint8, "9x12 pixels.*size that networks make"),
    "alpha": ([(4, 4, 4)], np.uint8, "4 channel.*grey or RGB"),
    "deep": ([(4, 4, 3)], np.uint16, "uint16.*8 bits"),
    "sizes": ([(4, 4, 3), (8, 8, 3)], np.uint8, "1.png: 8x8.*the first image has 4x4"),
    "types": ([(4, 4, 3), (4, 4, 1)], np.uint8, "1.png: 4x4 pixels, 1 chan.*first image has 4x4"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_images_that_the_format_does_not_hold(tmp_path, case):
    shapes, dtype, message = REFUSED[case]
    root = tmp_path / "x"
    root.mkdir()
    for number, shape in enumerate(shapes):
        (root / f"{number}.png").write_bytes(encode(np.zeros(shape, dtype)))
    with pytest.raises(ArchiveError, match=message):
        export_zip(FolderArchive(root), tmp_path / "x.zip")
    assert [p.name for p in tmp_path.iterdir()] == ["x"]  # no part of the zip is left


def test_files_that_are_there_stay(folder, tmp_path):
    out = tmp_path / "flags.zip"
    out.write_text("precious")
    with pytest.raises(ArchiveError, match="flags.zip exists: remove it first"):
        export_zip(FolderArchive(folder), out)
    assert out.read_text() == "precious"
    with pytest.raises(ArchiveError, match="give the name of a zip file"):
        export_zip(FolderArchive(folder), tmp_path / "flags")


def test_damaged_images_are_named(folder, tmp_path):
    [*_, last] = sorted(folder.rglob("*.qoi"))
    last.write_bytes(last.read_bytes()[:-9])
    with pytest.raises(ArchiveError, match=f"{last.name}: the image is damaged"):
        export_zip(FolderArchive(folder), tmp_path / "flags.zip")
    assert not list(tmp_path.glob("*flags.zip*"))
