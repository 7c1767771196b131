"""How far images are from a target: what a projection makes small, where no features are at hand.

A distance of features takes the place of `pyramid_distance` wherever it maps `(img, target)`,
both `[n, h, w, c]` in [-1, 1], to `[n]`, and can be differentiated: `lpips.py` has the paper's.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from stylegan_jax.ops.pyramid import average_pixels, repeat_pixels

Distance = Callable[[Array, Array], Array]

# The coarsest level has a shorter side of 4 to 7 px, as the base grid of a network.
_COARSEST_PX = 8


def pyramid_distance(
    img: Float[Array, "n h w c"], target: Float[Array, "#n h w c"]
) -> Float[Array, " n"]:
    """Sums the mean absolute differences of all levels of a Laplacian pyramid.

        g_0 = x,  g_{i+1} = mean of 2 x 2 pixels of g_i,  L_i = g_i - repeat(g_{i+1}),  L_last = g
        d(x, y) = sum_i mean |L_i(x) - L_i(y)|

    Each level weighs the same, however few its pixels, so that layout counts as much as detail;
    in sums over pixels level i weighs 4^i. The weights are those of Bojanowski et al. 2018 (GLO),
    section 3.2 ("Lap1"); the pyramid is of 2 x 2 means, which every size of a network can be
    halved by. The last level is that whose shorter side is less than 8 px, or odd.

    Args:
        img: Images in [-1, 1].
        target: Likewise; one, or as many.

    Returns:
        0 for equal images; black and white are 2 apart.
    """
    # Linear, so the pyramid of the difference is the difference of the pyramids.
    lowpass = img - target
    total = jnp.zeros(lowpass.shape[0])
    while _can_halve(lowpass.shape[1], lowpass.shape[2]):
        coarser = average_pixels(lowpass, 2)
        total += jnp.mean(jnp.abs(lowpass - repeat_pixels(coarser, 2)), axis=(1, 2, 3))
        lowpass = coarser
    return total + jnp.mean(jnp.abs(lowpass), axis=(1, 2, 3))


def _can_halve(height: int, width: int) -> bool:
    """Tells whether there is a coarser level."""
    return min(height, width) >= _COARSEST_PX and height % 2 == width % 2 == 0


def noise_correlation(noise: Float[Array, "1 h w 1"]) -> Float[Array, ""]:
    """Measures what a noise map says beyond noise: its correlation with its neighbours.

        sum over scales of mean(n * roll_x(n, 1))^2 + mean(n * roll_y(n, 1))^2

    Scales are the map itself and its means of 2 x 2 pixels, as far as its shorter side has more
    than 8 px.

    Source: Karras et al. 2020 (StyleGAN2), appendix D.
    """
    total = jnp.zeros(())
    while True:
        for axis in (1, 2):
            total += jnp.mean(noise * jnp.roll(noise, 1, axis=axis)) ** 2
        if min(noise.shape[1:3]) <= _COARSEST_PX:
            return total
        noise = average_pixels(noise, 2)
