"""Every kind of bad file is found, named and explained; good ones are not."""

import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from stylegan_jax.data.archives import Archive, FolderArchive, ZipArchive
from stylegan_jax.data.builders.openmoji import list_drawings, render_drawing
from stylegan_jax.data.codecs import encode
from stylegan_jax.data.labels import no_labels
from stylegan_jax.data.sources import ImageSource
from stylegan_jax.tools.dataset.checks import REASONS, check_images, count_reasons

FLAGS = list_drawings("flags")


def flag(number, size=16):
    return np.array(render_drawing(FLAGS[number], (size, size), fill=True))


@pytest.fixture
def folder(tmp_path):
    """Five flags, 16 px."""
    root = tmp_path / "flags"
    root.mkdir()
    for number in range(5):
        (root / f"{number}.png").write_bytes(encode(flag(number)))
    return root


def found(archive, **kwargs):
    """File name, reason and detail of all problems."""
    problems = check_images(archive, **kwargs).problems
    assert all(problem.reason in REASONS for problem in problems)
    return [(p.file.split("/")[-1], p.reason, p.detail) for p in problems]


def write_labels(root, pairs):
    (root / "dataset.json").write_text(json.dumps({"labels": pairs}))


def test_nothing_is_wrong(folder):
    assert found(FolderArchive(folder)) == []
    assert found(FolderArchive(folder), size=(16, 16), num_threads=1) == []


def test_files_that_do_not_decode(folder):
    good = (folder / "0.png").read_bytes()
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 0xFF
    (folder / "a.png").write_text("not an image")
    (folder / "b.png").write_bytes(b"")
    (folder / "c.png").write_bytes(good[:-20])
    (folder / "d.png").write_bytes(flipped)
    (folder / "e.jpg").write_bytes(jpeg(flag(6))[:-20])
    Image.new("CMYK", (16, 16)).save(folder / "f.jpg")
    (folder / "g.qoi").write_bytes(encode(flag(7), "qoi")[:-30])
    (folder / "h.qoi").write_bytes(encode(flag(8), "qoi")[:12] + b"\x07" + bytes(40) + b"\x01")
    problems = found(FolderArchive(folder))
    assert [problem[:2] for problem in problems] == [
        ("a.png", "unreadable"),
        ("b.png", "unreadable"),
        ("c.png", "damaged"),
        ("d.png", "damaged"),
        ("e.jpg", "damaged"),
        ("f.jpg", "unreadable"),
        ("g.qoi", "damaged"),
        ("h.qoi", "damaged"),
    ]
    details = {file: detail for file, _, detail in problems}
    assert "not a readable image" in details["a.png"]
    assert "cut off" in details["c.png"]
    assert "CMYK" in details["f.jpg"]


def jpeg(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="JPEG")
    return file.getvalue()


def test_a_file_that_goes_away(folder):
    archive = FolderArchive(folder)
    (folder / "3.png").unlink()
    [(file, reason, detail)] = found(archive)
    assert (file, reason) == ("3.png", "unreadable") and "No such file" in detail


def test_a_zip_with_a_wrong_checksum(folder, tmp_path):
    path = tmp_path / "flags.zip"
    with zipfile.ZipFile(path, "w") as members:
        for number in range(3):
            members.write(folder / f"{number}.png", f"{number}.png")
    content = path.read_bytes()
    png = (folder / "1.png").read_bytes()
    path.write_bytes(content.replace(png, png[:-30] + bytes(1) + png[-29:]))
    [(file, reason, detail)] = found(ZipArchive(path))
    assert reason == "unreadable" and file.endswith("1.png") and "CRC" in detail


def test_sizes(folder):
    (folder / "a.png").write_bytes(encode(flag(5, 32)))
    (folder / "b.png").write_bytes(encode(flag(6, 18)))
    (folder / "c.png").write_bytes(encode(flag(7)[:8]))
    (folder / "d.png").write_bytes(encode(flag(8)[:, :9]))
    (folder / "e.png").write_bytes(encode(flag(9)[:3]))
    others = [
        ("a.png", "size", "32x32 pixels; 16x16 most have"),
        ("b.png", "unfit size", "18x18 pixels; crop to 16x16 or 14x14"),
        ("c.png", "size", "8x16 pixels (height x width); 16x16 most have"),
        ("d.png", "unfit size", "16x9 pixels (height x width); crop to 16x8 or 16x7"),
        ("e.png", "unfit size", "3x16 pixels (height x width)"),
    ]
    assert found(FolderArchive(folder)) == others
    (note,) = check_images(FolderArchive(folder)).notes
    assert note.startswith("no network makes images of 18x18 px. Networks make images whose sides")
    assert "crop to --resolution=16 or --resolution=14 with --crop=center-crop" in note
    asked = found(FolderArchive(folder), size=(32, 32))
    assert asked[:5] == [
        (f"{number}.png", "size", "16x16 pixels; 32x32 were asked for") for number in range(5)
    ]
    assert [problem[:2] for problem in asked[5:]] == [problem[:2] for problem in others[1:]]


def test_other_proportions_than_squares(tmp_path):
    for number, size in enumerate([(32, 48), (32, 48), (48, 32)]):
        image = render_drawing(FLAGS[number], size, fill=True)
        (tmp_path / f"{number}.png").write_bytes(encode(np.array(image)))
    archive = FolderArchive(tmp_path)
    odd = "48x32 pixels (height x width); 32x48 most have"
    assert found(archive) == [("2.png", "size", odd)]
    asked = [problem[0] for problem in found(archive, size=(48, 32))]
    assert asked == ["0.png", "1.png"] and check_images(archive).notes == []


def test_of_equally_common_sizes_one_that_can_be_trained_on_is_meant(tmp_path):
    (tmp_path / "0.png").write_bytes(encode(flag(0, 18)))
    (tmp_path / "1.png").write_bytes(encode(flag(1, 32)))
    assert [problem[:2] for problem in found(FolderArchive(tmp_path))] == [("0.png", "unfit size")]


def test_types(folder):
    (folder / "a.png").write_bytes(encode(flag(5)[..., :1]))
    (folder / "b.png").write_bytes(encode(flag(6).astype(np.uint16) * 257))
    (folder / "c.png").write_bytes(encode(np.dstack([flag(7), flag(7)[..., :1]])))
    usual = "most have 3 channel(s), uint8"
    assert found(FolderArchive(folder)) == [
        ("a.png", "type", f"1 channel(s), uint8; {usual}"),
        ("b.png", "type", f"3 channel(s), uint16; {usual}"),
        ("c.png", "type", f"4 channel(s), uint8; {usual}"),
    ]


def test_duplicates(folder):
    (folder / "again.png").write_bytes((folder / "3.png").read_bytes())
    (folder / "other.png").write_bytes(encode(flag(1), level=0))
    (folder / "qoi.qoi").write_bytes(encode(flag(1), "qoi"))
    assert found(FolderArchive(folder)) == [
        ("again.png", "duplicate", "the same file as 3.png"),
        ("other.png", "duplicate", "the same pixels as 1.png"),
        ("qoi.qoi", "duplicate", "the same pixels as 1.png"),
    ]


def test_equal_bytes_of_another_shape_are_no_duplicates(tmp_path):
    for name, shape in {"a": (8, 8, 3), "b": (4, 16, 3), "c": (16, 4, 3)}.items():
        (tmp_path / f"{name}.png").write_bytes(encode(np.zeros(shape, np.uint8)))
    assert [reason for _, reason, _ in found(FolderArchive(tmp_path))] == ["size"] * 2


def test_one_image_with_several_problems(folder):
    for name in "ab":
        (folder / f"{name}.png").write_bytes(encode(flag(5, 18)[..., :1]))
    problems = check_images(FolderArchive(folder)).problems
    reasons = [problem.reason for problem in problems if problem.file.endswith("b.png")]
    assert reasons == ["unfit size", "type", "duplicate"]
    assert count_reasons(problems) == {"unfit size": 2, "type": 2, "duplicate": 1}
    assert str(problems[0]) == f"{folder}/a.png: unfit size: 18x18 pixels; crop to 16x16 or 14x14"


LABEL_CASES = {
    "missing": ([0, 1, None, 2, 0], [("2.png", "label missing", "dataset.json gives it none")]),
    "text": ([0, 1, 2, "three", 0], [("3.png", "label kind", "a text; most have a class number")]),
    "lengths": (
        [[1, 0], [0, 1], [1], [1, 0], [1, 0]],
        [("2.png", "label kind", "a vector of length 1; most have a vector of length 2")],
    ),
    "nan": (
        [[1, 0], [0, 1], [1, float("nan")], [1, 0], [1, 0]],
        [("2.png", "label kind", "a vector with NaN, infinity or a number too large for float32")],
    ),
    "none": ([None] * 5, [("flags", "label missing", "no image has one")]),
    "good": ([2, 0, 1, 1, 0], []),
}


@pytest.mark.parametrize("case", LABEL_CASES)
@pytest.mark.parametrize("packed", [False, True])
def test_labels(folder, tmp_path, case, packed):
    labels, expected = LABEL_CASES[case]
    write_labels(folder, [(f"{number}.png", label) for number, label in enumerate(labels)])
    archive = FolderArchive(folder)
    if packed:
        with zipfile.ZipFile(tmp_path / "flags.zip", "w") as members:
            for file in folder.iterdir():
                members.write(file, f"x/{file.name}" if file.suffix == ".png" else file.name)
            pairs = [(f"x/{number}.png", label) for number, label in enumerate(labels)]
            members.writestr("extra.txt", json.dumps(pairs))
        archive = rewritten(tmp_path / "flags.zip", pairs)
    assert found(archive) == []
    assert found(archive, labels=True) == expected


def rewritten(path, pairs):
    """The zip with other labels."""
    with zipfile.ZipFile(path) as old:
        content = {m: old.read(m) for m in old.namelist() if m.endswith(".png")}
    with zipfile.ZipFile(path, "w") as new:
        for name, data in content.items():
            new.writestr(name, data)
        new.writestr("dataset.json", json.dumps({"labels": pairs}))
    return ZipArchive(path)


@pytest.mark.parametrize("label", [-1, True, {"class": 1}, [], ["a"], 0.5])
def test_labels_that_are_none(folder, label):
    write_labels(folder, [(f"{n}.png", label if n == 4 else n) for n in range(5)])
    [(file, reason, _)] = found(FolderArchive(folder), labels=True)
    assert (file, reason) == ("4.png", "label kind")


@pytest.mark.parametrize("content", ["{", "[1]", '{"labels": [1]}', '{"labels": 3}'])
def test_a_damaged_label_file(folder, content):
    (folder / "dataset.json").write_text(content)
    [(file, reason, detail)] = found(FolderArchive(folder), labels=True)
    assert (file, reason) == ("flags", "label kind") and "wanted JSON" in detail


def test_class_folders(folder):
    assert found(FolderArchive(folder), labels=True) == [
        ("flags", "label missing", "no image has one")
    ]
    for number in range(4):
        (folder / "ab"[number % 2]).mkdir(exist_ok=True)
        (folder / f"{number}.png").rename(folder / "ab"[number % 2] / f"{number}.png")
    assert found(FolderArchive(folder), labels=True) == [
        ("4.png", "label missing", "lies in no class folder, as others do")
    ]
    (folder / "4.png").unlink()
    assert found(FolderArchive(folder), labels=True) == []


def test_an_archive_of_arrays():
    class Arrays(Archive):
        name, names, sizes = "arrays", ["0", "1", "2"], [768] * 3

        def read(self, index):
            return flag(index % 2)

        def _read_labels(self):
            return no_labels(3)

    assert found(Arrays(), labels=True) == [
        ("arrays", "label missing", "no image has one"),
        ("2", "duplicate", "the same pixels as 0"),
    ]


def test_resolutions_that_cannot_be(folder):
    with pytest.raises(ValueError, match="resolution=18: no network makes images of 18x18 px"):
        check_images(FolderArchive(folder), size=(18, 18))


def test_channels_that_say_nothing_are_noted(folder):
    assert check_images(FolderArchive(folder)).notes == []
    for number in range(5):
        opaque = np.concatenate([flag(number), np.full((16, 16, 1), 255, np.uint8)], axis=2)
        (folder / f"{number}.png").write_bytes(encode(opaque))
    problems, notes = check_images(FolderArchive(folder))
    assert problems == [] and len(notes) == 1
    assert notes[0].startswith("all 5 images have an alpha channel that is opaque everywhere")


def test_labels_of_a_name(folder):
    assert found(FolderArchive(folder), labels="role") == [
        (
            "flags",
            "label missing",
            "flags has no labels by the name 'role', nor any others by a name.",
        )
    ]


# Of labels, or of folders by which the five images are divided.
REFUSED_ALIKE = {
    "one class": [0] * 5,
    "captions": ["a", "b", "c", "d", "e"],
    "huge": [0, 1, 10**9, 1, 0],
    "negative": [0, 1, -1, 1, 0],
    "missing": [0, 1, None, 1, 0],
    "null": [None] * 5,
    "mixed": [0, 1, "a", 1, 0],
    "lengths": [[1], [1, 2], [1], [1], [1]],
    "vectors": [[1.5], [1], [1], [1], [2]],
    "classes": [0, 1, 0, 1, 0],
    "parts": "train test train test train",
    "numbers": "00000 01000 00000 01000 00000",
    "folders": "a b a b a",
    "one folder": "a a a a a",
}


@pytest.mark.parametrize("labels", REFUSED_ALIKE.values(), ids=REFUSED_ALIKE)
@pytest.mark.parametrize("which", [False, True, "role"])
def test_check_and_opening_find_the_same(folder, labels, which):
    if isinstance(labels, str):
        for number, name in enumerate(labels.split()):
            (folder / name).mkdir(exist_ok=True)
            (folder / f"{number}.png").rename(folder / name / f"{number}.png")
    else:
        pairs = [(f"{number}.png", label) for number, label in enumerate(labels)]
        named = {"role": {"labels": pairs}}
        content = {"named_labels": named} if which == "role" else {"labels": pairs}
        (folder / "dataset.json").write_text(json.dumps(content))
    archive = FolderArchive(folder)
    problems, notes = check_images(archive, labels=which)
    try:
        ImageSource(FolderArchive(folder), labels=which)
    except ValueError as error:
        assert problems and all(problem.reason.startswith("label") for problem in problems)
        if len(problems) == 1 and problems[0].file == "flags":
            # The same words, but for those that say what to do.
            detail = problems[0].detail.removeprefix("no image has one").lstrip(". ")
            assert detail in str(error)
    else:
        assert not problems
    if labels == REFUSED_ALIKE["parts"]:
        assert notes[0].startswith("the folders test, train are taken for parts of one data set")


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_sizes_that_no_network_makes(tmp_path, size):
    for number in range(3):
        pixels = np.random.default_rng(number).integers(256, size=(size, size, 3), dtype=np.uint8)
        (tmp_path / f"{number}.png").write_bytes(encode(pixels))
    problems = check_images(FolderArchive(tmp_path)).problems
    assert [problem.reason for problem in problems] == ["unfit size"] * (size < 4) * 3
    with pytest.raises(ValueError, match="resolution=2: no network makes"):
        check_images(FolderArchive(tmp_path), size=(2, 2))


def test_labels_that_do_not_fit_are_noted_where_none_are_wanted(folder):
    write_labels(folder, [(f"x/{number}.png", number) for number in range(5)])
    archive = FolderArchive(folder)
    problems, (note,) = check_images(archive)
    assert problems == [] and "5 of 5 images have no label, the first is 0.png. 5 of its" in note
    (problem,), notes = check_images(archive, labels=True)
    assert (problem.reason, problem.detail, notes) == ("label missing", note, [])


def test_files_that_are_left_out_are_noted(folder):
    (folder / "a.gif").write_bytes(b"x")
    assert "1 of .gif, the first is a.gif" in check_images(FolderArchive(folder)).notes[0]


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_images_that_a_camera_noted_to_be_turned(folder, suffix):
    for number, orientation in enumerate([1, 6, 2, 0, 9]):
        exif = Image.Exif()
        exif[0x112] = orientation
        Image.fromarray(flag(number)).save(folder / f"x{number}.{suffix}", exif=exif)
    Image.fromarray(flag(7)).save(folder / f"y.{suffix}")
    (note,) = check_images(FolderArchive(folder)).notes
    assert note.startswith("2 of 11 images are to be turned or mirrored, as a camera noted (EXIF)")
    assert f"the first is {folder}/x1.{suffix}" in note
