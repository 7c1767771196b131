"""The portraits: which drawings they are, what their names say, and what is held back."""

import collections
import hashlib

import numpy as np
import pytest

from stylegan_jax.data.builders import portraits
from stylegan_jax.data.builders.openmoji import list_drawings, render_drawing
from stylegan_jax.data.builders.portraits import (
    GENDERS,
    MARKS,
    TONES,
    describe_portrait,
    is_portrait,
    portrait_box,
    portrait_labels,
)

# Drawings that differ by less at 64 px, in grey levels rms, look the same; the next nearest two
# differ by 6.
TWINS_RMS = 4
SIZE = (64, 64)


@pytest.fixture(scope="module")
def names():
    return list_drawings("portraits")


@pytest.fixture(scope="module")
def pixels(names):
    """All portraits at 64 px, [n, 64 * 64 * 3]."""
    drawn = [render_drawing(name, SIZE, box=portrait_box(name, SIZE)) for name in names]
    return np.stack([np.asarray(drawing, np.float32).ravel() for drawing in drawn])


def draw_plain(name):
    return np.asarray(render_drawing(name, SIZE, box=portrait_box("1F468", SIZE)))


def test_numbers_of_the_present_version(names, monkeypatch):
    assert len(names) == 552 and names == sorted(names)
    # With the twins that are left out, and the skull-cap in its six tones, they are 630.
    monkeypatch.setattr(portraits, "_DRAWN_ONCE", ())
    monkeypatch.setattr(portraits, "_PEOPLE", [*portraits._PEOPLE, "1F472"])
    assert len(list_drawings("portraits")) == 630


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("1F469", True),
        ("1F469-1F3FF-200D-1F692", True),  # woman firefighter, dark
        ("1F9D1-1F3FF-200D-1F692", False),  # drawn as the man is
        ("1F473-1F3FF", False),  # turban, drawn as the woman is
        ("1F473-1F3FF-200D-2642-FE0F", True),
        ("1F472", False),  # skull-cap
        ("1F469-200D-1F466", False),  # a family
        ("1F9D1-200D-1F9AF", False),  # with a cane, whole figure
        ("1F3FB", False),
        ("1F600", False),
    ],
)
def test_which_drawings_are_portraits(name, expected):
    assert is_portrait(name) == expected


@pytest.mark.parametrize(
    ("name", "caption", "role", "gender", "tone", "marks"),
    [
        ("1F469-1F3FF-200D-1F692", "woman firefighter, dark skin", "firefighter", 1, 5, "hat"),
        ("1F468", "man, yellow skin", "adult", 2, 0, ""),
        ("1F467-1F3FB", "girl, light skin", "child", 1, 1, ""),
        ("1F474-1F3FE", "old man, medium-dark skin", "older", 2, 4, ""),
        ("1F9D1-1F3FD-200D-1F9B0", "person, red hair, medium skin", "red hair", 0, 3, ""),
        ("1F471-1F3FC", "person, blond hair, medium-light skin", "blond hair", 0, 2, ""),
        ("1F470-200D-2642-FE0F", "man with veil, yellow skin", "veil", 2, 0, "veil"),
        ("1F473-200D-2642-FE0F", "man wearing turban, yellow skin", "turban", 2, 0, "hat beard"),
        ("1F936", "Mrs. Claus, yellow skin", "Claus", 1, 0, "hat glasses"),
        ("1F385", "Santa Claus, yellow skin", "Claus", 2, 0, "hat beard"),
        ("1F934", "prince, yellow skin", "crown", 2, 0, "hat"),
        ("1F9D4-200D-2640-FE0F", "woman, beard, yellow skin", "beard", 1, 0, "beard"),
        ("1F575-FE0F", "detective, yellow skin", "detective", 0, 0, "hat"),
        ("1F9D1-200D-1F3EB", "teacher, yellow skin", "teacher", 0, 0, "glasses"),
    ],
)
def test_what_a_name_says(name, caption, role, gender, tone, marks):
    portrait = describe_portrait(name)
    assert (portrait.caption, portrait.role) == (caption, role)
    assert (portrait.gender, portrait.tone) == (GENDERS[gender], TONES[tone])
    assert [mark for mark, has in zip(MARKS, portrait.marks) if has] == marks.split()


def test_roles_are_some_forty(names):
    roles = collections.Counter(describe_portrait(name).role for name in names)
    assert len(roles) == 37 and set(roles.values()) == {6, 12, 18}
    # Words of another version of `emoji` would leave marks without a role, unnoticed.
    known = portraits._WITH_HAT | portraits._WITH_GLASSES | portraits._WITH_VEIL | portraits._LOOKS
    assert known | portraits._MEN_WITH_BEARD < set(roles)


def test_attributes_are_all_of_it_in_one_vector(names):
    labels = portrait_labels(names)
    vectors, columns = labels["attributes"].values, labels["attributes"].columns
    assert vectors.shape == (552, len(columns)) == (552, 3 + 6 + 37 + 4)
    assert columns[:4] == ("gender person", "gender woman", "gender man", "tone yellow")
    assert columns[-5:] == ("role white hair", *MARKS)
    # One gender, tone and role each.
    assert (vectors[:, :3].sum(1) == 1).all() and (vectors[:, 3:9].sum(1) == 1).all()
    np.testing.assert_array_equal(vectors[:, 9:-4].argmax(1), labels["role"].values)
    assert vectors[:, -4:].sum(0).tolist() == [222.0, 60.0, 42.0, 30.0]


def test_every_combination_comes_once(names):
    seen = {(p.role, p.gender, p.tone) for p in map(describe_portrait, names)}
    captions = portrait_labels(names)["captions"].values.tolist()
    assert len(seen) == len(set(captions)) == len(names)


def test_a_tenth_is_held_back_and_nothing_is_lost(names):
    held = [name for name in names if describe_portrait(name).is_unseen]
    assert len(held) == 53
    # Runs that are compared have been trained on these and no others.
    digest = hashlib.sha256(" ".join(held).encode()).hexdigest()
    assert digest.startswith("3de522cadc55632e")
    kept = [describe_portrait(name) for name in names if name not in held]
    everything = [describe_portrait(name) for name in names]
    for attribute in ("role", "gender", "tone"):
        words = {getattr(portrait, attribute) for portrait in everything}
        assert words == {getattr(portrait, attribute) for portrait in kept}


def test_split_does_not_depend_on_other_drawings(names):
    few = names[::50]
    split = portrait_labels(few)["split"]
    assert split.values.tolist() == [int(describe_portrait(name).is_unseen) for name in few]


def test_unseen_portraits_have_no_twin_among_the_seen(names, pixels):
    is_unseen = np.array([describe_portrait(name).is_unseen for name in names])
    unseen, seen = pixels[is_unseen], pixels[~is_unseen]
    # |a - b|^2 = a^2 + b^2 - 2 ab
    squares = (unseen**2).sum(1)[:, None] + (seen**2).sum(1) - 2 * unseen @ seen.T
    rms = np.sqrt(np.maximum(squares, 0) / pixels.shape[1])
    assert rms.min() > TWINS_RMS + 1
    assert len({image.tobytes() for image in pixels}) == 552


def test_twins_that_are_left_out_are_twins():
    """In one tone: the drawing without gender has the pixels of that which stays."""
    tone = "-1F3FE"
    for core in portraits._DRAWN_ONCE:
        if core == "1F473":
            assert (draw_plain(core + tone) == draw_plain(f"{core}{tone}-200D-2640-FE0F")).all()
            continue
        rest = core.split("-")[1] + ("-FE0F" if core.endswith("2708") else "")
        person, man = (draw_plain(f"{who}{tone}-200D-{rest}") for who in ("1F9D1", "1F468"))
        assert (person == man).all()


def test_the_baby_is_boxed_as_large_as_the_others():
    """Its shoulders end at the lower edge, with room above its head, as the others' do."""
    baby = np.asarray(render_drawing("1F476", SIZE, box=portrait_box("1F476", SIZE)))
    assert (baby[:12] == 255).all() and (baby[-1] != 255).any()
    assert portrait_box("1F467-1F3FF", SIZE) == "10 7 52 52"
    assert portrait_box("1F476-1F3FF", SIZE) == "2 -7 68 68"


@pytest.mark.parametrize(
    ("size", "box"),
    [
        ((32, 48), "-3 7 78 52"),  # half as much again beside it
        ((28, 64), None),
        ((13, 10), "16 7 40 52"),  # shoulder to shoulder
        ((48, 32), "16 -1 40 60"),
        ((7, 4), "16 -11 40 70"),
        ((96, 32), "16 -61 40 120"),
    ],
)
def test_pictures_of_other_proportions_show_the_shoulders(size, box):
    found = portrait_box("1F468", size)
    assert box in (None, found)
    # The baby's is the same, scaled.
    for numbers, side in ((found, 52), (portrait_box("1F476", size), 68)):
        x, y, width, height = map(float, numbers.split())
        np.testing.assert_allclose(width / height, size[1] / size[0], rtol=1e-8)
        np.testing.assert_allclose((x + width / 2, y + height), (36, {52: 59, 68: 61}[side]))
        assert height >= side - 1e-6 and width >= side * 40 / 52 - 1e-6


@pytest.mark.parametrize("size", [(48, 32), (32, 48), (56, 32), (96, 32)])
def test_no_face_is_cut(names, size):
    for name in names[::23]:
        square = np.asarray(render_drawing(name, (104, 104), box=portrait_box(name, SIZE)))
        drawn = np.asarray(render_drawing(name, size, box=portrait_box(name, size)))
        # The mean colour of 24 x 28 of the page around eyes and mouth, of a square at 2 px each.
        x, y, width, _ = map(float, portrait_box(name, size).split())
        px = size[1] / width
        rows = slice(round((20 - y) * px), round((48 - y) * px))
        columns = slice(round((24 - x) * px), round((48 - x) * px))
        assert 0 <= rows.start < rows.stop <= size[0] and 0 <= columns.start < columns.stop
        assert columns.stop <= size[1]
        wanted = square[2 * 13 : 2 * 41, 2 * 14 : 2 * 38].mean((0, 1))
        np.testing.assert_allclose(drawn[rows, columns].mean((0, 1)), wanted, atol=12)
