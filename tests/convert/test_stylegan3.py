"""Official StyleGAN3 generators: read from names and filters, written back bit for bit."""

import functools

import jax
import numpy as np
import pytest
from flax import nnx

from stylegan_jax.convert.checkpoint import load_checkpoint, read_networks
from stylegan_jax.convert.networks import LoadedNetwork
from stylegan_jax.convert.official import foreign_notes
from stylegan_jax.convert.readers.records import CheckpointFileError
from stylegan_jax.convert.readers.trees import FlatNetwork
from stylegan_jax.convert.safetensors import write_safetensors
from stylegan_jax.convert.stylegan3 import from_official, is_generator, load_generator, to_official
from stylegan_jax.models.stylegan3 import Generator
from tests.convert.official import CHECKPOINTS, assert_trees_equal, full_kwargs, read_case

PICKLE = CHECKPOINTS / "sg3T_r32.pkl"
SMALL = dict(z_dim=4, c_dim=0, w_dim=4, img_resolution=64, img_channels=3, channel_max=6)
SMALL |= dict(channel_base=128, num_layers=7)


def make_network(**options) -> LoadedNetwork:
    """A network of ours with numbers for weights."""
    kwargs = SMALL | options
    network = nnx.eval_shape(lambda: Generator(**kwargs, rngs=nnx.Rngs(0)))
    draw = np.random.RandomState(0).standard_normal
    shapes = nnx.to_pure_dict(nnx.state(network, nnx.Param))
    params = jax.tree.map(lambda x: np.float32(draw(x.shape)), shapes)
    moving = jax.tree.map(lambda x: np.float32(draw()) ** 2, jax.eval_shape(network.init_moving))
    buffers = {"w_avg": np.float32(draw(4)), "moving": moving}
    return LoadedNetwork("stylegan3", kwargs, params, buffers)


def assert_same(got: LoadedNetwork, want: LoadedNetwork, unknown: tuple[str, ...] = ()) -> None:
    """The same network, whether it states its defaults or not, but for what none can know."""
    kwargs = [full_kwargs(network, True) for network in (got, want)]
    assert len({str({n: v for n, v in k.items() if n not in unknown}) for k in kwargs}) == 1
    assert_trees_equal((got.params, got.buffers), (want.params, want.buffers))


@pytest.mark.parametrize("net", ["G", "G_ema"])
def test_a_pickle_comes_back_bit_for_bit(net):
    arrays = read_networks(PICKLE)[net].arrays
    loaded = load_checkpoint(PICKLE, networks=[net]).networks[net]
    assert is_generator(arrays) and foreign_notes(loaded) == []
    back = to_official(loaded)
    assert back.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], array, err_msg=name)
    assert_same(from_official(back, loaded.kwargs, is_generator=True), loaded)


@pytest.mark.parametrize("name", ["sg3_G_R_r16_l6", "sg3_G_T_r16_c3_l6", "sg3_G_T_r64_clamp"])
def test_stored_networks(name):
    arrays, kwargs, _ = read_case(name)
    loaded = load_generator(FlatNetwork("Generator", arrays, kwargs))
    stated = {name: kwargs[name] for name in kwargs if name != "num_fp16_res"}
    given = full_kwargs(loaded, True)
    assert {name: given[name] for name in stated} == stated
    back = to_official(loaded)
    for tensor, array in arrays.items():
        np.testing.assert_array_equal(back[tensor], array, err_msg=tensor)
    # Tensors alone do not show the clamp, nor the base where all layers are at their limit.
    alone = load_generator(FlatNetwork("", arrays))
    assert_same(alone, loaded, unknown=("channel_base", "conv_clamp"))


@pytest.mark.parametrize(
    ("options", "stated"),
    [
        (dict(num_critical=0, margin_size=3), ()),
        (dict(num_critical=4, conv_kernel=1, use_radial_filters=True), ()),
        (dict(channel_base=177, channel_max=9, c_dim=3, mapping_layers=3), ()),
        (dict(num_layers=2, num_critical=1), ()),
        (dict(first_cutoff=3.0, first_stopband=9.0), ("first_cutoff", "first_stopband")),
        (dict(filter_size=4, lrelu_upsampling=4), ("filter_size", "lrelu_upsampling")),
        (dict(last_stopband_rel=1.5, output_scale=0.5), ("last_stopband_rel", "output_scale")),
    ],
)
def test_odd_schedules(options, stated):
    """What tensors do not tell, a pickle states."""
    network = make_network(**options)
    arrays = to_official(network)
    kwargs = {name: options[name] for name in stated}
    loaded = load_generator(FlatNetwork("", arrays, kwargs))
    assert_same(loaded, network, unknown=("channel_base",))
    if set(stated) - {"output_scale"}:
        with pytest.raises(CheckpointFileError, match="follow no schedule .* Give the pickle"):
            load_generator(FlatNetwork("", arrays))


@functools.cache
def small_arrays() -> dict[str, np.ndarray]:
    return to_official(make_network(num_layers=3))


@pytest.mark.parametrize(
    ("change", "kwargs", "message"),
    [
        ({"synthesis.new": np.zeros(2)}, {}, r"synthesis\.new \[2\]"),
        ({"synthesis.L1_16_6.weight": None}, {}, "missing, or there twice|not numbered"),
        ({"synthesis.input.transform": np.diag([2, 1, 1])}, {}, "transform is not the identity"),
        ({"synthesis.L0_36_6.up_filter": np.ones(12)}, {}, "up_filter is another filter"),
        ({"synthesis.L0_36_6.up_filter": np.ones(5)}, {}, "up_filter is another filter"),
        ({}, dict(img_resolution=128), "states img_resolution=128"),
        ({}, dict(filter_size=4000), "more than 512 taps"),
        ({}, dict(num_critical=3), "num_layers=3, num_critical=3"),
        ({}, dict(first_cutoff="low"), "first_cutoff is 'low'"),
        ({"synthesis.input.freqs": None}, {}, "missing are synthesis/input/freqs"),
    ],
)
def test_what_is_no_such_generator(change, kwargs, message):
    arrays = small_arrays() | change
    if "synthesis.L1_16_6.weight" in change:
        arrays = {n: a for n, a in arrays.items() if not n.startswith("synthesis.L1_")}
    arrays = {name: array for name, array in arrays.items() if array is not None}
    with pytest.raises(CheckpointFileError, match=message):
        load_generator(FlatNetwork("", arrays, kwargs))


def test_a_file_of_tensors_alone(tmp_path):
    network = make_network()
    write_safetensors(tmp_path / "g.safetensors", to_official(network), {})
    loaded = load_checkpoint(tmp_path / "g.safetensors")
    assert "tensors alone" in loaded.notes[0]
    assert_same(loaded.networks["G_ema"], network)


def test_other_shapes_come_back_and_are_said_to_be_none_of_the_original():
    network = make_network(base_grid=(6, 4))
    arrays = to_official(network)
    assert "synthesis.L7_96x64_3.weight" in arrays
    assert_same(from_official(arrays, network.kwargs, is_generator=True), network)
    assert foreign_notes(network) == ["Images of 96x64 px: the original makes squares."]
