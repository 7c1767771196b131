"""Fourier features: waves in place of a learned constant, so that what a network draws can move."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

from stylegan_jax.models.layers import Dense
from stylegan_jax.sizes import Size

# What nothing is divided by: only weights that are all zero come near it.
_TINY = 1e-20


class FourierInput(nnx.Module):
    """Feature maps of waves that a style turns and moves, `w [n, w_dim] -> [n, h, w, channels]`.

    Frequencies and phases are drawn once. They are parameters, so that they are saved, exported and
    taken over with all others, but no gradient reaches them: Adam and averages leave them alone.

    Source: Karras et al. 2021 (StyleGAN3), section 3.2 (configs B and H) and appendix F.
    Checked: tests/parity, cases `sg3_G_*`; tests/models/test_fourier_input.py.
    """

    def __init__(
        self,
        w_dim: int,
        channels: int,
        *,
        size: Size,
        sampling_rate: float,
        bandwidth: float,
        rngs: nnx.Rngs,
    ):
        """Builds the input.

        Args:
            w_dim: Length of a style.
            channels: Waves, and feature maps.
            size: Height and width of the feature maps.
            sampling_rate: Pixels per unit of length, the shorter side of the image.
            bandwidth: Highest frequency, in cycles per unit; half the rate at most.
            rngs: Source of the first weights, of frequencies (uniform over the disc that the
                bandwidth allows) and of phases.

        Raises:
            ValueError: The pixels are too few for such frequencies.
        """
        if not 0 < bandwidth <= sampling_rate / 2:
            raise ValueError(
                f"bandwidth={bandwidth:g} with sampling_rate={sampling_rate:g}: pixels hold "
                "frequencies above 0 and up to half their rate; give larger images or a smaller "
                "first_cutoff."
            )
        # |n|^2 / 2 of a normal n is exponential: exp(-|n|^2 / 4) is the root of a uniform number,
        # and so the radius of a uniform point of the disc.
        freqs = jax.random.normal(rngs.params(), (channels, 2))
        radii = jnp.linalg.norm(freqs, axis=1, keepdims=True)
        self.freqs = nnx.Param(freqs / radii * jnp.exp(-jnp.square(radii) / 4) * bandwidth)
        self.phases = nnx.Param(jax.random.uniform(rngs.params(), (channels,)) - 0.5)
        # The waves are mixed; at first no style turns or moves them.
        self.weight = nnx.Param(jax.random.normal(rngs.params(), (channels, channels)))
        self.affine = Dense(w_dim, 4, rngs=rngs)
        self.affine.weight = nnx.Param(jnp.zeros((w_dim, 4)))
        self.affine.bias = nnx.Param(jnp.asarray([1.0, 0.0, 0.0, 0.0]))

        self.size = size
        self.sampling_rate = sampling_rate
        self.bandwidth = bandwidth
        # Where frequencies fade out; nothing is drawn above the bandwidth if it has no width.
        self.fade_width = max(sampling_rate / 2 - bandwidth, 1e-3 * bandwidth)
        self.weight_gain = 1 / math.sqrt(channels)

    def __call__(
        self, w: Float[Array, "n w_dim"], transform: Float[Array, "*n 3 3"] | None = None
    ) -> Float[Array, "n h w c"]:
        """Draws the waves in float32.

        `transform` is the inverse of what happens to the image, one for all or one per image: it
        maps places of the image that is drawn to places of the one that would be drawn without it.
        The shorter side spans one unit, the origin lies in the middle, y points down.
        """
        # Phases are differences of large numbers: no product is rounded to bfloat16.
        with jax.default_matmul_precision("highest"):
            freqs, phases = self._move(w.astype(jnp.float32), transform)  # [n, c, 2], [n, c]

            # What the pixels do not hold fades out: above the bandwidth down to 0 at half the rate.
            norm = jnp.sqrt(jnp.maximum(jnp.sum(jnp.square(freqs), axis=2), _TINY))
            fade = (norm - self.bandwidth) / self.fade_width
            amplitudes = jnp.clip(1 - fade, 0, 1)  # [n, c]

            # a sin(2 pi (f . x + phase)) at the middles of the pixels
            y, x = (jnp.asarray(_positions(side, self.sampling_rate)) for side in self.size)
            along_x = freqs[:, None, None, :, 0] * x[:, None]  # [n, 1, w, c]
            along_y = freqs[:, None, None, :, 1] * y[:, None, None]  # [n, h, 1, c]
            waves = jnp.sin(2 * np.pi * (along_x + along_y + phases[:, None, None]))
            waves = waves * amplitudes[:, None, None]  # [n, h, w, c]
            return waves @ (self.weight[...] * self.weight_gain)

    def _move(
        self, w: Float[Array, "n w_dim"], transform: Float[Array, "*n 3 3"] | None
    ) -> tuple[Float[Array, "n c 2"], Float[Array, "n c"]]:
        """Turns and moves the waves, first as the style says, then as asked for."""
        # (r_c, r_s, t_x, t_y), scaled so that r is a rotation.
        t = self.affine(w)  # [n, 4]
        square = jnp.sum(jnp.square(t[:, :2]), axis=1, keepdims=True)
        r_c, r_s, t_x, t_y = (t * lax.rsqrt(jnp.maximum(square, _TINY))).T
        zero, one = jnp.zeros_like(r_c), jnp.ones_like(r_c)
        rotation = _matrix([[r_c, -r_s, zero], [r_s, r_c, zero], [zero, zero, one]])
        translation = _matrix([[one, zero, -t_x], [zero, one, -t_y], [zero, zero, one]])
        affine = rotation @ translation  # [n, 3, 3]
        if transform is not None:
            affine = affine @ jnp.asarray(transform, jnp.float32)

        # sin(f . (A x + b) + phase) has the frequency f A and the phase f . b + phase.
        freqs = lax.stop_gradient(self.freqs[...])
        phases = lax.stop_gradient(self.phases[...])
        phases = phases + jnp.einsum("cd,nd->nc", freqs, affine[:, :2, 2])
        return jnp.einsum("cd,nde->nce", freqs, affine[:, :2, :2]), phases


def _positions(side: int, sampling_rate: float) -> np.ndarray:
    """Middles of pixels around the origin, in units."""
    return ((np.arange(side) + 0.5 - side / 2) / sampling_rate).astype(np.float32)


def _matrix(rows: list[list[Float[Array, " n"]]]) -> Float[Array, "n 3 3"]:
    """Matrices of the numbers of n images."""
    return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)
