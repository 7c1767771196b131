import dataclasses
import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal

from stylegan_jax.ops import conv
from stylegan_jax.ops.conv import conv2d_resample
from stylegan_jax.ops.fir import resampling_padding
from stylegan_jax.ops.formulation import FORMULATIONS
from stylegan_jax.ops.packing import UNPACKED, depth_to_space, space_to_depth

TAPS = (0.125, 0.375, 0.375, 0.125)
ASYMMETRIC = (0.5, 0.2, 0.1, 0.15, 0.05)
FULL = tuple(map(tuple, np.outer(ASYMMETRIC, TAPS)))

# Form, kernel [kh, kw], up, down, padding, taps, flip_filter.
CASES = [
    ("_unfiltered", (3, 2), 1, 1, (1, 0, 2, 1), None, False),
    ("_pointwise_then_up", (1, 1), 2, 1, 0, FULL, False),
    ("_pointwise_then_up", (1, 1), 3, 1, 1, ASYMMETRIC, True),
    ("_down_then_pointwise", (1, 1), 1, 2, 0, FULL, True),
    ("_down_then_pointwise", (1, 1), 1, 3, (1, 0, 2, 1), TAPS, False),
    ("_strided", (3, 3), 1, 2, 1, TAPS, False),
    ("_strided", (3, 2), 1, 3, (1, 0, 2, 1), FULL, False),
    ("_strided", (3, 3), 1, 2, 1, ASYMMETRIC, True),
    ("_transposed", (3, 3), 2, 1, 1, TAPS, False),
    ("_transposed", (3, 2), 3, 1, (1, 0, 2, 1), ASYMMETRIC, False),
    ("_transposed", (3, 3), 2, 1, 1, ASYMMETRIC, True),
    ("_folded", (3, 3), 2, 1, 1, TAPS, False),
    ("_folded", (3, 2), 3, 1, (1, 0, 2, 1), ASYMMETRIC, False),
    ("_folded", (3, 3), 1, 2, 1, ASYMMETRIC, True),
    ("_folded", (1, 1), 1, 2, 0, TAPS, False),
    ("_folded", (1, 1), 1, 3, (1, 0, 2, 1), TAPS, False),
    ("_folded", (3, 2), 1, 1, (1, 0, 2, 1), None, False),
]


@functools.cache
def derivatives(form, kernel, up, down, padding, taps, flip_filter):
    """Value, gradients and gradients of the squared gradient of a form, compiled as one program."""
    pads = padding if isinstance(padding, tuple) else (padding,) * 4
    if up > 1 or down > 1:
        pads = resampling_padding(taps, up=up, down=down, padding=pads)
    packing, plain = (UNPACKED, UNPACKED), FORMULATIONS["plain"]
    how = conv._Resampling(taps, up, down, pads, 1, flip_filter, packing, plain)

    def loss(x, weight):
        y = getattr(conv, form)(x, weight, how)
        return jnp.sum(jnp.sin(y)), y

    def penalty(x, weight):
        grads, y = jax.grad(loss, (0, 1), has_aux=True)(x, weight)
        return jnp.sum(grads[0] ** 2), (y, grads)

    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, 8, 7, 3)), jnp.float32)
    weight = jnp.asarray(rng.normal(size=(*kernel, 3, 4)), jnp.float32)
    return jax.jit(jax.grad(penalty, (0, 1), has_aux=True))(x, weight)


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case[:4])))
def test_every_form_equals_the_definition(case):
    """How it is computed changes rounding only: values, gradients, gradients of gradients."""
    got, want = derivatives(*case), derivatives("_by_definition", *case[1:])
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert a.shape == b.shape
        # float32, sums of some hundred products; the second derivative goes through two of them.
        np.testing.assert_allclose(a, b, atol=2e-5 * float(jnp.max(jnp.abs(b))))


@pytest.mark.parametrize(("up", "down"), [(1, 1), (2, 1), (1, 2), (3, 2)])
def test_the_definition_is_the_papers(rng, up, down):
    """Zeros between pixels, filter, kernel, filter, every `down`-th pixel: by SciPy in float64."""
    x, weight = rng.normal(size=(6, 5)), rng.normal(size=(3, 2))
    # Gain `up` per axis; SciPy convolves, as flip_filter=False does.
    taps = np.outer(ASYMMETRIC, ASYMMETRIC)
    x0, x1, y0, y1 = resampling_padding(ASYMMETRIC, up=up, down=down, padding=[1, 0, 2, 1])
    if up == down == 1:
        x0, x1, y0, y1 = 1, 0, 2, 1
    want = np.zeros((6 * up, 5 * up))
    want[::up, ::up] = x
    want = np.pad(want, ((y0, y1), (x0, x1)))
    if up > 1:
        want = signal.convolve2d(want, taps * up**2, "valid")
    want = signal.correlate2d(want, weight, "valid")
    if down > 1:
        want = signal.convolve2d(want, taps, "valid")[::down, ::down]

    run = functools.partial(conv2d_resample, taps=ASYMMETRIC, up=up, down=down)
    got = jax.jit(functools.partial(run, padding=[1, 0, 2, 1]))(
        jnp.asarray(x, jnp.float32)[None, :, :, None],
        jnp.asarray(weight, jnp.float32)[:, :, None, None],
    )
    # float32 sums of some hundred products of order 1.
    np.testing.assert_allclose(got[0, :, :, 0], want, atol=1e-5)


def resample_by_scipy(x, weight, taps, up, down):
    """One image [h, w] and a kernel [k, k], in float64, with the padding of the official code.

    Of n taps (n + up - 1) // 2 zeros lie before a zoomed image and (n - up) // 2 after it, and
    (n - down + 1) // 2 and (n - down) // 2 around one that is decimated; a kernel adds k // 2.
    """
    n, k = len(taps), len(weight)
    before, after = (n + up - 1) // 2, (n - up) // 2
    if down > 1:
        before, after = (n - down + 1) // 2, (n - down) // 2
    stuffed = np.zeros((32 + 8 * up + 32, 32 + 8 * up + 32))
    stuffed[32 : 32 + 8 * up : up, 32 : 32 + 8 * up : up] = x
    inside = slice(32 - before - k // 2, 32 + 8 * up + after + k // 2)
    y = stuffed[inside, inside]

    # Taps are convolved, with the gain `up` per axis, and kernels correlated.
    if up > 1:
        y = signal.convolve2d(y, np.outer(taps, taps) * up**2, "valid")
    y = signal.correlate2d(y, weight, "valid")
    return signal.convolve2d(y, np.outer(taps, taps), "valid")[::down, ::down] if down > 1 else y


# One tap, two, odd and many, none of them symmetric.
FILTERS = ((1.0,), (0.3, 0.7), (0.2, 0.5, 0.3), ASYMMETRIC, tuple(np.arange(1, 13.0) ** 2 / 650))
# Of every platform, and that of TPUs on large images.
WAYS = {
    **{name: (how, (UNPACKED, UNPACKED)) for name, how in FORMULATIONS.items()},
    "folded": (dataclasses.replace(FORMULATIONS["tpu"], folded_from=0), (UNPACKED, UNPACKED)),
    "packed": (FORMULATIONS["tpu"], ((2, 2), (1, 2))),
}


@pytest.mark.parametrize(("kernel", "up", "down"), [(3, 2, 1), (3, 1, 2), (1, 2, 1), (1, 1, 2)])
def test_filters_of_any_length_are_centred_alike_in_every_formulation(rng, kernel, up, down):
    """Values by SciPy; gradients by their products with directions, which are values, too."""
    x, dx = rng.normal(size=(2, 8, 8))
    weight, dweight = rng.normal(size=(2, kernel, kernel))
    r = rng.normal(size=(8 * up // down, 8 * up // down))

    def loss(x, weight, taps, how, packing):
        x, weight = space_to_depth(x[None, :, :, None], packing[0]), weight[:, :, None, None]
        statics = dict(up=up, down=down, padding=kernel // 2, packing=packing, formulation=how)
        y = depth_to_space(conv2d_resample(x, weight, taps, **statics), packing[1])[0, :, :, 0]
        return jnp.sum(y * r), y

    @jax.jit
    def run(x, weight):
        derive = jax.grad(loss, (0, 1), has_aux=True)
        return [{name: derive(x, weight, taps, *WAYS[name]) for name in WAYS} for taps in FILTERS]

    found = run(jnp.asarray(x, jnp.float32), jnp.asarray(weight, jnp.float32))
    for taps, ways in zip(FILTERS, found, strict=True):
        want = resample_by_scipy(x, weight, taps, up, down)
        along_x = np.sum(resample_by_scipy(dx, weight, taps, up, down) * r)
        along_weight = np.sum(resample_by_scipy(x, dweight, taps, up, down) * r)
        for name, ((grad_x, grad_weight), y) in ways.items():
            # float32 sums of some hundred products of order 1; of some thousand.
            np.testing.assert_allclose(y, want, atol=1e-5, err_msg=name)
            np.testing.assert_allclose(np.sum(grad_x * dx), along_x, atol=1e-4, err_msg=name)
            got = np.sum(grad_weight * dweight)
            np.testing.assert_allclose(got, along_weight, atol=1e-4, err_msg=name)


@pytest.mark.parametrize(
    ("form", "settings"),
    [
        ("_unfiltered", dict()),
        ("_by_definition", dict(up=2, down=2)),
        ("_pointwise_then_up", dict(up=2, kernel=1)),
        ("_down_then_pointwise", dict(down=2, kernel=1)),
        ("_strided", dict(down=2)),
        ("_strided", dict(down=2, groups=3)),
        ("_transposed", dict(up=2)),
        ("_by_definition", dict(up=2, taps=FULL)),
        ("_by_definition", dict(up=2, padding=-4)),
        ("_by_definition", dict(up=2, groups=3)),
        ("_strided", dict(down=2, platform="tpu", side=256)),
        ("_folded", dict(down=2, platform="tpu", side=512)),
        ("_folded", dict(up=2, platform="tpu", side=256)),
        ("_transposed", dict(up=2, platform="tpu", side=128)),
        ("_folded", dict(platform="tpu", side=512, packing=((2, 2), (2, 2)))),
        ("_folded_by_axis", dict(platform="tpu", down=2, kernel=1, packing=((2, 2), (1, 2)))),
    ],
)
def test_the_form_that_is_chosen(monkeypatch, form, settings):
    defaults = dict(up=1, down=1, padding=1, kernel=3, side=8, groups=1, taps=TAPS, platform="cpu")
    settings = defaults | dict(packing=(UNPACKED, UNPACKED)) | settings
    (py, px), _ = settings["packing"]
    groups, kernel, side = settings["groups"], settings["kernel"], settings["side"]
    x = jax.ShapeDtypeStruct((1, side // py, side // px, 12 * py * px), jnp.float32)
    weight = jax.ShapeDtypeStruct((kernel, kernel, 12 // groups, 6), jnp.float32)

    # A form may call no other: the first and only one that runs is the one that was chosen.
    taken = []
    for name in {form for form, *_ in CASES} | {"_by_definition", "_folded_by_axis"}:
        original = getattr(conv, name)

        def recorded(x, weight, how, name=name, original=original):
            taken.append(name)
            return original(x, weight, how)

        monkeypatch.setattr(conv, name, recorded)
    statics = {k: settings[k] for k in ("up", "down", "padding", "groups", "packing")}
    statics["formulation"] = FORMULATIONS[settings["platform"]]
    run = functools.partial(inspect.unwrap(conv2d_resample), taps=settings["taps"], **statics)
    jax.eval_shape(run, x, weight)
    assert taken == [form]


def test_cropping_comes_before_the_filter(rng):
    x = jnp.asarray(rng.normal(size=(1, 8, 8, 3)), jnp.float32)
    weight = jnp.asarray(rng.normal(size=(3, 3, 3, 4)), jnp.float32)
    taps2d = np.outer(ASYMMETRIC, ASYMMETRIC)

    @jax.jit
    def run(x):
        return [conv2d_resample(x, weight, t, up=2, padding=-4) for t in (ASYMMETRIC, taps2d)]

    got, want = run(x)
    np.testing.assert_allclose(got, want, atol=1e-4)


def test_channels_must_fit():
    with pytest.raises(ValueError, match="4 channels"):
        conv2d_resample(jnp.ones((1, 8, 8, 4)), jnp.ones((3, 3, 3, 2)), TAPS, up=2)
