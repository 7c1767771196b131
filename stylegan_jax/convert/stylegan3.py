"""Names of the official StyleGAN3 generators."""

import re

import numpy as np

from stylegan_jax.convert.networks import check_names, tensor
from stylegan_jax.convert.readers.trees import FlatNetwork

_RANKS: dict[str, int | None] = {
    r"mapping\.w_avg": 1,
    r"mapping\.(embed|fc\d+)\.weight": 2,
    r"mapping\.(embed|fc\d+)\.bias": 1,
    r"synthesis\.input\.(weight|transform|freqs)": 2,
    r"synthesis\.input\.phases": 1,
    r"synthesis\.L\d+_\d+_\d+\.weight": 4,
    r"synthesis\.L\d+_\d+_\d+\.bias": 1,
    r"synthesis\.L\d+_\d+_\d+\.magnitude_ema": 0,
    r"synthesis\.L\d+_\d+_\d+\.(up|down)_filter": None,
    r"synthesis\.(input|L\d+_\d+_\d+)\.affine\.weight": 2,
    r"synthesis\.(input|L\d+_\d+_\d+)\.affine\.bias": 1,
}


def is_generator(arrays: dict[str, np.ndarray]) -> bool:
    """Tells a StyleGAN3 generator by its Fourier features."""
    return any(name.startswith("synthesis.input.") for name in arrays)


def describe_generator(network: FlatNetwork) -> str:
    """Says which StyleGAN3 it is: `StyleGAN3-T, 256 px, 15 layers`.

    Raises:
        CheckpointFileError: Names or shapes are not those of a StyleGAN3 generator.
    """
    check_names(network.arrays, _RANKS)
    # Layers are called by number, size and channels; the last one gives the image.
    pattern = re.compile(r"synthesis\.(L(\d+)_(\d+)_\d+)\.weight")
    layers = [m for m in map(pattern.fullmatch, network.arrays) if m]
    layers.sort(key=lambda m: int(m[2]))
    first = tensor(network.arrays, layers[0][0] if layers else "synthesis.L0_*.weight")
    # R is the one of 1x1 convolutions, which commute with rotation.
    letter = "R" if first.shape[2] == 1 else "T"
    return f"StyleGAN3-{letter}, {layers[-1][3]} px, {len(layers)} layers"
