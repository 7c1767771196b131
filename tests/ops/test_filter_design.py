import numpy as np
import pytest
from scipy import integrate, signal

from stylegan_jax.ops.filter_design import design_lowpass_filter, kaiser_window


@pytest.mark.parametrize(("num_taps", "width"), [(12, 12.0), (24, 8.0), (7, 3.0), (6, 0.5)])
def test_one_axis_is_scipys_window_method(num_taps, width):
    """SciPy's takes the width of the transition band too."""
    got = design_lowpass_filter(num_taps, 4.0, width, 64.0)
    np.testing.assert_allclose(got, signal.firwin(num_taps, 4.0, width=width, fs=64.0), atol=1e-12)
    attenuation, beta = kaiser_window(num_taps, width / 32)
    assert attenuation == pytest.approx(signal.kaiser_atten(num_taps, width / 32))
    assert beta == pytest.approx(signal.kaiser_beta(attenuation))


@pytest.mark.parametrize("num_taps", [6, 7])
def test_radial_taps_transform_a_disc(num_taps):
    """Each tap by its integral over the disc of frequencies; seven taps have one in the middle."""
    cutoff, rate = 5.0, 32.0
    got = design_lowpass_filter(num_taps, cutoff, 9.0, rate, radial=True)
    t = (np.arange(num_taps) - (num_taps - 1) / 2) / rate

    def transform(r):
        # Of columns of the disc, sqrt(cutoff^2 - f^2) high on either side.
        def column(f):
            return 2 * np.sqrt(cutoff**2 - f**2) * np.cos(2 * np.pi * f * r)

        return integrate.quad(column, -cutoff, cutoff)[0]

    window = np.kaiser(num_taps, kaiser_window(num_taps, 9.0 / 16)[1])
    want = np.array([[transform(np.hypot(x, y)) for x in t] for y in t]) * np.outer(window, window)
    np.testing.assert_allclose(got, want / want.sum(), atol=1e-9)
    np.testing.assert_allclose(got, got.T, atol=1e-15)


def test_filters_are_float64_and_one_tap_is_none():
    assert design_lowpass_filter(12, 2.0, 12.0, 32.0).dtype == np.float64
    assert design_lowpass_filter(12, 2.0, 12.0, 32.0, radial=True).shape == (12, 12)
    # ToRGB's cutoff is half of its rate: fine, where nothing is filtered.
    assert design_lowpass_filter(1, 8.0, 1.0, 16.0) is None


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((0, 2.0, 1.0, 16.0), "num_taps=0"),
        ((6, 0.0, 1.0, 16.0), "cutoff=0"),
        ((6, 8.0, 1.0, 16.0), "half of the sampling rate"),
        ((6, 2.0, 0.0, 16.0), "width=0"),
        ((6, 2.0, 1.0, -16.0), "sampling_rate=-16"),
    ],
)
def test_what_no_filter_has(args, message):
    with pytest.raises(ValueError, match=message):
        design_lowpass_filter(*args)
