"""Figures with known answers: what each cell must equal."""

import numpy as np
import pytest

from stylegan_jax.tools.figures import stylegan
from stylegan_jax.tools.figures.picture import deviation_map
from stylegan_jax.tools.figures.stylegan import noise, stddev, style_mixing, truncation


def test_style_mixing(generator):
    figure = style_mixing(generator)
    assert figure.cells.shape == (7, 6, 16, 16, 3)
    assert figure.col_labels == ["destination"] + [f"seed {s}" for s in (639, 701, 687, 615, 2268)]
    assert figure.row_labels[0] == "source" and figure.row_labels[-1] == "seed 845, fine 4-5"
    assert np.all(figure.cells[0, 0] == 255)
    # Row 5 is the second of the middle ones, column 3 the seed 687; a batch of the same size.
    ws = generator.styles([1614, 687])
    mixed = np.concatenate([ws[0, :2], ws[1, 2:4], ws[0, 4:]])
    want = generator.synthesis(np.stack([mixed, *ws]), generator.stored_noise())
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


def test_truncation(generator, monkeypatch):
    mapped = []
    run = generator._map
    monkeypatch.setattr(generator, "_map", lambda *args: mapped.append(len(args[1])) or run(*args))
    figure = truncation(generator)
    assert sum(mapped) == len(figure.row_labels)  # once for all psis
    assert figure.cells.shape == (2, 6, 16, 16, 3)
    assert figure.row_labels == ["seed 91", "seed 388"]
    assert figure.col_labels == [f"psi {psi}" for psi in ("1", "0.7", "0.5", "0", "-0.5", "-1")]
    # psi 1 is plain sampling (in a batch of the same size), psi 0 one image for all seeds.
    plain = generator.sample([91, 388] * 6)[:2]
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
    np.testing.assert_array_equal(figure.cells[:, 0], generator.sample(seeds))
    np.testing.assert_array_equal(figure.cells[:, 1], generator.sample(seeds, noise_mode="none"))
    layers = generator.noise_layers()
    assert masks == [layers, [], layers[4:], layers[:4]]
    assert all(np.any(figure.cells[:, i] != figure.cells[:, i - 1]) for i in range(4))
    assert noise(generator, boundaries=(1, 2)).col_labels[2:] == ["fine 2-4", "coarse 0-1"]


def test_noise_of_large_images_with_crops(generator, monkeypatch):
    monkeypatch.setattr(stylegan, "_MIN_CROPPED_PX", 16)
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
    samples = generator.sample([1012] * 8, noise_mode="random", noise_seeds=range(8))
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
    np.testing.assert_array_equal(image, still.sample([3] * 5, noise_mode="none")[0])
    np.testing.assert_array_equal(crops[:8, :8], crops[8:, 8:])


@pytest.mark.parametrize(
    ("draw", "kwargs", "message"),
    [
        (style_mixing, dict(boundaries=(4, 2)), "boundaries=4,2: .* from 1 to 5"),
        (style_mixing, dict(boundaries=(2, 6)), "boundaries=2,6"),
        (style_mixing, dict(boundaries=(2,)), "boundaries=2:"),
        (style_mixing, dict(copied_styles=(0, 6)), "copied_styles=0,6: .* styles 0-5"),
        (style_mixing, dict(copied_styles=(0,), boundaries=(2, 4)), "not both"),
        (truncation, dict(class_idx=0), "class=0"),
        (noise, dict(boundaries=(2, 5)), "begin at 5, but the noise layers are 0-4"),
        (stddev, dict(num_noise=4), "num_noise=4"),
        (stddev, dict(num_noise=16385), "num_noise=16385: .* at most 16384 of 16 px"),
        # Images are enlarged to 128 px: 8192 of them in a picture.
        (stddev, dict(seeds=range(2731)), "2731 rows x 3 columns, .* holds 8192 images of 128 px"),
        (noise, dict(seeds=range(1025)), "2050 rows x 4 columns"),
        (truncation, dict(seeds=range(100), psis=[1] * 100), "100 rows x 100 columns"),
        (style_mixing, dict(row_seeds=range(100), col_seeds=range(99)), "101 rows x 100 columns"),
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
