"""What is random in the augmentation of StyleGAN2-ADA: one key becomes explicit arrays."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import erfinv
from jaxtyping import Array, Bool, Float

from stylegan_jax.augment.ada_pipe import Pipe

# Every draw: whether its values are unit normals (else uniform in [0, 1)), their shape beside the
# images, and that of the gates. The order is that of the keys: new ones come last.
_KINDS: dict[str, tuple[bool, tuple[int, ...], tuple[int, ...]]] = {
    "xflip": (False, (), ()),
    "rotate90": (False, (), ()),
    "xint": (False, (2,), ()),
    "scale": (True, (), ()),
    "rotate_pre": (False, (), ()),
    "aniso": (True, (), ()),
    "rotate_post": (False, (), ()),
    "xfrac": (True, (2,), ()),
    "brightness": (True, (), ()),
    "contrast": (True, (), ()),
    "lumaflip": (False, (), ()),
    "hue": (False, (), ()),
    "saturation": (True, (), ()),
    "imgfilter": (True, (4,), (4,)),
    "noise": (True, (), ()),
    "cutout": (False, (2,), ()),
}


class Draws(NamedTuple):
    """Everything random for n images; which names there are, the pipe decides.

    Attributes:
        values: What each transformation does, `[n]`, for `xint`, `xfrac` and `cutout` `[n, 2]` with
            x first, for `imgfilter` `[n, 4]`, the lowest band first: unit normals or uniform
            numbers in [0, 1).
        gates: Uniform numbers `[n]`, for `imgfilter` `[n, 4]`: it happens where they lie below
            the probability.
        noise: Unit normal images `[n, h, w, c]`; None where the pipe has no noise.
    """

    values: dict[str, Array]
    gates: dict[str, Array]
    noise: Array | None

    def opened(self, name: str, probability: Array | float) -> Bool[Array, "n ..."]:
        """Which images a transformation happens to."""
        return self.gates[name] < probability


def draw(key: Array, n: int, pipe: Pipe, size: tuple[int, int], channels: int) -> Draws:
    """Draws everything random in a pipe, whatever its strength.

    Every transformation has a key of its own: what a pipe leaves out changes nothing else.

    Args:
        key: A key for all n images.
        n: Number of images.
        pipe: Which transformations there are.
        size: Height and width of the images, for the noise.
        channels: Of the images, for the noise.
    """
    names = draw_names(pipe)
    values: dict[str, Array] = {}
    gates: dict[str, Array] = {}
    for number, (name, (is_normal, shape, gate_shape)) in enumerate(_KINDS.items()):
        if name in names:
            key_value, key_gate = jax.random.split(jax.random.fold_in(key, number))
            sample = jax.random.normal if is_normal else jax.random.uniform
            values[name] = sample(key_value, (n, *shape))
            gates[name] = jax.random.uniform(key_gate, (n, *gate_shape))
    noise = None
    if pipe.noise:
        noise = jax.random.normal(jax.random.fold_in(key, len(_KINDS)), (n, *size, channels))
    return Draws(values, gates, noise)


def percentile_draws(
    percentile: float, pipe: Pipe, noise: Float[Array, "n h w c"], *, n: int | None = None
) -> Draws:
    """Draws that open all gates and put every value at one percentile, as the original's test hook.

    What is normal becomes `erfinv(2 * percentile - 1)`, which is not the normal distribution's
    percentile: a factor sqrt(2) is missing in the original. The second rotation is none.

    Args:
        percentile: In [0, 1].
        pipe: Which transformations there are.
        noise: Unit normal images.
        n: Number of images; None: that of `noise`.
    """
    n = len(noise) if n is None else n
    normal = erfinv(jnp.float32(2 * percentile - 1))
    special = {"rotate_post": 0.5, "noise": erfinv(jnp.float32(percentile))}
    values: dict[str, Array] = {}
    gates: dict[str, Array] = {}
    for name in draw_names(pipe):
        is_normal, shape, gate_shape = _KINDS[name]
        value = special.get(name, normal if is_normal else percentile)
        values[name] = jnp.full((n, *shape), value, jnp.float32)
        # Below every probability.
        gates[name] = jnp.full((n, *gate_shape), -1.0)
    return Draws(values, gates, noise if pipe.noise else None)


def draw_names(pipe: Pipe) -> list[str]:
    """The draws of a pipe; a rotation has two."""
    return [name for name in _KINDS if getattr(pipe, name.split("_")[0])]
