import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal

from stylegan_jax.ops import fir


def upfirdn_loop(x, taps, up, down, pads):
    """The definition, pixel by pixel, for one image [h, w]."""
    x0, x1, y0, y1 = pads
    stuffed = np.zeros((x.shape[0] * up, x.shape[1] * up))
    stuffed[::up, ::up] = x
    padded = np.pad(stuffed, ((max(y0, 0), max(y1, 0)), (max(x0, 0), max(x1, 0))))
    h, w = padded.shape
    padded = padded[max(-y0, 0) : h - max(-y1, 0), max(-x0, 0) : w - max(-x1, 0)]
    return signal.convolve2d(padded, taps, mode="valid")[::down, ::down]


@pytest.mark.parametrize(
    ("up", "down", "pads"),
    [(1, 1, (1, 2, 0, 3)), (2, 1, (2, 1, 3, 2)), (1, 2, (1, 1, 2, 0)), (3, 2, (4, -1, 5, -2))],
)
def test_upfirdn2d_is_its_definition(rng, up, down, pads):
    """For separable taps, and for taps of full rank; the ways of an axis: test_fir_axis.py."""
    x = rng.normal(size=(2, 9, 7, 3)).astype(np.float32)
    row, full = rng.normal(size=5), rng.normal(size=(3, 4))

    @jax.jit
    def run(x):
        statics = dict(up=up, down=down, padding=pads, gain=1.5)
        return [fir.upfirdn2d(x, taps, **statics) for taps in (row, full)]

    for got, taps in zip(run(x), (np.outer(row, row), full)):
        for n in range(2):
            for c in range(3):
                want = 1.5 * upfirdn_loop(x[n, :, :, c], taps, up, down, pads)
                # float32 sums of up to 25 products of order 1.
                np.testing.assert_allclose(got[n, :, :, c], want, atol=2e-5)


@pytest.mark.parametrize(("up", "down"), [((1, 2), (2, 1)), ((3, 1), (1, 1))])
def test_axes_have_their_own_factors(rng, up, down):
    """Pairs are [x, y], as padding is [x0, x1, y0, y1]."""
    x = rng.normal(size=(6, 8)).astype(np.float32)
    taps = rng.normal(size=(3, 2))
    run = jax.jit(lambda x: fir.upfirdn2d(x, taps, up=up, down=down, padding=[1, 2, 3, 0]))
    stuffed = np.zeros((6 * up[1], 8 * up[0]))
    stuffed[:: up[1], :: up[0]] = x
    want = signal.convolve2d(np.pad(stuffed, ((3, 0), (1, 2))), taps, mode="valid")
    want = want[:: down[1], :: down[0]]
    np.testing.assert_allclose(run(x[None, :, :, None])[0, :, :, 0], want, atol=1e-5)


@pytest.mark.parametrize("taps", [(1.0,), (0.3, 0.7), (0.5, 0.2, 0.1, 0.15, 0.05)])
def test_images_are_resampled_around_their_centre(rng, taps):
    """Two taps, an odd number, and one that is shorter than the zoom; none symmetric."""
    x = rng.normal(size=(8, 8))
    n = len(taps)
    before, after = (n + 1) // 2, (n - 2) // 2
    zoomed = 4 * upfirdn_loop(x, np.outer(taps, taps), 2, 1, (before, after) * 2)
    before, after = (n - 1) // 2, (n - 2) // 2
    halved = upfirdn_loop(x, np.outer(taps, taps), 1, 2, (before, after) * 2)

    run = jax.jit(lambda x: (fir.upsample2d(x, taps), fir.downsample2d(x, taps)))
    up, down = run(jnp.asarray(x, jnp.float32)[None, :, :, None])
    np.testing.assert_allclose(up[0, :, :, 0], zoomed, atol=1e-5)
    np.testing.assert_allclose(down[0, :, :, 0], halved, atol=1e-5)


def test_resampling_keeps_a_constant_image():
    x = jnp.ones((1, 16, 16, 1))
    taps = (0.125, 0.375, 0.375, 0.125)
    up, down = jax.jit(lambda x: (fir.upsample2d(x, taps), fir.downsample2d(x, taps)))(x)
    assert up.shape == (1, 32, 32, 1) and down.shape == (1, 8, 8, 1)
    np.testing.assert_allclose(up[0, 4:-4, 4:-4], 1, atol=1e-6)
    np.testing.assert_allclose(down[0, 2:-2, 2:-2], 1, atol=1e-6)


def test_bfloat16_stays_bfloat16():
    y = jax.jit(lambda x: fir.upsample2d(x, (0.25, 0.5, 0.25)))(
        jnp.ones((1, 4, 4, 1), jnp.bfloat16)
    )
    assert y.dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (dict(taps=(1.0,) * 9), "does not fit"),
        (dict(taps=(1.0,), up=0), "at least 1"),
        (dict(taps=(1.0,), padding=[1, 2, 3]), "padding"),
    ],
)
def test_bad_input(kwargs, message):
    with pytest.raises(ValueError, match=message):
        fir.upfirdn2d(jnp.ones((1, 4, 4, 1)), **kwargs)
    with pytest.raises(ValueError, match="1-D taps"):
        fir.setup_filter([[1.0, 2.0]], separable=True)
    with pytest.raises(ValueError, match="shape"):
        fir.setup_filter([])
