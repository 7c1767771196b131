"""Contact sheets: where the pixels land, which images are chosen, what the note says."""

import json

import numpy as np
import pytest

from stylegan_jax.data.archives import ArchiveError, FolderArchive
from stylegan_jax.data.builders.openmoji import list_drawings, render_drawing
from stylegan_jax.data.codecs import encode
from stylegan_jax.run.images import show_channels
from stylegan_jax.tools.dataset import contact_sheet as sheets
from stylegan_jax.tools.dataset.contact_sheet import contact_sheet

FLAGS = list_drawings("flags")


def flag(number, size=16):
    return np.array(render_drawing(FLAGS[number], (size, size), fill=True))


def enlarged(image, zoom):
    return image.repeat(zoom, axis=0).repeat(zoom, axis=1)


def contains(picture, part):
    """Whether a picture shows `part` pixel for pixel."""
    height, width = part.shape[:2]
    windows = np.lib.stride_tricks.sliding_window_view(picture, (height, width), axis=(0, 1))
    corners = np.argwhere((windows[..., 0, 0] == part[0, 0]).all(-1))
    return any((picture[y : y + height, x : x + width] == part).all() for y, x in corners)


def write(root, images):
    for name, image in images.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(encode(image))
    return FolderArchive(root)


def test_equal_images(tmp_path):
    archive = write(tmp_path / "x", {f"{n}.png": flag(n) for n in range(6)})
    picture, note = contact_sheet(archive, count=4, seed=3)
    assert note == "x: 4 of 6 images, 16x16 pixels, enlarged 6 times"
    assert picture.dtype == np.uint8 and picture.ndim == 3
    shown = [n for n in range(6) if contains(picture, enlarged(flag(n), 6))]
    assert len(shown) == 4
    np.testing.assert_array_equal(contact_sheet(archive, count=4, seed=3)[0], picture)
    assert contact_sheet(archive, count=99)[1].startswith("x: 6 of 6 images")


def test_unequal_images_are_centred_on_grey(tmp_path):
    images = {"a.png": flag(0, 100), "b.png": flag(1, 100)[:50], "c.png": flag(2, 20)}
    picture, note = contact_sheet(write(tmp_path / "x", images))
    assert note == "x: 3 of 3 images, 3 sizes centred in cells of 100x100"
    grey = np.full((100, 100, 3), 128, np.uint8)
    wide, small = grey.copy(), grey.copy()
    wide[25:75], small[40:60, 40:60] = images["b.png"], images["c.png"]
    assert all(contains(picture, cell) for cell in [images["a.png"], wide, small])


def test_large_images_are_shrunk(tmp_path):
    picture, note = contact_sheet(write(tmp_path / "x", {"a.png": np.zeros((600, 300, 3), "u1")}))
    assert (
        note
        == "x: 1 of 1 images, 600x300 pixels (height x width), shrunk to 256 pixels where larger"
    )
    assert contains(picture, np.zeros((256, 128, 3), np.uint8))
    assert not contains(picture, np.zeros((257, 128, 3), np.uint8))


@pytest.mark.parametrize(
    ("size", "zoom", "cell"),
    [((48, 32), 3, (144, 96)), ((32, 48), 2, (64, 96)), ((96, 24), 2, (192, 96))],
)
def test_cells_have_the_proportions_of_equal_images(tmp_path, size, zoom, cell):
    image = np.array(render_drawing(FLAGS[0], size, fill=True))
    picture, note = contact_sheet(write(tmp_path / "x", {"a.png": image}))
    assert f", {size[0]}x{size[1]} pixels (height x width)" in note
    wanted = np.full((*cell, 3), 128, np.uint8)
    left = (cell[1] - size[1] * zoom) // 2
    wanted[:, left : left + size[1] * zoom] = enlarged(image, zoom)
    assert contains(picture, wanted) and (picture[:, :5] == 232).all()


def test_images_that_are_hardly_high(tmp_path):
    # 8 x 512 become 4 x 256, with room for a line of text beside them.
    picture, _ = contact_sheet(write(tmp_path / "x", {"a.png": np.zeros((8, 512, 3), "u1")}))
    assert contains(picture, np.zeros((4, 256, 3), np.uint8))
    assert not contains(picture, np.zeros((5, 256, 3), np.uint8))


def test_types_and_damage(tmp_path):
    grey, deep = flag(0, 96)[..., :1], flag(1, 96).astype(np.uint16) * 257
    clear = np.zeros((96, 96, 4), np.uint8)
    archive = write(tmp_path / "x", {"a.png": grey, "b.png": deep, "c.png": clear, "d.png": grey})
    (tmp_path / "x" / "d.png").write_text("no image")
    picture, note = contact_sheet(archive)
    assert note.endswith("96x96 pixels, 1 damaged")
    assert contains(picture, grey.repeat(3, axis=2)) and contains(picture, flag(1, 96))
    assert contains(picture, show_channels(clear))
    assert (picture == (150, 40, 40)).all(-1).sum() > 96 * 96 / 2


def test_classes_have_rows(tmp_path):
    numbers = {"cat": range(5), "dog": range(5, 10), "eel": range(10, 12)}
    images = {f"{c}/{n}.png": flag(n) for c, members in numbers.items() for n in members}
    archive = write(tmp_path / "x", images)
    picture, note = contact_sheet(archive, count=12, labels=True)
    assert note == "x: 10 of 12 images, 16x16 pixels, enlarged 6 times, 3 of 3 classes"
    height = (picture.shape[0] - (2 * 6 + 17)) // 3
    for row, members in enumerate(numbers.values()):
        strip = picture[29 + row * height : 29 + (row + 1) * height]
        shown = [n for n in range(12) if contains(strip, enlarged(flag(n), 6))]
        assert set(shown) <= set(members) and len(shown) == min(4, len(members))


def test_many_classes_and_few(tmp_path):
    images = {f"{n % 10}/{n}.png": flag(0) for n in range(100)}
    archive = write(tmp_path / "x", images)
    assert "12 of 100 images" in contact_sheet(archive, count=12, labels=True)[1]
    assert contact_sheet(archive, count=12, labels=True)[1].endswith("3 of 10 classes")
    assert contact_sheet(archive, count=2, labels=True)[1].endswith("1 of 10 classes")
    rows = sheets._class_rows(FolderArchive(tmp_path / "x").labels, 100, np.random.default_rng(0))
    assert [row.text for row in rows] == [str(n) for n in range(10)]
    two = write(tmp_path / "y", {f"{n % 2}/{n}.png": flag(0) for n in range(40)})
    rows = sheets._class_rows(two.labels, 40, np.random.default_rng(0))
    assert [(row.text, len(row.indices)) for row in rows] == [
        ("0", 16),
        ("", 4),
        ("1", 16),
        ("", 4),
    ]


@pytest.mark.parametrize("labels", [["a cat", "dogs " * 90], [[0.5, 1.25], [1, 2 / 3]]])
def test_captions_and_vectors(tmp_path, labels):
    images = {"a.png": flag(0), "b.png": flag(1)}
    plain = contact_sheet(write(tmp_path / "x", images))[0]
    pairs = list(zip(images, labels))
    (tmp_path / "x" / "dataset.json").write_text(json.dumps({"labels": pairs}))
    archive = FolderArchive(tmp_path / "x")
    picture, note = contact_sheet(archive, labels=True)
    assert note == "x: 2 of 2 images, 16x16 pixels, enlarged 6 times"
    assert contains(picture, enlarged(flag(1), 6))
    assert picture.shape[0] >= plain.shape[0] and not np.array_equal(picture, plain)
    np.testing.assert_array_equal(contact_sheet(archive)[0], plain)


def test_labels_of_a_name(tmp_path):
    images = {"a.png": flag(0), "b.png": flag(1)}
    archive = write(tmp_path / "x", images)
    named = {
        "role": {"labels": list(zip(images, (1, 0))), "class_names": ["cook", "judge"]},
        "marks": {"labels": list(zip(images, ([0, 1], [1, 1]))), "columns": ["hat", "veil"]},
    }
    content = json.dumps({"labels": None, "named_labels": named})
    (tmp_path / "x" / "dataset.json").write_text(content)
    archive = FolderArchive(tmp_path / "x")
    assert contact_sheet(archive, labels="role")[1].endswith("2 of 2 classes")
    assert sheets._label_text(archive.named_labels["marks"], 0) == "veil"
    assert sheets._label_text(archive.named_labels["marks"], 1) == "hat, veil"
    with pytest.raises(ArchiveError, match="no labels by the name 'hat', but role, marks"):
        contact_sheet(archive, labels="hat")


def test_texts_fit():
    for text in ["short", "a" * 100, "many words that go on " * 9, "x" * 60 + " y " + "z" * 60]:
        lines = sheets._wrap(text, 96, 3)
        assert 1 <= len(lines) <= 3
        name = sheets._shorten(text, 96)
        assert max(map(sheets._font().getlength, [*lines, name])) <= 96
    assert sheets._wrap("a b", 96, 3) == ["a b"] and sheets._shorten("a b", 96) == "a b"
    assert sheets._shorten("0123456789abcdefghij", 96).endswith("ghij")


def test_what_cannot_be_shown(tmp_path):
    archive = write(tmp_path / "x", {"a.png": flag(0)})
    with pytest.raises(ArchiveError, match="x has no labels: leave --labels off"):
        contact_sheet(archive, labels=True)
    with pytest.raises(ValueError, match="count=0"):
        contact_sheet(archive, count=0)


def test_more_than_a_picture_holds_is_refused_before_it_is_read(tmp_path, monkeypatch):
    archive = write(tmp_path / "x", {f"{i}.png": flag(i) for i in range(3)})
    monkeypatch.setattr(sheets, "most_cells", lambda height, width: 2)
    assert contact_sheet(archive, count=2)[0].ndim == 3
    monkeypatch.setattr(archive, "read_pixels", None)
    with pytest.raises(ValueError, match="count=64: one picture holds 2 of these"):
        contact_sheet(archive)
