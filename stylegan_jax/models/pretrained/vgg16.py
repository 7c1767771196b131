"""VGG-16, whose features tell how near images are: in precision and recall, and under LPIPS."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Float, Num

from stylegan_jax.models.pretrained.frozen_layers import Conv, Dense, normalize_colours
from stylegan_jax.models.pretrained.images import to_rgb
from stylegan_jax.ops.resize import resize_tf1

# Convolutions of each stage; 2x2 maxima are taken after it.
STAGES = (2, 2, 3, 3, 3)
CHANNELS = (64, 128, 256, 512, 512)
RESOLUTION = 224


def max_pixels(x: Float[Array, "n h w c"]) -> Float[Array, "n p q c"]:
    """Halves feature maps by the maxima of 2 x 2 pixels; a last odd row or column is left out."""
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


class Trunk(nnx.Module):
    """The 13 convolutions, `[n, h, w, 3] -> ` feature maps of five resolutions."""

    def __init__(self, channels: tuple[int, ...] = CHANNELS, *, rngs: nnx.Rngs):
        """Builds `conv1` to `conv13`; `channels` are those of each stage."""
        width, number = 3, 0
        for out, count in zip(channels, STAGES, strict=True):
            for _ in range(count):
                number += 1
                setattr(self, f"conv{number}", Conv(width, out, kernel_size=3, rngs=rngs))
                width = out

    def __call__(self, x: Float[Array, "n h w 3"]) -> tuple[Float[Array, "n _ _ _"], ...]:
        """Returns what each stage gives before its maxima: relu1_2, 2_2, 3_3, 4_3 and 5_3.

        Args:
            x: Normalised images of at least 16 px.
        """
        stages, number = [], 0
        for count in STAGES:
            x = max_pixels(stages[-1]) if stages else x
            for _ in range(count):
                number += 1
                x = jax.nn.relu(getattr(self, f"conv{number}")(x))
            stages.append(x)
        return tuple(stages)


class VGG16(nnx.Module):
    """Trunk and three dense layers, `[n, r, r, 3]` normalised -> vectors.

    Source: Simonyan and Zisserman 2015, table 1 (D).
    Checked: tests/parity, case `feat_vgg16_lpips_recipe`.
    """

    def __init__(
        self,
        channels: tuple[int, ...] = CHANNELS,
        *,
        resolution: int = RESOLUTION,
        hidden_features: int = 4096,
        num_classes: int = 1000,
        rngs: nnx.Rngs,
    ):
        """Builds the network; defaults are the published one's."""
        self.resolution = resolution
        self.trunk = Trunk(channels, rngs=rngs)
        in_features = channels[-1] * (resolution // 32) ** 2
        self.fc1 = Dense(in_features, hidden_features, rngs=rngs)
        self.fc2 = Dense(hidden_features, hidden_features, rngs=rngs)
        self.fc3 = Dense(hidden_features, num_classes, rngs=rngs)

    def __call__(self, x: Float[Array, "n r r 3"]) -> dict[str, Array]:
        """Returns `pool5 [n, r / 32, r / 32, c]`, `fc1`, `fc2` after their ReLU, and `logits`."""
        pool5 = max_pixels(self.trunk(x)[-1])
        # Weights of fc1 are in the order channel, row, column.
        flat = pool5.transpose(0, 3, 1, 2).reshape(x.shape[0], -1)
        fc1 = jax.nn.relu(self.fc1(flat))
        fc2 = jax.nn.relu(self.fc2(fc1))
        return {"pool5": pool5, "fc1": fc1, "fc2": fc2, "logits": self.fc3(fc2)}


def apply(module: VGG16, img: Num[Array, "n h w c"]) -> dict[str, Array]:
    """Returns `features [n, 4096]`: the second dense layer after its ReLU.

    Args:
        module: The network.
        img: [n, h, w, c] in 0..255, of 1 or 3 channels and any size.

    Source: Kynkäänniemi et al. 2019, section 3.1; resized as TensorFlow 1 does, like all official
    metrics.
    """
    img = to_rgb(img)
    img = resize_tf1(img, module.resolution, module.resolution)
    return {"features": module(normalize_colours(img))["fc2"]}
