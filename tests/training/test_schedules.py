import math

import jax.numpy as jnp
import pytest

from stylegan_jax.training.schedules import (
    ema_beta,
    find_span,
    lazy_adam,
    make_levels,
    make_spans,
)


def test_lazy_adam_has_the_published_numbers():
    lr, betas = lazy_adam(0.002, (0.0, 0.99), 4)
    assert lr == pytest.approx(0.0016) and betas[0] == 0
    assert betas[1] == pytest.approx(0.9919919678, abs=1e-9)
    assert lazy_adam(0.002, (0.0, 0.99), 16)[1][1] == pytest.approx(0.9905854573, abs=1e-9)
    assert lazy_adam(0.002, (0.0, 0.99), None) == (0.002, (0.0, 0.99))


def test_ema_half_life():
    beta = ema_beta(jnp.int32(10**6), batch_size=1000, ema_kimg=10.0, ema_rampup=None)
    assert float(beta) ** 10 == pytest.approx(0.5, rel=1e-5)


def test_ema_ramps_up_from_a_copy():
    def beta(nimg):
        value = ema_beta(jnp.int32(nimg), batch_size=32, ema_kimg=10.0, ema_rampup=0.05)
        return float(value)

    assert beta(0) == 0.0
    assert beta(3200) == pytest.approx(0.5 ** (32 / 160), rel=1e-5)
    assert beta(10**7) == pytest.approx(0.5 ** (32 / 10000), rel=1e-5)


def closed_form_lod(nimg, *, doublings, training, transition):
    """Level of detail as ProGAN's schedule defines it, in images."""
    phase = nimg // (training + transition)
    into = nimg - phase * (training + transition)
    lod = doublings - phase
    if transition:
        lod -= max(into - training, 0) / transition
    return max(lod, 0.0)


SIZES = {4: 60, 8: 32, 32: 12}


@pytest.mark.parametrize(("training", "transition"), [(600, 600), (300, 700), (500, 0), (0, 400)])
def test_spans_follow_the_closed_form_of_lod(training, transition):
    levels = make_levels(
        32,
        init_resolution=4,
        training_nimg=training,
        transition_nimg=transition,
        batch_size=16,
        G_lr=0.1,
        D_lr=0.2,
        batch_sizes=SIZES,
        learning_rates={16: 0.3},
    )
    total = 6000
    spans = make_spans(levels, total)
    assert spans[0].start_nimg == 0 and spans[-1].end_nimg >= total
    nimg = iteration = 0
    previous, starts = None, []
    while nimg < total:
        lod = closed_form_lod(nimg, doublings=3, training=training, transition=transition)
        span = find_span(spans, nimg)
        level = span.level
        assert level.lod == math.floor(lod) and level.resolution == 32 >> math.floor(lod)
        fade = level.fade(nimg)
        assert (0.0 if fade is None else float(fade)) == pytest.approx(lod % 1, abs=1e-6)
        assert level.batch_size == SIZES.get(level.resolution, 16)
        rates = (0.3, 0.3) if level.resolution == 16 else (0.1, 0.2)
        assert (level.G_lr, level.D_lr) == rates
        # Adam starts anew where floor or ceiling of lod changes.
        if (math.floor(lod), math.ceil(lod)) != previous:
            starts.append(nimg)
        previous = (math.floor(lod), math.ceil(lod))
        assert span.iteration(nimg) == iteration
        nimg, iteration = nimg + level.batch_size, iteration + 1
    assert [span.start_nimg for span in spans] == starts
    assert spans[-1].end_nimg == nimg
    assert find_span(spans, nimg) is spans[-1]


def test_networks_that_do_not_grow_have_one_span():
    levels = make_levels(
        64,
        init_resolution=None,
        training_nimg=600,
        transition_nimg=600,
        batch_size=32,
        G_lr=0.002,
        D_lr=0.003,
    )
    assert len(levels) == 1 and levels[0].fade(0) is None and levels[0].lod == 0
    (span,) = make_spans(levels, 1000)
    assert (span.start_nimg, span.end_nimg) == (0, 1024) and span.iteration(64) == 2


@pytest.mark.parametrize(
    ("changes", "total", "message"),
    [
        (dict(init_resolution=2), 9000, "Growing from resolution 2 "),
        (dict(init_resolution=12), 9000, "Growing from resolution 12 does not reach 32"),
        (dict(init_resolution=64), 9000, "Growing from resolution 64 "),
        (dict(transition_nimg=-1), 9000, "-1 of transition"),
        (dict(), 3000, "ends before the networks have grown to resolution 32, at 3 kimg"),
        (dict(batch_size=0), 9000, "Batch of 0 images at resolution 4"),
        (dict(batch_sizes={4: 2000}), 9000, "No iteration falls to resolution 8"),
    ],
)
def test_bad_schedules(changes, total, message):
    settings = dict(init_resolution=4, training_nimg=500, transition_nimg=500, batch_size=16)
    with pytest.raises(ValueError, match=message):
        make_spans(make_levels(32, **(settings | changes), G_lr=0.1, D_lr=0.1), total)
