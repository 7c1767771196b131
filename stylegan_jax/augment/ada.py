"""The augmentation of StyleGAN2-ADA: 18 transformations of the images that D sees.

Karras, Aittala, Hellsten, Laine, Lehtinen, Aila: *Training Generative Adversarial Networks with
Limited Data* (NeurIPS 2020). How strong it is, the controller decides (`ada_control.py`).
"""

from jaxtyping import Array, Float

from stylegan_jax.augment.ada_colour import colour_matrices, recolour
from stylegan_jax.augment.ada_corruption import add_noise, cut_out
from stylegan_jax.augment.ada_draws import Draws, draw_names
from stylegan_jax.augment.ada_filter import band_filters, filter_images
from stylegan_jax.augment.ada_geometry import inverse_matrices
from stylegan_jax.augment.ada_pipe import Pipe
from stylegan_jax.augment.ada_resampling import Margins, resample
from stylegan_jax.ops.formulation import Resampling
from stylegan_jax.ops.packing import UNPACKED, Packing, depth_to_space, space_to_depth
from stylegan_jax.ops.precision import wide


def augment(
    images: Float[Array, "n h w cf"],
    draws: Draws,
    p: Float[Array, ""] | float,
    pipe: Pipe,
    *,
    packing: Packing = UNPACKED,
    margins: Margins = "whole",
    resampling: Resampling | None = None,
) -> Float[Array, "n h w cf"]:
    """Transforms images, each by its own draws; differentiable in the images, to any order.

    Args:
        images: In [-1, 1], of any number of channels: geometry, filters, noise and the rectangle
            act on all of them, colours on those that `ada_colour.py` names. Results may leave
            [-1, 1].
        draws: As `ada_draws.draw` makes them for the same pipe.
        p: Strength, at least 0; traced, so that it may change without a new program. At 1 and above
            every transformation of multiplier 1 always happens.
        pipe: Which transformations there are.
        packing: How images are packed (`ops/packing.py`).
        margins: How far images are continued by reflection; see `resample`. `batch` is the
            original's, and couples the images of a batch.
        resampling: How images are moved; None: as suits this platform.

    Returns:
        Images in the dtype that came; all is computed in float32.

    Raises:
        ValueError: Draws of another number of images, another pipe or another size.

    Source: Karras et al. 2020 (StyleGAN2-ADA), appendix B, algorithm 1.
    Checked: tests/parity, cases `ada_*`.
    """
    # Pixels side by side, [n, h, w, c], and float32: filters and matrices sum many of them.
    dtype = images.dtype
    x = wide(depth_to_space(images, packing))
    _check_draws(draws, pipe, x.shape)

    # In the order of the paper's algorithm: what moves pixels is one matrix per image, G [3, 3],
    # what recolours them another, C [4, 4].
    if pipe.moves_pixels:
        G = inverse_matrices(draws, p, pipe, (x.shape[1], x.shape[2]))
        x = resample(x, G, margins=margins, resampling=resampling)
    if pipe.has("color"):
        C = colour_matrices(draws, p, pipe, has_hue=x.shape[-1] >= 3)
        x = recolour(x, C)
    if pipe.has("filter"):
        x = filter_images(x, band_filters(draws, p, pipe))
    if pipe.has("noise"):
        x = add_noise(x, draws, p, pipe)
    if pipe.has("cutout"):
        x = cut_out(x, draws, p, pipe)
    return space_to_depth(x.astype(dtype), packing)


def _check_draws(draws: Draws, pipe: Pipe, shape: tuple[int, ...]) -> None:
    """Refuses draws that were made for something else."""
    missing = {name for name in draw_names(pipe)} - set(draws.values)
    if missing:
        raise ValueError(
            f"draws lack {', '.join(sorted(missing))}: make them by `draw` for the same pipe."
        )
    for name in draw_names(pipe):
        if len(draws.values[name]) != shape[0]:
            raise ValueError(
                f"draws of {len(draws.values[name])} images, and {shape[0]} images came: make "
                "draws for each image."
            )
    if pipe.noise and (draws.noise is None or draws.noise.shape != shape):
        made = None if draws.noise is None else draws.noise.shape
        raise ValueError(f"noise of shape {made} for images of shape {shape}: make it as large.")
