import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from stylegan_jax.ops.normalize import instance_norm, minibatch_stddev, normalize_2nd_moment
from stylegan_jax.ops.partition import BATCH_AXES


def test_second_moment_is_one(rng):
    x = jnp.asarray(rng.normal(size=(5, 64)) * 7, jnp.float32)
    np.testing.assert_allclose(jnp.mean(normalize_2nd_moment(x) ** 2, -1), 1, rtol=1e-5)


@pytest.mark.parametrize("grouping", ["contiguous", "strided"])
def test_minibatch_stddev_by_hand(rng, grouping):
    x = rng.normal(size=(6, 4, 4, 4)).astype(np.float32)
    got = minibatch_stddev(jnp.asarray(x), group_size=3, num_channels=2, grouping=grouping)
    got = np.asarray(got)
    np.testing.assert_array_equal(got[..., :4], x)
    groups = [[0, 1, 2], [3, 4, 5]] if grouping == "contiguous" else [[0, 2, 4], [1, 3, 5]]
    for group in groups:
        for f in range(2):
            part = x[group][..., 2 * f : 2 * f + 2].astype(np.float64)
            want = np.sqrt(part.var(axis=0) + 1e-8).mean()
            np.testing.assert_allclose(got[group][..., 4 + f], want, rtol=1e-5)


@pytest.mark.parametrize(("grouping", "group_size"), [("strided", 4), ("contiguous", None)])
def test_groups_across_devices_are_those_of_the_whole_batch(rng, grouping, group_size):
    """Values and gradients, where every device sees its own images alone."""
    mesh = jax.make_mesh((4, 1), BATCH_AXES, axis_types=(AxisType.Auto,) * 2)
    x, weight = (jnp.asarray(rng.normal(size=(8, 4, 4, c)), jnp.float32) for c in (4, 5))

    def loss(x, weight):
        y = minibatch_stddev(x, group_size=group_size, grouping=grouping)
        return jnp.sum(y * weight), y

    def own(x, weight):
        return jax.value_and_grad(loss, has_aux=True)(x, weight)

    (_, want), want_grad = own(x, weight)
    split = PartitionSpec(BATCH_AXES)
    with jax.set_mesh(mesh):
        run = jax.shard_map(
            lambda x, weight: jax.tree.map(jnp.atleast_1d, own(x, weight)),
            in_specs=split,
            out_specs=split,
            check_vma=False,
        )
        (_, got), got_grad = jax.jit(run)(x, weight)
    np.testing.assert_allclose(got, want, rtol=1e-6)
    np.testing.assert_allclose(got_grad, want_grad, atol=1e-6)


def test_batch_must_be_a_multiple_of_the_group():
    with pytest.raises(ValueError, match="6 images"):
        minibatch_stddev(jnp.ones((6, 4, 4, 4)), group_size=4)


def test_instance_norm_of_every_map(rng):
    x = jnp.asarray(rng.normal(size=(2, 8, 8, 3)) * 5 + 3, jnp.float32)
    y = np.asarray(instance_norm(x))
    np.testing.assert_allclose(y.mean(axis=(1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(y.std(axis=(1, 2)), 1, rtol=1e-5)
    assert instance_norm(x.astype(jnp.bfloat16)).dtype == jnp.bfloat16
