"""The pure functions under a generator, and how many images they draw at a time.

Parameters are an argument of every program and no part of it: a constant of their size would be
compiled in.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, UInt8

from stylegan_jax.models.blocks import (
    BaseGenerator,
    Noise,
    NoiseLayers,
    broadcast_ws,
    make_noise,
    truncate,
)
from stylegan_jax.ops.pyramid import repeat_pixels

# What an accelerator draws at once.
CHUNK = 32


class Structure(NamedTuple):
    """A generator without its parameters, and how far it has grown.

    Attributes:
        graphdef: Its modules.
        resolution: Where it draws; pixels are repeated up to its own resolution.
        fade: Share of the resolution below; None: none.
    """

    graphdef: nnx.GraphDef[BaseGenerator]
    resolution: int | None = None
    fade: float | None = None


def map_latents(
    structure: Structure,
    params: dict[str, Any],
    z: Float[Array, "n z"],
    c: Float[Array, "n c"],
) -> Float[Array, "n l w_dim"]:
    """Maps latents and labels to the styles of all layers, which are the same for each."""
    G = nnx.merge(structure.graphdef, params)
    return broadcast_ws(G.mapping(z, c), G.num_ws)


def truncate_styles(
    ws: Float[Array, "n l w_dim"],
    w_avg: Float[Array, " w_dim"],
    psi: Float[Array, " n"],
    cutoff: Int[Array, ""] | int,
) -> Float[Array, "n l w_dim"]:
    """Truncates the first `cutoff` layers; where psi is 1 no rounding moves a style."""
    is_near = (psi[:, None] != 1) & (jnp.arange(ws.shape[1]) < cutoff)  # [n, l]
    return jnp.where(is_near[..., None], truncate(ws, w_avg, psi), ws)


def draw_images(
    structure: Structure,
    params: dict[str, Any],
    moving: dict[str, Any],
    ws: Float[Array, "n l w_dim"],
    noise: Noise | None,
    transform: Float[Array, "*n 3 3"] | None = None,
) -> Float[Array, "n h w ch"]:
    """Draws float32 images in [-1, 1], at full size, from styles and noise.

    `transform` is for networks that take one: the inverse of what happens to the image.
    """
    G = nnx.merge(structure.graphdef, params)
    resolution = structure.resolution or G.img_resolution
    fade = None if structure.fade is None else jnp.float32(structure.fade)
    options = {} if transform is None else {"transform": transform}
    img, _ = G.synthesis(ws, noise, moving, resolution=resolution, fade=fade, **options)
    return repeat_pixels(img.astype(jnp.float32), G.img_resolution // resolution)


def to_grey_levels(images: Float[Array, "*n"]) -> UInt8[Array, "*n"]:
    """Rounds [-1, 1] to 0 .. 255 as `run.images.to_uint8` does, on the device."""
    clipped = jnp.clip(jnp.nan_to_num(images, nan=-1.0), -1, 1)
    return jnp.rint((clipped + 1) * 127.5).astype(jnp.uint8)


def make_noise_program(layers: NoiseLayers, img_resolution: int) -> Callable[..., Noise]:
    """Compiles on first use: uint32 seeds `[n]` to noise, each image's from its own alone."""

    def draw_one(seed: jax.Array) -> Noise:
        """Draws the noise of one image, `{block: {layer: [h, w, 1]}}`."""
        noise = make_noise(jax.random.key(seed), 1, layers, img_resolution)
        return jax.tree.map(lambda x: x[0], noise)

    return jax.jit(jax.vmap(draw_one))


def batch_sizes() -> tuple[int, ...]:
    """Images that programs of this platform draw at once, falling.

    A CPU is busy with one image, and each is then the same in whatever company it is asked for.
    Others get powers of two, so that few programs serve any number of images.
    """
    if jax.default_backend() == "cpu":
        return (1,)
    return tuple(CHUNK >> i for i in range(CHUNK.bit_length()))


def split_batch(n: int, sizes: tuple[int, ...]) -> Iterator[np.ndarray]:
    """Yields indices of `n` images in parts of these sizes; the last is filled up."""
    largest = sizes[0]
    for start in range(0, n, largest):
        left = min(largest, n - start)
        size = min(size for size in sizes if size >= left)
        yield np.minimum(np.arange(start, start + size), n - 1)


def in_parts(draw: Callable[[np.ndarray], Array], n: int, sizes: tuple[int, ...]) -> np.ndarray:
    """Joins `draw(indices)` over the parts of `split_batch`."""
    parts = [np.asarray(draw(index)) for index in split_batch(n, sizes)]
    return np.concatenate(parts)[:n]
