"""Figures with known answers: what each cell must equal."""

import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
from PIL import Image

from stylegan_jax.tools import figures
from stylegan_jax.tools.figures import (
    Figure,
    crop,
    deviation_map,
    layer_boundaries,
    noise,
    parse_numbers,
    render,
    stddev,
    style_mixing,
    truncation,
)

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("num_ws", "boundaries"),
    [
        (18, (4, 8)),
        (16, (4, 8)),
        (14, (4, 6)),
        (12, (2, 6)),
        (10, (2, 4)),
        (8, (2, 4)),
        (6, (2, 4)),
    ],
)
def test_layer_boundaries(num_ws, boundaries):
    assert layer_boundaries(num_ws) == boundaries


@pytest.mark.parametrize("num_ws", [1, 2, 4])
def test_too_few_layers_to_split(num_ws):
    with pytest.raises(ValueError, match=f"{num_ws} layers are too few.*--boundaries"):
        layer_boundaries(num_ws)


def test_the_paper_s_rows():
    rows = figures._copied_styles(18, 6, None, None)
    labels = ["coarse 0-3"] * 3 + ["middle 4-7"] * 2 + ["fine 8-17"]
    assert [label for label, _ in rows] == labels
    assert rows[0][1] == [0, 1, 2, 3] and rows[-1][1] == list(range(8, 18))
    for num_rows, names in ((1, "c"), (2, "cm"), (3, "cmf"), (4, "ccmf"), (12, "ccccccmmmmff")):
        rows = figures._copied_styles(18, num_rows, None, None)
        assert "".join(label[0] for label, _ in rows) == names


def test_style_mixing(generator):
    figure = style_mixing(generator)
    assert figure.cells.shape == (7, 6, 16, 16, 3)
    assert figure.col_labels == ["destination"] + [f"seed {s}" for s in (639, 701, 687, 615, 2268)]
    assert figure.row_labels[0] == "source" and figure.row_labels[-1] == "seed 845, fine 4-5"
    assert np.all(figure.cells[0, 0] == 255)
    # Row 5 is the second of the middle ones, column 3 the seed 687; a batch of the same size.
    ws = generator.styles([1614, 687])
    mixed = np.concatenate([ws[0, :2], ws[1, 2:4], ws[0, 4:]])
    want = generator.synthesize(np.stack([mixed, *ws]), generator.stored_noise())
    got = np.stack([figure.cells[5, 3], figure.cells[5, 0], figure.cells[0, 3]])
    # Programs of other batch sizes round differently: up to one level of 255.
    np.testing.assert_allclose(got.astype(int), want.astype(int), rtol=0, atol=1)


def test_mixing_all_styles_or_none(generator):
    seeds = dict(row_seeds=[0, 1, 2], col_seeds=[3, 4])
    for psi in (1.0, 0.5):
        both = style_mixing(generator, **seeds, copied_styles=range(6), truncation_psi=psi).cells
        np.testing.assert_array_equal(both[1:, 1:], np.stack([both[0, 1:]] * 3))
        none = style_mixing(generator, **seeds, copied_styles=(), truncation_psi=psi).cells
        np.testing.assert_array_equal(none[1:, 1:], np.stack([none[1:, 0]] * 2, axis=1))
        assert np.any(both[1, 1] != none[1, 1])
    labels = style_mixing(generator, **seeds, copied_styles=[0, 2]).row_labels
    assert labels[1:] == [f"seed {s}, styles 0,2" for s in range(3)]
    labels = style_mixing(generator, **seeds, boundaries=(1, 5)).row_labels
    assert labels[1:] == ["seed 0, coarse 0", "seed 1, middle 1-4", "seed 2, fine 5"]


def test_truncation(generator):
    figure = truncation(generator)
    assert figure.cells.shape == (2, 6, 16, 16, 3)
    assert figure.row_labels == ["seed 91", "seed 388"]
    assert figure.col_labels == [f"psi {psi}" for psi in ("1", "0.7", "0.5", "0", "-0.5", "-1")]
    # psi 1 is plain sampling (in a batch of the same size), psi 0 one image for all seeds.
    plain = generator.images([91, 388] * 6)[:2]
    np.testing.assert_array_equal(figure.cells[:, 0], plain)
    np.testing.assert_array_equal(figure.cells[0, 3], figure.cells[1, 3])
    for column in (0, 1, 2, 4, 5):
        assert np.any(figure.cells[0, column] != figure.cells[1, column])
    assert np.any(figure.cells[:, 0] != figure.cells[:, 5])


def test_noise(generator, monkeypatch):
    masks = []
    stored = generator.stored_noise
    monkeypatch.setattr(generator, "stored_noise", lambda kept: masks.append(kept) or stored(kept))
    figure = noise(generator)
    assert figure.cells.shape == (2, 4, 16, 16, 3)
    assert figure.row_labels == ["seed 1967", "seed 1555"]
    assert figure.col_labels == ["all noise", "no noise", "fine 4", "coarse 0-3"]
    monkeypatch.undo()
    seeds = [1967, 1555]
    np.testing.assert_array_equal(figure.cells[:, 0], generator.images(seeds))
    np.testing.assert_array_equal(figure.cells[:, 1], generator.images(seeds, noise_mode="none"))
    layers = generator.noise_layers()
    assert masks == [layers, [], layers[4:], layers[:4]]
    assert all(np.any(figure.cells[:, i] != figure.cells[:, i - 1]) for i in range(4))
    assert noise(generator, boundaries=(1, 2)).col_labels[2:] == ["fine 2-4", "coarse 0-1"]


def test_noise_of_large_images_with_crops(generator, monkeypatch):
    monkeypatch.setattr(figures, "_MIN_CROPPED_PX", 16)
    figure = noise(generator)
    assert figure.row_labels == ["seed 1967", "crop, x4", "seed 1555", "crop, x4"]
    # At 16 px the crop's corner (650, 180) of 1024 is (10, 3).
    images, crops = figure.cells[0::2], figure.cells[1::2]
    np.testing.assert_array_equal(crops[:, :, ::4, ::4], images[:, :, 3:7, 10:14])
    np.testing.assert_array_equal(crops[:, :, 3::4, 3::4], images[:, :, 3:7, 10:14])


def test_stddev(generator):
    figure = stddev(generator, num_noise=8)
    assert figure.cells.shape == (2, 3, 16, 16, 3)
    assert figure.col_labels == ["image", "4 noises, crop x2", "std of 8, x4"]
    samples = generator.images([1012] * 8, noise_mode="random", noise_seeds=range(8))
    image, crops, deviation = figure.cells[1]
    np.testing.assert_array_equal(image, samples[0])
    corners = crops[::2, ::2]  # the zoom of two undone: 2 x 2 crops of 4 px
    np.testing.assert_array_equal(corners[:4, 4:], samples[2, 3:7, 10:14])
    np.testing.assert_array_equal(corners[4:, :4], samples[3, 3:7, 10:14])
    np.testing.assert_array_equal(deviation, deviation_map(samples))
    assert deviation.max() > 0


def test_stddev_is_black_where_noise_changes_nothing(make_generator):
    _, still = make_generator(0.0)
    image, crops, deviation = stddev(still, seeds=[3], num_noise=5).cells[0]
    assert np.all(deviation == 0)
    np.testing.assert_array_equal(image, still.images([3] * 5, noise_mode="none")[0])
    np.testing.assert_array_equal(crops[:8, :8], crops[8:, 8:])


def test_deviation_map():
    images = np.zeros((2, 2, 3, 3), np.uint8)
    images[1, 0, 0] = 10  # grey 0 and 10: std 5, drawn at 20
    images[1, 0, 1] = 255  # std 127.5: white
    images[1, 1, 0, 0] = 30  # one colour of three: as grey 10
    images[1, 1, 1, 0] = 1  # std 1/6, drawn at 0.67, rounded
    images[:, 1, 2] = 200  # does not change: black
    want = np.array([[20, 255, 0], [20, 1, 0]], np.uint8)
    np.testing.assert_array_equal(deviation_map(images), np.repeat(want[..., None], 3, axis=-1))
    np.testing.assert_array_equal(deviation_map(images[..., :1])[0, 0], [20])
    opaque = np.concatenate([images, np.full_like(images[..., :1], 255)], axis=-1)
    np.testing.assert_array_equal(deviation_map(opaque)[0, 0], [20, 20, 20, 255])


def test_crop():
    y, x = np.mgrid[:1024, :1024]
    cut = crop(np.stack([y, x], axis=-1)[None])
    assert cut.shape == (1, 256, 256, 2)
    assert cut[0, 0, 0].tolist() == [180, 650] and cut[0, -1, -1].tolist() == [435, 905]
    for side in (4, 8, 512):
        assert crop(np.zeros((3, side, side, 1))).shape == (3, side // 4, side // 4, 1)


@pytest.mark.parametrize(("side", "zoom"), [(16, 8), (100, 2), (256, 1)])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_render_enlarges_until_labels_fit(rng, side, zoom, channels):
    cells = rng.integers(0, 256, (2, 3, side, side, channels), dtype=np.uint8)
    picture = render(Figure(cells, ["seed 1", "seed 2"], ["a", "b", "c"]))
    assert picture.dtype == np.uint8
    height, width = 2 * side * zoom, 3 * side * zoom
    assert picture.shape[0] > height and picture.shape[1] > width
    grid = picture[-height:, -width:][::zoom, ::zoom]
    np.testing.assert_array_equal(grid[side:, side : 2 * side], cells[1, 1])
    wide = render(Figure(cells, ["1", "2"], ["a", "b", "w" * 40]))
    assert wide.shape[1] > 3 * 40 * 8


@pytest.mark.parametrize(
    ("draw", "kwargs", "message"),
    [
        (style_mixing, dict(boundaries=(4, 2)), "boundaries=4,2: .* from 1 to 5"),
        (style_mixing, dict(boundaries=(2, 6)), "boundaries=2,6"),
        (style_mixing, dict(boundaries=(2,)), "boundaries=2:"),
        (style_mixing, dict(copied_styles=(0, 6)), "copied_styles=0,6: .* styles 0-5"),
        (style_mixing, dict(copied_styles=(0,), boundaries=(2, 4)), "not both"),
        (truncation, dict(class_idx=0), "class_idx=0"),
        (noise, dict(boundaries=(2, 5)), "begin at 5, but the noise layers are 0-4"),
        (stddev, dict(num_noise=4), "num_noise=4"),
    ],
)
def test_bad_options(generator, draw, kwargs, message):
    with pytest.raises(ValueError, match=message):
        draw(generator, **kwargs)


def test_networks_without_the_means(generator, make_generator, monkeypatch):
    _, without_noise = make_generator(None)
    for draw in (noise, stddev):
        with pytest.raises(ValueError, match=f"--figure={draw.__name__} needs noise.*use_noise"):
            draw(without_noise)
    assert truncation(without_noise).cells.shape == (2, 6, 16, 16, 3)
    monkeypatch.setattr(generator, "has_styles", False)
    for draw in (style_mixing, truncation):
        with pytest.raises(ValueError, match=f"--figure={draw.__name__} needs styles"):
            draw(generator)


def run_tool(*args):
    cache = jax.config.jax_compilation_cache_dir
    env = os.environ | {"JAX_COMPILATION_CACHE_DIR": cache, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "stylegan_jax.tools.figures", *args]
    return subprocess.run(command, env=env, capture_output=True, text=True)


def test_the_command_line(workdir, generator, tmp_path):
    out = tmp_path / "new" / "figure.png"
    checkpoint = [f"--checkpoint={workdir}", f"--out={out}"]
    done = run_tool(*checkpoint, "--figure=truncation", "--seeds=1-3", "--psis=1,-.5")
    assert done.returncode == 0, done.stderr
    assert "3 rows x 2 columns" in done.stdout
    with Image.open(out) as picture:
        got = np.asarray(picture)
    want = render(truncation(generator, seeds=[1, 2, 3], psis=[1, -0.5]))
    np.testing.assert_array_equal(got, want)
    out.unlink()
    refused = run_tool(*checkpoint, "--figure=truncation", "--num_noise=9")
    assert refused.returncode != 0 and "truncation has no option --num_noise" in refused.stderr
    assert not out.exists()


def test_numbers():
    assert parse_numbers("1,.5,-1e-1", "psis") == [1, 0.5, -0.1]
    with pytest.raises(ValueError, match="psis='1,x': give numbers"):
        parse_numbers("1,x", "psis")
