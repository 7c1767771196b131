import jax
import jax.numpy as jnp
import pytest
from jax import lax
from jax.sharding import PartitionSpec

from stylegan_jax.cost.flops import count_flops
from stylegan_jax.ops.conv import conv2d_resample
from stylegan_jax.ops.formulation import FORMULATIONS
from stylegan_jax.training.sharding import make_mesh


def flops(function, *args):
    return count_flops(jax.make_jaxpr(function)(*args))


def test_products_and_convolutions():
    a, b = jnp.ones((3, 5)), jnp.ones((5, 7))
    assert flops(jnp.dot, a, b) == 2 * 3 * 5 * 7
    x, w = jnp.ones((2, 8, 8, 3)), jnp.ones((3, 3, 3, 4))

    def conv(x, w, stride=1):
        return lax.conv_general_dilated(
            x, w, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    whole = 2 * 2 * 64 * 9 * 3 * 4
    assert flops(conv, x, w) == whole
    assert flops(lambda x, w: conv(x, w, 2), x, w) == whole // 4


def test_loops_and_nested_functions_are_entered():
    a = jnp.ones((4, 4))
    assert flops(lambda a: lax.fori_loop(0, 5, lambda _, x: jax.jit(jnp.dot)(x, a), a), a) == 640


def test_what_every_device_does_for_itself_counts_for_each():
    mesh = make_mesh(fsdp=2)

    def product(a):
        return jax.shard_map(
            lambda a: a @ a.T,
            mesh=mesh,
            in_specs=PartitionSpec("fsdp"),
            out_specs=PartitionSpec(),
            axis_names={"fsdp"},
            check_vma=False,
        )(a)

    assert flops(product, jnp.ones((8, 5))) == 2 * (2 * 4 * 4 * 5)


@pytest.mark.parametrize(("up", "down"), [(2, 1), (1, 2)])
def test_inserted_zeros_do_not_count(up, down):
    """A transposed convolution costs what its gradient, a strided one, does."""
    x, w = jnp.ones((1, 8, 8, 16)), jnp.ones((3, 3, 16, 16))

    def op(x):
        return conv2d_resample(
            x, w, None, up=up, down=down, padding=1, formulation=FORMULATIONS["plain"]
        )

    coarse = 64 if up == 2 else 16
    # Within the rims that the padding cuts off, and the filter of one tap.
    assert flops(op, x) == pytest.approx(2 * coarse * 9 * 16 * 16, rel=0.3)
