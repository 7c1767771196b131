import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import AxisType, PartitionSpec

from stylegan_jax.ops import partition
from stylegan_jax.ops.partition import (
    BATCH_AXES,
    all_images,
    batch_mean,
    own_images,
    split_rows,
    with_whole_images,
)

MESH_AXES = (*BATCH_AXES, "spatial")
X = jnp.arange(24.0).reshape(8, 3)


def on_every_device(function, x):
    """Runs where each of four devices sees two images, and stacks what they return."""
    mesh = jax.make_mesh((2, 2, 1), MESH_AXES, axis_types=(AxisType.Auto,) * 3)
    split = PartitionSpec(BATCH_AXES)
    with jax.set_mesh(mesh):
        run = jax.shard_map(
            lambda x: function(x)[None],
            in_specs=split,
            out_specs=split,
            axis_names=set(BATCH_AXES),
            check_vma=False,
        )
        return np.asarray(jax.jit(run)(x))


def test_the_mean_is_that_of_all_devices():
    want = np.mean(X, axis=0)
    np.testing.assert_allclose(batch_mean(X), want)
    np.testing.assert_allclose(on_every_device(batch_mean, X), np.tile(want, (4, 1)))


def test_all_images_in_order_and_own_ones_back():
    np.testing.assert_array_equal(own_images(all_images(X)), X)
    np.testing.assert_array_equal(on_every_device(all_images, X), np.tile(X, (4, 1, 1)))
    returned = on_every_device(lambda x: own_images(all_images(x)), X)
    np.testing.assert_array_equal(returned.reshape(8, 3), X)


def test_rows_are_split_where_there_are_enough(monkeypatch):
    monkeypatch.setattr(partition, "MIN_ROWS", 2)
    maps = {"many": jnp.ones((2, 4, 4, 1)), "few": jnp.ones((2, 2, 4, 1)), "w": jnp.ones((2, 3))}
    assert split_rows(maps) is maps  # no mesh
    mesh = jax.make_mesh((2, 1, 2), MESH_AXES, axis_types=(AxisType.Auto,) * 3)
    with jax.set_mesh(mesh):
        got = jax.jit(split_rows)(maps)
    shards = {name: x.addressable_shards[0].data.shape for name, x in got.items()}
    assert shards["many"] == (1, 2, 4, 1)
    assert shards["few"] == (2, 2, 4, 1) and shards["w"] == (2, 3)


def test_devices_that_share_rows_take_whole_images(monkeypatch):
    """Each those that are its own, all of them where they cannot be shared; gradients are whole."""
    monkeypatch.setattr(partition, "MIN_ROWS", 2)
    mesh = jax.make_mesh((2, 1, 2), MESH_AXES, axis_types=(AxisType.Auto,) * 3)
    split = PartitionSpec(BATCH_AXES)
    seen = []

    def turn(each, gain):
        img, is_turned = each
        seen.append(img.shape)
        # Another branch for each image, which needs rows of the other device.
        return gain * lax.map(
            lambda one: lax.cond(one[1], lambda: one[0][::-1], lambda: one[0]), (img, is_turned)
        )

    def score(img, is_turned, gain):
        rows = split_rows(with_whole_images(turn, (split_rows(img), is_turned), gain))
        return jnp.sum(rows**3 * jnp.arange(4.0)[:, None, None], axis=(1, 2, 3))

    def loss(*args):
        return jnp.sum(score(*args))

    for n in (8, 6):
        img = jnp.asarray(np.random.default_rng(0).normal(size=(n, 4, 3, 2)), jnp.float32)
        args = (img, jnp.arange(n) % 3 == 0, jnp.float32(2))
        wanted = jax.grad(loss)(*args)
        assert seen.pop() == img.shape and not seen
        with jax.set_mesh(mesh):
            run = jax.shard_map(
                jax.grad(loss),
                in_specs=(split, split, PartitionSpec()),
                out_specs=split,
                axis_names=set(BATCH_AXES),
                check_vma=False,
            )
            got = jax.jit(run)(*args)
        assert seen.pop() == ((2 if n == 8 else 3), 4, 3, 2)
        seen.clear()
        np.testing.assert_allclose(got, wanted, rtol=1e-6)
