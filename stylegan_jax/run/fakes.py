"""Fakes for scores: images of a generator whose latents, labels and noise never change."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Float, UInt8

from stylegan_jax.data import ImageSource
from stylegan_jax.data.labels import Labels
from stylegan_jax.metrics.features import IMAGES_PER_DEVICE
from stylegan_jax.models.blocks import BaseGenerator, broadcast_ws, make_noise
from stylegan_jax.run.images import to_uint8
from stylegan_jax.run.samples import chunks
from stylegan_jax.training.programs import make_sampler
from stylegan_jax.training.sharding import batch_sharding, num_batch_devices


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["params", "stats", "fade"],
    meta_fields=["resolution"],
)
@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A generator as it is now.

    Attributes:
        params: Its parameters.
        stats: `noise_const`, and under `G` what the network moves itself.
        resolution: Block whose images it draws.
        fade: Share of the resolution below; None: none.
    """

    params: Any
    stats: dict[str, Any]
    resolution: int
    fade: Any = None


@dataclasses.dataclass(frozen=True)
class GeneratorFunctions:
    """A generator's pure functions of a snapshot.

    Attributes:
        graphdef: Its structure, which computes in float32.
        z_dim: Length of a latent.
        has_styles: Whether its layers read styles.
        takes_transform: Whether `synthesis` can be told to move its images.
    """

    graphdef: nnx.GraphDef[BaseGenerator]
    z_dim: int
    has_styles: bool
    takes_transform: bool

    def mapping(
        self, snapshot: Snapshot, z: Float[Array, "n z"], c: Float[Array, "n c"]
    ) -> Float[Array, "n d"]:
        """Maps latents and labels to styles."""
        return nnx.merge(self.graphdef, snapshot.params).mapping(z, c)

    def synthesis(
        self,
        snapshot: Snapshot,
        w: Float[Array, "n d"],
        key: jax.Array,
        transform: Float[Array, "3 3"] | None = None,
    ) -> Float[Array, "n h w c"]:
        """Draws float32 images in [-1, 1], not clipped; all share the noise of one key.

        `transform` is the inverse of what happens to the images; None: nothing does.
        """
        network = nnx.merge(self.graphdef, snapshot.params)
        noise = make_noise(key, 1, network.noise_layers, snapshot.resolution)
        img, _ = network.synthesis(
            *(broadcast_ws(w, network.num_ws), noise, snapshot.stats["G"]),
            resolution=snapshot.resolution,
            fade=snapshot.fade,
            # Only some networks have it.
            **({} if transform is None else {"transform": transform}),
        )
        return img.astype(jnp.float32)


class FakesMaker:
    """Draws fakes with random noise and the labels of random reals; compiles on first use.

    Every device draws as many images at a time, and of their own keys, as it would alone: the same
    key gives the same images on any number of devices.
    """

    def __init__(
        self,
        graphdef: nnx.GraphDef[BaseGenerator],
        z_dim: int,
        labels: Labels,
        mesh: Mesh,
        key: jax.Array,
        *,
        float32: nnx.GraphDef[BaseGenerator],
    ):
        """Remembers what all fakes share.

        Args:
            graphdef: Structure of the generator.
            z_dim: Length of a latent.
            labels: Those of the reals; fakes get them by chance, as often as they occur.
            mesh: Devices, which share the work.
            key: Of latents, labels and noise.
            float32: Structure of the generator that computes in float32 alone, for metrics that
                look into it: differences of images would drown in the rounding of bfloat16.
        """
        self.float32 = float32
        self.z_dim = z_dim
        self.labels = labels
        self._mesh = mesh
        self._key = key
        self._inputs = jax.jit(functools.partial(_draw_inputs, z_dim, max(len(labels), 1)))
        self._sample = make_sampler(graphdef, mesh, out_sharding=batch_sharding(mesh))

    def of(self, snapshot: Snapshot) -> "Fakes":
        """Returns what draws fakes of a generator."""
        return Fakes(self, snapshot)

    def draw(
        self, snapshot: Snapshot, num_images: int, only: int | None
    ) -> Iterator[UInt8[Array, "n h w c"]]:
        """Yields at least so many images, see `Fakes`."""
        size = num_batch_devices(self._mesh) * IMAGES_PER_DEVICE
        for part in chunks(num_images, size):
            # Every call is a whole one, so that one program serves all; the last may give images
            # that are not wanted.
            first = part.start // IMAGES_PER_DEVICE
            numbers = first + np.arange(size // IMAGES_PER_DEVICE)
            z, index, keys = self._inputs(self._key, numbers)  # [n, z_dim], [n], [n / 8]
            c = self.rows(np.asarray(index), only)
            img = self._sample(
                *(snapshot.params, snapshot.stats, z, c, keys, snapshot.fade),
                resolution=snapshot.resolution,
            )
            yield _to_grey_levels(img)

    def rows(self, index: np.ndarray, only: int | None) -> np.ndarray:
        """Returns the labels [n, c_dim] of random reals, or of one class."""
        if only is None:
            return self.labels.rows(index)
        return np.eye(self.labels.c_dim, dtype=np.float32)[np.full(len(index), only)]


class Fakes:
    """Fakes of one generator, the same ones every time.

    `fakes(num_images)` yields at least so many: uint8 batches `[n, h, w, c]` whose images stay on
    the devices, and processes, that made them.
    """

    def __init__(self, maker: FakesMaker, snapshot: Snapshot, only: int | None = None):
        """See `FakesMaker.of`; `only` is the class of all images."""
        self._maker = maker
        self._only = only
        self.snapshot = snapshot

    def __call__(self, num_images: int) -> Iterator[UInt8[Array, "n h w c"]]:
        """Yields at least so many images."""
        return self._maker.draw(self.snapshot, num_images, self._only)

    def of_class(self, number: int) -> "Fakes":
        """Returns fakes of one class alone."""
        return Fakes(self._maker, self.snapshot, number)

    @property
    def functions(self) -> GeneratorFunctions:
        """Returns the generator's pure functions, whose first argument is `snapshot`."""
        maker = self._maker
        network = nnx.merge(maker.float32, self.snapshot.params)
        return GeneratorFunctions(
            maker.float32, maker.z_dim, network.has_styles, network.takes_transform
        )

    def draw_labels(self, seeds: Sequence[int], count: int) -> np.ndarray:
        """Returns labels of random reals, float32 [len(seeds), count, c_dim]."""
        total = max(len(self._maker.labels), 1)
        rows = [np.random.default_rng(seed).integers(total, size=count) for seed in seeds]
        return np.stack([self._maker.rows(index, self._only) for index in rows])


@jax.jit
def _to_grey_levels(img: Float[Array, "n h w c"]) -> UInt8[Array, "n h w c"]:
    """Truncates as metrics of the papers do, on the devices where the images are."""
    # 127.5 x + 128 = 127.5 (x + 1) + 1/2: what is cut off leaves the nearest grey level.
    return jnp.clip(img * 127.5 + 128, 0, 255).astype(jnp.uint8)


def _draw_inputs(
    z_dim: int, num_labels: int, key: jax.Array, numbers: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Draws latents, indices of labels and keys of the noise from the numbers of their keys."""

    def draw(number: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        key_z, key_c, key_noise = jax.random.split(jax.random.fold_in(key, number), 3)
        z = jax.random.normal(key_z, (IMAGES_PER_DEVICE, z_dim))
        index = jax.random.randint(key_c, (IMAGES_PER_DEVICE,), 0, num_labels)
        return z, index, key_noise

    z, index, keys = jax.vmap(draw)(numbers)  # [k, n, z_dim], [k, n], [k]
    return jnp.concatenate(z), jnp.concatenate(index), keys


class GreyLevels:
    """The images of a source as metrics read them: uint8, whatever is stored."""

    def __init__(self, source: ImageSource):
        """Wraps a source; its labels are left out."""
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int | np.integer) -> np.ndarray:
        return to_uint8(self._source[int(index)])


# What a metric is given: `draw(num_images)` as of `Fakes`, or of a set of images.
Draw = Callable[[int], Iterator[jax.Array]]
