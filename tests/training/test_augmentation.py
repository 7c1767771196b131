"""Augmentation in the step: its strength moves by what D says of reals; layers that stand still."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stylegan_jax.augment.ada_control import Controller, init_strength
from stylegan_jax.configs.common import (
    progan_defaults,
    shrink,
    stylegan1_defaults,
    stylegan2_defaults,
)
from stylegan_jax.models import DISCRIMINATORS, make_model
from stylegan_jax.sizes import ImageShape
from stylegan_jax.training.build import (
    frozen_layers,
    make_augmentation,
    make_config_levels,
    make_setup,
)
from stylegan_jax.training.inputs import draw_inputs
from stylegan_jax.training.objectives import make_steps
from stylegan_jax.training.programs import trace_steps
from stylegan_jax.training.settings import SettingsError
from stylegan_jax.training.setup import Augmentation
from stylegan_jax.training.sharding import (
    make_mesh,
    put_batch,
    shard_state,
    shardings,
)
from stylegan_jax.training.step import gradients
from tests.training.conftest import SHAPE, loss_of, phase_of

CONTROLLER = Controller("ada", kimg=0.064, interval=2, p_max=1.0)
# Brightness alone, as strong as p: cheap to compile.
TINT = Augmentation(
    draw=lambda key, n, size, channels: jax.random.normal(key, (n,)),
    apply=lambda img, draws, stats: img + stats["augment"]["p"] * draws[:, None, None, None],
    controller=CONTROLLER,
)


def with_strength(state, controller=CONTROLLER, **values):
    strength = init_strength(controller) | {k: jnp.float32(v) for k, v in values.items()}
    return dataclasses.replace(state, stats=state.stats | {"augment": strength})


def strengths(setup, state, batch, mesh, iterations):
    """p after each of some iterations of D and its controller, and what was reported."""
    steps = [s for s in make_steps(setup, mesh) if s.name in ("Dmain", "Dreg", "adjust_p", "count")]
    assert [s.name for s in steps][-2:] == ["adjust_p", "count"]
    state = jax.device_put(state, shardings(shard_state(mesh, state)))
    found = []
    with jax.set_mesh(mesh):
        runs = [jax.jit(step.run) for step in steps]
        images = put_batch(mesh, batch, 16)
        for index in range(iterations):
            for step, run in zip(steps, runs):
                if step.name == "Dreg" and index % 2:
                    continue
                state, report = run(state, jax.random.key(0), images, {})
                if step.name == "adjust_p":
                    found.append((float(report["Augment/p"]), float(report["Augment/r_t"])))
    return found, state


@pytest.mark.slow
def test_the_strength_moves_alike_on_any_devices(whole, batch):
    """By the signs of all reals of all devices, in the steps of R1, too."""
    setup, _, state = whole
    setup = dataclasses.replace(setup, augmentation=TINT)
    one, after = strengths(setup, with_strength(state), batch, make_mesh(jax.devices()[:1]), 4)
    # 16 images, every second iteration, 64 images from 0 to 1: steps of a half, or none at 0.
    assert [p for p, _ in one][::2] == [0, one[1][0]] and {p for p, _ in one} <= {0, 0.5, 1}
    four, _ = strengths(setup, with_strength(state), batch, make_mesh(), 4)
    assert four == one
    # 2 * 16 reals in the main steps, 16 where R1 is due: counted anew after each step of p.
    assert float(after.stats["augment"]["sign_count"]) == 0


def test_images_are_whole_where_rows_are_split(whole, split_small):
    """Devices that share rows take some of the images each, in the steps of G, D and R1."""
    setup, init, _ = whole
    seen = []

    def apply(img, draws, stats):
        seen.append(img.shape)
        return TINT.apply(img, draws, stats)

    setup = dataclasses.replace(setup, augmentation=TINT._replace(apply=apply))
    state = with_strength(jax.eval_shape(init, jax.random.key(0)))
    for step, trace in trace_steps(setup, make_mesh(spatial=2), state, SHAPE):
        if step.name not in ("Gmain", "Dreg"):
            continue
        trace()
        # Sixteen images on two times two devices.
        assert set(seen) == {(4, 12, 8, 3)}
        seen.clear()


@pytest.mark.parametrize(
    ("start", "sign", "expected"), [(0.4, 1, 0.9), (0.4, -1, 0.0), (0.9, 1, 1)]
)
def test_a_sure_discriminator_raises_it(whole, start, sign, expected):
    """Towards the target by batch * interval / kimg, never below 0 nor above the limit."""
    setup, _, state = whole
    setup = dataclasses.replace(setup, augmentation=TINT)
    (adjust,) = [step.run for step in make_steps(setup) if step.name == "adjust_p"]
    state = with_strength(state, p=start, sign_sum=sign * 32, sign_count=32, iterations=1)
    state, report = jax.jit(adjust)(state, jax.random.key(0), {}, {})
    assert float(state.stats["augment"]["p"]) == pytest.approx(expected)
    assert float(report["Augment/r_t"]) == sign


def test_a_recipe_without_has_none(whole):
    setup, _, state = whole
    assert setup.augmentation is None and "augment" not in state.stats
    assert "adjust_p" not in [step.name for step in make_steps(setup)]


@pytest.mark.parametrize("mode", ["ada", "fixed", "schedule"])
def test_settings_become_a_controller(mode):
    config = stylegan2_defaults()
    shrink(config)
    config.augment.mode, config.augment.p, config.augment.pipe = mode, 0.2, "bgcfnc"
    setup, init = make_setup(config, ImageShape(24, 16, 3, 0))
    controller = setup.augmentation.controller
    assert (controller.mode, controller.p, controller.p_max) == (mode, 0.2, 1.0)
    assert controller.total_kimg == config.schedule.total_kimg
    stats = jax.eval_shape(init, jax.random.key(0)).stats["augment"]
    assert ("sign_sum" in stats) == (mode == "ada")
    # Of any size, as networks grow.
    draws = setup.augmentation.draw(jax.random.key(0), 2, (12, 8), 3)
    moving = {"augment": {"p": jnp.float32(0.7)}}
    img = jnp.zeros((2, 12, 8, 3))
    out = jax.eval_shape(setup.augmentation.apply, img, draws, moving)
    assert out.shape == img.shape and out.dtype == img.dtype


def test_a_run_that_begins_with_another_adapts_faster():
    config = stylegan2_defaults()
    config.augment.mode = "ada"
    assert make_augmentation(config).controller.kimg == 500
    config.init_from = "ffhq.pkl"
    assert make_augmentation(config).controller.kimg == 100
    config.augment.kimg = 50.0
    assert make_augmentation(config).controller.kimg == 50


def test_diffaugment_is_a_pipe_without_strength():
    config = stylegan2_defaults()
    shrink(config)
    config.augment.mode, config.augment.pipe = "fixed", "diffaugment"
    setup, init = make_setup(config, ImageShape(24, 16, 3, 0))
    assert setup.augmentation.controller is None
    assert "augment" not in jax.eval_shape(init, jax.random.key(0)).stats
    img = jax.random.normal(jax.random.key(1), (2, 12, 8, 3))
    draws = setup.augmentation.draw(jax.random.key(0), 2, (12, 8), 3)
    assert np.std(setup.augmentation.apply(img, draws, {}) - img) > 0.1
    assert "adjust_p" not in [step.name for step in make_steps(setup)]


# Freeze-D


def discriminator(config, resolution):
    settings = config.D.to_dict()
    name = settings.pop("name")
    _, init = make_model(
        DISCRIMINATORS[name], c_dim=0, img_resolution=resolution, img_channels=3, **settings
    )
    return jax.eval_shape(init, jax.random.key(0))


def test_layers_are_counted_from_the_images_on():
    """At 1024 px a residual network has 25 before its last block, as StyleGAN2-ADA counts them."""
    config = stylegan2_defaults()
    D = discriminator(config, 1024)
    assert frozen_layers(D, 5) == (
        *(("b1024", "fromrgb"), ("b1024", "conv0"), ("b1024", "conv1"), ("b1024", "skip")),
        ("b512", "conv0"),
    )
    assert len(frozen_layers(D, 25)) == 25 and frozen_layers(D, 25)[-1] == ("b8", "skip")
    with pytest.raises(SettingsError, match="optimizer.freeze_d=26: .* has 25 layers"):
        frozen_layers(D, 26)


@pytest.mark.parametrize(
    ("architecture", "first"),
    [
        ("skip", [("b16", "fromrgb"), ("b16", "conv0"), ("b16", "conv1"), ("b8", "fromrgb")]),
        ("orig", [("b16", "fromrgb"), ("b16", "conv0"), ("b16", "conv1"), ("b8", "conv0")]),
    ],
)
def test_other_architectures(architecture, first):
    config = stylegan2_defaults()
    shrink(config)
    config.D.architecture = architecture
    assert frozen_layers(discriminator(config, 16), 4) == tuple(first)


def test_progressive_discriminators():
    config = stylegan1_defaults()
    shrink(config)
    layers = frozen_layers(discriminator(config, 16), 3)
    assert layers == (("b16", "fromrgb"), ("b16", "conv0"), ("b16", "conv1"))


def test_frozen_layers_and_their_moments_stand_still(whole, batch):
    """In the step of R1, too, while all others move."""
    setup, _, state = whole
    frozen = frozen_layers(state.D, 3)
    setup = dataclasses.replace(setup, frozen_D=frozen)
    arrays = jax.tree.map(jnp.asarray, batch)
    for name in ("Dmain", "Dreg"):
        phase = phase_of(setup, name)
        inputs = draw_inputs(jax.random.key(2), phase, arrays, {}, setup)
        take = jax.jit(lambda s, i, phase=phase: gradients(
            s, i, {}, loss_of(setup, phase), net="D", setup=setup
        ))  # fmt: skip
        grads, _, _ = take(state, inputs)
        for block, layers in grads.items():
            for layer, leaves in layers.items() if block.startswith("b") else ():
                still = all(not np.any(x) for x in jax.tree.leaves(leaves))
                assert still == ((block, layer) in frozen), (name, block, layer)
    # Zero gradients leave fresh moments, and with them parameters, at what they were.
    new, opt = setup.networks.opt_D.update(
        grads, state.opt_D, state.D, learning_rate=0.1, is_reg=True
    )
    block, layer = frozen[0]
    for before, after in zip(
        jax.tree.leaves(state.D[block][layer]), jax.tree.leaves(new[block][layer])
    ):
        np.testing.assert_array_equal(before, after)
    for moment in (opt.mu, opt.nu):
        assert not any(np.any(x) for x in jax.tree.leaves(moment[block][layer]))
        assert np.any(moment["b4"]["conv"]["weight"])


def test_frozen_layers_of_G_steps_change_nothing(whole, batch):
    """Gradients of G go through the frozen layers of D as through any."""
    setup, _, state = whole
    frozen = dataclasses.replace(setup, frozen_D=frozen_layers(state.D, 3))
    phase = phase_of(setup, "Gmain")
    arrays = jax.tree.map(jnp.asarray, batch)
    inputs = draw_inputs(jax.random.key(2), phase, arrays, {}, setup)
    found = [
        jax.jit(lambda s, i, which=which: gradients(
            s, i, {}, loss_of(which, phase), net="G", setup=which
        )[0])(state, inputs)
        for which in (setup, frozen)
    ]  # fmt: skip
    for a, b in zip(*map(jax.tree.leaves, found)):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
@pytest.mark.parametrize("defaults", [progan_defaults, stylegan1_defaults])
def test_families_that_grow(defaults):
    """Within a fade, with gradient penalties and micro-batches, the pipe goes through D."""
    config = defaults()
    shrink(config)
    config.augment.mode = "ada"
    config.schedule.num_micro_batches, config.D.mbstd_group_size = 2, 2
    config.loss.r1_gamma = 1.0
    shape = ImageShape(16, 16, 3, 0)
    setup, init = make_setup(config, shape)
    state = jax.eval_shape(init, jax.random.key(0))
    level = make_config_levels(config)[-1]
    assert level.fade_nimg
    steps = trace_steps(setup.at(level), make_mesh(jax.devices()[:1]), state, shape)
    traced = {step.name: trace() for step, trace in steps if step.name in ("Dboth", "adjust_p")}
    assert len(traced) == 2
