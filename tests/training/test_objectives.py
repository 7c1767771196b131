"""The order of an iteration, what reaches D, and values that networks move."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stylegan_jax.models import stylegan3
from stylegan_jax.models.stylegan2 import Synthesis
from stylegan_jax.models.stylegan2_discriminator import Discriminator
from stylegan_jax.training.inputs import draw_inputs
from stylegan_jax.training.objectives import make_steps
from stylegan_jax.training.setup import Augmentation
from tests.training.conftest import constants_of, loss_of, phase_of, with_hyper


def names(setup):
    return [(step.name, step.interval) for step in make_steps(setup)]


def test_an_iteration_is_a_list_of_steps(whole, growing):
    setup, _, _ = whole
    average, count = ("average_G", 1), ("count", 1)
    stylegan2 = [("Gmain", 1), ("Greg", 4), ("Dmain", 1), ("Dreg", 16)]
    assert names(setup) == [*stylegan2, average, count]
    # ProGAN and StyleGAN: D first, then the average, then G.
    assert names(growing[0]) == [("Dboth", 1), average, ("Gmain", 1), count]
    plain = with_hyper(setup, pl_weight=0.0, r1_gamma=0.0)
    assert names(plain) == [("Gmain", 1), ("Dmain", 1), average, count]
    both = with_hyper(setup, g_reg_interval=None, d_reg_interval=None)
    assert names(both) == [("Gboth", 1), ("Dboth", 1), average, count]


@pytest.mark.parametrize(
    ("name", "given"), [("Gmain", ["fake"]), ("Dmain", ["fake", "real"]), ("Dreg", ["real"])]
)
def test_every_image_that_D_judges_is_augmented(whole, batch, name, given):
    """By draws of its own, before D: images that become black are all scored alike."""
    setup, _, state = whole
    black = Augmentation(
        draw=lambda key, n, size, channels: jax.random.uniform(key, (n,)),
        apply=lambda img, draws, stats: img * 0 + stats["pl_mean"] + 0 * draws[:, None, None, None],
    )
    setup = dataclasses.replace(setup, augmentation=black)
    phase = phase_of(setup, name)
    arrays = jax.tree.map(jnp.asarray, batch) | {"label": jnp.zeros((16, 2))}
    inputs = draw_inputs(jax.random.key(2), phase, arrays, {}, setup)
    drawn = {"fake": inputs.draws_fake, "real": inputs.draws_real}
    assert [kind for kind, draws in drawn.items() if draws is not None] == given
    if len(given) == 2:
        assert np.any(drawn["fake"] != drawn["real"])
    _, (_, report) = jax.jit(loss_of(setup, phase))(state, inputs, {})
    for kind in given:
        logits = report[f"Loss/scores/{kind}"]
        np.testing.assert_allclose(logits, jnp.broadcast_to(logits[0], logits.shape), atol=1e-5)


def test_networks_move_values_of_their_own(whole, batch, monkeypatch):
    """Every pass of a network hands its values on: a counter counts the passes of each loss."""
    setup, _, state = whole

    def counting(call):
        def counted(self, *args, **kwargs):
            # `moving` is the third argument of both networks.
            result, moving = call(self, *args, **kwargs)
            return result, {"passes": moving["passes"] + 1}

        return counted

    monkeypatch.setattr(Synthesis, "__call__", counting(Synthesis.__call__))
    monkeypatch.setattr(Discriminator, "__call__", counting(Discriminator.__call__))
    stats = state.stats | {net: {"passes": jnp.float32(0)} for net in "GD"}
    state = dataclasses.replace(state, stats=stats)
    arrays = jax.tree.map(jnp.asarray, batch)
    passes = {"Gmain": (1, 1), "Greg": (1, 0), "Dmain": (1, 2), "Dreg": (0, 1)}
    for name, wanted in passes.items():
        phase = phase_of(setup, name)
        inputs = draw_inputs(jax.random.key(2), phase, arrays, constants_of(0, 1), setup)
        _, (moved, _) = jax.jit(loss_of(setup, phase))(state, inputs, {})
        assert tuple(float(moved[net]["passes"]) for net in "GD") == wanted, name


def test_the_mean_style_moves_where_the_paper_moves_it(whole, batch):
    setup, _, state = whole
    arrays = jax.tree.map(jnp.asarray, batch)
    moves = {}
    for rule in ("every_pass", "Dmain"):
        ruled = with_hyper(setup, w_avg_update=rule)
        for name in ("Gmain", "Dmain"):
            phase = phase_of(ruled, name)
            inputs = draw_inputs(jax.random.key(2), phase, arrays, constants_of(0, 1), ruled)
            _, (moved, _) = jax.jit(loss_of(ruled, phase))(state, inputs, {})
            moves[rule, name] = bool(np.any(moved["w_avg"] != state.stats["w_avg"]))
    assert moves == {
        ("every_pass", "Gmain"): True,
        ("every_pass", "Dmain"): True,
        ("Dmain", "Gmain"): False,
        ("Dmain", "Dmain"): True,
    }


def test_the_blur_of_what_D_sees_fades_away(alias_free, batch):
    """After its last image, logits are those without it; before, D sees the penalty through it."""
    setup, _, state = alias_free
    phase = phase_of(setup, "Dreg")
    arrays = jax.tree.map(jnp.asarray, batch)
    inputs = draw_inputs(jax.random.key(2), phase, arrays, {}, setup)
    reports = []
    for each in (setup, with_hyper(setup, blur_init_sigma=0.0)):
        run = jax.jit(loss_of(each, phase))
        for nimg in (0, 80, 96, 200):
            at = dataclasses.replace(state, nimg=jnp.int32(nimg))
            reports.append(run(at, inputs, {})[1][1])
    blurred, plain = reports[:4], reports[4]
    penalties = [float(jnp.mean(report["Loss/r1_penalty"])) for report in blurred]
    want = float(jnp.mean(plain["Loss/r1_penalty"]))
    assert penalties[0] < penalties[1] < want
    # Sigma is 0.08 px, then nothing: the filter has one tap.
    for report in blurred[2:]:
        np.testing.assert_array_equal(report["Loss/scores/real"], plain["Loss/scores/real"])


@pytest.mark.parametrize(("name", "parts"), [("Gmain", 1), ("Dmain", 1), ("Dmain", 2)])
def test_magnitudes_move_where_the_mean_style_does(alias_free, batch, monkeypatch, name, parts):
    """In `Dmain`, by a half-life in images: two micro-batches make two steps of half the length."""
    setup, _, state = alias_free
    setup = with_hyper(setup, num_micro_batches=parts)
    given = []
    call = stylegan3.Synthesis.__call__

    def recorded(self, *args, ema_beta, **kwargs):
        given.append(ema_beta)
        return call(self, *args, ema_beta=ema_beta, **kwargs)

    monkeypatch.setattr(stylegan3.Synthesis, "__call__", recorded)
    phase = phase_of(setup, name)
    arrays = jax.tree.map(jnp.asarray, batch)
    inputs = draw_inputs(jax.random.key(2), phase, arrays, constants_of(0, 1), setup)
    jax.eval_shape(loss_of(setup, phase), state, inputs, {})
    # 16 images of a half-life of 100.
    wanted = {"Gmain": None, "Dmain": 0.5 ** (16 / parts / 100)}
    assert given == [wanted[name]]
