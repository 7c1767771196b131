"""Which of CelebA's 40 attributes a face has: the classifiers of linear separability.

Each attribute has a network of its own: ProGAN's discriminator for 256 px, without minibatch
statistics, whose one logit is positive where the attribute is there.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from stylegan_jax.models.progressive_discriminator import Discriminator
from stylegan_jax.ops.resize import resize_area

# In the order of the official files, celebahq-classifier-00-male.pkl to -39-wearing-necktie.pkl.
ATTRIBUTES = (
    *("male", "smiling", "attractive", "wavy-hair", "young", "5-o-clock-shadow"),
    *("arched-eyebrows", "bags-under-eyes", "bald", "bangs", "big-lips", "big-nose", "black-hair"),
    *("blond-hair", "blurry", "brown-hair", "bushy-eyebrows", "chubby", "double-chin"),
    *("eyeglasses", "goatee", "gray-hair", "heavy-makeup", "high-cheekbones"),
    *("mouth-slightly-open", "mustache", "narrow-eyes", "no-beard", "oval-face", "pale-skin"),
    *("pointy-nose", "receding-hairline", "rosy-cheeks", "sideburns", "straight-hair"),
    *("wearing-earrings", "wearing-hat", "wearing-lipstick", "wearing-necklace"),
    "wearing-necktie",
)
RESOLUTION = 256


class AttributeClassifier(Discriminator):
    """One attribute's network, `[n, r, r, 3]` in [-1, 1] -> one logit.

    Source: Karras et al. 2019 (StyleGAN), section 4.2 and appendix C; the layers are those of
    published ports, since no paper lists them.
    Checked: tests/parity, cases `feat_attrcls_*`.
    """

    def __init__(self, img_resolution: int = RESOLUTION, **sizes: Any):
        """Builds the network; `channel_base`, `channel_max` and `rngs` as for `Discriminator`."""
        super().__init__(
            0,
            img_resolution,
            3,
            grows=False,
            blur_filter=None,
            mbstd_num_channels=0,
            **sizes,
        )

    def blocks(self, img: Float[Array, "n r r 3"]) -> dict[str, Float[Array, "n _ _ _"]]:
        """Returns the feature maps that each block gives, from the largest to that of 8 px."""
        x, found = getattr(self, f"b{self.resolutions[-1]}").fromrgb(img), {}
        for res in self.resolutions[:0:-1]:
            x = found[f"b{res}"] = getattr(self, f"b{res}")(x)
        return found

    def logits(self, img: Float[Array, "n r r 3"]) -> Float[Array, "n 1"]:
        """Returns the logits, in full precision; above 0: the attribute is there."""
        with jax.default_matmul_precision("highest"):
            return self(img, None, {})[0]


def attribute_logits(
    module: AttributeClassifier, img: Float[Array, "n h w c"]
) -> Float[Array, " n"]:
    """Returns the logits of an attribute; above 0: images have it.

    Args:
        module: One attribute's network.
        img: What a generator draws, in [-1, 1] and not rounded; square. Larger images than the
            network's are reduced to its size by areas.

    Raises:
        ValueError: Images are smaller than the network's, not square, or not RGB.

    Source: Karras et al. 2019 (StyleGAN), section 4.2.
    """
    resolution = module.resolutions[-1]
    height, width, channels = img.shape[1:]
    if height != width or height < resolution or channels != 3:
        raise ValueError(
            f"Got images of {height}x{width} px and {channels} channels: attributes are told from "
            f"square RGB images of {resolution} px or more."
        )
    if height > resolution:
        img = resize_area(img, resolution, resolution)
    return module.logits(img)[:, 0]


def classify(module: AttributeClassifier, img: Float[Array, "n h w c"]) -> Float[Array, "n 2"]:
    """Returns how probable it is that images have the attribute, and that they have not.

    Arguments and errors as `attribute_logits`.
    """
    logits = attribute_logits(module, img)
    return jax.nn.softmax(jnp.stack([logits, -logits], axis=-1))
