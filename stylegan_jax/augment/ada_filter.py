"""Frequency bands of an augmented image, each made stronger or weaker."""

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from stylegan_jax.augment.ada_draws import Draws
from stylegan_jax.augment.ada_pipe import Pipe

# Taps of the wavelet sym2 (Daubechies 1992), orthonormal.
_SYM2 = (
    -0.12940952255092145,
    0.22414386804185735,
    0.836516303737469,
    0.48296291314469025,
)
# Share of the power that a natural image has in each band, lowest first: 1 / f.
_POWER = np.asarray([10, 1, 1, 1], np.float32) / 13


def filter_bank() -> Float[np.ndarray, "4 43"]:
    """Filters of four bands, an octave each, lowest first, which sum to a unit impulse.

    Source: Karras et al. 2020 (StyleGAN2-ADA), appendix B; Mallat 2009, section 7.3.
    Checked: tests/parity, case `ada_single`.
    """
    # Each half of the spectrum, without phase: a wavelet's filters with their own reverses.
    low = np.asarray(_SYM2)
    high = low * (-1) ** np.arange(len(low))
    low = np.convolve(low, low[::-1]) / 2  # [7]
    high = np.convolve(high, high[::-1]) / 2

    # What is low so far is stretched to half its frequencies, and split again.
    bank = np.asarray([[1.0], [0.0], [0.0], [0.0]])
    for band in range(1, len(bank)):
        stretched = np.zeros((len(bank), 2 * bank.shape[1] - 1))
        stretched[:, ::2] = bank
        bank = np.stack([np.convolve(row, low) for row in stretched])
        edge = (bank.shape[1] - len(high)) // 2
        bank[band, edge : edge + len(high)] += high
    return bank.astype(np.float32)


def band_filters(draws: Draws, p: Float[Array, ""] | float, pipe: Pipe) -> Float[Array, "n 43"]:
    """The filter of each image, symmetric: bands times gains that keep the power of the whole."""
    gains = jnp.ones((len(draws.values["imgfilter"]), len(_POWER)))
    for band, multiplier in enumerate(pipe.imgfilter_bands):
        if not multiplier:
            continue
        t = jnp.exp2(draws.values["imgfilter"][:, band] * pipe.imgfilter_std)
        opened = draws.gates["imgfilter"][:, band] < pipe.imgfilter * multiplier * p
        ts = jnp.ones_like(gains).at[:, band].set(jnp.where(opened, t, 1.0))
        power = jnp.sum(_POWER * jnp.square(ts), axis=1, keepdims=True)
        gains *= ts / jnp.sqrt(power)
    return jnp.sum(gains[:, :, None] * filter_bank(), axis=1)


def filter_images(
    images: Float[Array, "n h w c"], filters: Float[Array, "n k"]
) -> Float[Array, "n h w c"]:
    """Filters each image with its own symmetric taps along both axes, continued by reflection.

    Images smaller than the filter are reflected more than once; the original refuses them.
    """
    filters = lax.stop_gradient(filters)
    reach = filters.shape[1] // 2
    for axis in (2, 1):
        pads = [(0, 0)] * 4
        pads[axis] = (reach, reach)
        size = images.shape[axis]
        padded = lax.optimization_barrier(jnp.pad(images, pads, mode="reflect"))
        total = jnp.zeros((), images.dtype)
        # Symmetric: two pixels share a tap.
        for k in range(reach + 1):
            part = lax.slice_in_dim(padded, k, k + size, axis=axis)
            if k < reach:
                mirror = 2 * reach - k
                part += lax.slice_in_dim(padded, mirror, mirror + size, axis=axis)
            total += part * filters[:, k, None, None, None]
        images = total
    return images
