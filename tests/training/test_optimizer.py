"""Adam of the StyleGAN family against its formula, and what it leaves alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stylegan_jax.training.optimizer import make_optimizer

PARAMS = {"b4": {"out": {"bias": jnp.float32([1.0]), "weight": jnp.float32([2.0])}}}


def steps(optimizer, grads, is_reg):
    """Parameters after one step per entry of `is_reg`."""
    params = PARAMS
    state = optimizer.init(params)
    for reg in is_reg:
        params, state = optimizer.update(grads, state, params, learning_rate=0.1, is_reg=reg)
    return params["b4"]["out"], state


def test_adam_with_the_correction_of_lazy_regularisation():
    """With a regularisation step every 3 iterations rates and decays are raised to c = 3/4."""
    optimizer = make_optimizer(betas=(0.5, 0.9), eps=1e-8, reg_interval=3)
    grads = jax.tree.map(jnp.ones_like, PARAMS)
    found, _ = steps(optimizer, grads, [False, True])
    # Constant gradients: m and sqrt(v), without their bias, are 1 in every step.
    np.testing.assert_allclose(found["weight"], 2 - 2 * 0.1 * 0.75, rtol=1e-5)
    np.testing.assert_allclose(found["bias"], 1 - 2 * 0.1 * 0.75, rtol=1e-5)


@pytest.mark.parametrize("absent_grads", ["zero", "skip"])
def test_parameters_that_a_regulariser_does_not_depend_on(absent_grads):
    """D's last bias shifts all logits, whose gradient R1 measures: StyleGAN3 leaves it alone."""
    optimizer = make_optimizer(
        betas=(0.0, 0.9), eps=1e-8, reg_interval=None, absent_grads=absent_grads
    )
    grads = jax.tree.map(jnp.ones_like, PARAMS)
    found, state = steps(optimizer, grads, [False, True])
    np.testing.assert_allclose(found["weight"], 2 - 0.2, rtol=1e-5)
    if absent_grads == "skip":
        np.testing.assert_allclose(found["bias"], 1 - 0.1, rtol=1e-5)
        counts = {k: int(v.inner_state.count) for k, v in state.inner_states.items()}
        assert counts == {"main": 1, "every": 2}
    else:
        np.testing.assert_allclose(found["bias"], 1 - 0.2, rtol=1e-5)
        assert int(state.count) == 2


def test_unknown_rule():
    with pytest.raises(ValueError, match="absent_grads='drop': choose zero or skip"):
        make_optimizer(betas=(0.0, 0.99), eps=1e-8, reg_interval=None, absent_grads="drop")
