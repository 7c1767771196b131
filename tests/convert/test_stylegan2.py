import dataclasses

import jax
import numpy as np
import pytest

from stylegan_jax.convert.networks import LoadedNetwork, make_loaded
from stylegan_jax.convert.readers.records import CheckpointFileError
from stylegan_jax.convert.readers.trees import FlatNetwork
from stylegan_jax.convert.stylegan2 import (
    foreign_notes,
    from_official,
    load_discriminator,
    load_generator,
    params_from_official,
    to_official,
)
from stylegan_jax.models import DISCRIMINATORS as KINDS
from stylegan_jax.models import make_model
from tests.convert.official import assert_trees_equal, full_kwargs, read_case
from tests.parity.run_stylegan2 import model_kwargs

GENERATORS = ("orig_r16_c5", "resnet_r32_c3", "skip_r64_clamp", "skip_r32_k121")
DISCRIMINATORS = (
    "orig_r16_c4_cmap10",
    "skip_r32_c3",
    "resnet_r64_clamp",
    "resnet_r16_nombstd",
)


def _check_kwargs(network, official, *, is_generator):
    """What the original states is what ours is made with; None stands for the usual width."""
    got = full_kwargs(network, is_generator)
    for name, value in model_kwargs(official).items():
        assert got[name] == value, name


@pytest.mark.parametrize("name", GENERATORS)
@pytest.mark.parametrize("is_nested", [False, True])
def test_generators_are_inferred(name, is_nested):
    arrays, official, _ = read_case(f"sg2_G_{name}")
    kwargs = dict(official)
    if is_nested:
        # StyleGAN2-ADA keeps the arguments of the synthesis network in a dict of their own.
        inner = ("channel_base", "channel_max", "conv_clamp", "architecture", "resample_filter")
        kwargs["synthesis_kwargs"] = {k: kwargs.pop(k) for k in inner if k in kwargs}
    network = load_generator(FlatNetwork("Generator", arrays, kwargs))
    _check_kwargs(network, official, is_generator=True)
    params, buffers = params_from_official(arrays)
    assert_trees_equal(network.params, params)
    assert_trees_equal(network.buffers["w_avg"], buffers["mapping"]["w_avg"])
    noise = network.buffers["noise_const"]["b8"]["conv0"]
    np.testing.assert_array_equal(noise, buffers["synthesis"]["b8"]["conv0"]["noise_const"])


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_discriminators_are_inferred(name):
    arrays, official, _ = read_case(f"sg2_D_{name}")
    network = load_discriminator(FlatNetwork("Discriminator", arrays, official))
    _check_kwargs(network, official, is_generator=False)
    assert network.kwargs["mbstd_grouping"] == "strided"
    assert_trees_equal(network.params, params_from_official(arrays)[0])


def test_tensors_alone_tell_all_sizes():
    arrays, official, _ = read_case("sg2_G_skip_r64_clamp")
    network = load_generator(FlatNetwork("", arrays))
    # Of all bases that give the same widths, one; a clamp leaves no trace.
    _check_kwargs(network, official | {"conv_clamp": None}, is_generator=True)


def test_filters_are_those_of_the_tensors():
    arrays, _, _ = read_case("sg2_G_skip_r32_k121")
    network = load_generator(FlatNetwork("", arrays, {"resample_filter": [1, 3, 3, 1]}))
    assert network.kwargs["resample_filter"] == (0.25, 0.5, 0.25)
    arrays["synthesis.b32.resample_filter"] = np.ones((1, 2, 3), np.float32)
    with pytest.raises(CheckpointFileError, match="tap is"):
        load_generator(FlatNetwork("", arrays))


def test_layers_say_what_they_do():
    arrays, official, _ = read_case("sg2_D_skip_r32_c3")
    facts = {"b4.mbstd.group_size": None, "b4.conv.conv_clamp": 256, "mapping.fc0.bias_gain": 0.5}
    kwargs = load_discriminator(FlatNetwork("", arrays, official, facts)).kwargs
    assert kwargs["mbstd_group_size"] is None and kwargs["conv_clamp"] == 256
    assert kwargs["mapping_lr_multiplier"] == 0.5


@pytest.mark.parametrize(
    ("kwargs", "facts", "message"),
    [
        ({"conv_clamp": "x"}, {}, "conv_clamp is 'x'"),
        ({"conv_clamp": float("nan")}, {}, "conv_clamp is 'nan'"),
        ({"mapping_kwargs": {"lr_multiplier": None}}, {}, "learning rate is 'None'"),
        ({"mapping_kwargs": {"activation": ["a"]}}, {}, "Activation"),
        ({}, {"synthesis.b4.conv1.activation": "gelu2"}, "Activation 'gelu2' is not known"),
        ({"resample_filter": ["a"]}, {}, "tap is 'a'"),
        ({"resample_filter": [1, -1]}, {}, "whose sum is 0"),
        ({"resample_filter": [1] * 65}, {}, "no list of taps"),
    ],
)
def test_settings_that_cannot_be(kwargs, facts, message):
    arrays, _, _ = read_case("sg2_G_orig_r16_c5")
    with pytest.raises(CheckpointFileError, match=message):
        load_generator(FlatNetwork("", arrays, kwargs, facts))


def test_the_end_of_other_sizes():
    arrays, _, _ = read_case("sg2_D_resnet_r16_nombstd")
    arrays["b4.fc.weight"] = arrays["b4.fc.weight"][:, :-16]
    with pytest.raises(CheckpointFileError, match="4x4 feature maps"):
        load_discriminator(FlatNetwork("", arrays))


@pytest.mark.parametrize(
    "name", [f"G_{n}" for n in GENERATORS] + [f"D_{n}" for n in DISCRIMINATORS]
)
def test_official_tensors_come_back(name):
    """Names, shapes and bits, filters included: what `load_state_dict(strict=True)` wants."""
    arrays, official, _ = read_case(f"sg2_{name}")
    load = load_generator if name.startswith("G") else load_discriminator
    network = load(FlatNetwork("", arrays, official))
    assert_trees_equal(to_official(network), arrays)
    again = from_official(arrays, network.kwargs, is_generator=name.startswith("G"))
    assert_trees_equal(again.params, network.params)
    assert foreign_notes(network) == []


def test_networks_that_are_not_square_come_back():
    """The original has none, but the table of names has."""
    kwargs = dict(img_resolution=8, img_channels=3, channel_base=64, channel_max=8)
    kwargs |= dict(base_grid=(6, 4), c_dim=0)
    _, init = make_model(KINDS["stylegan2"], **kwargs)
    network = make_loaded("stylegan2", kwargs, init(jax.random.key(0)), {}, is_generator=False)
    arrays = to_official(network)
    again = from_official(arrays, kwargs, is_generator=False)
    assert_trees_equal(again.params, network.params)
    # [h, w, c] of the last maps are [c, h, w] there.
    ours = network.params["b4"]["fc"]["weight"].reshape(6, 4, 8, 8)
    theirs = arrays["b4.fc.weight"].reshape(8, 8, 6, 4)
    np.testing.assert_array_equal(theirs[5, 2, 3, 1], ours[3, 1, 2, 5])
    notes = foreign_notes(network)
    assert "12x8 px: the original makes squares" in notes[0]


def test_long_filters_are_kept_along_one_axis():
    arrays, official, _ = read_case("sg2_D_skip_r32_c3")
    taps = (1, 2, 3, 4, 4, 3, 2, 1)
    network = load_discriminator(FlatNetwork("", arrays, official))
    longer = dataclasses.replace(network, kwargs=network.kwargs | {"resample_filter": taps})
    got = to_official(longer)
    np.testing.assert_allclose(got["b8.resample_filter"], np.divide(taps, 20), rtol=1e-7)
    assert got["b8.conv0.resample_filter"].shape == (4, 4)


def test_fourier_features_have_no_names_there():
    network = LoadedNetwork("stylegan2", {"input": "fourier"}, {}, {})
    with pytest.raises(ValueError, match="begins with a learned constant.*write an export"):
        to_official(network)
