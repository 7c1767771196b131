import collections
import functools
import shutil
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from stylegan_jax.convert.checkpoint import (
    NETWORKS,
    LoadedCheckpoint,
    load_checkpoint,
    read_networks,
)
from stylegan_jax.convert.readers.records import CheckpointFileError
from stylegan_jax.models import DISCRIMINATORS, GENERATORS, make_model
from stylegan_jax.models.blocks import broadcast_ws, truncate
from tests.convert.official import CHECKPOINTS, read_case
from tests.convert.readers.fuzz import write_safetensors
from tests.convert.writing import (
    EasyDict,
    Tensor,
    make_module,
    make_network,
    write_pickle,
    write_stream,
    write_zip,
)

FILES = ("sg2ada_r16_proto4", "tf_stylegan2_r32", "tf_stylegan1_r16", "sg3T_r32")
# Stored outputs are those of the originals in float32, whose own rounding is 1e-6 of the largest.
TOLERANCE = 1e-5


@functools.cache
def _load(name: str) -> LoadedCheckpoint:
    """A file with all networks."""
    return load_checkpoint(CHECKPOINTS / f"{name}.pkl")


# Checked types make reading slow here; each file is read once or twice.
_read = functools.cache(lambda name: read_networks(CHECKPOINTS / f"{name}.pkl"))


def _stored(name: str) -> dict[str, np.ndarray]:
    with np.load(CHECKPOINTS / f"{name}.npz", allow_pickle=False) as data:
        return {key: data[key] for key in data.files}


def _close(got: Any, want: np.ndarray) -> None:
    np.testing.assert_allclose(got, want, rtol=0, atol=TOLERANCE * np.abs(want).max())


@pytest.mark.parametrize("name", FILES)
def test_every_tensor_of_official_files(name):
    stored = {k[7:]: v for k, v in _stored(name).items() if k.startswith("params/")}
    read = {}
    for net, network in _read(name).items():
        is_torch = not name.startswith("tf")
        prefix = f"{net}." if is_torch else {"G_ema": "Gs"}.get(net, net) + "/"
        read |= {prefix + n: array for n, array in network.arrays.items()}
    assert read.keys() == stored.keys()
    for key, array in read.items():
        np.testing.assert_array_equal(array, stored[key], err_msg=key)
        assert array.dtype == np.float32


@pytest.mark.parametrize("name", FILES)
def test_official_generators_draw_the_same_images(name):
    stored = _stored(name)
    networks = _load(name).networks
    # G and G_ema are one structure, and so one program.
    network = networks["G_ema"]
    assert network.kwargs == networks["G"].kwargs
    graphdef, _ = make_model(GENERATORS[network.name], **network.kwargs)

    @jax.jit
    def draw(params, buffers, z, psi):
        G = nnx.merge(graphdef, params)
        ws = broadcast_ws(G.mapping(z, jnp.zeros((len(z), 0))), G.num_ws)
        truncated = truncate(ws, buffers["w_avg"], psi)
        noise, moving = buffers.get("noise_const"), buffers.get("moving", {})
        return ws, G.synthesis(truncated, noise, moving)[0]

    for ours, theirs in (("G", "G"), ("G_ema", "G_ema"), ("G_ema", "Gs")):
        for key in [k for k in stored if k.startswith(f"out/{theirs}/img")]:
            psi = float(key.partition("psi")[2].partition("_")[0] or 1)
            n = networks[ours]
            with jax.default_matmul_precision("highest"):
                ws, img = draw(n.params, n.buffers, stored["in/z"], psi)
            _close(img.transpose(0, 3, 1, 2), stored[key])
            for w in {f"out/{theirs}/dlatents", f"out/{theirs}/w"} & set(stored):
                _close(ws if w.endswith("dlatents") else ws[:, 0], stored[w])


@pytest.mark.parametrize("name", FILES)
def test_official_discriminators_give_the_same_logits(name):
    stored = _stored(name)
    network = _load(name).networks["D"]
    graphdef, _ = make_model(DISCRIMINATORS[network.name], **network.kwargs)
    is_torch = not name.startswith("tf")
    # What D saw there was clipped, as in a file of images.
    img = np.clip(stored["out/G_ema/img" if is_torch else "out/Gs/img_psi1"], -1, 1)
    with jax.default_matmul_precision("highest"):
        score = jax.jit(lambda params, img: nnx.merge(graphdef, params)(img, None, {})[0])
        logits = score(network.params, img.transpose(0, 2, 3, 1))
    _close(logits, stored[f"out/D/{'logits_on_G_ema_img' if is_torch else 'scores_on_Gs_img'}"])


def test_what_a_file_says_besides_its_networks(tmp_path):
    loaded = _load("sg3T_r32")
    assert loaded.augment_p == pytest.approx(_stored("sg3T_r32")["out/augment_pipe_p"])
    assert loaded.training_set["resolution"] == 32
    assert loaded.kimg is None and loaded.notes == ()
    path = tmp_path / "network-snapshot-025000.pkl"
    shutil.copy(CHECKPOINTS / "sg2ada_r16_proto4.pkl", path)
    assert load_checkpoint(path, networks=["D"]).kimg == 25000


def _tensors(net: str) -> dict[str, np.ndarray]:
    return dict(_read("sg2ada_r16_proto4")[net].arrays)


def test_tensors_alone(tmp_path):
    """A state dict of each network, in all formats that hold them."""
    parts = {"g_ema": _tensors("G_ema"), "d": _tensors("D")}
    state = {
        n: collections.OrderedDict((k, Tensor(v)) for k, v in p.items()) for n, p in parts.items()
    }
    state["latent_avg"] = Tensor(np.zeros(3, np.float32))
    flat = {f"{n}.{k}": v for n, p in parts.items() for k, v in p.items()}
    want = _load("sg2ada_r16_proto4").networks
    for i, data in enumerate((write_zip(state), write_stream(state), write_safetensors(flat))):
        (tmp_path / f"{i}.pt").write_bytes(data)
        loaded = load_checkpoint(tmp_path / f"{i}.pt")
        assert set(loaded.networks) == {"G_ema", "D"} and "tensors alone" in loaded.notes[0]
        for net, network in loaded.networks.items():
            # All widths are the largest here, which any base gives.
            assert network.kwargs | {"channel_base": 256} == want[net].kwargs
            same = jax.tree.map(np.array_equal, network.params, want[net].params)
            assert all(jax.tree.leaves(same))


@pytest.mark.parametrize("net", ["G_ema", "D"])
def test_one_network_alone(tmp_path, net):
    path = tmp_path / "one.safetensors"
    path.write_bytes(write_safetensors(_tensors(net)))
    assert set(load_checkpoint(path).networks) == {net}


def _save(tmp_path, value, **kwargs):
    path = tmp_path / "net.pkl"
    path.write_bytes(write_pickle(value, **kwargs))
    return path


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("is_old", [False, True])
def test_every_protocol_and_numpy(tmp_path, protocol, is_old):
    arrays = _tensors("D")
    kwargs = EasyDict(channel_base=np.int64(256), channel_max=8)
    module = make_module(arrays, frozen="b16.", _init_kwargs=kwargs, _init_args=(0, 16, 1))
    path = _save(tmp_path, {"D": module}, protocol=protocol, is_old=is_old)
    network = read_networks(path)["D"]
    assert network.kwargs["channel_base"] == 256 and network.kwargs["img_resolution"] == 16
    for name, array in arrays.items():
        np.testing.assert_array_equal(network.arrays[name], array)


def test_other_versions_are_read_with_a_note(tmp_path):
    module = make_module(_tensors("D"))
    module.version = 7
    loaded = load_checkpoint(_save(tmp_path, {"D": module}))
    assert loaded.notes == ("Its objects are of version 7, which is not known.",)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (3, "holds int; wanted are networks"),
        ([1], "holds list"),
        ({"state": 3}, "holds state; wanted are networks"),
        ({"G": {"a": 1}}, "G: 0 of 0 tensors|Blocks of"),
        ({"augment_pipe": make_module({})}, "none of D, G, G_ema"),
        (({},) * 3, "holds tuple"),
        ((make_network("G", "G_main", {}, {}),) * 3, "Blocks of"),
    ],
)
def test_files_that_hold_no_network(tmp_path, value, message):
    path = _save(tmp_path, value)
    with pytest.raises(CheckpointFileError, match=message) as error:
        load_checkpoint(path)
    assert str(error.value).startswith(str(path))


def test_names_of_other_projects_are_listed(tmp_path):
    state = {"g_ema": {"conv1.conv.weight": Tensor(np.zeros((1, 2, 3, 3), np.float32))}}
    with pytest.raises(CheckpointFileError, match=r"G_ema: 1 of 1 tensors .*conv1\.conv\.weight"):
        load_checkpoint(_save(tmp_path, state))


DAMAGES = (
    lambda arrays, name: arrays.pop(name),
    lambda arrays, name: arrays.update({name: arrays[name][None]}),
    lambda arrays, name: arrays.update({name: np.atleast_1d(arrays[name])[..., :1]}),
    lambda arrays, name: arrays.update(
        {name: np.zeros((3, 5, 7)[: arrays[name].ndim], np.float32)}
    ),
    lambda arrays, name: arrays.update({f"{name}9": arrays[name]}),
    lambda arrays, name: arrays.update({name.replace("8", "7"): arrays.pop(name)}),
)


def test_networks_with_other_tensors_are_refused(tmp_path, rng):
    """Whatever tensor is missing, new, renamed or of another shape: that error, or a network."""
    cases = [
        ("D", read_case("sg2_D_skip_r32_c3")[0], None),
        ("G", read_case("sg2_G_orig_r16_c5")[0], None),
        ("G", read_case("sg1_G_r16_auto")[0], "G_style"),
        ("D", read_case("sg1_D_r16")[0], "D_basic"),
        ("G", read_case("pggan_G_r16")[0], "G_paper"),
    ]
    refused = 0
    for i in range(24):
        net, arrays, function = cases[i % len(cases)]
        arrays = dict(arrays)
        DAMAGES[i % len(DAMAGES)](arrays, sorted(arrays)[rng.integers(len(arrays))])
        module = make_network(net, function, arrays, {}) if function else make_module(arrays)
        path = _save(tmp_path, (module,) * 3 if function else {net: module})
        try:
            load_checkpoint(path, networks=[net])
        except CheckpointFileError:
            refused += 1
    assert refused > 15


def test_networks_are_those_that_are_asked_for():
    assert set(_load("tf_stylegan1_r16").networks) == set(NETWORKS)
    path = CHECKPOINTS / "tf_stylegan1_r16.pkl"
    assert set(load_checkpoint(path, networks=["G_ema"]).networks) == {"G_ema"}
