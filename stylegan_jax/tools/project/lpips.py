"""LPIPS as what a projection makes small, where its weights are at hand."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from flax import nnx
from jax.tree_util import Partial
from jaxtyping import Array, Float

from stylegan_jax.convert.pretrained import (
    Pretrained,
    describe_weights,
    has_weights,
    load_pretrained,
)
from stylegan_jax.models.pretrained.lpips import SMALLEST_PX, features_distance
from stylegan_jax.ops.resize import resize_area
from stylegan_jax.tools.project.distance import Distance, pyramid_distance

DISTANCES = ("auto", "lpips", "pyramid")
# Larger images are reduced to this side first.
_LARGEST_PX = 256


def load_lpips(distance: str, folder: epath.PathLike | None = None) -> Pretrained | None:
    """Loads the weights that a distance needs, and says where `auto` does without.

    Args:
        distance: One of `DISTANCES`; `lpips` downloads what is missing, `auto` never does.
        folder: See `load_pretrained`.

    Returns:
        The network; None: the pyramid will do.

    Raises:
        FileNotFoundError: `lpips`, and the weights can neither be found nor downloaded.
        ValueError: A file is another than its name says.
    """
    if distance == "lpips" or (distance == "auto" and has_weights("lpips", folder)):
        return load_pretrained("lpips", folder)
    if distance == "auto":
        print(
            f"NOTE: the distance is that of Laplacian pyramids, not the paper's LPIPS. "
            f"{describe_weights('lpips', folder)} --distance=lpips downloads them; "
            "--distance=pyramid leaves out this note."
        )
    return None


def choose_distance(distance: str, weights: Pretrained | None, target: np.ndarray) -> Distance:
    """Returns what a projection makes small.

    Args:
        distance: One of `DISTANCES`.
        weights: Of LPIPS; None: the pyramid is taken.
        target: uint8 `[h, w, c]`.

    Raises:
        ValueError: `lpips`, and it cannot see such images; `auto` takes the pyramid then.
    """
    if weights is None:
        return pyramid_distance
    try:
        chosen = lpips_to(target, weights.graphdef, weights.params)
    except ValueError as error:
        if distance != "auto":
            raise
        print(f"NOTE: the distance is that of Laplacian pyramids, not LPIPS. {error}")
        return pyramid_distance
    print(f"The distance is LPIPS, with the weights of {weights.path}.")
    return chosen


def lpips_to(target: np.ndarray, graphdef: nnx.GraphDef[Any], params: Any) -> Distance:
    """Returns LPIPS to one target, whose features are computed once.

    Args:
        target: uint8 `[h, w, c]`, grey or RGB.
        graphdef: Structure of an `LPIPS`.
        params: Its parameters.

    Returns:
        `(img in [-1, 1], _) -> [n]`. It holds weights and features as arrays of a tree, so that
        programs take them as arguments.

    Raises:
        ValueError: LPIPS cannot see images of that size or of these channels.
    """
    height, width, channels = target.shape
    smallest = min(_reduced_size(height, width))
    if channels not in (1, 3) or smallest < SMALLEST_PX:
        raise ValueError(
            f"LPIPS sees grey or RGB of {SMALLEST_PX} px or more, reduced to {_LARGEST_PX} px at "
            f"most; the network draws {height}x{width} px of {channels} channel(s)."
        )

    def features(params: Any, img: Float[Array, "n h w c"]) -> Any:
        """Features of images in 0..255, as the paper reduces them."""
        return nnx.merge(graphdef, params)(resize_area(img, *_reduced_size(height, width)))

    def distance(params: Any, goal: Any, img: Float[Array, "n h w c"], _: Any) -> Array:
        return features_distance(features(params, (img + 1) * 127.5), goal)

    params = jax.tree.map(jnp.asarray, params)
    goal = jax.jit(features)(params, jnp.float32(target)[None])
    return Partial(distance, params, goal)


def _reduced_size(height: int, width: int) -> tuple[int, int]:
    """Returns the size of which the longer side is 256 px at most."""
    longest = max(height, width, _LARGEST_PX)
    # Rounded up.
    return -(-height * _LARGEST_PX // longest), -(-width * _LARGEST_PX // longest)
