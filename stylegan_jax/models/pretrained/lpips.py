"""LPIPS: how different two images look, by the features of VGG-16."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Num

from stylegan_jax.models.pretrained.frozen_layers import normalize_colours
from stylegan_jax.models.pretrained.images import to_rgb
from stylegan_jax.models.pretrained.vgg16 import CHANNELS, Trunk

# Added to the length of a pixel's features before they are divided by it.
_EPS = 1e-10
# The last of five resolutions is a sixteenth of the image.
SMALLEST_PX = 16


class LPIPS(nnx.Module):
    """VGG-16's convolutions, and what each channel of five layers weighs: `lin0` to `lin4`.

    Source: Zhang et al. 2018, section 3, "lin", version 0.1.
    Checked: tests/parity, case `feat_vgg16_lpips_recipe`.
    """

    def __init__(self, channels: tuple[int, ...] = CHANNELS, *, rngs: nnx.Rngs):
        """Builds the network; all channels weigh the same at first."""
        self.trunk = Trunk(channels, rngs=rngs)
        for stage, width in enumerate(channels):
            setattr(self, f"lin{stage}", nnx.Param(jnp.full((width,), 1 / width)))
        self.num_stages = len(channels)

    def __call__(self, img: Float[Array, "n h w c"]) -> tuple[Float[Array, "n _ _ _"], ...]:
        """Returns the features of each layer, scaled so that LPIPS is their squared distance.

        Every pixel's features are of length 1, times the roots of the channels' weights, divided
        by the root of the number of pixels.
        """
        scaled = []
        for stage, x in enumerate(self.trunk(normalize_colours(to_rgb(img)))):
            # Where no feature is above zero, the root has no gradient; 0 / eps is 0 there anyway.
            square = jnp.sum(x**2, axis=-1, keepdims=True)
            length = jnp.sqrt(jnp.where(square > 0, square, 1)) * (square > 0)
            weight = getattr(self, f"lin{stage}")[...] / (x.shape[1] * x.shape[2])
            scaled.append(x / (length + _EPS) * jnp.sqrt(weight))
        return tuple(scaled)


def lpips_distance(
    module: LPIPS, a: Float[Array, "n h w c"], b: Float[Array, "#n h w c"]
) -> Float[Array, " n"]:
    """Measures how different images look; 0 for equal ones, rarely above 1.

        d(a, b) = sum over layers, mean over pixels, sum over channels of
                  w_c (a_c / |a| - b_c / |b|)^2

    Can be differentiated. Images are taken as they are: neither resized nor rounded.

    Args:
        module: The network.
        a: Images in 0..255, of 1 or 3 channels and at least 16 px.
        b: Likewise; one, or as many.

    Raises:
        ValueError: Images are smaller, or have other channels.

    Source: Zhang et al. 2018, equation 1.
    """
    return features_distance(_features(module, a), _features(module, b))


def features_distance(
    a: tuple[Float[Array, "n _ _ _"], ...], b: tuple[Float[Array, "#n _ _ _"], ...]
) -> Float[Array, " n"]:
    """Measures as `lpips_distance` does, by what `LPIPS` returned for the images."""
    layers = [jnp.sum((x - y) ** 2, axis=(1, 2, 3)) for x, y in zip(a, b, strict=True)]
    return jnp.sum(jnp.stack(layers), axis=0)


def lpips_features(module: LPIPS, img: Num[Array, "n h w c"]) -> Float[Array, "n d"]:
    """Returns vectors whose squared L2 distance is LPIPS; arguments as `lpips_distance`.

    Channel-major layer by layer, as NVIDIA's network returns them; d grows with the image.
    """
    parts = [x.transpose(0, 3, 1, 2).reshape(x.shape[0], -1) for x in _features(module, img)]
    return jnp.concatenate(parts, axis=1)


def _features(module: LPIPS, img: Array) -> tuple[Array, ...]:
    """Checks images and returns their scaled features."""
    if min(img.shape[1:3]) < SMALLEST_PX:
        raise ValueError(
            f"Got images of {img.shape[1]}x{img.shape[2]} px: LPIPS needs {SMALLEST_PX} px or "
            "more. Enlarge them."
        )
    return module(jnp.asarray(img, jnp.float32))


def apply(module: LPIPS, img: Num[Array, "n h w c"]) -> dict[str, Float[Array, "n d"]]:
    """Returns `features`, see `lpips_features`."""
    return {"features": lpips_features(module, img)}
