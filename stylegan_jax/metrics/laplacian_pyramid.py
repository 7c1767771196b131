"""The Laplacian pyramid: an image as bands of detail, each at half the resolution of the last.

    g_0 = image,  g_{i+1} = down(g_i),  level_i = g_i - up(g_{i+1}),  last level = g itself

The levels add up to the image again. The coarsest has 16 px on its shorter side, or up to 31 where
that is no power of two.

Source: Burt & Adelson 1983; as ProGAN uses it, Karras et al. 2018, section 5.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Real

BINOMIAL_TAPS = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
MIN_RESOLUTION = 16


def num_levels(height: int, width: int) -> int:
    """Returns how many pyramid levels an image has.

    The last one has 16 to 31 px on its shorter side: 16 where that is a power of two.

    Args:
        height: Image height in pixels.
        width: Image width in pixels.

    Returns:
        1 at 16 px, 2 at 32 px, ... 7 at 1024 px.

    Raises:
        ValueError: A side is shorter than 16 px, or cannot be halved as often.
    """
    # 16 * 2^halvings <= short < 32 * 2^halvings
    short = min(height, width)
    halvings = (short // MIN_RESOLUTION).bit_length() - 1
    if halvings < 0 or height % (1 << halvings) or width % (1 << halvings):
        raise ValueError(
            f"Laplacian pyramid (sliced Wasserstein distance) got {height}x{width} images; it "
            f"wants at least 16 px on both sides, and sides that can be halved until the shorter "
            f"one has 16 to 31 px. Resize or crop both sets."
        )
    return halvings + 1


def laplacian_pyramid(images: Real[Array | np.ndarray, "n h w c"]) -> list[Array]:
    """Splits images into band-pass levels, from full resolution down to 16 px.

    Args:
        images: uint8 or float images [n, h, w, c] in grey levels, 0 to 255. Images that are split
            over devices stay so: no image needs another.

    Returns:
        float32 levels [n, h / 2^i, w / 2^i, c] in grey levels, finest first.

    Raises:
        ValueError: The size does not halve down to 16 px.

    Source: Burt & Adelson 1983; mirror borders as in ProGAN.
    Checked: tests/metrics/test_laplacian_pyramid.py vs scipy.ndimage, and by reconstruction.
    """
    return _laplacian_pyramid(images, num_levels(*images.shape[1:3]))


@functools.partial(jax.jit, static_argnums=1)
def _laplacian_pyramid(images: Real[Array, "n h w c"], levels: int) -> list[Array]:
    """Compiled body of laplacian_pyramid."""
    lowpass = jnp.asarray(images, jnp.float32)
    pyramid = []
    for _ in range(levels - 1):
        # level_i = g_i - up(down(g_i)): what the coarser level cannot hold.
        coarser = _pyramid_down(lowpass)
        pyramid.append(lowpass - _pyramid_up(coarser))
        lowpass = coarser
    return [*pyramid, lowpass]


def _blur(x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
    """Filters height and width with the binomial taps, borders mirrored without repeating them."""
    for axis in (1, 2):
        size = x.shape[axis]
        padding = [(0, 0)] * 4
        padding[axis] = (2, 2)
        padded = jnp.pad(x, padding, mode="reflect")
        # y[j] = sum_i tap_i * x[j + i - 2]: shifted sums, which all platforms do fast.
        x = jnp.zeros_like(x)
        for i, tap in enumerate(BINOMIAL_TAPS):
            x += tap * jax.lax.slice_in_dim(padded, i, i + size, axis=axis)
    return x


def _pyramid_down(x: Float[Array, "n h w c"]) -> Array:
    """Halves the resolution: [n, h, w, c] -> [n, h/2, w/2, c]."""
    return _blur(x)[:, ::2, ::2]


def _pyramid_up(x: Float[Array, "n h w c"]) -> Array:
    """Doubles the resolution: [n, h, w, c] -> [n, 2h, 2w, c]."""
    # One zero between and after pixels, in height and width.
    spread = jax.lax.pad(x, jnp.float32(0), [(0, 0, 0), (0, 1, 1), (0, 1, 1), (0, 0, 0)])
    return 4 * _blur(spread)  # zero insertion leaves a quarter of the energy
