import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from stylegan_jax.models.pretrained import FEATURE_NETWORKS
from stylegan_jax.models.pretrained.clip import ImageSizes, TextSizes
from tests.models.pretrained.shapes import structure

# Fewer layers of the same, where all of them take long to trace.
FEWER = {
    "dino_vits16": dict(num_layers=1),
    "clip_vitl14": dict(image=ImageSizes(num_layers=1), text=TextSizes(num_layers=1)),
}


@pytest.mark.parametrize("name", FEATURE_NETWORKS)
def test_rows_say_what_they_give(name):
    """Shapes alone: nothing is drawn or compiled."""
    network = FEATURE_NETWORKS[name]
    assert network.name == name and set(network.protocol) >= {"resize", "normalize"}
    graphdef, params = structure(network.make, **FEWER.get(name, {}))

    def run(params, img):
        return network.apply(nnx.merge(graphdef, params), img)

    got = jax.eval_shape(run, params, jax.ShapeDtypeStruct((2, 80, 120, 1), jnp.uint8))
    assert got.keys() == network.outputs.keys()
    for key, shape in network.outputs.items():
        # -1: as long as images are large.
        assert got[key].shape == (2, *shape) or shape == (-1,)
    assert {value.dtype for value in got.values()} == {jnp.dtype(jnp.float32)}
    with pytest.raises(ValueError, match="Images of 4 channels"):
        jax.eval_shape(run, params, jax.ShapeDtypeStruct((1, 16, 16, 4), jnp.uint8))
