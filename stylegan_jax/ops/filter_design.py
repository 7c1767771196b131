"""Low-pass filters of StyleGAN3, designed on the host in float64."""

import numpy as np
from jaxtyping import Float64
from scipy import special


def design_lowpass_filter(
    num_taps: int, cutoff: float, width: float, sampling_rate: float, *, radial: bool = False
) -> Float64[np.ndarray, "..."] | None:
    """Designs a sinc (or, around a point, a jinc) under a Kaiser window.

    Args:
        num_taps: Taps per axis; one tap filters nothing.
        cutoff: Frequency that is halved, in cycles per unit as `sampling_rate`; below half of it.
        width: From where frequencies pass to where they are stopped, in the same unit.
        sampling_rate: Pixels per unit.
        radial: The same along every direction, as rotation needs it; not separable.

    Returns:
        Taps that sum to 1, `[num_taps]` or, radial, `[num_taps, num_taps]`; None for one tap.

    Raises:
        ValueError: A number of taps, frequency or width that no filter has.

    Source: Karras et al. 2021 (StyleGAN3), section 3.2 and appendix C; Kaiser 1974 (the window).
    Checked: tests/parity, case `ops_fir_design`; tests/ops/test_filter_design.py.
    """
    if num_taps < 1 or num_taps != int(num_taps):
        raise ValueError(f"num_taps={num_taps}: give a whole number of at least 1.")
    if not 0 < width < np.inf:
        raise ValueError(f"width={width}: give a transition band wider than 0.")
    if num_taps == 1:
        return None
    if not 0 < cutoff < sampling_rate / 2 < np.inf:
        raise ValueError(
            f"cutoff={cutoff} at sampling_rate={sampling_rate}: give a cutoff above 0 and below "
            "half of the sampling rate."
        )

    # Positions of taps in pixels, around the middle, and their window.
    t = np.arange(num_taps) - (num_taps - 1) / 2  # [n]
    _, beta = kaiser_window(num_taps, width / (sampling_rate / 2))
    window = np.kaiser(num_taps, beta)  # [n]
    if radial:
        taps = _jinc(cutoff, np.hypot(t, t[:, None]) / sampling_rate) * np.outer(window, window)
    else:
        taps = np.sinc(2 * cutoff / sampling_rate * t) * window
    return taps / taps.sum()


def kaiser_window(num_taps: int, relative_width: float) -> tuple[float, float]:
    """What a Kaiser window reaches: `(attenuation of the stop band in dB, beta)`.

    `relative_width` is that of the transition band, in halves of the sampling rate.

    Source: Oppenheim and Schafer, Discrete-Time Signal Processing, section 7.6.1.
    """
    attenuation = 2.285 * (num_taps - 1) * np.pi * relative_width + 7.95
    if attenuation > 50:
        beta = 0.1102 * (attenuation - 8.7)
    elif attenuation > 21:
        beta = 0.5842 * (attenuation - 21) ** 0.4 + 0.07886 * (attenuation - 21)
    else:
        beta = 0.0
    return attenuation, beta


def _jinc(cutoff: float, r: np.ndarray) -> np.ndarray:
    """The transform of a disc of frequencies up to `cutoff`, up to a factor, at distances r."""
    # J1(2 pi f r) / (pi r), which is f in the middle
    distance = np.where(r > 0, r, 1)
    return np.where(r > 0, special.j1(2 * np.pi * cutoff * r) / (np.pi * distance), cutoff)
