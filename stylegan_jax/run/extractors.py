"""Frozen networks of the metrics, ready to be called on all devices."""

import dataclasses
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding
from jaxtyping import Array, UInt8

from stylegan_jax.convert.pretrained.attributes import load_classifiers
from stylegan_jax.convert.pretrained.loading import Pretrained, load_pretrained
from stylegan_jax.metrics.features import Extractor
from stylegan_jax.metrics.generator_scores import Classifiers, PairDistance
from stylegan_jax.models.pretrained import FEATURE_NETWORKS
from stylegan_jax.models.pretrained.attributes import attribute_logits
from stylegan_jax.models.pretrained.lpips import lpips_distance
from stylegan_jax.training.sharding import batch_sharding, put_everywhere

# Digits of a hash that tell weights apart.
_DIGITS = 16


@dataclasses.dataclass(frozen=True)
class FrozenNetworks:
    """Opens frozen networks; their weights are found in a folder, or downloaded.

    Each raises a FileNotFoundError where they are neither there nor can be loaded, which says what
    to put where, and a ValueError where a file is damaged or another one.

    Attributes:
        mesh: Devices, which share images; a network has a copy on each.
    """

    mesh: Mesh

    @property
    def sharding(self) -> NamedSharding:
        """Returns how images are split over the devices."""
        return batch_sharding(self.mesh)

    def extractor(self, name: str) -> Extractor:
        """Opens what maps images to features, by its key in `FEATURE_NETWORKS`."""
        network = FEATURE_NETWORKS[name]
        pretrained, params = self._load(name)

        # Its weights are an argument: constants of their size would be compiled in.
        @jax.jit
        def apply(params, img):
            module = nnx.merge(pretrained.graphdef, params)
            # Of published numbers float32 is meant, where a device would multiply in less.
            with jax.default_matmul_precision("highest"):
                outputs = network.apply(module, img)
            return jax.lax.with_sharding_constraint(outputs, self.sharding)

        def extract(img: UInt8[Array, "n h w c"]) -> dict[str, Array]:
            return apply(params, img)

        widths = {key: shape[0] for key, shape in network.outputs.items() if len(shape) == 1}
        protocol = dict(network.protocol) | _describe(pretrained)
        return Extractor(name, extract, widths, protocol, self.sharding)

    def distance(self) -> PairDistance:
        """Opens LPIPS of VGG-16."""
        pretrained, params = self._load("lpips")

        def apply(params: Any, a: Array, b: Array) -> Array:
            return lpips_distance(nnx.merge(pretrained.graphdef, params), a, b)

        return PairDistance(apply, params, _describe(pretrained))

    def classifiers(self) -> Classifiers:
        """Opens the classifiers of CelebA's attributes."""
        loaded = load_classifiers()

        def apply(params: Any, img: Array) -> Array:
            return attribute_logits(nnx.merge(loaded.graphdef, params), img)

        params = [jax.tree.map(self._put, own) for own in loaded.params.values()]
        return Classifiers(apply, params, tuple(loaded.params), {"network": "celebahq-classifier"})

    def _load(self, name: str) -> tuple[Pretrained, Any]:
        """Reads a network, and puts it on all devices."""
        pretrained = load_pretrained(name)
        return pretrained, jax.tree.map(self._put, pretrained.params)

    def _put(self, x: np.ndarray) -> jax.Array:
        """Puts a copy of an array on every device."""
        return put_everywhere(self.mesh, x)


def _describe(pretrained: Pretrained) -> dict[str, str]:
    """Says which weights they are."""
    return {
        "network": pretrained.name,
        "network_sha256": pretrained.sha256[:_DIGITS],
        "precision": "float32",
    }
