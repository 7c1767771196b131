"""Scores of a generator itself, not only of its images: path lengths and separability.

They draw latents of their own and look at styles. Each device works on the samples of one key at a
time, as it would alone: the same values on any number of devices.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
from jax.sharding import NamedSharding
from jaxtyping import Array, Float

from stylegan_jax.metrics.features import IMAGES_PER_DEVICE, batch_size_of, gather_features
from stylegan_jax.metrics.ms_ssim import mean_ms_ssim
from stylegan_jax.metrics.names import MetricName
from stylegan_jax.metrics.path_length import PathSettings, sample_distances, trimmed_mean
from stylegan_jax.metrics.reals import seed_from_key
from stylegan_jax.metrics.separability import separability


@runtime_checkable
class Functions(Protocol):
    """A generator's pure functions of `snapshot`, its parameters; hashable."""

    z_dim: int
    has_styles: bool
    takes_transform: bool

    def mapping(self, snapshot: Any, z: Array, c: Array) -> Array:
        """Maps latents [n, z_dim] and labels [n, c_dim] to styles [n, w_dim]."""
        ...

    def synthesis(
        self, snapshot: Any, w: Array, key: Array, transform: Array | None = None
    ) -> Array:
        """Draws float32 images [n, h, w, c] in [-1, 1], all with the noise of one key.

        `transform` [3, 3] is the inverse of what happens to the images, where it is taken.
        """
        ...


@runtime_checkable
class Generator(Protocol):
    """What draws fakes, where it is a generator."""

    functions: Functions
    snapshot: Any

    def draw_labels(self, seeds: Sequence[int], count: int) -> np.ndarray:
        """Returns labels of random reals, float32 [len(seeds), count, c_dim]."""
        ...


class PairDistance(NamedTuple):
    """A perceptual distance.

    Attributes:
        apply: Maps `(params, a, b)`, images of 0 to 255 with three channels, to [n]; pure.
        params: Its network's.
        protocol: What is done to images, and which weights do it.
    """

    apply: Callable[[Any, Array, Array], Array]
    params: Any
    protocol: Mapping[str, str]


class Classifiers(NamedTuple):
    """Classifiers of attributes.

    Attributes:
        apply: Maps `(params, img)`, images in [-1, 1], to logits [n]; pure.
        params: Of each, on the devices.
        names: Their attributes.
        protocol: Which weights they have.
    """

    apply: Callable[[Any, Array], Array]
    params: Sequence[Any]
    names: Sequence[str]
    protocol: Mapping[str, str]


def need_generator(draw: Any, name: str) -> Generator:
    """Returns what draws fakes as a generator.

    Raises:
        ValueError: It is a set of images.
    """
    if not isinstance(draw, Generator):
        raise ValueError(f"{name} looks into a generator, and got images: give a checkpoint.")
    return draw


class PathLengthScore:
    """Perceptual path length; see `path_length.py`."""

    def __init__(self, name: MetricName, distance: PairDistance, sharding: NamedSharding):
        """Remembers what is measured; nothing is computed before the first score.

        Args:
            name: Which path length, and of how many.
            distance: LPIPS.
            sharding: How samples are split over the devices.
        """
        self._name = name
        self._distance = distance
        self._sharding = sharding
        self._path = PathSettings(
            space=str(name.options["space"]),
            sampling=str(name.options["at"]),
            crop=not name.options["whole"],
            convention="tensorflow" if name.options["tf"] else "pytorch",
        )
        self._program = jax.jit(self._measure, static_argnums=0, out_shardings=sharding)

    def host_bytes(self, num_images: int) -> int:
        """Returns the memory of the host that so many paths take."""
        return 8 * num_images

    def evaluate(self, draw: Any, key: jax.Array) -> dict[str, float]:
        """Measures a generator.

        Args:
            draw: A generator, see `Generator`.
            key: Of latents, points, labels and noise.

        Returns:
            The mean of d / eps^2 without its first and last percent.

        Raises:
            ValueError: No generator, or one without styles where their paths are asked for.
        """
        generator = need_generator(draw, self._name.text)
        num = self._name.num_images or 0
        distances = []
        for keys, c in keyed_labels(generator, key, num, self._sharding):
            found = self._program(
                *(generator.functions, generator.snapshot, self._distance.params, keys, c)
            )
            distances.append(gather_features(found).reshape(-1))
        return {self._name.text: trimmed_mean(np.concatenate(distances)[:num])}

    def describe(self, values: Mapping[str, float]) -> str:
        """Says the value."""
        return f"{self._name.text} {values[self._name.text]:.4g}"

    def protocol(self, name: MetricName) -> dict[str, Any]:
        """Says what made it."""
        del name
        path = self._path
        about = {
            "space": path.space,
            "sampling": path.sampling,
            "epsilon": path.epsilon,
            "crop": f"middle of faces, reduced as {path.convention}" if path.crop else "none",
        }
        return about | dict(self._distance.protocol)

    def _measure(
        self, functions: Functions, snapshot: Any, params: Any, keys: Array, c: Array
    ) -> Float[Array, "k n"]:
        """Measures the samples of each key."""
        has_styles = functions.has_styles

        def mapping(z, c):
            return functions.mapping(snapshot, z, c)

        def of_key(key, c):
            return sample_distances(
                *(self._path, key, c),
                num_samples=IMAGES_PER_DEVICE,
                z_dim=functions.z_dim,
                # A network without styles maps z to what it draws from; lines in w mean nothing.
                mapping=mapping if has_styles or self._path.space == "z" else None,
                synthesize=lambda w, key: functions.synthesis(snapshot, w, key),
                distance=lambda a, b: self._distance.apply(params, a, b),
            )

        with jax.default_matmul_precision("highest"):
            return jax.vmap(of_key)(keys, c)


class SeparabilityScore:
    """Linear separability of attributes in Z and in W; see `separability.py`."""

    def __init__(self, name: MetricName, classifiers: Classifiers, sharding: NamedSharding):
        """Remembers what is measured; nothing is computed before the first score.

        Args:
            name: Of how many images.
            classifiers: Of the attributes.
            sharding: How samples are split over the devices.
        """
        self._name = name
        self._classifiers = classifiers
        self._sharding = sharding
        self._draw = jax.jit(self._samples, static_argnums=0, out_shardings=sharding)
        self._classify = jax.jit(self._logits, out_shardings=sharding)

    def host_bytes(self, num_images: int) -> int:
        """Returns the memory of the host that so many samples take; latents of 512."""
        return 4 * num_images * (2 * 512 + len(self._classifiers.names))

    def evaluate(self, draw: Any, key: jax.Array) -> dict[str, float]:
        """Measures a generator.

        Args:
            draw: A generator, see `Generator`.
            key: Of latents, labels and noise.

        Returns:
            `<name>_z` and `<name>_w`, 2 to the sum of the entropies of all attributes.

        Raises:
            ValueError: No generator, one without styles, or images that classifiers do not take.
        """
        generator = need_generator(draw, self._name.text)
        if not generator.functions.has_styles:
            raise ValueError(f"{self._name.text} compares z with styles, and this has none.")
        num = self._name.num_images or 0
        columns: list[list[np.ndarray]] = [[], [], []]
        for keys, c in keyed_labels(generator, key, num, self._sharding):
            z, w, img = self._draw(generator.functions, generator.snapshot, keys, c)
            logits = [self._classify(params, img) for params in self._classifiers.params]
            rows = (*map(gather_features, (z, w)), np.stack([*map(gather_features, logits)], -1))
            for column, part in zip(columns, rows):
                column.append(part.reshape(-1, part.shape[-1]))
        z, w, logits = (np.concatenate(column)[:num] for column in columns)
        return {
            f"{self._name.text}_{space}": separability(latents, logits).score
            for space, latents in (("z", z), ("w", w))
        }

    def describe(self, values: Mapping[str, float]) -> str:
        """Says both values."""
        name = self._name.text
        return f"{name} {values[f'{name}_z']:.4g} in z, {values[f'{name}_w']:.4g} in w"

    def protocol(self, name: MetricName) -> dict[str, Any]:
        """Says what made them."""
        del name
        return {"attributes": len(self._classifiers.names)} | dict(self._classifiers.protocol)

    def _samples(
        self, functions: Functions, snapshot: Any, keys: Array, c: Array
    ) -> tuple[Array, Array, Array]:
        """Draws latents, their styles and images of each key."""

        def of_key(key, c):
            key_z, key_noise = jax.random.split(key)
            z = jax.random.normal(key_z, (IMAGES_PER_DEVICE, functions.z_dim))
            w = functions.mapping(snapshot, z, c)
            # Noise of one key is that of all images of a call; here each has its own.
            own = jax.random.split(key_noise, IMAGES_PER_DEVICE)
            draw = jax.vmap(lambda w, key: functions.synthesis(snapshot, w[None], key)[0])
            return z, w, draw(w, own)

        return jax.vmap(of_key)(keys, c)

    def _logits(self, params: Any, img: Float[Array, "k n h w c"]) -> Float[Array, "k n"]:
        """Classifies the images of each key."""
        with jax.default_matmul_precision("highest"):
            return jax.vmap(lambda img: self._classifiers.apply(params, img))(img)


class MsssimScore:
    """MS-SSIM between pairs of samples; see `ms_ssim.py`."""

    def __init__(self, name: MetricName):
        """Remembers of how many images."""
        self._name = name

    def host_bytes(self, num_images: int) -> int:
        """Returns the memory of the host that so many images take: they stream."""
        del num_images
        return 0

    def evaluate(
        self, draw: Callable[[int], Iterable[jax.Array]], key: jax.Array
    ) -> dict[str, float]:
        """Compares each second image with the one before it."""
        del key
        return {self._name.text: mean_ms_ssim(self._batches(draw))}

    def _batches(self, draw: Callable[[int], Iterable[jax.Array]]) -> Iterator[np.ndarray]:
        """Yields as many images as the name says."""
        left = self._name.num_images or 0
        for batch in draw(left):
            images = gather_features(batch)[:left]
            left -= len(images)
            yield images

    def describe(self, values: Mapping[str, float]) -> str:
        """Says the value."""
        return f"{self._name.text} {values[self._name.text]:.4f}"

    def protocol(self, name: MetricName) -> dict[str, Any]:
        """Says what made it."""
        del name
        return {"pairs": "images 2i and 2i + 1", "window": "11 px, sigma 1.5", "scales": 5}


def keyed_labels(
    generator: Generator, key: jax.Array, num: int, sharding: NamedSharding
) -> Iterator[tuple[Array, np.ndarray]]:
    """Yields keys [k], one for each device, and their labels [k, 8, c_dim], for `num` samples.

    Key number i is the same whichever devices there are.
    """
    size = batch_size_of(sharding)
    seed = seed_from_key(key)
    # Each device gets its key, whichever process it belongs to.
    fold = jax.jit(jax.vmap(jax.random.fold_in, (None, 0)), out_shardings=sharding)
    for start in range(0, num, size):
        numbers = np.arange(start, start + size, IMAGES_PER_DEVICE) // IMAGES_PER_DEVICE
        c = generator.draw_labels([seed + int(n) for n in numbers], IMAGES_PER_DEVICE)
        yield fold(key, numbers), c
