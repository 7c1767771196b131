"""Perceptual path length: how much images change along a line between two latents.

    PPL = E[ d(G(x(t)), G(x(t + eps))) / eps^2 ]

d is a squared perceptual distance (LPIPS), x(t) a point on the line: a straight one between two
styles w, or an arc between two latents z. The first and the last percent of the values are left
out of the mean.

    path = PathSettings(space="w", sampling="full", crop=True)
    distances = sample_distances(path, key, c, z_dim=512, mapping=..., synthesize=..., distance=...)
    ppl = trimmed_mean(all_distances)                                   # of 50,000 of them

Published numbers differ in more than the network: StyleGAN has 100,000 samples and StyleGAN2 50,000
of them, both over the crop about a face's middle; names with a 2 (`ppl2_wend`) have no crop; and
see `downsample_factor`.

Source: Karras et al. 2019 (StyleGAN), section 4.1; Karras et al. 2020 (StyleGAN2), section 3.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from stylegan_jax.ops.pyramid import average_pixels
from stylegan_jax.sizes import Size

# (z, c) -> ws, all layers' styles [n, num_ws, w_dim].
Mapping = Callable[[Array, Array | None], Array]
# (ws or z, key of the noise) -> images in [-1, 1].
Synthesis = Callable[[Array, Array], Array]
# Two batches of images in [0, 255], three channels -> [n].
Distance = Callable[[Array, Array], Array]

SPACES = ("w", "z")
SAMPLINGS = ("full", "end")
CONVENTIONS = ("tensorflow", "pytorch")
# The networks of the distance look at images of about this size.
_FEATURE_PX = 256


@dataclasses.dataclass(frozen=True)
class PathSettings:
    """Which path length it is.

    Attributes:
        space: `w` for straight lines between styles, `z` for arcs between latents.
        sampling: `full` for points anywhere on the line, `end` for its beginning.
        crop: Whether images are cut to about a face's middle.
        epsilon: Step along the line.
        convention: Of the size that images are compared at, see downsample_factor.

    Raises:
        ValueError: A word that is none of these, or a step that is not above zero.
    """

    space: str = "w"
    sampling: str = "end"
    crop: bool = False
    epsilon: float = 1e-4
    convention: str = "pytorch"

    def __post_init__(self):
        """Refuses what there is not."""
        for name, known in (
            ("space", SPACES),
            ("sampling", SAMPLINGS),
            ("convention", CONVENTIONS),
        ):
            if getattr(self, name) not in known:
                raise ValueError(f"{name}={getattr(self, name)!r} is none of {known}.")
        if not self.epsilon > 0:
            raise ValueError(f"epsilon={self.epsilon} must be above 0; papers take 1e-4.")


def lerp(
    a: Float[Array, "n *d"], b: Float[Array, "n *d"], t: Float[Array, " n"]
) -> Float[Array, "n *d"]:
    """Returns points on straight lines, a at t = 0 and b at t = 1."""
    return a + (b - a) * t.reshape(-1, *[1] * (a.ndim - 1))


def slerp(
    a: Float[Array, "n d"], b: Float[Array, "n d"], t: Float[Array, " n"]
) -> Float[Array, "n d"]:
    """Returns points of length 1 on great circles, from the direction of a to that of b.

    Source: Shoemake 1985; White 2016 (Sampling generative networks).
    """
    a, b = _unit(a), _unit(b)
    cosine = jnp.sum(a * b, axis=1, keepdims=True)
    angle = t[:, None] * jnp.arccos(jnp.clip(cosine, -1, 1))
    # The direction at right angles to a, towards b.
    across = _unit(b - cosine * a)
    return _unit(a * jnp.cos(angle) + across * jnp.sin(angle))


def _unit(x: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """Returns vectors of length 1; those of length 0 stay."""
    length = jnp.linalg.norm(x, axis=1, keepdims=True)
    return x / jnp.where(length > 0, length, 1)


def crop_center(img: Float[Array, "n h w c"]) -> Float[Array, "n p q c"]:
    """Cuts half of the height and width, about where an aligned face is.

    Rows 3/8 to 7/8 and columns 2/8 to 6/8, in whole eighths.

    Raises:
        ValueError: A side has less than 8 px.
    """
    height, width = img.shape[1:3]
    y, x = height // 8, width // 8
    if not y or not x:
        raise ValueError(f"Images of {height}x{width} have no eighths to crop by: 8 px at least.")
    return img[:, 3 * y : 7 * y, 2 * x : 6 * x]


def downsample_factor(size: Size, *, crop: bool, convention: str) -> int:
    """Returns by which factor images are averaged before they are compared.

    Both conventions bring them to about 256 px, but not the same ones: StyleGAN's and StyleGAN2's
    code (`tensorflow`) looks at the size after the crop, StyleGAN2-ADA's and StyleGAN3's
    (`pytorch`) at that before it, so that faces of 1024 px are compared at 256 px by the first and
    at 128 px by the second. Without a crop they agree.

    Args:
        size: Height and width of what G draws.
        crop: Whether it is cropped.
        convention: `tensorflow` or `pytorch`.

    Returns:
        The shorter side over 256, or the next smaller number that divides both sides.
    """
    kept = [4 * (side // 8) if crop else side for side in size]
    shorter = min(kept if convention == "tensorflow" else size)
    factor = max(shorter // _FEATURE_PX, 1)
    while any(side % factor for side in kept):
        factor -= 1
    return factor


def prepare_images(
    img: Float[Array, "n h w c"], *, crop: bool, convention: str
) -> Float[Array, "n p q 3"]:
    """Crops and shrinks images, and brings [-1, 1] to [0, 255], neither rounded nor clipped.

    Raises:
        ValueError: Channels are neither 1, which is repeated, nor 3.
    """
    if img.shape[-1] not in (1, 3):
        raise ValueError(
            f"Images of {img.shape[-1]} channels: path lengths are of 1 or 3. Leave alpha out."
        )
    size = (img.shape[1], img.shape[2])
    factor = downsample_factor(size, crop=crop, convention=convention)
    img = average_pixels(crop_center(img) if crop else img, factor)
    return jnp.broadcast_to((img + 1) * 127.5, (*img.shape[:3], 3))


def line_points(
    path: PathSettings,
    z: tuple[Float[Array, "n z"], Float[Array, "n z"]],
    c: Array | None,
    t: Float[Array, " n"],
    mapping: Mapping | None,
) -> tuple[Array, Array]:
    """Returns what is synthesised at t and at t + epsilon.

    Args:
        path: Which line.
        z: Latents of its two ends.
        c: Labels, the same at both ends; whatever `mapping` takes.
        t: Where on it, 0 to 1.
        mapping: None for networks that draw from z itself.

    Raises:
        ValueError: Lines between styles of a network that has none.
    """
    a, b = z
    steps = (t, t + path.epsilon)
    if path.space == "w":
        if mapping is None:
            raise ValueError(
                "Path length in w of a network without a mapping network: it draws from z. Use "
                'space="z".'
            )
        w_a, w_b = mapping(a, c), mapping(b, c)
        first, second = (lerp(w_a, w_b, step) for step in steps)
        return first, second
    first, second = (slerp(a, b, step) for step in steps)
    return (first, second) if mapping is None else (mapping(first, c), mapping(second, c))


def path_distances(
    path: PathSettings,
    points: tuple[Array, Array],
    noise_key: Key[Array, ""],
    *,
    synthesize: Synthesis,
    distance: Distance,
) -> Float[Array, " n"]:
    """Returns d / epsilon^2 of images at two points of each line.

    Args:
        path: Which path length it is.
        points: Result of line_points.
        noise_key: Given to both calls of `synthesize`: the noise of a pair must be the same.
        synthesize: Draws images in [-1, 1].
        distance: Compares them, in [0, 255] and three channels.
    """
    first, second = (
        prepare_images(synthesize(x, noise_key), crop=path.crop, convention=path.convention)
        for x in points
    )
    return distance(first, second) / path.epsilon**2


def sample_distances(
    path: PathSettings,
    key: Key[Array, ""],
    c: Array | None,
    *,
    num_samples: int,
    z_dim: int,
    mapping: Mapping | None,
    synthesize: Synthesis,
    distance: Distance,
) -> Float[Array, " n"]:
    """Draws lines and points on them, and returns the distances there; to be jitted as a whole.

    Args:
        path: Which path length it is.
        key: Of latents, points and noise.
        c: Labels [n, c_dim], or what `mapping` takes.
        num_samples: Lines, n.
        z_dim: Size of latents.
        mapping: As in line_points.
        synthesize: As in path_distances.
        distance: As in path_distances.
    """
    key_a, key_b, key_t, noise_key = jax.random.split(key, 4)
    a, b = (jax.random.normal(k, (num_samples, z_dim)) for k in (key_a, key_b))
    t = jax.random.uniform(key_t, (num_samples,))
    points = line_points(path, (a, b), c, t * (path.sampling == "full"), mapping)
    return path_distances(path, points, noise_key, synthesize=synthesize, distance=distance)


def trimmed_mean(distances: np.ndarray) -> float:
    """Averages what lies between the 1st and the 99th percentile, both of them included.

    The percentiles are values that occur: the next lower one, and the next higher one.

    Raises:
        ValueError: Nothing is given, or some of it is not finite.
    """
    values = np.asarray(distances, np.float64).ravel()
    bad = int((~np.isfinite(values)).sum())
    if bad or not len(values):
        raise ValueError(
            f"{bad} of {len(values)} path lengths are not finite; all must be, and there must be "
            "some. Compute images and features in float32."
        )
    low = np.percentile(values, 1, method="lower")
    high = np.percentile(values, 99, method="higher")
    return float(values[(values >= low) & (values <= high)].mean())
