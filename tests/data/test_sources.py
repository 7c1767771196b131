"""Sources: what they read, and what they say about images that do not fit."""

import pickle
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from stylegan_jax.data import ImageSource, open_source, sources
from stylegan_jax.data.archives import FolderArchive
from stylegan_jax.data.codecs import encode
from tests.data import foreign


def write_image(path, *, size=(8, 8), mode="RGB", seed=0):
    """A picture of noise, of a height and width; returns its pixels."""
    channels = {"L": (), "RGB": (3,), "LA": (2,), "RGBA": (4,), "CMYK": (4,)}[mode]
    shape = (*size, *channels)
    pixels = np.random.default_rng(seed).integers(256, size=shape, dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.frombytes(mode, size[::-1], pixels.tobytes()).save(path)
    return pixels


def open_folder(path, **options):
    return ImageSource(FolderArchive(path), **options)


@pytest.fixture
def folder(tmp_path):
    """Two cats and a dog, 8 px."""
    root = tmp_path / "pets"
    for seed, name in enumerate(["dog/a.png", "cat/b.png", "cat/more/c.png"]):
        write_image(root / name, seed=seed)
    return root


def test_folder_is_read_in_the_order_of_paths(tmp_path):
    expected = [
        write_image(tmp_path / name, seed=seed)
        for seed, name in enumerate(["Z.png", "a/2.png", "a/10/x.bmp", "b.PNG"])
    ]
    write_image(tmp_path / ".hidden.png", size=(9, 9))
    write_image(tmp_path / ".git" / "x.png", size=(9, 9))
    (tmp_path / "notes.txt").write_text("not an image")
    source = open_folder(tmp_path, size=(8, 8))
    assert (len(source), source.size, source.img_channels) == (4, (8, 8), 3)
    order = [0, 2, 1, 3]  # Z.png, a/10/x.bmp, a/2.png, b.PNG
    for image, index in zip(source, order):
        np.testing.assert_array_equal(image, expected[index])
    assert source.c_dim == 0 and source.class_names == ()


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "webp"])
def test_lossy_formats_are_read(tmp_path, suffix):
    Image.new("RGB", (16, 16), (200, 30, 60)).save(tmp_path / f"x.{suffix}")
    image = open_folder(tmp_path)[0]
    assert image.shape == (16, 16, 3) and image.dtype == np.uint8
    np.testing.assert_allclose(image[8, 8], (200, 30, 60), atol=8)  # lossy


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("LA", 2), ("RGB", 3), ("RGBA", 4)])
def test_number_of_channels_follows_the_files(tmp_path, mode, channels):
    pixels = write_image(tmp_path / "x.png", mode=mode)
    source = open_folder(tmp_path)
    assert source.img_channels == channels
    np.testing.assert_array_equal(source[0], pixels.reshape(8, 8, channels))


def test_palette_images_count_as_rgb_or_rgba(tmp_path):
    opaque, transparent = tmp_path / "opaque", tmp_path / "transparent"
    for root, options in ((opaque, {}), (transparent, {"transparency": 0})):
        root.mkdir()
        image = Image.new("P", (8, 8), 1)
        image.putpalette([0, 0, 0, 10, 200, 30])
        image.save(root / "x.png", **options)
    assert open_folder(opaque)[0][0, 0].tolist() == [10, 200, 30]
    assert open_folder(transparent)[0][0, 0].tolist() == [10, 200, 30, 255]


def test_class_folders_become_labels(folder):
    source = open_folder(folder, labels=True)
    assert source.class_names == ("cat", "dog") and source.c_dim == 2
    assert source.labels.values.tolist() == [0, 0, 1] and source.labels.values.dtype == np.int32
    assert open_folder(folder).labels.values.tolist() == [-1, -1, -1]


def test_images_outside_class_folders(folder):
    write_image(folder / "stray.png")
    assert len(open_folder(folder)) == 4
    with pytest.raises(ValueError, match="1 image.s. lie in no class folder.*stray.png"):
        open_folder(folder, labels=True)


def test_one_class_is_no_class(folder):
    shutil.rmtree(folder / "dog")
    with pytest.raises(ValueError, match="has no labels. All images are in one folder, cat"):
        open_folder(folder, labels=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": (16, 16)}, "odd.png: 16x16 pixels, wanted 8x8"),
        ({"size": (8, 6)}, "odd.png: 8x6 pixels .height x width., wanted 8x8"),
        ({"mode": "L"}, r"odd.png: 1 channel\(s\), but most files have 3"),
        ({"mode": "RGBA"}, r"odd.png: 4 channel\(s\), but most files have 3"),
    ],
)
@pytest.mark.parametrize("size", [(8, 8), None])
def test_odd_image_is_named(folder, options, message, size):
    write_image(folder / "cat" / "odd.png", **options)
    with pytest.raises(ValueError, match="1 of 4 images do not fit:\n  cat/" + message):
        open_folder(folder, size=size)


def test_colour_mode_that_is_not_supported(folder):
    write_image(folder / "odd.jpg", mode="CMYK")
    with pytest.raises(ValueError, match="odd.jpg: colour mode CMYK, wanted grey or RGB"):
        open_folder(folder)


def test_file_that_is_no_image(folder):
    (folder / "odd.png").write_bytes(b"<html>not found</html>")
    with pytest.raises(ValueError, match="odd.png: not a readable image"):
        open_folder(folder)


def test_long_list_of_problems_is_cut(folder):
    for index in range(9):
        write_image(folder / f"odd{index}.png", size=(8, 7))
    with pytest.raises(ValueError, match=r"9 of 12 images(.*\n){6}  \.\.\. and 4 more\nPrepare"):
        open_folder(folder, size=(8, 8))


def test_wrong_resolution_is_said_once_for_all(folder):
    with pytest.raises(ValueError, match="3 of 3 images do not fit:\n.*8x8 pixels, wanted 32x32"):
        open_folder(folder, size=(32, 32))


# The smallest, and of squares that were always made and others; sides are the blocks' base times
# a power of two.
@pytest.mark.parametrize(
    "size", [(4, 7), (5, 5), (24, 16), (48, 32), (32, 48), (96, 96), (4, 4), (256, 448)]
)
def test_sizes_that_are_made(tmp_path, size):
    pixels = [write_image(tmp_path / f"{seed}.png", size=size, seed=seed) for seed in range(2)]
    for asked in (None, size):
        source = open_folder(tmp_path, size=asked)
        assert source.size == size and not hasattr(source, "img_resolution")
        np.testing.assert_array_equal(np.stack(list(source)), pixels)


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((36, 68), "36x68 px.*crop to --resolution=32x64 or --resolution=28x68 with --crop=center"),
        ((1080, 1920), r"--resolution=1024x1792 or .*=896x1920 with .*\n  python -m .* prepare "),
        (
            (9, 9),
            "2 of 3 images are of 9x9 pixels: no network .*--resolution=8 --crop=center-crop$",
        ),
        (
            (3, 64),
            "2 of 3 images are of 3x64 pixels .height x width.: .*is shorter than 4 px.$",
        ),
    ],
)
def test_sizes_that_no_network_makes(tmp_path, size, message):
    for name in ("x", "y"):
        (tmp_path / f"{name}.png").write_bytes(encode(np.zeros((*size, 1), np.uint8)))
    write_image(tmp_path / "z.png")
    with pytest.raises(ValueError, match="(?s)" + message):
        open_folder(tmp_path)
    # Nothing is read where it is asked for.
    with pytest.raises(ValueError, match=f"resolution={size[0]}(x{size[1]})?: no network makes"):
        open_folder(tmp_path, size=size)


@pytest.mark.parametrize("side", [0, -4, 3, 16385, 2**20])
def test_sides_that_are_none(folder, side):
    with pytest.raises(ValueError, match=f"resolution={side}: no network makes images"):
        open_folder(folder, size=(side, side))


def test_the_commonest_size_is_taken_as_meant(tmp_path):
    for seed in range(3):
        write_image(tmp_path / f"{seed}.png", size=(24, 16), seed=seed)
    write_image(tmp_path / "odd.png", size=(16, 24))
    write_image(tmp_path / "square.png", size=(16, 16))
    with pytest.raises(ValueError) as error:
        open_folder(tmp_path)
    assert str(error.value).startswith(
        f"{tmp_path.name}: 2 of 5 images do not fit:\n"
        "  odd.png: 16x24 pixels (height x width), wanted 24x16\n"
        "  square.png: 16x16 pixels, wanted 24x16\n"
    )


def test_of_equally_common_sizes_one_that_is_made():
    assert sources.commonest_size([(9, 9), (8, 8)]) == (8, 8)
    assert sources.commonest_size([(9, 9), (8, 8), (9, 9)]) == (9, 9)
    assert sources.commonest_size([]) is None


def test_truncated_image_is_found_when_it_is_decoded(folder):
    path = folder / "cat" / "b.png"
    path.write_bytes(path.read_bytes()[:-60])
    source = open_folder(folder)
    with pytest.raises(ValueError, match="cat/b.png: the image is damaged"):
        source[0]
    source[1]


def test_image_that_changes_under_way(folder):
    source = open_folder(folder)
    write_image(folder / "dog" / "a.png", size=(16, 16))
    with pytest.raises(ValueError, match="dog/a.png: 16x16 pixels, .*, but 8x8 .*when the data"):
        source[2]


def test_missing_and_empty_folders(tmp_path):
    with pytest.raises(ValueError, match="nowhere is not a folder"):
        open_folder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"holds no image files \(.png, .jpg"):
        open_folder(tmp_path)


def test_index_out_of_range(folder):
    source = open_folder(folder)
    np.testing.assert_array_equal(source[-1], source[2])
    with pytest.raises(IndexError):
        source[3]


def test_fingerprint_does_not_depend_on_the_place(folder, tmp_path):
    moved = shutil.copytree(folder, tmp_path / "elsewhere")
    fingerprint = open_folder(folder, labels=True).fingerprint
    assert re.fullmatch("[0-9a-f]{16}", fingerprint)
    assert open_folder(moved, labels=True).fingerprint == fingerprint


def test_fingerprint_changes_with_the_data(folder):
    seen = [open_folder(folder).fingerprint, open_folder(folder, labels=True).fingerprint]
    (folder / "cat" / "b.png").rename(folder / "cat" / "z.png")
    seen.append(open_folder(folder).fingerprint)
    Image.new("RGB", (8, 8)).save(folder / "cat" / "z.png")
    seen.append(open_folder(folder).fingerprint)
    (folder / "cat" / "z.png").unlink()
    seen.append(open_folder(folder).fingerprint)
    assert len(set(seen)) == 5


def test_cache_changes_no_pixel_and_stays_at_home(folder, monkeypatch):
    source = open_folder(folder)
    empty = len(pickle.dumps(source))
    first = source[0]
    assert source[0] is first and not first.flags.writeable
    assert len(pickle.dumps(source)) == empty
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(source))[0], first)

    monkeypatch.setattr(sources, "CACHE_LIMIT_BYTES", 3 * 8 * 8 * 3 - 1)
    uncached = open_folder(folder)
    assert uncached[0] is not uncached[0]
    np.testing.assert_array_equal(uncached[0], first)


def write_opaque(path, count=3, *, transparent=()):
    """Pictures with an alpha channel, and what colours they have."""
    path.mkdir()
    images = []
    for seed in range(count):
        pixels = np.random.default_rng(seed).integers(256, size=(8, 8, 4), dtype=np.uint8)
        pixels[..., 3] = 255
        pixels[0, 0, 3] = 0 if seed in transparent else 255
        Image.fromarray(pixels).save(path / f"{seed}.png")
        images.append(pixels[..., :3])
    return images


def test_alpha_that_says_nothing_is_told_and_dropped(tmp_path):
    colours = write_opaque(tmp_path / "x")
    source = open_folder(tmp_path / "x")
    assert source.img_channels == 4
    assert source.describe_silent_channels().startswith("all 3 images have an alpha channel")
    without = open_folder(tmp_path / "x", channels=3)
    assert (without.img_channels, without.describe_silent_channels()) == (3, "")
    np.testing.assert_array_equal(np.stack(list(without)), colours)
    assert without.fingerprint != source.fingerprint
    assert open_folder(tmp_path / "x", channels=4).fingerprint == source.fingerprint


def test_alpha_that_shows_is_kept(tmp_path):
    write_opaque(tmp_path / "x", transparent=[2])
    assert open_folder(tmp_path / "x").describe_silent_channels() == ""
    source = open_folder(tmp_path / "x", channels=3)
    assert source[0].shape == (8, 8, 3)
    with pytest.raises(ValueError, match="2.png has a transparent part.*--channels=3, which lays"):
        source[2]


def test_only_some_images_are_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "_LOOKED_AT", 2)
    write_opaque(tmp_path / "x", transparent=[1])
    found = open_folder(tmp_path / "x").describe_silent_channels()
    assert found.startswith("all 2 of 3 images that were looked at have an alpha")


def test_channels_that_are_not_there(folder):
    with pytest.raises(ValueError, match="3 channel.*data.channels=4 only drops.*--channels=4"):
        open_folder(folder, channels=4)
    with pytest.raises(ValueError, match="data.channels=2 only drops.*--channels=2` converts"):
        open_folder(folder, channels=2)
    with pytest.raises(ValueError, match="data.channels=17 of images with 3 channel.*: give 1"):
        open_folder(folder, channels=17)
    with pytest.raises(ValueError, match=r"data.channels=6 only drops what says nothing\.$"):
        open_folder(folder, channels=6)


def test_all_of_more_than_four_channels_are_used(tmp_path):
    images = np.full((3, 8, 8, 6), 255, np.uint8)
    for index, image in enumerate(images):
        np.save(tmp_path / f"{index}.npy", image)
    source = open_folder(tmp_path, size=(8, 8))
    assert source.img_channels == 6 and source.describe_silent_channels() == ""
    np.testing.assert_array_equal(np.stack(list(source)), images)
    with pytest.raises(
        ValueError, match=r"6 channel.*data.channels=3 only drops what .* nothing\.$"
    ):
        open_folder(tmp_path, channels=3)


def test_archives_of_too_many_channels(tmp_path):
    foreign.write_tfrecords(tmp_path / "x", "x", np.zeros((2, 8, 8, 17), np.uint8))
    with pytest.raises(ValueError, match="17 channel.*up to 16"):
        open_source(str(tmp_path / "x"), size=(8, 8))
