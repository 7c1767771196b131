import os
import subprocess
import sys

import pytest
from flax import nnx

from stylegan_jax.models import DISCRIMINATORS, GENERATORS
from stylegan_jax.ops.formulation import FORMULATIONS, platform_formulation
from tests.models.small import SIZES, shapes


@pytest.mark.parametrize("architecture", ["skip", "resnet", "orig", "progressive", None])
@pytest.mark.parametrize("models", [GENERATORS, DISCRIMINATORS])
@pytest.mark.parametrize("given", [FORMULATIONS["plain"], None])
def test_every_layer_is_told_how_it_is_computed(models, architecture, given):
    """A layer left at its default would be computed as suits this process, not the target."""
    wanted = given or platform_formulation()
    for name, model in models.items():
        settings = dict(formulation=given)
        if models is GENERATORS:
            settings |= dict(z_dim=8) if name == "progan" else dict(z_dim=8, w_dim=8)
        if name == "stylegan2":
            settings |= dict(architecture=architecture or "skip")
        network = shapes(model, **settings)
        told = [m.formulation for _, m in nnx.iter_modules(network) if hasattr(m, "formulation")]
        assert len(told) > 5 and set(told) == {wanted}, name


def test_models_run_in_the_announced_default_mode_of_nnx():
    """Modules as plain trees, which flax has announced as its default."""
    program = f"""
import jax
from flax import nnx
from stylegan_jax.models import DISCRIMINATORS, GENERATORS, make_model
from stylegan_jax.models.pretrained import FEATURE_NETWORKS
from stylegan_jax.models.pretrained.clip import ImageSizes, TextSizes
settings = dict({SIZES}, c_dim=0, mapping_layers=2)
for model, more, shape in (
    (GENERATORS, dict(z_dim=8, w_dim=8), (4, 8)),
    (DISCRIMINATORS, {{}}, (4, 16, 16, 3)),
):
    graphdef, init = make_model(model["stylegan2"], **settings, **more)
    args = (None, None, {{}}) if model is GENERATORS else (None, {{}})
    def apply(key):
        return nnx.merge(graphdef, init(key))(jax.random.normal(key, shape), *args)
    out = jax.tree.leaves(jax.eval_shape(apply, jax.random.key(0)))
    assert out[0].shape == ((4, 16, 16, 3) if model is GENERATORS else (4, 1))
# Fewer layers of the same.
fewer = dict(
    dino_vits16=dict(num_layers=1),
    clip_vitl14=dict(image=ImageSizes(num_layers=1), text=TextSizes(num_layers=1)),
)
for network in {{network.make: network for network in FEATURE_NETWORKS.values()}}.values():
    graphdef, init = make_model(network.make, **fewer.get(network.name, {{}}))
    def apply(key):
        img = jax.random.randint(key, (1, 80, 96, 1), 0, 256)
        return network.apply(nnx.merge(graphdef, init(key)), img)
    assert set(jax.eval_shape(apply, jax.random.key(0))) == set(network.outputs)
"""
    env = os.environ | {"NNX_GRAPH_MODE": "false", "NNX_GRAPH_UPDATES": "false"}
    subprocess.run([sys.executable, "-c", program], env=env, check=True, timeout=120)
