"""Small networks with weights on which biases and noise show; each is made once in a process."""

import functools

import jax
import numpy as np
from flax import nnx

from stylegan_jax.models import make_model

SIZES = dict(c_dim=2, img_resolution=16, img_channels=3, channel_base=128, channel_max=8)


@functools.cache
def build(model, **settings):
    """`(graphdef, params)` of a network of `SIZES`."""
    graphdef, init = make_model(model, **SIZES | settings)

    @jax.jit
    def draw():
        leaves, tree = jax.tree.flatten(init(jax.random.key(0)))
        keys = jax.random.split(jax.random.key(1), len(leaves))
        shaken = [x + 0.1 * jax.random.normal(key, x.shape) for x, key in zip(leaves, keys)]
        return jax.tree.unflatten(tree, shaken)

    return graphdef, draw()


def shapes(model, **settings):
    """The network of `SIZES` with shapes for weights: nothing is drawn or compiled."""
    return nnx.eval_shape(lambda: model(**SIZES | settings, rngs=nnx.Rngs(0)))


def paths(network) -> str:
    """The paths of its parameters, in one text."""
    leaves = jax.tree_util.tree_leaves_with_path(nnx.to_pure_dict(nnx.state(network, nnx.Param)))
    return " ".join(jax.tree_util.keystr(path) for path, _ in leaves)


def activations(network) -> dict[str, str]:
    """The activation of every layer that has one, by its path; linear ones are left out."""
    layers = {".".join(map(str, path)): layer for path, layer in nnx.iter_modules(network)}
    found = {path: getattr(layer, "act", "linear") for path, layer in layers.items()}
    return {path: act for path, act in found.items() if act != "linear"}


def count(network) -> int:
    """Its parameters."""
    leaves = jax.tree.leaves(nnx.to_pure_dict(nnx.state(network, nnx.Param)))
    return sum(int(np.prod(leaf.shape)) for leaf in leaves)
