"""Labels of folders and zips: what fits, what does not, and what is said of it."""

import json

import pytest

from stylegan_jax.data.archives import ArchiveError, SubsetArchive, open_archive
from stylegan_jax.data.archives.image_files import (
    describe_parts,
    explain_no_classes,
    labels_from_paths,
)
from tests.data import foreign

IMAGES = foreign.drawings(3, 8)
NAMES = ["0.png", "1.png", "2.png"]


@pytest.fixture(params=["folder", "zip"])
def make(request, tmp_path):
    """Makes a data set of three images with a label file of the given text."""

    def make(text, names=NAMES):
        if not isinstance(text, str):
            text = json.dumps(text)
        if request.param == "folder":
            foreign.write_folder(tmp_path / "set", IMAGES, names)
            (tmp_path / "set" / "dataset.json").write_text(text)
            return open_archive(tmp_path / "set")
        foreign.write_zip(tmp_path / "set.zip", IMAGES, names)
        foreign.append_to_zip(tmp_path / "set.zip", {"dataset.json": text})
        return open_archive(tmp_path / "set.zip")

    return make


@pytest.mark.parametrize(
    ("there", "message"),
    [
        ("x/0.png", "3 of its names are no image's, the first is x/0.png; x/0.png there may be 0"),
        ("0.jpg", "the first is 0.jpg; 0.jpg there may be 0.png here"),
        ("a\\0.PNG", "there may be 0.png here"),
        ("z.png", "3 of its names are no image's, the first is z.png. Add"),
    ],
)
def test_names_that_do_not_match_are_told_with_those_that_they_may_mean(make, there, message):
    names = [there.replace("0", str(i)).replace("z", "z" * (i + 1)) for i in range(3)]
    archive = make({"labels": [[name, 1] for name in names]})
    first = "3 of 3 images have no label, the first is 0.png. "
    with pytest.raises(ArchiveError, match=f"{first}.*({message})"):
        _ = archive.labels


def test_labels_that_do_not_fit_are_left_out_and_others_kept(make):
    fits = {"labels": [[name, i] for i, name in enumerate(NAMES)]}
    lacks = {"labels": [["0.png", 1]]}
    archive = make(lacks | {"named_labels": {"good": fits, "bad": lacks}})
    labels, named, problems = archive.find_fitting_labels()
    assert labels.kind == "none" and list(named) == ["good"]
    assert [p.split("dataset.json")[1][:15] for p in problems] == [
        ": 2 of 3 images",
        ", bad: 2 of 3 i",
    ]
    # Nothing has changed for whoever asks for them.
    assert archive.choose_labels("good").c_dim == 3
    for which in (True, "bad"):
        with pytest.raises(ArchiveError, match="2 of 3 images have no label"):
            archive.choose_labels(which)
    assert archive.leave_out_unfit_labels() == problems
    assert archive.labels.kind == "none" and list(archive.named_labels) == ["good"]
    assert SubsetArchive(archive, [2, 0]).named_labels["good"].values.tolist() == [2, 0]


def test_a_file_that_is_damaged_says_so_once(make):
    archive = make('{"labels": 3, "named_labels": ')
    _, named, problems = archive.find_fitting_labels()
    assert len(problems) == 1 and "wanted JSON of the form" in problems[0] and not named


FORMS = {
    "nested": "[" * 100_000,
    "nested labels": '{"labels": ' + "[" * 100_000,
    "list": "[1]",
    "text": '"labels"',
    "null": "null",
    "labels are a number": '{"labels": 3}',
    "labels are texts": '{"labels": ["ab", "cde"]}',
    "unhashable": '{"labels": [[[1], 2]]}',
    "digits": '{"labels": [["0.png", ' + "9" * 5000 + "]]}",
    "no UTF-8": '{"labels": "\udcff"}',
    "class": '{"labels": [["0.png", 1' + "0" * 400 + '], ["1.png", 0], ["2.png", 0]]}',
    "negative": '{"labels": [["0.png", -1' + "0" * 400 + '], ["1.png", 0], ["2.png", 0]]}',
    "vector": '{"labels": [["0.png", [1' + "0" * 400 + ']], ["1.png", [0]], ["2.png", [0]]]}',
    "surrogate": '{"labels": [["0.png", "\\ud800"], ["1.png", ""], ["2.png", ""]]}',
    "empty": "",
}


@pytest.mark.parametrize("form", FORMS)
def test_whatever_stands_in_the_file_the_error_is_ours(tmp_path, form):
    foreign.write_folder(tmp_path, IMAGES, NAMES)
    text = FORMS[form].encode(errors="surrogateescape")
    (tmp_path / "dataset.json").write_bytes(text)
    archive = open_archive(tmp_path)
    with pytest.raises(ArchiveError, match="dataset.json: ") as caught:
        _ = archive.labels
    assert len(str(caught.value)) < 1200
    assert archive.find_fitting_labels()[2] == [str(caught.value)]


@pytest.mark.parametrize(
    "named",
    [3, "ab", [1], {"a": 3}, {"a": []}, {"a": {"labels": None, "class_names": 5}}, {"a" * 101: {}}],
)
def test_whatever_stands_in_named_labels_the_error_is_ours(tmp_path, named):
    foreign.write_folder(tmp_path, IMAGES, NAMES)
    (tmp_path / "dataset.json").write_text(json.dumps({"named_labels": named}))
    archive = open_archive(tmp_path)
    with pytest.raises(ArchiveError, match="dataset.json"):
        _ = archive.named_labels
    assert archive.labels.kind == "none"


def test_labels_that_are_all_null_are_none(make):
    archive = make({"labels": [[name, None] for name in NAMES]})
    assert archive.labels.kind == "none" and archive.find_fitting_labels()[2] == []
    assert archive.explain_no_labels() == ""


@pytest.mark.parametrize(
    ("folders", "is_part"),
    [
        (("train", "test"), True),
        (("Training", "val"), True),
        (("train_set", "validation", "eval"), True),
        (("train", "plane"), False),
        (("trainer", "tester"), False),
        (("train",), False),
    ],
)
def test_parts_of_a_data_set_are_no_classes(folders, is_part):
    names = [f"{folder}/{i}.png" for folder in folders for i in range(2)]
    labels = labels_from_paths(names)
    assert bool(describe_parts(names)) == is_part
    if is_part:
        there = ", ".join(sorted(folders))
        assert labels.kind == "none" and describe_parts(names)[0].startswith(f"the folders {there}")
        assert f"The folders {there} are parts of a data set" in explain_no_classes(names)
    else:
        assert labels.kind == ("classes" if len(folders) > 1 else "none")
