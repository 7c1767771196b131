"""Parameters of cases that store none: drawn again, by the rule that their notes give."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from stylegan_jax.models import make_model
from tests.parity.case import Case

# What is embedded: drawn as 0.5 n.
_EMBEDDINGS = ("class_embedding", "cls_token", "dist_token", "mask_token", "pos_embed")


def draw_parameters(
    shapes: Mapping[str, tuple[int, ...]], seed: int, gain: float
) -> dict[str, np.ndarray]:
    """Draws the tensors of a network of torch, in the order of their names."""
    rs = np.random.RandomState(seed)
    drawn = {}
    for name in sorted(shapes):
        if not name.endswith("num_batches_tracked"):
            drawn[name] = _draw(rs, name, shapes[name], gain)
    return drawn


def _draw(rs: Any, name: str, shape: tuple[int, ...], gain: float) -> np.ndarray:
    """Draws one tensor."""
    n = np.asarray(rs.standard_normal(shape)).astype(np.float32)
    last = name.rpartition(".")[2]
    if last == "logit_scale":
        n = 2 + 0.1 * n
    elif last == "running_var":
        n = 0.5 + 0.5 * np.abs(n)
    elif last in ("running_mean", "bias", "in_proj_bias"):
        n = 0.1 * n
    elif last == "gamma":
        n = 0.5 + 0.1 * n
    elif last == "weight" and len(shape) == 1:
        n = 1 + 0.1 * n
    elif last in _EMBEDDINGS or last == "positional_embedding" or name == "token_embedding.weight":
        n = 0.5 * n
    elif last == "text_projection" or (last == "proj" and len(shape) == 2):
        n *= np.float32(math.sqrt(1 / shape[0]))
    else:
        n *= np.float32(math.sqrt(gain / math.prod(shape[1:])))
    return np.asarray(n, np.float32)


def stored_shapes(case: Case) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors of a case, stored as text."""
    return {
        str(name): tuple(int(n) for n in str(text).strip("()[]").split(",") if n.strip())
        for name, text in zip(case["keys"], case["shapes"], strict=True)
    }


def check_sums(case: Case, params: Mapping[str, np.ndarray]) -> None:
    """Compares the sums of the tensors, in the order of their names."""
    sums = [float(np.sum(params[str(name)], dtype=np.float64)) for name in case["keys"]]
    case.check("out/param_checksum", np.asarray(sums))


def module_of(
    build: Callable[..., nnx.Module],
    params: Any,
    **sizes: Any,
) -> tuple[Any, Any]:
    """Returns the structure of a network and its parameters, which must be all of it."""
    graphdef, init = make_model(build, **sizes)
    wanted = jax.eval_shape(init, jax.random.key(0))
    same = jax.tree.map(lambda a, b: a.shape == b.shape, params, wanted)
    assert all(jax.tree.leaves(same)), same
    return graphdef, jax.tree.map(jnp.asarray, params)


def official_shapes(
    names: Iterable[str],
    convert: Callable[[Mapping[str, np.ndarray]], dict[str, Any]],
    build: Callable[..., nnx.Module],
    **sizes: Any,
) -> dict[str, tuple[int, ...]]:
    """Shapes of official tensors where a case has names alone: ours, the other way round."""
    wanted = jax.eval_shape(make_model(build, **sizes)[1], jax.random.key(0))
    shapes = {}
    for name in names:
        path, _ = jax.tree_util.tree_leaves_with_path(convert({name: np.zeros(1)}))[0]
        leaf = wanted
        for part in path:
            leaf = leaf[part.key]
        ours = leaf.shape
        if len(ours) == 4:
            ours = (ours[3], ours[2], ours[0], ours[1])
        elif len(ours) == 2 and path[-1].key == "weight":
            ours = ours[::-1]
        shapes[name] = ours
    return shapes
