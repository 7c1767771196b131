import jax
import numpy as np
import pytest

from stylegan_jax.convert.networks import fit_params
from stylegan_jax.convert.pretrained.vgg16 import params_from_official
from stylegan_jax.convert.readers.records import CheckpointFileError
from stylegan_jax.models.pretrained.vgg16 import VGG16
from tests.convert.pretrained import vgg16_files
from tests.models.pretrained import narrow


def test_both_namings(rng):
    arrays = vgg16_files.torchvision_arrays(rng)
    got = params_from_official(arrays)
    wanted = narrow.draw(VGG16, rng, **vgg16_files.SIZES)[1]
    assert len(jax.tree.leaves(fit_params(got, wanted))) == 32
    np.testing.assert_array_equal(got["trunk"]["conv13"]["bias"], arrays["features.28.bias"])
    same = params_from_official(vgg16_files.nvidia_arrays(arrays))
    assert jax.tree.all(jax.tree.map(np.array_equal, got, same))
    with pytest.raises(CheckpointFileError, match="features.1.weight"):
        params_from_official(arrays | {"features.1.weight": np.zeros(2)})
