"""What all networks share, then what all generators do: styles and noise are arguments."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from stylegan_jax.ops.packing import UNPACKED, Packing
from stylegan_jax.ops.partition import split_rows
from stylegan_jax.sizes import Size, describe_size, size_at


class NoiseLayer(NamedTuple):
    """A noise input.

    Attributes:
        block: Name of the block, `b4` and so on.
        layer: Name of the layer in it.
        resolution: That of the block.
        size: Height and width of the noise.
    """

    block: str
    layer: str
    resolution: int
    size: Size


# Those of a network, from low resolution to high.
NoiseLayers = tuple[NoiseLayer, ...]
# {"b4": {"conv1": [n, 4, 4, 1]}, "b8": {"conv0": [n, 8, 8, 1], "conv1": ...}, ...}
Noise = dict[str, dict[str, Any]]
# Values that a network moves as it works (averages, spectral vectors), nested as its parameters.
Moving = dict[str, Any]


def broadcast_ws(w: Float[Array, "n w"], num_ws: int) -> Float[Array, "n l w"]:
    """Gives every layer the same style."""
    return jnp.broadcast_to(w[:, None, :], (w.shape[0], num_ws, w.shape[1]))


def truncate(
    ws: Float[Array, "n l w"],
    w_avg: Float[Array, " w"],
    truncation_psi: float | Float[Array, "..."],
    truncation_cutoff: int | None = None,
) -> Float[Array, "n l w"]:
    """Pulls the styles of the first `truncation_cutoff` layers (None: all) towards their mean.

    `truncation_psi` is one number, or one per image `[n]`.

    Source: Karras et al. 2019 (StyleGAN), appendix B: `w' = w_avg + psi * (w - w_avg)`.
    """
    psi = jnp.asarray(truncation_psi)
    # w' = w_avg + psi * (w - w_avg): 0 draws the mean image, 1 changes nothing.
    truncated = w_avg + (psi[:, None, None] if psi.ndim else psi) * (ws - w_avg)
    if truncation_cutoff is None:
        return truncated
    # Finer layers keep their own style: they decide colours and texture, which seldom look wrong.
    layer = jnp.arange(ws.shape[1])[:, None]
    return jnp.where(layer < truncation_cutoff, truncated, ws)


def make_noise(key: Array, num_images: int, layers: NoiseLayers, resolution: int) -> Noise:
    """Draws unit normal noise for the layers up to a resolution from one key."""
    noise: Noise = {}
    # A layer's key is counted from the first up, so that it stays the same as the network grows.
    for i, layer in enumerate(layers):
        if layer.resolution <= resolution:
            shape = (num_images, *layer.size, 1)
            drawn = jax.random.normal(jax.random.fold_in(key, i), shape)
            noise.setdefault(layer.block, {})[layer.layer] = drawn
    return noise


def growing_resolutions(
    resolutions: tuple[int, ...], resolution: int | None, *, grows: bool
) -> tuple[int, ...]:
    """Returns the blocks that work when a network draws at `resolution` (None: all of them).

    Raises:
        ValueError: The network has no block, or no way to colours, at that resolution.
    """
    if resolution is None or resolution == resolutions[-1]:
        return resolutions
    if not grows or resolution not in resolutions:
        known = f"one of {resolutions}" if grows else f"{resolutions[-1]}: this network is fixed"
        raise ValueError(f"resolution={resolution}: give {known}.")
    return tuple(res for res in resolutions if res <= resolution)


def apply_block(block: Callable[..., Any], *args: Any, recompute: bool) -> Any:
    """Applies a block; with `recompute` only its inputs are kept for the gradient.

    The gradient then computes the block a second time. Rows of what it returns are split over
    devices where the mesh says so.
    """
    # jax.checkpoint wants a function; a block holds parameters, over which a lambda closes.
    out = jax.checkpoint(lambda *args: block(*args))(*args) if recompute else block(*args)
    return split_rows(out)


class Network(nnx.Module):
    """What generators and discriminators share; a network holds parameters and nothing else."""

    def init_moving(self) -> Moving:
        """Returns the first values of what the network moves; empty where it moves nothing."""
        return {}

    def packing_at(self, resolution: int) -> Packing:
        """Returns how the network holds images of a resolution (`ops/packing.py`)."""
        del resolution
        return UNPACKED


class ImageNetwork(Network):
    """A network that reads images: a discriminator.

    Attributes:
        resolutions: Those of the blocks, `(4, 8, ...)`.
        base_grid: Size of the last feature maps.
    """

    resolutions: tuple[int, ...]
    base_grid: Size

    def resolution_of(self, img: Float[Array, "n h w cf"], packing: Packing) -> int:
        """Returns the resolution of the block that images enter.

        Raises:
            ValueError: No block takes images of their size.
        """
        size = (img.shape[1] * packing[0], img.shape[2] * packing[1])
        sizes = [size_at(resolution, self.base_grid) for resolution in self.resolutions]
        if size not in sizes:
            known = ", ".join(map(describe_size, sizes))
            raise ValueError(f"Images of {describe_size(size)} px: this network takes {known}.")
        return self.resolutions[sizes.index(size)]


class BaseGenerator(Network):
    """A mapping and a synthesis network, `(z, c, noise) -> img`.

    Attributes:
        mapping: `(z [n, z_dim], c [n, c_dim]) -> w [n, w_dim]`.
        synthesis: `(ws [n, num_ws, w_dim], noise, moving, resolution=, fade=, packing=,
            recompute=, ema_beta=) -> (img, moved)`; `recompute` lets its `Formulation` trade time
            for memory in the gradient; `ema_beta` is the share that this pass keeps of the averages
            in `moving`, None: they stand still.
        z_dim: Length of the latent.
        w_dim: Length of a style.
        num_ws: Styles per image.
        img_resolution: Resolution of the last block (`sizes.py`).
        has_styles: Whether the layers read styles of their own, as mixing and truncation need.
        takes_transform: Whether `synthesis` can be told to move the image, by `transform=`.
        noise_layers: The noise inputs; empty where the network has none.
        takes_transform: Whether `synthesis` also has the argument `transform` [3, 3] or [n, 3, 3]:
            the inverse of how the image is to be moved (`fourier_input.py`).
    """

    mapping: Any
    synthesis: Any
    z_dim: int
    w_dim: int
    num_ws: int
    img_resolution: int
    has_styles: bool
    takes_transform: bool = False
    noise_layers: NoiseLayers
    takes_transform: bool = False

    def __call__(
        self,
        z: Float[Array, "n z"],
        c: Float[Array, "n c"] | None,
        noise: Noise | None,
        moving: Moving,
        *,
        w_avg: Float[Array, " w"] | None = None,
        truncation_psi: float | Float[Array, "..."] = 1.0,
        truncation_cutoff: int | None = None,
        resolution: int | None = None,
        fade: Float[Array, ""] | None = None,
        transform: Float[Array, "*n 3 3"] | None = None,
    ) -> Float[Array, "n h w ch"]:
        """Draws images in [-1, 1]; truncation needs `w_avg`, the mean style from the state.

        A network that grows draws at `resolution` (None: its own), with the share `fade` of the
        resolution below (None: nothing of it is computed). `transform` is for networks that
        `takes_transform`.
        """
        # z -> w, the same for every layer, closer to the mean where that is asked for.
        ws = broadcast_ws(self.mapping(z, c), self.num_ws)  # [n, num_ws, w_dim]
        if w_avg is not None:
            ws = truncate(ws, w_avg, truncation_psi, truncation_cutoff)

        # w -> image. What the network moves is for training; a drawing leaves it as it was.
        options = {} if transform is None else {"transform": transform}
        img, _ = self.synthesis(ws, noise, moving, resolution=resolution, fade=fade, **options)
        return img
