"""Scores of a run: how far its samples are from the reals."""

import functools
import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from stylegan_jax.data.sources import ImageSource
from stylegan_jax.metrics import evaluate_swd, num_levels, real_descriptors, swd_floor
from stylegan_jax.run.images import to_uint8
from stylegan_jax.run.samples import CHUNK, chunks
from stylegan_jax.training.programs import make_sampler
from stylegan_jax.training.schedules import Level
from stylegan_jax.training.setup import Networks
from stylegan_jax.training.sharding import num_batch_devices
from stylegan_jax.training.state import TrainState


class SwdMonitor:
    """Sliced Wasserstein distance of `G_ema` to the reals, with the same latents every time."""

    def __init__(
        self,
        config: ConfigDict,
        source: ImageSource,
        networks: Networks,
        mesh: Mesh,
        key: jax.Array,
    ):
        """Remembers what is compared; nothing is computed before the first score.

        Raises:
            ValueError: The score is asked for at a resolution it is not defined for.
        """
        self.is_on = config.metrics.swd_kimg > 0
        if self.is_on:
            num_levels(source.img_resolution, source.img_resolution)
        self._num_images = config.metrics.swd_num_images
        self._mirror = config.data.mirror
        self._source = source
        self._key, self._key_fakes = jax.random.split(key)
        self._draw = jax.jit(functools.partial(_draw_chunks, networks.z_dim, len(source)))
        self._chunk = math.lcm(CHUNK, num_batch_devices(mesh))
        self._sample = make_sampler(networks.G, mesh)
        self._reals: Any = None
        self._floor: dict[str, float] = {}

    def score(self, state: TrainState, level: Level) -> dict[str, float]:
        """The score of `G_ema` now, and what the reals score against themselves (`swd_floor`)."""
        if self._reals is None:
            reals, rule = _Images(self._source), dict(num_images=self._num_images)
            self._reals = real_descriptors(reals, self._key, mirror=self._mirror, **rule)
            self._floor = swd_floor(reals, self._key, mirror=self._mirror, num_splits=1, **rule)
        return evaluate_swd(self._reals, self._fakes(state, level), self._key) | self._floor

    def _fakes(self, state: TrainState, level: Level) -> Iterator[np.ndarray]:
        """Batches of fakes: random noise, labels of uniformly drawn reals, uint8 as metrics do."""
        fade = level.fade(state.nimg)
        for part in chunks(self._num_images, self._chunk):
            numbers = np.arange(part.start, part.start + self._chunk, CHUNK) // CHUNK
            z, drawn, keys = self._draw(self._key_fakes, numbers)
            c = self._source.labels.rows(np.asarray(drawn))
            img = self._sample(
                *(state.G_ema, state.stats, z, c, keys, fade), resolution=level.resolution
            )
            img = np.asarray(img)[: part.stop - part.start]
            yield np.clip(img * 127.5 + 128, 0, 255).astype(np.uint8)


def _draw_chunks(
    z_dim: int, num_labels: int, key: jax.Array, numbers: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Latents, indices of labels and keys of the noise for chunks of images, from their numbers."""

    def draw(number: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        key_z, key_c, key_noise = jax.random.split(jax.random.fold_in(key, number), 3)
        z = jax.random.normal(key_z, (CHUNK, z_dim))
        return z, jax.random.randint(key_c, (CHUNK,), 0, num_labels), key_noise

    z, index, keys = jax.vmap(draw)(numbers)
    return jnp.concatenate(z), jnp.concatenate(index), keys


class _Images:
    """The images of a source without their labels, as the metric reads them."""

    def __init__(self, source: ImageSource):
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int | np.integer) -> np.ndarray:
        return to_uint8(self._source[int(index)])
