import pytest
from flax import nnx

from stylegan_jax.models import DISCRIMINATORS, GENERATORS
from stylegan_jax.ops.formulation import FORMULATIONS, platform_formulation

SIZES = dict(c_dim=2, img_resolution=16, img_channels=3, channel_base=128, channel_max=8)


@pytest.mark.parametrize("architecture", ["skip", "resnet", "orig", "progressive", None])
@pytest.mark.parametrize("models", [GENERATORS, DISCRIMINATORS])
@pytest.mark.parametrize("given", [FORMULATIONS["plain"], None])
def test_every_layer_is_told_how_it_is_computed(models, architecture, given):
    """A layer left at its default would be computed as suits this process, not the target."""
    wanted = given or platform_formulation()
    for name, build in models.items():
        settings = dict(SIZES, formulation=given)
        if models is GENERATORS:
            settings |= dict(z_dim=8) if name == "progan" else dict(z_dim=8, w_dim=8)
        if name == "stylegan2":
            settings |= dict(architecture=architecture or "skip")
        network = nnx.eval_shape(lambda b=build, s=settings: b(**s, rngs=nnx.Rngs(0)))
        told = [m.formulation for _, m in nnx.iter_modules(network) if hasattr(m, "formulation")]
        assert len(told) > 5 and set(told) == {wanted}, name
