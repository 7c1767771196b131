"""What the methods of a generator are given: refused where it does not fit, with what would."""

from collections.abc import Sequence

import jax
import numpy as np

from stylegan_jax.models.blocks import Noise, NoiseLayers

# The noise that was drawn with the network, new noise, or zeros.
NOISE_MODES = ("const", "random", "none")
# Images in grey levels, or in about [-1, 1].
DTYPES = ("uint8", "float32")


def check_latents(z: np.ndarray, z_dim: int) -> np.ndarray:
    """Returns latents as float32 `[n, z_dim]`.

    Raises:
        ValueError: Another shape, or none.
    """
    z = np.asarray(z, np.float32)
    if z.ndim != 2 or z.shape[1] != z_dim or not len(z):
        raise ValueError(f"z has the shape {list(z.shape)}: wanted are latents [n, {z_dim}].")
    return z


def check_ws(ws: np.ndarray, num_ws: int, w_dim: int) -> np.ndarray:
    """Returns styles as float32 `[n, num_ws, w_dim]`.

    Raises:
        ValueError: Another shape, or none.
    """
    ws = np.asarray(ws, np.float32)
    if ws.ndim != 3 or ws.shape[1:] != (num_ws, w_dim) or not len(ws):
        raise ValueError(
            f"ws has the shape {list(ws.shape)}: wanted are styles [n, {num_ws}, {w_dim}], as "
            "mapping(z) gives them."
        )
    return ws


def check_truncation(
    truncation_psi: float | Sequence[float], truncation_cutoff: int | None, num_ws: int
) -> None:
    """Refuses truncation by no number, or of layers that there are not.

    Raises:
        ValueError: Says which numbers there are.
    """
    # float32 is what is computed in.
    if not np.all(np.abs(truncation_psi) <= np.finfo(np.float32).max):
        raise ValueError(f"truncation_psi={truncation_psi}: give a finite number, 1 for none.")
    if truncation_cutoff is not None and not 0 <= truncation_cutoff <= num_ws:
        raise ValueError(
            f"truncation_cutoff={truncation_cutoff}: this network has {num_ws} layers; give 0 to "
            f"{num_ws}, or none for all."
        )


def spread_psi(truncation_psi: float | Sequence[float], n: int) -> np.ndarray:
    """Returns one psi per image, float32 `[n]`, also where all have the same.

    Raises:
        ValueError: Neither one nor `n` of them.
    """
    psi = np.asarray(truncation_psi, np.float32)
    if psi.shape not in ((), (n,)):
        raise ValueError(f"{psi.size} values of truncation_psi for {n} images: give one each.")
    return np.broadcast_to(psi, n)


def check_noise(noise: str | Noise | None, layers: NoiseLayers, n: int) -> None:
    """Refuses noise that a network does not have; a layer that is left out gets none.

    Args:
        noise: One of `NOISE_MODES`, None, or `{block: {layer: [1 or n, h, w, 1]}}`.
        layers: The noise inputs of the network.
        n: Number of images.

    Raises:
        ValueError: Another word, layers that there are not, or another shape.
    """
    if isinstance(noise, str) and noise not in NOISE_MODES:
        raise ValueError(f"noise={noise!r}: choose {', '.join(NOISE_MODES)}.")
    if noise is None or isinstance(noise, str):
        return
    sizes = {(layer.block, layer.layer): layer.size for layer in layers}
    given = {(block, name): x for block, inner in noise.items() for name, x in inner.items()}
    if unknown := sorted(f"{block}/{name}" for block, name in given.keys() - sizes.keys()):
        there = ", ".join("/".join(key) for key in sizes) or "none"
        raise ValueError(
            f"noise for {', '.join(unknown)}: the noise inputs of this network are {there}."
        )
    for (block, name), x in given.items():
        wanted = [(m, *sizes[block, name], 1) for m in (1, n)]
        if np.shape(x) not in wanted:
            height, width = sizes[block, name]
            raise ValueError(
                f"noise for {block}/{name} has the shape {list(np.shape(x))}: wanted is "
                f"[1 or {n}, {height}, {width}, 1]."
            )


def part_of_noise(noise: Noise, index: np.ndarray) -> Noise:
    """Returns the noise of some images; that of one image is that of all."""
    return jax.tree.map(lambda x: x if len(x) == 1 else x[index], noise)


def check_dtype(dtype: str) -> None:
    """Refuses types that images do not come in.

    Raises:
        ValueError: Says which there are.
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype={dtype!r}: give uint8 or float32.")
