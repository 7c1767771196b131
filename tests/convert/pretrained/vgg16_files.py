"""Weights of a narrow VGG-16 and of LPIPS under the names of published files."""

import numpy as np

from stylegan_jax.models.pretrained.vgg16 import VGG16
from tests.models.pretrained import narrow

SIZES = dict(channels=narrow.VGG16, resolution=32, hidden_features=2, num_classes=2)


def torchvision_arrays(rng) -> dict[str, np.ndarray]:
    """Layers are numbered, maxima and activations counted in."""
    params = narrow.draw(VGG16, rng, **SIZES)[1]
    arrays, at = {}, 0
    for number in range(1, 14):
        layer = params["trunk"][f"conv{number}"]
        arrays[f"features.{at}.weight"] = layer["weight"].transpose(3, 2, 0, 1)
        arrays[f"features.{at}.bias"] = layer["bias"]
        # A convolution and its ReLU; after some, maxima.
        at += 3 if number in (2, 4, 7, 10) else 2
    for k in range(3):
        arrays[f"classifier.{3 * k}.weight"] = params[f"fc{k + 1}"]["weight"].T
        arrays[f"classifier.{3 * k}.bias"] = params[f"fc{k + 1}"]["bias"]
    return arrays


def nvidia_arrays(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same under the names of `vgg16.pt`, with heads of LPIPS."""
    found = {}
    layers = [f"conv{i}" for i in range(1, 14)] + ["fc1", "fc2", "fc3"]
    names = list(dict.fromkeys(name.rpartition(".")[0] for name in arrays))
    for ours, theirs in zip(layers, names, strict=True):
        for leaf in ("weight", "bias"):
            found[f"layers.{ours}.{leaf}"] = arrays[f"{theirs}.{leaf}"]
    heads = {f"lpips{k}": np.full((c, 1, 1), k + 1.0) for k, c in enumerate(narrow.VGG16)}
    return found | heads


def head_arrays() -> dict[str, np.ndarray]:
    """Heads as in the LPIPS package."""
    return {
        f"lin{k}.model.1.weight": np.full((1, c, 1, 1), k + 1, np.float32)
        for k, c in enumerate(narrow.VGG16)
    }
