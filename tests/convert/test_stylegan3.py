import numpy as np
import pytest

from stylegan_jax.convert.checkpoint import read_networks
from stylegan_jax.convert.readers.records import CheckpointFileError
from stylegan_jax.convert.readers.trees import FlatNetwork
from stylegan_jax.convert.stylegan3 import describe_generator, is_generator
from tests.convert.official import CHECKPOINTS


def test_layers_tell_which_it_is():
    network = read_networks(CHECKPOINTS / "sg3T_r32.pkl")["G_ema"]
    assert is_generator(network.arrays)
    assert describe_generator(network) == "StyleGAN3-T, 32 px, 15 layers"
    # R is the one of 1x1 kernels.
    ones = {n: a[..., :1, :1] if a.ndim == 4 else a for n, a in network.arrays.items()}
    assert describe_generator(FlatNetwork("", ones)) == "StyleGAN3-R, 32 px, 15 layers"


def test_other_names():
    arrays = {"synthesis.input.weight": np.zeros((2, 2)), "synthesis.new": np.zeros(2)}
    with pytest.raises(CheckpointFileError, match=r"synthesis\.new \[2\]"):
        describe_generator(FlatNetwork("", arrays))
    with pytest.raises(CheckpointFileError, match="is missing"):
        describe_generator(FlatNetwork("", {"synthesis.input.weight": np.zeros((2, 2))}))
