"""Small networks with parameters of NumPy's: nothing is compiled to draw them."""

import jax
import numpy as np

from stylegan_jax.models import make_model

# Channels of VGG-16's five stages.
VGG16 = (2, 2, 3, 3, 3)


def draw(build, rng, *args, **sizes):
    """Structure of a network, and parameters of the size that He's rule has."""
    graphdef, init = make_model(build, *args, **sizes)

    def leaf(shape):
        fan_in = np.prod(shape.shape[:-1]) if len(shape.shape) > 1 else 9
        return rng.normal(scale=(2 / fan_in) ** 0.5, size=shape.shape).astype(np.float32)

    return graphdef, jax.tree.map(leaf, jax.eval_shape(init, jax.random.key(0)))


def count(build):
    """How many parameters a network has, and its tree of shapes."""
    shapes = jax.eval_shape(make_model(build)[1], jax.random.key(0))
    return sum(leaf.size for leaf in jax.tree.leaves(shapes)), shapes
