"""Weights of a narrow Inception under the names of published files."""

import functools

import jax
import numpy as np

from stylegan_jax.convert.pretrained.inception import conv_paths, graph_names, official_name
from stylegan_jax.models import make_model
from stylegan_jax.models.pretrained.inception import Inception

# Of its constructor.
NARROW = dict(shrink=16, num_classes=5)


@functools.cache
def shapes():
    """Shapes of our parameters."""
    return jax.eval_shape(make_model(Inception, **NARROW)[1], jax.random.key(0))


@functools.cache
def official_arrays() -> dict[str, np.ndarray]:
    """As pytorch-fid has them."""
    rng = np.random.default_rng(0)
    arrays = {}
    for path in conv_paths():
        kh, kw, i, o = functools.reduce(lambda node, name: node[name], path, shapes())[
            "weight"
        ].shape
        name = official_name(path)
        arrays[f"{name}.conv.weight"] = rng.normal(size=(o, i, kh, kw))
        arrays[f"{name}.bn.weight"] = np.ones(o)
        arrays[f"{name}.bn.bias"] = rng.normal(size=o)
        arrays[f"{name}.bn.running_mean"] = rng.normal(size=o)
        arrays[f"{name}.bn.running_var"] = rng.uniform(0.5, 1, o)
        arrays[f"{name}.bn.num_batches_tracked"] = np.zeros(())
    arrays["fc.weight"] = rng.normal(size=shapes()["fc"]["weight"].shape[::-1])
    arrays["fc.bias"] = rng.normal(size=shapes()["fc"]["bias"].shape)
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def graph_arrays() -> dict[str, np.ndarray]:
    """The same under the names of TensorFlow's graph."""
    arrays = official_arrays()
    found = {"output.weight": arrays["fc.weight"], "output.bias": arrays["fc.bias"]}
    parts = {"weight": "conv.weight", "beta": "bn.bias", "mean": "bn.running_mean"}
    parts["var"] = "bn.running_var"
    for scope, path in graph_names().items():
        for ours, theirs in parts.items():
            found[f"layers.{scope}.{ours}"] = arrays[f"{official_name(path)}.{theirs}"]
    return found
