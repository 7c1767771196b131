import numpy as np
import pytest

from stylegan_jax.convert.pretrained.attributes import classifier_file, load_classifiers
from stylegan_jax.convert.readers.records import CheckpointFileError
from stylegan_jax.models.pretrained.attributes import ATTRIBUTES
from tests.convert.writing import make_network, write_pickle

SIZES = dict(img_resolution=8, channel_base=32, channel_max=4)


def variables():
    """Of a classifier of 8 px, with colours of other resolutions that growing left."""
    shapes = {
        "lod": (),
        "FromRGB_lod0/weight": (1, 1, 3, 4),
        "FromRGB_lod0/bias": (4,),
        "FromRGB_lod1/weight": (1, 1, 3, 4),
        "FromRGB_lod1/bias": (4,),
        "8x8/Conv0/weight": (3, 3, 4, 4),
        "8x8/Conv0/bias": (4,),
        "8x8/Conv1_down/weight": (3, 3, 4, 4),
        "8x8/Conv1_down/bias": (4,),
        "4x4/Conv/weight": (3, 3, 4, 4),
        "4x4/Conv/bias": (4,),
        "4x4/Dense0/weight": (64, 4),
        "4x4/Dense0/bias": (4,),
        "4x4/Dense1/weight": (4, 1),
        "4x4/Dense1/bias": (1,),
    }
    rng = np.random.default_rng(0)
    return {n: np.asarray(rng.normal(size=s), np.float32) for n, s in shapes.items()}


def write(folder, names, arrays):
    data = write_pickle(make_network("D", "D_paper", arrays, {}), protocol=2)
    for name in names:
        (folder / classifier_file(name)).write_bytes(data)


def test_forty_pickles(tmp_path):
    write(tmp_path, ATTRIBUTES, variables())
    write(tmp_path, ["bald"], variables() | {"4x4/Dense1/bias": np.float32([7])})
    loaded = load_classifiers(tmp_path, **SIZES)
    assert tuple(loaded.params) == ATTRIBUTES
    assert [name for name, p in loaded.params.items() if p["b4"]["out"]["bias"] == 7] == ["bald"]
    # Channel-major there, channel-minor here.
    dense = variables()["4x4/Dense0/weight"]
    got = loaded.params["male"]["b4"]["fc"]["weight"]
    np.testing.assert_array_equal(got[1], dense[16])


def test_what_is_missing_or_another_network(tmp_path):
    write(tmp_path, ATTRIBUTES[1:], variables())
    missing = "1 of 40 attribute classifiers are not in .*: celebahq-classifier-00-male.pkl. Put"
    with pytest.raises(FileNotFoundError, match=missing):
        load_classifiers(tmp_path, **SIZES)
    # With statistics of the batch the last convolution sees another channel.
    stats = {"4x4/Conv/weight": np.zeros((3, 3, 5, 4), np.float32)}
    for arrays, message in (
        (variables() | stats, "00-male.pkl: .*b4.conv.weight"),
        (variables() | {"8x8/Other/weight": np.zeros(2)}, "00-male.pkl: 1 of 16 tensors"),
    ):
        write(tmp_path, ["male"], arrays)
        with pytest.raises(CheckpointFileError, match=message):
            load_classifiers(tmp_path, **SIZES)
    (tmp_path / classifier_file("male")).write_bytes(write_pickle({"D": 1}))
    with pytest.raises(CheckpointFileError, match="holds no network of TensorFlow"):
        load_classifiers(tmp_path, **SIZES)
