import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stylegan_jax.training.grown import grown_part, with_grown_part
from stylegan_jax.training.optimizer import make_optimizer

PARAMS = {
    "mapping": {"fc0": {"bias": jnp.ones(2)}},
    "synthesis": {
        "b4": {"bias": jnp.ones(3)},
        "b8": {"torgb": {"bias": jnp.ones(1)}},
        "b16": {"torgb": {"bias": jnp.ones(4)}},
    },
}


@pytest.mark.parametrize("absent_grads", ["zero", "skip"])
def test_an_optimiser_state_is_cut_and_put_back(absent_grads):
    optimizer = make_optimizer(
        betas=(0.5, 0.9), eps=1e-8, reg_interval=None, absent_grads=absent_grads
    )
    whole = {"params": PARAMS, "opt": optimizer.init(PARAMS)}
    part = grown_part(whole, 8)
    assert set(part["params"]["synthesis"]) == {"b4", "b8"}
    step = jax.jit(lambda p, o: optimizer.update(p, o, p, learning_rate=0.1, is_reg=False))
    params, opt = step(part["params"], part["opt"])
    again = with_grown_part(whole, {"params": params, "opt": opt})
    assert jax.tree.structure(again) == jax.tree.structure(whole)
    moved = again["params"]["synthesis"]
    assert float(moved["b8"]["torgb"]["bias"][0]) == pytest.approx(0.9)
    np.testing.assert_array_equal(moved["b16"]["torgb"]["bias"], 1)
    sums = [float(jnp.sum(leaf)) for leaf in jax.tree.leaves(again["opt"])]
    assert sums.count(0.0) == 2, "the moments of b16 alone are as they were"


def test_everything_is_grown_at_full_size():
    part = grown_part(PARAMS, 16)
    assert jax.tree.structure(part) == jax.tree.structure(PARAMS)
    put_back = with_grown_part(PARAMS, part)
    assert jax.tree.leaves(put_back)[0] is jax.tree.leaves(PARAMS)[0]
