"""The machine around the losses: micro-batches, devices, bad gradients, averages."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stylegan_jax.training.inputs import draw_inputs
from stylegan_jax.training.objectives import make_phases
from stylegan_jax.training.sharding import make_mesh, put_batch
from stylegan_jax.training.step import average_G, gradient_step, gradients
from tests.training.conftest import (
    LEVEL,
    assert_close,
    constants_of,
    gradients_on,
    loss_of,
    phase_of,
    with_hyper,
)


def test_micro_batches_average_to_the_batch(whole, batch):
    """The main losses are means over images once stddev groups fit into the parts."""
    setup, _, state = whole
    batch = jax.tree.map(jnp.asarray, batch)
    setup = with_hyper(setup, style_mixing_prob=0.0)
    parts = with_hyper(setup, num_micro_batches=2)
    constants = constants_of(0, 1, 1)
    for phase in (p for p in make_phases(setup.hyper) if p.main):
        inputs = draw_inputs(jax.random.key(2), phase, batch, constants, setup)
        # Groups of four neighbours before dealing out are groups of four within a part.
        order = jnp.arange(16).reshape(2, 2, 4).transpose(0, 2, 1).reshape(-1)
        dealt = jax.tree.map(lambda x, order=order: x[order], inputs)
        want, got = (
            jax.jit(
                lambda state, given, each=each, phase=phase: gradients(
                    state, given, constants, loss_of(each, phase), net=phase.net, setup=each
                )
            )(state, given)
            for each, given in ((setup, inputs), (parts, dealt))
        )
        assert_close(got[0], want[0], rtol=1e-5)  # float32 sums in another order


@pytest.fixture(scope="module")
def on_one_device(whole, batch):
    setup, _, state = whole
    return gradients_on(make_mesh(jax.devices()[:1]), state, batch, setup)


@pytest.fixture(scope="module")
def growing_on_one_device(growing, batch):
    setup, _, state = growing
    return gradients_on(make_mesh(jax.devices()[:1]), state, batch, setup)


def test_four_devices_equal_one(whole, batch, on_one_device):
    """The same seed gives the same gradients on any number of devices, up to rounding."""
    setup, _, state = whole
    four = gradients_on(make_mesh(), state, batch, setup)
    assert_close(four, on_one_device, rtol=1e-4)  # sums over images in another order


@pytest.mark.slow
def test_a_split_state_and_split_rows_change_nothing(whole, batch, split_small, on_one_device):
    setup, _, state = whole
    found = gradients_on(make_mesh(fsdp=2, spatial=2), state, batch, setup)
    assert_close(found, on_one_device, rtol=1e-4)


def test_a_growing_step_on_four_devices_equals_one(growing, batch, growing_on_one_device):
    setup, _, state = growing
    four = gradients_on(make_mesh(), state, batch, setup)
    assert_close(four, growing_on_one_device, rtol=1e-4)  # sums over images in another order


@pytest.mark.slow
def test_a_growing_step_with_split_state_and_rows_changes_nothing(
    growing, batch, split_small, growing_on_one_device
):
    setup, _, state = growing
    # Biases before instance norm have no gradient but the rounding of sums, up to 2e-7 here.
    found = gradients_on(make_mesh(fsdp=2, spatial=2), state, batch, setup)
    assert_close(found, growing_on_one_device, rtol=1e-4, atol=1e-6)


def test_magnitudes_are_those_of_the_images_of_all_devices(alias_free, batch):
    setup, _, state = alias_free
    one, four = (
        gradients_on(make_mesh(jax.devices()[:n]), state, batch, setup, ["Dmain"]) for n in (1, 4)
    )
    assert_close(four, one, rtol=1e-4)
    before, after = (jax.tree.leaves(stats["G"]) for stats in (state.stats, one[0][1]))
    assert all(abs(a - b) > 1e-3 for a, b in zip(after, before))


def test_a_statistic_that_forgets_the_devices_is_averaged(whole, batch):
    """Each device moves it by the mean of its own images: all must hold the mean of all."""
    setup, _, state = whole
    mesh = make_mesh()
    values = np.arange(16, dtype=np.float32)

    def loss(state, inputs, constants):
        del constants
        moved = state.stats | {"pl_mean": jnp.mean(inputs)}
        return jnp.sum(state.D["b4"]["out"]["bias"]), (moved, {})

    with jax.set_mesh(mesh):
        run = jax.jit(lambda s, x: gradients(s, x, {}, loss, net="D", setup=setup)[1]["pl_mean"])
        moved = run(state, put_batch(mesh, {"image": values[:, None, None, None]}, 16)["image"])
    assert [float(part.data) for part in moved.addressable_shards] == [7.5] * 4


def test_any_loss_of_any_entry_of_the_state(whole):
    """The machine knows no paper: here, D's last bias is drawn to the constant 3."""
    setup, _, state = whole

    def loss(state, inputs, constants):
        del inputs
        distance = jnp.square(state.D["b4"]["out"]["bias"] - constants["target"])
        return jnp.sum(distance), (state.stats, {"Loss/distance": distance})

    names = dict(net="D", name="pull", is_reg=False)
    step = jax.jit(lambda s, c: gradient_step(s, (), c, loss, setup=setup, **names))
    after, report = step(state, {"target": jnp.float32(3)})
    before = state.D["b4"]["out"]["bias"]
    # Adam's first step is as long as the learning rate, which lazy R1 shortens to 16 / 17.
    np.testing.assert_allclose(
        after.D["b4"]["out"]["bias"] - before, 0.002 * 16 / 17 * jnp.sign(3 - before), rtol=1e-4
    )
    np.testing.assert_allclose(report["Loss/distance"], (before[0] - 3) ** 2, rtol=1e-6)
    np.testing.assert_allclose(report["Grad/pull"], 2 * jnp.linalg.norm(before - 3), rtol=1e-6)
    assert_close(after.G, state.G, rtol=0, atol=0)


def test_non_finite_gradient_changes_nothing_but_the_counter(whole, batch):
    setup, _, state = whole
    batch = jax.tree.map(jnp.asarray, batch)
    phase = phase_of(setup, "Dmain")
    constants = constants_of(0)
    inputs = draw_inputs(jax.random.key(2), phase, batch, constants, setup)
    names = dict(net="D", name="Dmain", is_reg=False)
    loss = loss_of(setup, phase)
    run = jax.jit(lambda s, x: gradient_step(s, x, constants, loss, setup=setup, **names))
    good, _ = run(state, inputs)
    ill = inputs.real._replace(img=inputs.real.img.at[0, 0, 0, 0].set(jnp.nan))
    bad, report = run(state, inputs._replace(real=ill))
    assert int(good.skipped["D"]) == 0 and int(bad.skipped["D"]) == 1
    assert not np.isfinite(report["Grad/Dmain"])
    for name in ("D", "opt_D", "stats"):
        for a, b in zip(jax.tree.leaves(getattr(bad, name)), jax.tree.leaves(getattr(state, name))):
            np.testing.assert_array_equal(a, b)
    weights = (good.D["b4"]["out"]["weight"], state.D["b4"]["out"]["weight"])
    assert not np.array_equal(*weights)


def test_average_of_G(whole):
    setup, _, state = whole
    half_life = LEVEL.batch_size / 1000
    after = average_G(state, with_hyper(setup, ema_kimg=half_life, ema_rampup=None))
    # One half-life has passed.
    want = jax.tree.map(lambda ema, p: (ema + p) / 2, state.G_ema, state.G)
    assert_close(after.G_ema, want, rtol=1e-6)
    fixed = average_G(state, with_hyper(setup, ema_decay=0.999))
    want = jax.tree.map(lambda ema, p: 0.999 * ema + 0.001 * p, state.G_ema, state.G)
    assert_close(fixed.G_ema, want, rtol=1e-6)
