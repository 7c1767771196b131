"""DiffAugment: colours, translation and a hole, of every image that D sees, at one strength.

Zhao, Liu, Lin, Zhu, Han: *Differentiable Augmentation for Data-Efficient GAN Training* (NeurIPS
2020), in the form in which StyleGAN-T and the projected discriminators use it.

Channels are as in `ada_colour.py`: colours are the first three of three or more, or the first of
one or two; what comes after them is only moved and cut.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from stylegan_jax.ops.packing import UNPACKED, Packing, depth_to_space, space_to_depth
from stylegan_jax.ops.precision import wide

# Everything random: uniform numbers in [0, 1) `brightness`, `saturation`, `contrast` [n]; whole
# numbers `translation` and `cutout` [n, 2], rows first.
Draws = dict[str, Array]
_COLOURS = ("brightness", "saturation", "contrast")


@dataclasses.dataclass(frozen=True)
class Policy:
    """What happens to images, and how far; static.

    Attributes:
        names: Of `color`, `translation`, `cutout`, in the order in which they act.
        translation: Largest translation, as a share of the side.
        cutout: Sides of the hole, as shares of the image's.
    """

    names: tuple[str, ...] = ("color", "translation", "cutout")
    translation: float = 0.125
    cutout: float = 0.2

    def __post_init__(self) -> None:
        """Refuses what is not known.

        Raises:
            ValueError: A name twice or one that there is not; a share outside [0, 1].
        """
        known = ("color", "translation", "cutout")
        if set(self.names) - set(known) or len(set(self.names)) < len(self.names):
            raise ValueError(f"policy {','.join(self.names)}: give each of {known} once at most.")
        for name in ("translation", "cutout"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)}: give a share from 0 to 1.")


# By name: all of it, and what keeps colours.
POLICIES = {
    "diffaugment": Policy(),
    "diffaugment_geometry": Policy(("translation", "cutout")),
}


def draw(key: Array, n: int, policy: Policy, size: tuple[int, int], channels: int = 3) -> Draws:
    """Draws everything random in a policy; what it leaves out changes nothing else.

    Args:
        key: A key for all n images.
        n: Number of images.
        policy: What happens to them.
        size: Height and width.
        channels: Not used: as other augmentations have it.
    """
    del channels
    keys = jax.random.split(key, 5)
    draws: Draws = {}
    if "color" in policy.names:
        for name, key_colour in zip(_COLOURS, keys):
            draws[name] = jax.random.uniform(key_colour, (n,))
    sides = jnp.asarray(size)
    if "translation" in policy.names:
        most = jnp.asarray(_lengths(size, policy.translation))
        draws["translation"] = jax.random.randint(keys[3], (n, 2), -most, most + 1)
    if "cutout" in policy.names:
        holes = jnp.asarray(_lengths(size, policy.cutout))
        draws["cutout"] = jax.random.randint(keys[4], (n, 2), 0, sides + 1 - holes % 2)
    return draws


def augment(
    images: Float[Array, "n h w cf"],
    draws: Draws,
    policy: Policy,
    *,
    packing: Packing = UNPACKED,
) -> Float[Array, "n h w cf"]:
    """Transforms images, each by its own draws; differentiable in the images, to any order.

    Args:
        images: In [-1, 1]; results may leave it.
        draws: As `draw` makes them for the same policy.
        policy: What happens to them.
        packing: How images are packed (`ops/packing.py`).

    Returns:
        Images in the dtype that came; all is computed in float32.

    Raises:
        ValueError: Draws of another policy or another number of images.

    Source: Zhao et al. 2020, section 4 and appendix A.
    Checked: tests/parity, cases `proj_diffaug`, `sgt_diffaug_loss`.
    """
    dtype = images.dtype
    x = wide(depth_to_space(images, packing))
    for name in policy.names:
        for part in _COLOURS if name == "color" else (name,):
            if part not in draws or len(draws[part]) != len(x):
                made = f"{len(draws[part])} images" if part in draws else "another policy"
                raise ValueError(
                    f"draws of {part} are of {made}, and {len(x)} images came: make them by `draw` "
                    "for these images."
                )
        x = _PARTS[name](x, draws, policy)
    return space_to_depth(x.astype(dtype), packing)


def _recolour(x: Array, draws: Draws, policy: Policy) -> Array:
    """Adds to colours, then scales their distance from grey, then that from the image's mean."""
    del policy
    num_colours = 3 if x.shape[-1] >= 3 else 1
    colours, rest = x[..., :num_colours], x[..., num_colours:]
    brightness, saturation, contrast = (draws[name][:, None, None, None] for name in _COLOURS)
    colours = colours + (brightness - 0.5)
    grey = jnp.mean(colours, axis=-1, keepdims=True)
    colours = (colours - grey) * (2 * saturation) + grey
    mean = jnp.mean(colours, axis=(1, 2, 3), keepdims=True)
    colours = (colours - mean) * (contrast + 0.5) + mean
    return jnp.concatenate([colours, rest], axis=-1)


def _translate(x: Array, draws: Draws, policy: Policy) -> Array:
    """Pixel (i, j) is what lay at (i + a, j + b); zero where that is outside."""
    my, mx = _lengths((x.shape[1], x.shape[2]), policy.translation)
    padded = jnp.pad(x, ((0, 0), (my, my), (mx, mx), (0, 0)))

    def cut(image: Array, shift: Array) -> Array:
        return lax.dynamic_slice(image, (my + shift[0], mx + shift[1], 0), x.shape[1:])

    return jax.vmap(cut)(padded, draws["translation"])


def _cut_out(x: Array, draws: Draws, policy: Policy) -> Array:
    """Sets a rectangle to 0; its rows and columns that lie outside fall on the border."""
    size = (x.shape[1], x.shape[2])
    inside = []
    for axis, (side, length) in enumerate(zip(size, _lengths(size, policy.cutout))):
        first = draws["cutout"][:, axis, None] - length // 2
        pixel = np.arange(side)
        cut = (pixel >= jnp.clip(first, 0, side - 1)) & (
            pixel <= jnp.clip(first + length - 1, 0, side - 1)
        )
        inside.append(cut & (length > 0))
    mask = inside[0][:, :, None] & inside[1][:, None, :]  # [n, h, w]
    return x * (1 - mask[..., None].astype(x.dtype))


def _lengths(size: tuple[int, int], share: float) -> tuple[int, int]:
    """Shares of height and width in whole pixels, halves up."""
    return int(size[0] * share + 0.5), int(size[1] * share + 0.5)


_PARTS = {"color": _recolour, "translation": _translate, "cutout": _cut_out}
