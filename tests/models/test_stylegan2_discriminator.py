import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from stylegan_jax.models import make_model
from stylegan_jax.models.stylegan2_discriminator import Discriminator
from tests.models.small import SIZES, activations, build, count, shapes
from tests.models.test_progressive_discriminator import check_fade


@pytest.mark.parametrize(
    ("res", "base", "architecture", "total"),
    [
        (1024, 32768, "resnet", 29_012_513),
        (1024, 16384, "orig", 23_077_137),
        (1024, 16384, "skip", 23_087_249),
        (1024, 16384, "resnet", 24_038_161),
        (512, 32768, "resnet", 28_982_849),
        (256, 16384, "resnet", 24_001_089),
        (32, 32768, "resnet", 21_507_073),
    ],
)
def test_parameter_totals_are_the_official_ones(res, base, architecture, total):
    sizes = dict(c_dim=0, img_resolution=res, channel_base=base, channel_max=512)
    assert count(shapes(Discriminator, architecture=architecture, **sizes)) == total


@pytest.mark.parametrize("architecture", ["orig", "skip", "resnet"])
def test_first_logits_are_of_order_one(architecture):
    sizes = SIZES | dict(c_dim=0)
    graphdef, init = make_model(Discriminator, architecture=architecture, **sizes)

    @jax.jit
    def judge(img):
        return nnx.merge(graphdef, init(jax.random.key(2)))(img, None, {"kept": 1})

    logits, moved = judge(jax.random.normal(jax.random.key(1), (64, 16, 16, 3)))
    assert logits.shape == (64, 1) and 0.01 < float(jnp.std(logits)) < 10
    assert moved == {"kept": 1}


def test_a_faded_discriminator_sees_the_smaller_image():
    check_fade(*build(Discriminator, architecture="progressive", mapping_layers=1))


def test_every_layer_has_its_activation_and_what_is_linear_stays_so():
    acts = dict(act="tanh", epilogue_act="selu", mapping_act="elu", mapping_layers=2)
    for architecture, inputs in (("resnet", ("b16",)), ("skip", ("b16", "b8", "b4"))):
        want = {f"mapping.fc{i}": "elu" for i in range(2)}
        want |= {f"{block}.fromrgb": "tanh" for block in inputs}
        want |= {f"{block}.conv{i}": "tanh" for block in ("b16", "b8") for i in (0, 1)}
        want |= {"b4.conv": "selu", "b4.fc": "selu"}
        want |= {"b4.fromrgb": "selu"} if "b4" in inputs else {}
        assert activations(shapes(Discriminator, architecture=architecture, **acts)) == want


def test_the_label_decides_by_projection():
    graphdef, params = build(Discriminator, architecture="progressive", mapping_layers=1)
    D = nnx.merge(graphdef, params)
    x = jax.random.normal(jax.random.key(0), (4, 4, 4, 8))
    cmap = jax.random.normal(jax.random.key(1), (4, 8))
    features = D.b4.conv(D.b4.mbstd(x)).reshape(4, -1)
    y = np.asarray(D.b4.out(D.b4.fc(features)))
    want = np.sum(y * cmap, axis=1, keepdims=True) / np.sqrt(8)
    np.testing.assert_allclose(D.b4(x, None, cmap), want, rtol=1e-5)


def test_unknown_architecture():
    with pytest.raises(ValueError, match="architecture='residual': choose one of"):
        shapes(Discriminator, architecture="residual")
