"""DINO: a vision transformer that was trained without labels, whose tokens StyleGAN-T's D reads."""

from flax import nnx
from jaxtyping import Array, Float, Num

from stylegan_jax.models.pretrained.frozen_layers import normalize_colours
from stylegan_jax.models.pretrained.images import to_rgb
from stylegan_jax.models.pretrained.vit import (
    Embedding,
    LayerNorm,
    PositionRule,
    Transformer,
    gelu,
)
from stylegan_jax.ops.resize import resize_bicubic

RESOLUTION = 224
_EPS = 1e-6


class DINO(nnx.Module):
    """Vision transformer, `[n, h, w, 3]` normalised as ImageNet -> tokens; defaults are ViT-S/16.

    Source: Caron et al. 2021; Dosovitskiy et al. 2021.
    Checked: tests/parity, cases `feat_dino_*`.
    """

    def __init__(
        self,
        img_resolution: int = RESOLUTION,
        *,
        patch_size: int = 16,
        width: int = 384,
        num_layers: int = 12,
        num_heads: int = 6,
        hidden_features: int | None = None,
        rngs: nnx.Rngs,
    ):
        """Builds the network; `hidden_features` is 4 times the width by default."""
        grid = (img_resolution // patch_size, img_resolution // patch_size)
        self.embed = Embedding(width, patch_size, grid, bias=True, rngs=rngs)
        self.blocks = Transformer(
            width,
            num_layers,
            num_heads,
            hidden_features or 4 * width,
            act=gelu,
            eps=_EPS,
            rngs=rngs,
        )
        self.norm = LayerNorm(width, eps=_EPS)

    def __call__(
        self, x: Float[Array, "n h w 3"], rule: PositionRule = "bicubic"
    ) -> dict[str, Float[Array, "n l d"]]:
        """Returns tokens: `embed`, `block0`, ... and, normalised after the last, `norm`.

        The class comes first, then patches row by row. `rule`: see `resize_positions`.
        """
        embed = self.embed(x, rule)
        tokens = self.blocks(embed)
        found = {f"block{i}": t for i, t in enumerate(tokens)}
        return {"embed": embed, **found, "norm": self.norm(tokens[-1])}


def apply(module: DINO, img: Num[Array, "n h w c"]) -> dict[str, Array]:
    """Returns `features [n, d]`: the class token of the final norm.

    Args:
        module: The network.
        img: [n, h, w, c] in 0..255, of 1 or 3 channels and any size.
    """
    img = resize_bicubic(to_rgb(img), RESOLUTION, RESOLUTION, antialias=True)
    return {"features": module(normalize_colours(img))["norm"][:, 0]}
