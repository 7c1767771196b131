"""DiffAugment: its draws, options and refusals; values are in tests/parity."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stylegan_jax.augment.diffaugment import Policy, augment, draw
from stylegan_jax.ops.packing import space_to_depth

KEY = jax.random.key(0)


def test_draws():
    policy = Policy()
    draws = draw(KEY, 3000, policy, (16, 36), 3)
    assert {len(x) for x in draws.values()} == {3000}
    # An eighth of the sides; the hole's centre up to the side where its length is even.
    ranges = {name: (x.min(0).tolist(), x.max(0).tolist()) for name, x in draws.items()}
    assert ranges["translation"] == ([-2, -5], [2, 5])
    assert ranges["cutout"] == ([0, 0], [15, 35])
    assert draw(KEY, 3000, policy, (20, 20), 3)["cutout"].max() == 20
    part = draw(KEY, 3000, Policy(("translation",)), (16, 36), 3)
    assert list(part) == ["translation"]
    np.testing.assert_array_equal(part["translation"], draws["translation"])


def test_gradients_of_gradients_and_channels(rng):
    """Affine in every image: a quadratic of it has exact central differences."""
    x = jnp.asarray(rng.uniform(-1, 1, (2, 6, 8, 4)), jnp.float32)
    policy = Policy()
    draws = draw(KEY, 2, policy, (6, 8), 4)

    def penalty(x):
        score = lambda x: jnp.sum(jnp.square(augment(x, draws, policy)))  # noqa: E731
        return jnp.sum(jnp.square(jax.grad(score)(x)))

    v = jnp.asarray(rng.normal(size=x.shape), jnp.float32)
    both = jax.jit(jax.value_and_grad(penalty))
    difference = float(both(x + v)[0] - both(x - v)[0]) / 2
    assert float(jnp.vdot(both(x)[1], v)) == pytest.approx(difference, rel=1e-3)
    # Alpha is moved and cut, and keeps its values.
    moved = augment(
        x[..., 3:],
        draws,
        Policy(
            (
                "translation",
                "cutout",
            )
        ),
    )
    np.testing.assert_array_equal(augment(x, draws, policy)[..., 3:], moved)
    # Grey has no saturation.
    grey = augment(x[..., :1], draws | {"saturation": jnp.zeros(2)}, policy)
    np.testing.assert_allclose(grey, augment(x[..., :1], draws, policy), atol=1e-6)


def test_packed_and_half_images(rng):
    policy = Policy(("cutout", "color"), cutout=0.5)
    draws = draw(KEY, 2, policy, (4, 8), 3)
    x = jnp.asarray(rng.uniform(-1, 1, (2, 4, 8, 3)), jnp.bfloat16)
    got = augment(space_to_depth(x, (2, 2)), draws, policy, packing=(2, 2))
    wanted = augment(x.astype(jnp.float32), draws, policy).astype(jnp.bfloat16)
    assert got.dtype == jnp.bfloat16
    np.testing.assert_array_equal(got, space_to_depth(wanted, (2, 2)))


def test_what_is_refused():
    with pytest.raises(ValueError, match="policy color,colour: give each of"):
        Policy(
            (
                "color",
                "colour",
            )
        )
    with pytest.raises(ValueError, match="policy color,color: "):
        Policy(
            (
                "color",
                "color",
            )
        )
    with pytest.raises(ValueError, match="cutout=1.5: give a share from 0 to 1"):
        Policy(cutout=1.5)
    x = jnp.zeros((2, 4, 4, 3))
    with pytest.raises(ValueError, match="draws of cutout are of another policy, and 2 images"):
        augment(x, draw(KEY, 2, Policy(("color",)), (4, 4), 3), Policy(("cutout",)))
    with pytest.raises(ValueError, match="draws of brightness are of 3 images, and 2 images came"):
        augment(x, draw(KEY, 3, Policy(("color",)), (4, 4), 3), Policy(("color",)))
