import numpy as np
import pytest

from stylegan_jax.convert.readers.records import CheckpointFileError
from stylegan_jax.convert.readers.trees import FlatNetwork
from stylegan_jax.convert.stylegan1 import (
    load_discriminator,
    load_generator,
    load_progan_generator,
)
from tests.convert.official import assert_trees_equal, full_kwargs, read_case
from tests.parity.run_progressive import make_network

CASES = {
    "sg1_G_r16_auto": "stylegan1_G",
    "sg1_G_r32_fused_c3": "stylegan1_G",
    "sg1_G_r16_unfused_fixed": "stylegan1_G",
    "sg1_G_r16_variants": "stylegan1_G",
    "sg1_D_r16": "stylegan1_D",
    "sg1_D_r32_fused_c3": "stylegan1_D",
    "sg1_D_r16_unfused_fixed": "stylegan1_D",
    "pggan_G_r16": "progan_G",
    "pggan_G_r16_unfused_c2": "progan_G",
    "pggan_D_r16": "progan_D",
    "pggan_D_r16_unfused": "progan_D",
}


def _load(kind: str, network: FlatNetwork):
    if kind.endswith("_D"):
        return load_discriminator(network, is_progan=kind == "progan_D")
    return load_generator(network) if kind == "stylegan1_G" else load_progan_generator(network)


@pytest.mark.parametrize(("name", "kind"), CASES.items())
def test_networks_are_inferred(name, kind):
    arrays, official, function = read_case(name)
    network = _load(kind, FlatNetwork(function, arrays, official))
    # The parity of these networks with the original is tested with the same conversion.
    graphdef, _, convert = make_network(kind, official)
    params, buffers = convert(arrays)
    assert_trees_equal(network.params, params)
    assert_trees_equal(network.buffers, buffers)

    got = full_kwargs(network, kind.endswith("_G"))
    assert got["img_resolution"] == official["resolution"]
    assert got["channel_base"] == 2 * official["fmap_base"]
    assert got["channel_max"] == official["fmap_max"]
    assert got["c_dim"] == (0 if kind == "progan_D" else official.get("label_size", 0))
    assert got["grows"] == (official.get("structure") != "fixed")
    for theirs, ours in {
        "nonlinearity": "act",
        "const_input_layer": "const_input",
        "use_pixel_norm": "use_pixel_norm",
        "use_instance_norm": "use_instance_norm",
        "blur_filter": "blur_filter",
        "mbstd_group_size": "mbstd_group_size",
        "mbstd_num_features": "mbstd_num_channels",
        "mapping_fmaps": "layer_features",
        "latent_size": "z_dim",
        "dlatent_size": "w_dim",
    }.items():
        if theirs in official:
            assert got[ours] == official[theirs], ours


def test_groups_of_one_are_none():
    arrays, official, _ = read_case("sg1_D_r16")
    arrays["4x4/Conv/weight"] = arrays["4x4/Conv/weight"][:, :, :-1]
    network = FlatNetwork("D_basic", arrays, official | {"mbstd_group_size": 1})
    assert load_discriminator(network, is_progan=False).kwargs["mbstd_num_channels"] == 0


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("sg1_G_r16_auto", {"fused_scale": "some"}, "fused_scale"),
        ("sg1_G_r16_auto", {"blur_filter": "x"}, "no list of taps"),
        ("sg1_G_r16_auto", {"blur_filter": [None]}, "filter's tap"),
        ("sg1_G_r16_auto", {"nonlinearity": []}, "Activation"),
        ("sg1_G_r16_auto", {"mapping_lrmul": "x"}, "mapping_lrmul"),
        ("sg1_D_r16", {"mbstd_group_size": -1}, "no count"),
        ("pggan_G_r16", {"label_size": 99}, "without a latent"),
    ],
)
def test_settings_that_cannot_be(name, changes, message):
    arrays, official, function = read_case(name)
    with pytest.raises(CheckpointFileError, match=message):
        _load(CASES[name], FlatNetwork(function, arrays, official | changes))


@pytest.mark.parametrize(
    ("name", "tensor", "shape"),
    [("sg1_D_r16", "4x4/Dense0/weight", (7, 12)), ("pggan_G_r16", "4x4/Dense/weight", (20, 7))],
)
def test_dense_layers_of_other_sizes(name, tensor, shape):
    arrays, official, function = read_case(name)
    arrays[tensor] = np.zeros(shape, np.float32)
    with pytest.raises(CheckpointFileError, match="4x4 feature maps"):
        _load(CASES[name], FlatNetwork(function, arrays, official))
