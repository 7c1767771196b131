"""CLIP: one space for images and texts."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, Num

from stylegan_jax.models.pretrained.frozen_layers import normalize_colours
from stylegan_jax.models.pretrained.images import to_rgb
from stylegan_jax.models.pretrained.vit import (
    Activation,
    Embedding,
    LayerNorm,
    PositionRule,
    Transformer,
    gelu,
    quick_gelu,
)
from stylegan_jax.ops.resize import resize_bicubic

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
_EPS = 1e-5


class ImageSizes(NamedTuple):
    """Sizes of the image tower; defaults are those of ViT-L/14."""

    img_resolution: int = 224
    patch_size: int = 14
    width: int = 1024
    num_layers: int = 24
    num_heads: int = 16
    hidden_features: int = 4096


class TextSizes(NamedTuple):
    """Sizes of the text tower; defaults are those beside ViT-L/14."""

    context_length: int = 77
    vocab_size: int = 49408
    width: int = 768
    num_layers: int = 12
    num_heads: int = 12
    hidden_features: int = 3072


VIT_L14_IMAGE, VIT_L14_TEXT = ImageSizes(), TextSizes()


class ImageTower(nnx.Module):
    """Images to vectors, `[n, h, w, 3]` normalised -> `[n, embed]`."""

    def __init__(self, sizes: ImageSizes, embed_dim: int, *, act: Activation, rngs: nnx.Rngs):
        """Builds the tower."""
        grid = sizes.img_resolution // sizes.patch_size
        width = sizes.width
        self.embed = Embedding(width, sizes.patch_size, (grid, grid), bias=False, rngs=rngs)
        self.ln_pre = LayerNorm(width, eps=_EPS)
        self.blocks = Transformer(
            width,
            sizes.num_layers,
            sizes.num_heads,
            sizes.hidden_features,
            act=act,
            eps=_EPS,
            rngs=rngs,
        )
        self.ln_post = LayerNorm(width, eps=_EPS)
        self.proj = nnx.Param(width**-0.5 * jax.random.normal(rngs.params(), (width, embed_dim)))
        self.sizes = sizes

    def __call__(
        self, x: Float[Array, "n h w 3"], rule: PositionRule = "bicubic"
    ) -> dict[str, Array]:
        """Returns `features [n, embed]` and tokens: `ln_pre`, `block0`, ..., `ln_post`.

        `rule`: see `resize_positions`.
        """
        ln_pre = self.ln_pre(self.embed(x, rule))
        tokens = self.blocks(ln_pre)
        ln_post = self.ln_post(tokens[-1])
        features = jnp.matmul(ln_post[:, 0], self.proj[...], precision="highest")
        found = {f"block{i}": t for i, t in enumerate(tokens)}
        return {"ln_pre": ln_pre, **found, "ln_post": ln_post, "features": features}


class TextTower(nnx.Module):
    """Texts to vectors, token ids `[n, l]` -> `[n, embed]`."""

    def __init__(self, sizes: TextSizes, embed_dim: int, *, act: Activation, rngs: nnx.Rngs):
        """Builds the tower."""
        width = sizes.width
        shape = (sizes.vocab_size, width)
        self.token = nnx.Param(0.02 * jax.random.normal(rngs.params(), shape))
        shape = (sizes.context_length, width)
        self.pos = nnx.Param(0.01 * jax.random.normal(rngs.params(), shape))
        self.blocks = Transformer(
            width,
            sizes.num_layers,
            sizes.num_heads,
            sizes.hidden_features,
            act=act,
            eps=_EPS,
            rngs=rngs,
        )
        self.ln_final = LayerNorm(width, eps=_EPS)
        self.proj = nnx.Param(width**-0.5 * jax.random.normal(rngs.params(), (width, embed_dim)))
        self.sizes = sizes

    def __call__(self, ids: Int[Array, "n l"]) -> dict[str, Array]:
        """Returns `features [n, embed]` and tokens: `block0`, ..., `ln_final`.

        Args:
            ids: Tokens that end with the vocabulary's last id, at most `context_length`. What
                follows that end is never looked at, so texts may be cut to the longest of them.

        Raises:
            ValueError: There are more.
        """
        length = ids.shape[1]
        if length > self.sizes.context_length:
            raise ValueError(
                f"Got texts of {length} tokens: at most {self.sizes.context_length} are read. "
                "Let the tokenizer cut them."
            )
        x = jnp.take(self.token[...], ids, axis=0) + self.pos[...][:length]
        # A token sees itself and those before it.
        tokens = self.blocks(x, jnp.tril(jnp.ones((length, length), bool)))
        ln_final = self.ln_final(tokens[-1])
        # The end of a text is the largest id; its token has seen the whole.
        end = jnp.argmax(ids, axis=1)
        last = jnp.take_along_axis(ln_final, end[:, None, None], axis=1)[:, 0]
        features = jnp.matmul(last, self.proj[...], precision="highest")
        found = {f"block{i}": t for i, t in enumerate(tokens)}
        return {**found, "ln_final": ln_final, "features": features}


class CLIP(nnx.Module):
    """Both towers and the factor of their cosines.

    Source: Radford et al. 2021, figure 3.
    Checked: tests/parity, cases `feat_clip_*`.
    """

    def __init__(
        self,
        image: ImageSizes = VIT_L14_IMAGE,
        text: TextSizes = VIT_L14_TEXT,
        *,
        embed_dim: int = 768,
        use_quick_gelu: bool = True,
        rngs: nnx.Rngs,
    ):
        """Builds the network.

        Args:
            image: Sizes of the image tower.
            text: Sizes of the text tower.
            embed_dim: Length of the vectors that both give.
            use_quick_gelu: As OpenAI's own weights were trained. False: the exact GELU, as most
                of open_clip's.
            rngs: Source of the first weights.
        """
        act = quick_gelu if use_quick_gelu else gelu
        self.image = ImageTower(image, embed_dim, act=act, rngs=rngs)
        self.text = TextTower(text, embed_dim, act=act, rngs=rngs)
        self.logit_scale = nnx.Param(jnp.log(jnp.float32(1 / 0.07)))

    def logits(self, image: Float[Array, "n e"], text: Float[Array, "m e"]) -> Float[Array, "n m"]:
        """Scores every image with every text: their cosine times `exp(logit_scale)`."""
        cosines = jnp.matmul(unit(image), unit(text).T, precision="highest")
        return jnp.exp(self.logit_scale[...]) * cosines


def unit(x: Float[Array, "... e"]) -> Float[Array, "... e"]:
    """Scales vectors to length 1."""
    square = jnp.sum(x**2, axis=-1, keepdims=True)
    return x * jax.lax.rsqrt(jnp.maximum(square, 1e-24))


def apply(module: CLIP, img: Num[Array, "n h w c"]) -> dict[str, Array]:
    """Returns `features [n, 768]`, of length 1.

    Images are resized as StyleGAN-T's score does: bicubic, without antialias.

    Args:
        module: The network.
        img: [n, h, w, c] in 0..255, of 1 or 3 channels and any size.

    Source: Sauer et al. 2023 (StyleGAN-T), section 4.
    """
    resolution = module.image.sizes.img_resolution
    img = resize_bicubic(to_rgb(img), resolution, resolution, antialias=False)
    return {"features": unit(module.image(normalize_colours(img, MEAN, STD))["features"])}
