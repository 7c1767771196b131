"""Seeds, styles and noise against the network called by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from ml_collections import ConfigDict

from stylegan_jax.inference import Generator
from stylegan_jax.run.images import to_uint8
from stylegan_jax.run.restore import restore_subtree
from stylegan_jax.training.build import make_generator as make_structure

LAYERS = [("b4", "conv1"), ("b8", "conv0"), ("b8", "conv1"), ("b16", "conv0"), ("b16", "conv1")]


def assert_same_levels(got, want):
    """Programs of other batch sizes round differently: up to one level of 255."""
    assert got.dtype == want.dtype == np.uint8
    np.testing.assert_allclose(got.astype(int), want.astype(int), rtol=0, atol=1)


def test_images_are_those_of_the_network(workdir, generator):
    trees, meta = restore_subtree(str(workdir), ["G_ema", "stats"])
    structure, _ = make_structure(ConfigDict(meta["config"]), generator.shape)
    G = nnx.merge(structure, trees["G_ema"])
    z = jnp.float32([np.random.RandomState(seed).randn(16) for seed in (3, 8)])
    psi, w_avg = jnp.float32([0.7, -1]), trees["stats"]["w_avg"]
    for noise_mode, noise in (("const", trees["stats"]["noise_const"]), ("none", None)):
        truncation = dict(w_avg=w_avg, truncation_psi=psi, truncation_cutoff=3)
        want = G(z, jnp.zeros((2, 0)), noise, {}, **truncation)
        got = generator.sample(
            [3, 8], truncation_psi=[0.7, -1], truncation_cutoff=3, noise_mode=noise_mode
        )
        assert got.shape == (2, 16, 16, 3)
        assert_same_levels(got, to_uint8(want))


def test_styles(generator):
    assert (generator.num_ws, generator.w_dim, generator.has_styles) == (6, 16, True)
    ws = generator.styles([0, 1, 2])
    assert ws.shape == (3, 6, 16) and ws.dtype == np.float32
    np.testing.assert_array_equal(ws, np.broadcast_to(ws[:, :1], ws.shape))
    np.testing.assert_array_equal(generator.truncate(ws, 1.0), ws)
    w_avg = generator.styles([0], truncation_psi=0.0)[0, 0]
    assert np.any(w_avg != 0)
    # A cutoff leaves the later layers; one psi per seed.
    cut = generator.styles([0, 1, 2], truncation_psi=[0.5, 0.0, -1.0], truncation_cutoff=2)
    np.testing.assert_allclose(cut[:, 2:], ws[:, 2:], rtol=0, atol=1e-6)
    for got, w, psi in zip(cut[:, 0], ws[:, 0], (0.5, 0.0, -1.0)):
        np.testing.assert_allclose(got, w_avg + psi * (w - w_avg), rtol=0, atol=1e-6)


def test_noise_layers_from_low_resolution_to_high(generator, make_generator):
    assert generator.noise_layers() == LAYERS
    _, without = make_generator(None)
    assert without.noise_layers() == [] and without.stored_noise() == {}
    np.testing.assert_array_equal(
        without.sample([0], noise_mode="const"), without.sample([0], noise_mode="none")
    )


def test_stored_noise_is_zero_in_other_layers(workdir, generator):
    stored = restore_subtree(str(workdir), ["stats/noise_const"])[0]["stats/noise_const"]
    masked = generator.stored_noise(LAYERS[1:4])
    for index, (block, layer) in enumerate(LAYERS):
        side = int(block[1:])
        assert masked[block][layer].shape == (1, side, side, 1)
        want = stored[block][layer] if 1 <= index < 4 else np.zeros((1, side, side, 1))
        np.testing.assert_array_equal(masked[block][layer], want)


def test_random_noise_belongs_to_its_seed(generator):
    many = generator.random_noise(range(50))
    alone = generator.random_noise([7])
    for block, layer in LAYERS:
        side = int(block[1:])
        assert many[block][layer].shape == (50, side, side, 1)
        np.testing.assert_array_equal(many[block][layer][7], alone[block][layer][0])
    values = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(many)])
    assert len(np.unique(values)) > 0.99 * len(values), "no two inputs share their noise"
    # 34,400 unit normals: five standard errors.
    assert abs(values.mean()) < 0.027 and abs(values.std() - 1) < 0.019


def test_random_images_in_company_and_alone(generator):
    together = generator.sample([4, 4, 9], noise_mode="random", noise_seeds=[0, 1, 0])
    assert np.any(together[0] != together[1])
    alone = generator.sample([4], noise_mode="random", noise_seeds=[1])
    assert_same_levels(alone, together[1:2])
    ws = generator.styles([4, 4, 9])
    want = generator.synthesis(ws, generator.random_noise([0, 1, 0]))
    np.testing.assert_array_equal(together, want)
    own = generator.sample([4, 9], noise_mode="random")
    assert_same_levels(own, generator.sample([4, 9], noise_mode="random", noise_seeds=[4, 9]))


@pytest.mark.parametrize("noise_mode", ["const", "random"])
def test_an_image_has_the_same_bits_in_any_company(generator, noise_mode):
    kwargs = dict(noise_mode=noise_mode, dtype="float32")
    whole = generator.sample(range(5), **kwargs)
    np.testing.assert_array_equal(generator.sample([3], **kwargs)[0], whole[3])
    np.testing.assert_array_equal(generator.sample([4, 3, 3], **kwargs), whole[[4, 3, 3]])
    # Noise of its own for each image is cut along.
    if noise_mode == "random":
        ws, noise = generator.styles(range(5)), generator.random_noise(range(5))
        np.testing.assert_array_equal(generator.synthesis(ws, noise, dtype="float32"), whole)


def test_batches_of_accelerators(generator, monkeypatch):
    """Powers of two; what fills a part up does not show."""
    whole = generator.sample(range(7), noise_mode="random")
    monkeypatch.setattr(generator, "_batch_sizes", (4, 2, 1))
    sizes = []
    run = generator._draw_pixels
    monkeypatch.setattr(
        generator, "_draw_pixels", lambda *args: sizes.append(len(args[2])) or run(*args)
    )
    assert_same_levels(generator.sample(range(7), noise_mode="random"), whole)
    assert_same_levels(generator.sample(range(5), noise_mode="random"), whole[:5])
    assert sizes == [4, 4, 4, 1]


def test_errors_say_what_to_do(workdir, generator, tmp_path):
    for kwargs, message in (
        (dict(seeds=[]), "No seeds"),
        (dict(seeds=[0], noise_mode="white"), "noise_mode='white': choose const"),
        (dict(seeds=[0], class_idx=0), "class=0: this network knows none"),
        (dict(seeds=[-1]), "seeds: -1 is no seed"),
        (dict(seeds=[2**32]), "seeds: 4294967296 is no seed"),
        (dict(seeds=[0], noise_mode="random", noise_seeds=[-1]), "noise_seeds: -1 is no seed"),
        (dict(seeds=[0], truncation_psi=float("nan")), "truncation_psi=nan: give a finite"),
        (dict(seeds=[0, 1], truncation_psi=[1, float("inf")]), "give a finite"),
        (
            dict(seeds=[0], truncation_psi=1e39),
            "psi=1e.39: give a finite",
        ),
        (dict(seeds=[0], truncation_cutoff=-1), "truncation_cutoff=-1: this network has 6 layers"),
        (dict(seeds=[0], truncation_cutoff=7), "truncation_cutoff=7: .* give 0 to 6"),
    ):
        with pytest.raises(ValueError, match=message):
            generator.sample(**kwargs)
    with pytest.raises(FileNotFoundError, match="there are"):
        Generator(str(workdir), step="17")
    with pytest.raises(FileNotFoundError):
        Generator(str(tmp_path / "nothing"))
    np.testing.assert_array_equal(
        Generator(str(workdir), step="16").sample([5]), generator.sample([5])
    )


@pytest.fixture(scope="module")
def labelled(make_generator):
    """A network of four classes, of which two are alike but for capitals."""
    return make_generator(0.5, class_names=["Artist", "firefighter", "pilot", "artist"])[1]


def test_classes_are_drawn_or_given(labelled):
    assert labelled.c_dim == 4 and labelled.find_class("pilot") == 2
    assert labelled.labels([0, 1], "artist").tolist() == [3, 3]
    # Drawn behind the latent of each seed.
    draws = [np.random.RandomState(seed) for seed in range(8)]
    want = [[draw.randn(16), draw.randint(4)] for draw in draws]
    assert labelled.labels(range(8)).tolist() == [c for _, c in want]
    z, c = labelled.latents(range(8))
    np.testing.assert_array_equal(z, np.float32([z for z, _ in want]))
    np.testing.assert_array_equal(c.argmax(axis=1), [c for _, c in want])
    given = labelled.sample([5], class_idx="pilot")
    np.testing.assert_array_equal(labelled(z[5:6], np.eye(4)[2]), given)
    assert np.any(labelled.sample([5], class_idx=3) != given)


def test_labels_that_are_missing(labelled, generator):
    z, c = labelled.latents([0, 1, 2])
    with pytest.raises(ValueError, match=r"trained with labels: give c, vectors \[3, 4\]"):
        labelled.mapping(z)
    with pytest.raises(ValueError, match=r"c has the shape \[3, 3\]: wanted .* \[3, 4\]"):
        labelled.mapping(z, c[:, :3])
    with pytest.raises(ValueError, match="c has the shape"):
        generator.mapping(z, c)


def test_wrong_shapes(generator):
    ws = generator.styles([0, 1])
    for call, message in (
        (lambda: generator.mapping(np.zeros((2, 15))), r"z has the shape \[2, 15\]: .* \[n, 16\]"),
        (lambda: generator(np.zeros(16)), "z has the shape"),
        (lambda: generator.synthesis(ws[0]), r"ws has the shape \[6, 16\]: .* \[n, 6, 16\]"),
        (lambda: generator.synthesis(ws[:, :5]), "ws has the shape"),
        (lambda: generator.synthesis(ws, "white"), "noise='white': choose const"),
        (lambda: generator.synthesis(ws, dtype="int8"), "dtype='int8': give uint8 or float32"),
        (lambda: generator.synthesis(ws, "random", noise_seeds=[1]), "1 noise_seeds for 2 images"),
        (lambda: generator.truncate(ws, [0.5, 0.7, 1]), "3 values of truncation_psi for 2 images"),
        (lambda: generator.mix(ws, ws, [6]), r"layers=\[6\]: this network has 0 to 5"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_the_ways_to_draw_agree(generator):
    z, _ = generator.latents([3, 8])
    want = generator.sample([3, 8], truncation_psi=0.7)
    np.testing.assert_array_equal(generator(z, truncation_psi=0.7), want)
    ws = generator.mapping(z)
    np.testing.assert_array_equal(generator.synthesis(generator.truncate(ws, 0.7)), want)
    floats = generator.synthesis(generator.truncate(ws, 0.7), dtype="float32")
    assert floats.dtype == np.float32
    np.testing.assert_array_equal(to_uint8(floats), want)
    pictures = generator.pil([3, 8], truncation_psi=0.7)
    np.testing.assert_array_equal(np.stack([np.asarray(p) for p in pictures]), want)
    assert repr(generator).startswith("Generator(stylegan2, 16x16x3, ")


def test_mixing_takes_layers_of_others(generator):
    ws = generator.styles([0, 1])
    mixed = generator.mix(ws, generator.styles([7]), range(2))
    np.testing.assert_array_equal(mixed[:, 2:], ws[:, 2:])
    np.testing.assert_array_equal(mixed[:, :2], np.repeat(generator.styles([7])[:, :2], 2, axis=0))


def test_truncation_needs_styles(generator, monkeypatch):
    monkeypatch.setattr(generator, "has_styles", False)
    with pytest.raises(ValueError, match="truncation_psi=0.7: .* read no styles"):
        generator.sample([0, 1], truncation_psi=0.7)
    with pytest.raises(ValueError, match="mixing: .* read no styles; give a StyleGAN's"):
        generator.mix(generator.styles([0]), generator.styles([1]), [0])
    assert generator.sample([0, 1]).shape == (2, 16, 16, 3)
