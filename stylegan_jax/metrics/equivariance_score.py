"""Equivariance of a generator as a score: `eqt50k_int`, `eqt50k_frac`, `eqr50k`; higher is better.

The mathematics is in `equivariance.py`.
"""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jaxtyping import Array, Float

from stylegan_jax.metrics.equivariance import (
    Move,
    decibels,
    draw_move,
    plan_move,
    squared_errors,
)
from stylegan_jax.metrics.features import IMAGES_PER_DEVICE, gather_features, split_rows
from stylegan_jax.metrics.generator_scores import (
    Functions,
    Generator,
    keyed_labels,
    need_generator,
)
from stylegan_jax.metrics.names import MetricName
from stylegan_jax.metrics.reals import seed_from_key
from stylegan_jax.sizes import Size

# Images that share a move and their noise, as in the paper.
BATCH = 4
_BATCHES_PER_KEY = IMAGES_PER_DEVICE // BATCH


class EquivarianceScore:
    """Equivariance to translation or rotation."""

    def __init__(self, name: MetricName, sharding: NamedSharding):
        """Remembers what is measured; nothing is computed before the first score.

        Args:
            name: Which kind, and of how many images.
            sharding: How samples are split over the devices.
        """
        self._name = name
        self._kind = "_".join(filter(None, (name.family, str(name.options.get("step", "")))))
        self._sharding = sharding
        self._program = jax.jit(self._measure, static_argnums=0, out_shardings=sharding)

    def host_bytes(self, num_images: int) -> int:
        """Returns the memory of the host that so many images take: a few numbers each."""
        return 16 * num_images

    def evaluate(self, draw: Any, key: jax.Array) -> dict[str, float]:
        """Measures a generator.

        Args:
            draw: A generator, see `Generator`.
            key: Of latents, moves, labels and noise.

        Returns:
            The ratio in dB, over all images.

        Raises:
            ValueError: No generator, or one that takes no transform.
        """
        generator = need_generator(draw, self._name.text)
        if not generator.functions.takes_transform:
            raise ValueError(f"{self._name.text}: {explain_transforms('this generator')}")
        num = self._name.num_images or 0
        seed = seed_from_key(key)
        errors, weights = [], []

        def take(found: tuple[Array, Array]) -> None:
            error, weight = map(gather_features, found)
            errors.append(error.reshape(-1, error.shape[-1]).sum(axis=1, dtype=np.float64))
            weights.append(np.repeat(weight.astype(np.float64).ravel(), BATCH))

        # The next moves are designed while the devices draw.
        running = None
        size = None
        for number, (keys, c) in enumerate(keyed_labels(generator, key, num, self._sharding)):
            size = size or _image_size(generator, keys, c)
            first = number * len(c) * _BATCHES_PER_KEY
            moves = split_rows(
                functools.partial(self._plan, size, seed, first), len(c), self._sharding
            )
            found = self._program(generator.functions, generator.snapshot, keys, c, moves)
            if running is not None:
                take(running)
            running = found
        if running is not None:
            take(running)
        error, weight = (np.concatenate(part)[:num].sum() for part in (errors, weights))
        return {self._name.text: decibels(float(error), float(weight))}

    def describe(self, values: Mapping[str, float]) -> str:
        """Says the value."""
        return f"{self._name.text} {values[self._name.text]:.2f} dB"

    def protocol(self, name: MetricName) -> dict[str, Any]:
        """Says what made it."""
        del name
        return {
            "kind": self._kind,
            "unit": "dB",
            "images_per_move": BATCH,
            "noise": "one of each move's images",
            "computed in": "float32",
        }

    def _plan(self, size: Size, seed: int, first: int, row: int) -> Move:
        """Draws and designs the moves of one key, which batches [b] share."""
        batches = first + row * _BATCHES_PER_KEY + np.arange(_BATCHES_PER_KEY)
        rngs = [np.random.default_rng((seed, int(batch))) for batch in batches]
        moves = [plan_move(self._kind, draw_move(self._kind, rng), size) for rng in rngs]
        return jax.tree.map(lambda *parts: np.stack(parts), *moves)

    def _measure(
        self, functions: Functions, snapshot: Any, keys: Array, c: Array, moves: Move
    ) -> tuple[Float[Array, "k b n h"], Float[Array, "k b"]]:
        """Returns the errors of the images of each batch of each key, and values compared."""

        def of_batch(inputs: tuple[Array, Array, Move]) -> tuple[Array, Array]:
            key, c, move = inputs
            key_z, key_noise = jax.random.split(key)
            z = jax.random.normal(key_z, (BATCH, functions.z_dim))
            w = functions.mapping(snapshot, z, c)

            def synthesis(transform: Array) -> Array:
                # The same noise for both: it is that of the key.
                return functions.synthesis(snapshot, w, key_noise, transform)

            # One after the other: a network is large, and compiled once.
            transforms = jnp.stack([jnp.eye(3), move.transform])
            upright, drawn = jax.lax.map(synthesis, transforms)
            weight = jnp.sum(move.motion.mask) * upright.shape[-1]
            return squared_errors(upright, drawn, move), weight

        def of_key(key: Array, c: Array, moves: Move) -> tuple[Array, Array]:
            keys = jax.random.split(key, _BATCHES_PER_KEY)
            c = c.reshape(_BATCHES_PER_KEY, BATCH, -1)
            return jax.lax.map(of_batch, (keys, c, moves))

        with jax.default_matmul_precision("highest"):
            return jax.vmap(of_key)(keys, c, moves)


def explain_transforms(what: str) -> str:
    """Says that a network cannot be told to move its image, and which can."""
    return (
        f"{what} takes no transform of its input; a StyleGAN3 does, and a StyleGAN2 that begins "
        "with Fourier features (G.input='fourier')."
    )


def _image_size(generator: Generator, keys: Array, c: np.ndarray) -> Size:
    """Returns height and width of what is drawn, without drawing."""
    functions = generator.functions

    def draw(snapshot: Any, key: Array, c: Array) -> Array:
        w = functions.mapping(snapshot, jnp.zeros((len(c), functions.z_dim)), c)
        return functions.synthesis(snapshot, w, key)

    img = jax.eval_shape(draw, generator.snapshot, keys[0], c[0])
    return img.shape[1], img.shape[2]
