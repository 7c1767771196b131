import re

import numpy as np
import pytest

from stylegan_jax.convert import stylegan2
from stylegan_jax.convert.checkpoint import read_networks
from stylegan_jax.convert.readers.records import CheckpointFileError
from stylegan_jax.convert.readers.trees import FlatNetwork
from stylegan_jax.convert.stylegan2_tf import discriminator_to_torch, generator_to_torch
from tests.convert.official import CHECKPOINTS, read_case

TF_LEAVES = {"affine.weight": "mod_weight", "affine.bias": "mod_bias"}


def as_tensorflow(arrays: dict[str, np.ndarray], *, is_generator: bool) -> dict[str, np.ndarray]:
    """The variables of TensorFlow that a network of the PyTorch version was made of."""
    return {
        _name(name, is_generator): _value(name, value, is_generator)
        for name, value in arrays.items()
        if not name.endswith("resample_filter")
    }


def _name(name: str, is_generator: bool) -> str:
    scope = "G_mapping/" if is_generator else ""
    if name == "mapping.w_avg":
        return "dlatent_avg"
    if match := re.fullmatch(r"mapping\.(embed|fc(\d+))\.(\w+)", name):
        dense = "Dense" if is_generator else "Mapping"
        return f"{scope}{'LabelEmbed' if match[2] is None else dense + match[2]}/{match[3]}"
    scope = "G_synthesis/" if is_generator else ""
    match = re.fullmatch(r"(?:synthesis\.)?b(\d+)\.(?:(\w+)\.)?(.+)", name)
    res, layer, leaf = int(match[1]), match[2], match[3]
    if leaf == "const":
        return f"{scope}4x4/Const/const"
    log2 = res.bit_length() - 1
    if leaf == "noise_const":
        return f"{scope}noise{2 * log2 - (5 if layer == 'conv0' else 4) + (res == 4) * 0}"
    if layer in ("fc", "out"):
        return {"fc": "4x4/Dense0", "out": "Output"}[layer] + f"/{leaf}"
    ours = {
        "conv0": "Conv0_up" if is_generator else "Conv0",
        "conv1": "Conv1" if is_generator else "Conv1_down",
        "conv": "Conv",
        "torgb": "ToRGB",
        "fromrgb": "FromRGB",
        "skip": "Skip",
    }[layer]
    ours = "Conv" if is_generator and res == 4 and layer == "conv1" else ours
    return f"{scope}{res}x{res}/{ours}/{TF_LEAVES.get(leaf, leaf)}"


def _value(name: str, value: np.ndarray, is_generator: bool) -> np.ndarray:
    if name.endswith(".const"):
        return value[None]
    if name.endswith("noise_const"):
        return value[None, None]
    if name.endswith("affine.bias"):
        return value - 1
    if value.ndim == 4:
        value = value.transpose(2, 3, 1, 0)
        is_up = is_generator and name.endswith(("conv0.weight", "skip.weight"))
        return value[::-1, ::-1] if is_up else value
    return value.T


@pytest.mark.parametrize("net", ["G", "G_ema", "D"])
def test_the_converted_tensors_of_the_original(net):
    """Each equals what the original's own converter made of the same file."""
    network = read_networks(CHECKPOINTS / "tf_stylegan2_r32.pkl")[net]
    to_torch = discriminator_to_torch if net == "D" else generator_to_torch
    got = to_torch(network).arrays
    with np.load(CHECKPOINTS / "tf_stylegan2_r32.npz") as data:
        prefix = f"converted/{net}."
        want = {
            name.removeprefix(prefix): data[name]
            for name in data.files
            if name.startswith(prefix) and not name.endswith("resample_filter")
        }
    assert got.keys() == want.keys()
    for name, array in got.items():
        np.testing.assert_array_equal(array, want[name], err_msg=name)


@pytest.mark.parametrize(
    "name", ["G_orig_r16_c5", "G_resnet_r32_c3", "D_orig_r16_c4_cmap10", "D_skip_r32_c3"]
)
def test_every_architecture_with_labels(name):
    arrays, official, _ = read_case(f"sg2_{name}")
    is_generator = name.startswith("G")
    variables = as_tensorflow(arrays, is_generator=is_generator)
    given = {"fmap_base": 256, "fmap_max": official["channel_max"], "mapping_lrmul": 0.5}
    to_torch = generator_to_torch if is_generator else discriminator_to_torch
    network = to_torch(FlatNetwork("", variables, given))
    names = {n for n in arrays if not n.endswith("resample_filter")}
    assert network.arrays.keys() == names
    for n in names:
        np.testing.assert_allclose(network.arrays[n], arrays[n], rtol=1e-6, atol=1e-6)
    load = stylegan2.load_generator if is_generator else stylegan2.load_discriminator
    kwargs = load(network).kwargs
    assert kwargs["c_dim"] == official["c_dim"] and kwargs["channel_base"] == 512
    assert kwargs["architecture"] == official["architecture"]
    # A mapping without layers has no learning rate.
    assert kwargs["mapping_lr_multiplier"] == 0.5


def test_colours_by_level_of_detail():
    """Configs B to D, which grow, name colours by how often the image was halved."""
    arrays, _, _ = read_case("sg2_G_skip_r16")
    variables = {
        re.sub(r"(\d+)x\1/ToRGB", lambda m: f"ToRGB_lod{4 - int(m[1]).bit_length() + 1}", n): v
        for n, v in as_tensorflow(arrays, is_generator=True).items()
    }
    network = generator_to_torch(FlatNetwork("", variables, {"resample_kernel": None}))
    kwargs = stylegan2.load_generator(network).kwargs
    assert kwargs["architecture"] == "progressive" and kwargs["resample_filter"] == (1, 1)
    assert "synthesis.b4.torgb.affine.weight" in network.arrays


def test_defaults_of_the_original():
    arrays, _, _ = read_case("sg2_D_skip_r32_c3")
    network = discriminator_to_torch(FlatNetwork("", as_tensorflow(arrays, is_generator=False)))
    kwargs = stylegan2.load_discriminator(network).kwargs
    assert kwargs["mbstd_group_size"] == 4 and kwargs["mapping_lr_multiplier"] == 0.1


def test_labels_before_ada():
    weight = np.zeros((3, 8), np.float32)
    with pytest.raises(CheckpointFileError, match="latent and label together"):
        generator_to_torch(FlatNetwork("", {"G_mapping/LabelConcat/weight": weight}))
    with pytest.raises(CheckpointFileError, match="picks one of several scores"):
        discriminator_to_torch(FlatNetwork("", {"Output/weight": weight.T}))
