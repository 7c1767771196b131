"""Transformer blocks of DINO and CLIP, and what a vision transformer does before them."""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jaxtyping import Array, Bool, Float

from stylegan_jax.models.pretrained.frozen_layers import Conv, Dense
from stylegan_jax.ops.resize import resize_bicubic, resize_bilinear

Activation = Callable[[Array], Array]
PositionRule = Literal["bilinear", "bicubic", "dino"]


def gelu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """The exact GELU, `x * Phi(x)`; jax's own default is an approximation."""
    return jax.nn.gelu(x, approximate=False)


def quick_gelu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """OpenAI's approximation, `x * sigmoid(1.702 x)`."""
    return x * jax.nn.sigmoid(1.702 * x)


class LayerNorm(nnx.Module):
    """Normalises vectors to mean 0 and variance 1, `[..., d] -> [..., d]`, in float32."""

    def __init__(self, features: int, *, eps: float):
        """Builds the layer."""
        self.weight = nnx.Param(jnp.ones((features,)))
        self.bias = nnx.Param(jnp.zeros((features,)))
        self.eps = eps

    def __call__(self, x: Float[Array, "... d"]) -> Float[Array, "... d"]:
        """Normalises."""
        wide = x.astype(jnp.float32)
        centred = wide - wide.mean(axis=-1, keepdims=True)
        variance = jnp.mean(centred**2, axis=-1, keepdims=True)
        y = centred * lax.rsqrt(variance + self.eps) * self.weight[...] + self.bias[...]
        return y.astype(x.dtype)


class Attention(nnx.Module):
    """Multi-head self-attention, `[n, l, d] -> [n, l, d]`."""

    def __init__(self, width: int, num_heads: int, *, rngs: nnx.Rngs):
        """Builds the layer; queries, keys and values are one matrix."""
        self.qkv = Dense(width, 3 * width, rngs=rngs)
        self.proj = Dense(width, width, rngs=rngs)
        self.num_heads = num_heads

    def __call__(
        self, x: Float[Array, "n l d"], mask: Bool[Array, "l l"] | None
    ) -> Float[Array, "n l d"]:
        """Mixes tokens; where `mask` is False, one (row) does not look at another (column)."""
        n, length, width = x.shape
        qkv = self.qkv(x).reshape(n, length, 3, self.num_heads, width // self.num_heads)
        q, k, v = qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2]  # [n, l, heads, d / heads]
        scores = jnp.einsum("nqhd,nkhd->nhqk", q, k, precision=lax.Precision.HIGHEST)
        scores = scores.astype(jnp.float32) * q.shape[-1] ** -0.5
        if mask is not None:
            scores = jnp.where(mask, scores, -jnp.inf)
        weights = jax.nn.softmax(scores, axis=-1).astype(v.dtype)
        y = jnp.einsum("nhqk,nkhd->nqhd", weights, v, precision=lax.Precision.HIGHEST)
        return self.proj(y.reshape(n, length, width))


class Block(nnx.Module):
    """Attention and two dense layers, each on normalised tokens, `[n, l, d] -> [n, l, d]`.

    Source: Dosovitskiy et al. 2021, equations 2 and 3.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        hidden_features: int,
        *,
        act: Activation,
        eps: float,
        rngs: nnx.Rngs,
    ):
        """Builds the block."""
        self.norm1 = LayerNorm(width, eps=eps)
        self.attn = Attention(width, num_heads, rngs=rngs)
        self.norm2 = LayerNorm(width, eps=eps)
        self.fc1 = Dense(width, hidden_features, rngs=rngs)
        self.fc2 = Dense(hidden_features, width, rngs=rngs)
        self.act = act

    def __call__(
        self, x: Float[Array, "n l d"], mask: Bool[Array, "l l"] | None = None
    ) -> Float[Array, "n l d"]:
        """Applies the block."""
        x = x + self.attn(self.norm1(x), mask)
        return x + self.fc2(self.act(self.fc1(self.norm2(x))))


class Transformer(nnx.Module):
    """Blocks `block0`, `block1`, ..., `[n, l, d] -> ` tokens after each."""

    def __init__(
        self,
        width: int,
        num_layers: int,
        num_heads: int,
        hidden_features: int,
        *,
        act: Activation,
        eps: float,
        rngs: nnx.Rngs,
    ):
        """Builds the blocks."""
        for i in range(num_layers):
            block = Block(width, num_heads, hidden_features, act=act, eps=eps, rngs=rngs)
            setattr(self, f"block{i}", block)
        self.num_layers = num_layers

    def __call__(
        self, x: Float[Array, "n l d"], mask: Bool[Array, "l l"] | None = None
    ) -> tuple[Float[Array, "n l d"], ...]:
        """Returns the tokens after every block."""
        found = []
        for i in range(self.num_layers):
            x = getattr(self, f"block{i}")(x, mask)
            found.append(x)
        return tuple(found)


class Embedding(nnx.Module):
    """Patches and one class token with their positions, `[n, h, w, 3] -> [n, 1 + p q, d]`.

    Source: Dosovitskiy et al. 2021, equation 1.
    """

    def __init__(
        self, width: int, patch_size: int, grid: tuple[int, int], *, bias: bool, rngs: nnx.Rngs
    ):
        """Builds the layer.

        Args:
            width: Length of a token.
            patch_size: Side of a patch in pixels.
            grid: Rows and columns of patches that positions are stored for.
            bias: Add a bias to the patches.
            rngs: Source of the first weights.
        """
        self.patch = Conv(
            *(3, width),
            kernel_size=patch_size,
            stride=patch_size,
            padding="VALID",
            bias=bias,
            rngs=rngs,
        )
        positions = (1 + grid[0] * grid[1], width)
        self.cls = nnx.Param(0.02 * jax.random.normal(rngs.params(), (width,)))
        self.pos = nnx.Param(0.02 * jax.random.normal(rngs.params(), positions))
        self.grid = grid
        self.patch_size = patch_size

    def __call__(
        self, x: Float[Array, "n h w 3"], rule: PositionRule = "bicubic"
    ) -> Float[Array, "n l d"]:
        """Returns tokens: the class, then patches row by row.

        Args:
            x: Normalised images whose sides are multiples of the patch.
            rule: How positions are resized where the grid is another than the stored one.

        Raises:
            ValueError: Sides are no multiples of the patch.
        """
        n, height, width, _ = x.shape
        if height % self.patch_size or width % self.patch_size:
            raise ValueError(
                f"Got images of {height}x{width} px, which patches of {self.patch_size} px do not "
                "fill: resize or crop them to multiples."
            )
        patches = self.patch(x)  # [n, p, q, d]
        tokens = patches.reshape(n, -1, patches.shape[-1])
        wanted = (height // self.patch_size, width // self.patch_size)
        pos = resize_positions(self.pos[...], self.grid, wanted, rule)
        cls = jnp.broadcast_to(self.cls[...], (n, 1, tokens.shape[-1])).astype(tokens.dtype)
        return jnp.concatenate([cls, tokens], axis=1) + pos.astype(tokens.dtype)


def resize_positions(
    pos: Float[Array, "l d"],
    grid: tuple[int, int],
    wanted: tuple[int, int],
    rule: PositionRule,
) -> Float[Array, "m d"]:
    """Resizes stored positions to another grid; what stands before the grid stays.

    Args:
        pos: Positions of the class and of `grid`, row by row.
        grid: Rows and columns that are stored.
        wanted: Rows and columns that are wanted.
        rule: `bilinear`, as StyleGAN-T does; `bicubic` with antialias, as timm and open_clip do;
            `dino`, bicubic by a factor that is a little too large, as DINO's and DINOv2's own code
            does.
    """
    if tuple(wanted) == tuple(grid):
        return pos
    num_prefix = pos.shape[0] - grid[0] * grid[1]
    cells = pos[num_prefix:].reshape(1, *grid, -1)
    if rule == "bilinear":
        cells = resize_bilinear(cells, *wanted)
    elif rule == "bicubic":
        cells = resize_bicubic(cells, *wanted, antialias=True)
    else:
        rows, columns = (_dino_weights(m, n) for m, n in zip(grid, wanted, strict=True))
        highest = lax.Precision.HIGHEST
        cells = jnp.einsum("pr,qc,nrcd->npqd", rows, columns, cells, precision=highest)
    return jnp.concatenate([pos[:num_prefix], cells.reshape(-1, pos.shape[-1])])


def _dino_weights(old: int, new: int) -> np.ndarray:
    """Returns weights `[new, old]` of DINO's rule: source `(i + 0.5) * old / (new + 0.1) - 0.5`."""
    source = (np.arange(new) + 0.5) * old / (new + 0.1) - 0.5
    first = np.floor(source).astype(int) - 1
    weights = np.zeros((new, old))
    for k in range(4):
        x = np.abs(first + k - source)
        # Keys 1981 with a = -0.75, as torch has it without antialias.
        near = (1.25 * x - 2.25) * x * x + 1
        far = -0.75 * (((x - 5) * x + 8) * x - 4)
        columns = np.clip(first + k, 0, old - 1)
        np.add.at(weights, (np.arange(new), columns), np.where(x <= 1, near, far))
    return weights.astype(np.float32)
