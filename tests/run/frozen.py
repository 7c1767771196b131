"""Stand-ins for frozen networks: small features that are easy to reason about."""

import jax
import jax.numpy as jnp

from stylegan_jax.metrics.features import Extractor
from stylegan_jax.metrics.generator_scores import Classifiers, PairDistance
from stylegan_jax.run.extractors import FrozenNetworks

WIDTH = 6


class TinyFrozen(FrozenNetworks):
    """Opens networks that need no weights: means of rows and columns."""

    def extractor(self, name):
        @jax.jit
        def extract(img):
            x = img.astype(jnp.float32) / 255
            rows = x.mean(axis=(2, 3))[:, :3]
            columns = x.mean(axis=(1, 3))[:, :3]
            features = jnp.concatenate([rows, columns], axis=1)  # [n, 6]
            return {"features": features, "logits_unbiased": 9 * features}

        widths = {"features": WIDTH, "logits_unbiased": WIDTH}
        return Extractor(name, extract, widths, {"network": f"tiny {name}"}, self.sharding)

    def distance(self):
        def apply(params, a, b):
            return jnp.mean((a - b) ** 2, axis=(1, 2, 3)) * params

        return PairDistance(apply, jnp.float32(1e-4), {"network": "mean square"})

    def classifiers(self):
        def apply(params, img):
            return jnp.mean(img, axis=(1, 2)) @ params

        weights = [jnp.asarray(row) for row in ([1.0, -1.0, 0.0], [0.0, 0.0, 1.0])]
        return Classifiers(apply, weights, ("warm", "blue"), {"network": "colours"})
