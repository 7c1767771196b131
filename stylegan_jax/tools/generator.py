"""A trained generator for the tools: seeds to styles, styles and noise to images.

The only file of the tools that looks inside a network.
"""

import difflib
import math
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx
from ml_collections import ConfigDict

from stylegan_jax.models.blocks import (
    Moving,
    Noise,
    NoiseLayers,
    broadcast_ws,
    make_noise,
    truncate,
)
from stylegan_jax.ops.pyramid import repeat_pixels
from stylegan_jax.run.images import to_uint8
from stylegan_jax.run.input import saved_shape
from stylegan_jax.run.restore import restore_subtree
from stylegan_jax.training.build import (
    ImageShape,
    level_at,
    make_generator,
)

# The noise that was drawn with the network, new noise, or zeros.
NOISE_MODES = ("const", "random", "none")
# What NumPy's generators take.
_MOST_SEED = 2**32 - 1
# More than any folder is meant to hold; their list alone takes 36 MB.
_MOST_SEEDS = 10**6
# Names of classes that an error lists.
_MOST_NAMES = 20
# Images that are drawn at once.
CHUNK = 32


class Generator:
    """A trained generator.

    Attributes:
        config: The config it was trained with.
        shape: Sizes of its images and labels.
        class_names: Names of its classes; empty without labels.
        num_ws: Styles per image.
        w_dim: Length of a style.
        has_styles: Whether its layers read styles of their own, as mixing and truncation need.
        params: Its parameters, a nested dict.
        moving: Values that it moved in training, which it draws with.
        w_avg: The mean style `[w_dim]`.
    """

    def __init__(self, checkpoint: str, *, step: int | str = "latest"):
        """Loads `G_ema` and its statistics.

        Args:
            checkpoint: Workdir, its checkpoints folder, or one step.
            step: Image count (a number, or its digits), `latest` or `best`.

        Raises:
            FileNotFoundError: There is no checkpoint.
            NotADirectoryError: It is a file.
        """
        # The parameters, and what the run knew of itself.
        step = int(step) if str(step).isdigit() else step
        trees, meta = restore_subtree(checkpoint, ["G_ema", "stats"], step=step)
        self.params = trees["G_ema"]
        self._stats = trees["stats"]
        # What the network moved in training; a checkpoint leaves out what is empty.
        self.moving = self._stats.get("G", {})
        self.w_avg: np.ndarray = np.asarray(self._stats["w_avg"])

        # What they were trained on, and how.
        self.config = ConfigDict(meta["config"])
        data = meta["data"]
        self.class_names: list[str] = data["class_names"]
        self.shape: ImageShape = saved_shape(data)

        # The network of that config. The parameters are an argument of the programs, no part of
        # them: a constant of their size would be compiled in.
        graphdef, _ = make_generator(self.config, self.shape)
        network = nnx.merge(graphdef, self.params)
        self.num_ws: int = network.num_ws
        self.w_dim: int = network.w_dim
        self.has_styles: bool = network.has_styles
        self._layers: NoiseLayers = network.noise_layers

        # A run that is stopped while it grows draws as far as it has come.
        level = level_at(self.config, meta["nimg"])
        fade = level.fade(meta["nimg"])
        self._map = _mapping_program(graphdef)
        self._synthesize = _synthesis_program(graphdef, level.resolution, fade)
        self._draw_noise = _noise_program(self._layers, self.shape.img_resolution)

    def fingerprint(self) -> str:
        """Returns 8 hexadecimal digits that change when the network does."""
        crc = 0
        for leaf in jax.tree.leaves((self.params, self._stats)):
            crc = zlib.crc32(np.ascontiguousarray(leaf).tobytes(), crc)
        return f"{crc:08x}"

    def noise_layers(self) -> list[tuple[str, str]]:
        """Lists the noise inputs as `(block, layer)`, low resolution first; empty if none."""
        return [(layer.block, layer.layer) for layer in self._layers]

    def stored_noise(self, layers: Sequence[tuple[str, str]] | None = None) -> Noise:
        """Returns the noise that was drawn with the network, one for all images.

        Args:
            layers: `(block, layer)` of the inputs that get it, None: all. The others get zeros.

        Returns:
            `{block: {layer: [1, h, w, 1]}}`; what `synthesize` takes.
        """
        noise: Noise = {}
        # Zeros rather than nothing: the same program serves every choice of layers.
        for block, layer in self.noise_layers():
            values = self._stats["noise_const"][block][layer]
            kept = layers is None or (block, layer) in layers
            noise.setdefault(block, {})[layer] = values if kept else values * 0
        return noise

    def random_noise(self, seeds: Sequence[int] | np.ndarray) -> Noise:
        """Draws noise for all inputs, image i's from `seeds[i]`.

        Returns:
            `{block: {layer: [n, h, w, 1]}}`; what `synthesize` takes.
        """
        check_seeds(seeds, "noise_seeds")
        return self._draw_noise(np.asarray(seeds, np.uint32))

    def styles(
        self,
        seeds: Sequence[int],
        *,
        truncation_psi: float | Sequence[float] = 1.0,
        truncation_cutoff: int | None = None,
        class_idx: int | str | None = None,
    ) -> np.ndarray:
        """Maps one latent per seed to the styles of all layers.

        Args:
            seeds: Seed n stands for the latent `numpy.random.RandomState(n).randn(z_dim)`.
            truncation_psi: Factor on the distance to the mean style; one, or one per seed.
            truncation_cutoff: Only the first layers are truncated; None: all.
            class_idx: Class of every image, by number or name; None draws one per seed.

        Returns:
            float32 `[n, num_ws, w_dim]`.

        Raises:
            ValueError: No seeds or none that NumPy takes, a class or layers that the network does
                not have, or truncation by no number or of a network without styles.
        """
        # float32 is what the program computes in.
        if not np.all(np.abs(truncation_psi) <= np.finfo(np.float32).max):
            raise ValueError(f"truncation_psi={truncation_psi}: give a finite number, 1 for none.")
        if truncation_cutoff is not None and not 0 <= truncation_cutoff <= self.num_ws:
            raise ValueError(
                f"truncation_cutoff={truncation_cutoff}: this network has {self.num_ws} layers; "
                f"give 0 to {self.num_ws}, or none for all."
            )
        if not self.has_styles and np.any(np.asarray(truncation_psi) != 1):
            raise ValueError(
                f"truncation_psi={truncation_psi}: the layers of this {self.config.G.name!r} read "
                "no styles that could be truncated; leave it at 1."
            )
        # One psi per image, also where all have the same.
        z, c = self._latents(seeds, class_idx)
        psi = np.broadcast_to(np.asarray(truncation_psi, np.float32), len(z))

        def draw(index: np.ndarray) -> jax.Array:
            return self._map(
                self.params,
                self._stats["w_avg"],
                z[index],
                c[index],
                psi[index],
                truncation_cutoff=truncation_cutoff,
            )

        return _in_chunks(draw, len(z))

    def labels(self, seeds: Sequence[int], class_idx: int | str | None = None) -> np.ndarray | None:
        """Returns the class number of each seed's image, int64 `[n]`; None without labels.

        Args:
            seeds: As in `styles`.
            class_idx: As in `styles`.

        Raises:
            ValueError: No seeds, or an unknown class.
        """
        _, c = self._latents(seeds, class_idx)
        return c.argmax(axis=1) if self.shape.c_dim else None

    def synthesize(self, ws: np.ndarray, noise: Noise | None) -> np.ndarray:
        """Draws images from styles.

        Args:
            ws: float32 `[n, num_ws, w_dim]`.
            noise: Unit normal `{block: {layer: [1 or n, h, w, 1]}}`; None: no noise.

        Returns:
            uint8 `[n, h, w, c]`.
        """

        def draw(index: np.ndarray) -> np.ndarray:
            # Noise of one image is that of all.
            part = jax.tree.map(lambda x: x if len(x) == 1 else x[index], noise)
            return to_uint8(self._synthesize(self.params, ws[index], part, self.moving))

        return _in_chunks(draw, len(ws))

    def draw(self, params: Any, ws: jax.Array, noise: Noise | None, moving: Moving) -> jax.Array:
        """Draws float32 `[n, h, w, c]` in [-1, 1]: a pure function, for gradients and programs.

        Args:
            params: The network's; an argument, as constants of their size would be compiled in.
            ws: As in `synthesize`.
            noise: As in `synthesize`.
            moving: The network's `moving`.
        """
        return self._synthesize(params, ws, noise, moving)

    def images(
        self,
        seeds: Sequence[int],
        *,
        truncation_psi: float | Sequence[float] = 1.0,
        truncation_cutoff: int | None = None,
        noise_mode: str = "const",
        noise_seeds: Sequence[int] | None = None,
        class_idx: int | str | None = None,
    ) -> np.ndarray:
        """Draws one image per seed; arguments as in `styles`, and the noise.

        Args:
            seeds: Seeds of the latents.
            truncation_psi: Factor on the distance to the mean style; one, or one per seed.
            truncation_cutoff: Only the first layers are truncated; None: all.
            noise_mode: `const` (the stored noise), `random` or `none`.
            noise_seeds: For `random`, one seed per image; default: those of the latents.
            class_idx: Class of every image, by number or name; None draws one per seed.

        Returns:
            uint8 `[n, h, w, c]`.

        Raises:
            ValueError: No seeds, an unknown `noise_mode`, or an unknown class.
        """
        if noise_mode not in NOISE_MODES:
            raise ValueError(f"noise_mode={noise_mode!r}: choose {', '.join(NOISE_MODES)}.")

        # Latents to styles, then styles and noise to images.
        ws = self.styles(
            seeds,
            truncation_psi=truncation_psi,
            truncation_cutoff=truncation_cutoff,
            class_idx=class_idx,
        )
        if noise_mode != "random":
            return self.synthesize(ws, self.stored_noise() if noise_mode == "const" else None)
        own = np.asarray(seeds if noise_seeds is None else noise_seeds)
        # The noise of a chunk at a time: at 1024 px one image's takes 11 MB.
        return _in_chunks(
            lambda index: self.synthesize(ws[index], self.random_noise(own[index])),
            len(ws),
        )

    def find_class(self, wanted: int | str) -> int:
        """Returns the number of a class.

        Args:
            wanted: Its number, its digits, or its name; of several that are spelt alike but for
                capitals, the one that is spelt as given.

        Raises:
            ValueError: The network does not know it; says which names are near.
        """
        c_dim = self.shape.c_dim
        text = str(wanted)
        if text.isdecimal() and int(text) < c_dim:
            return int(text)
        if text in self.class_names:
            return self.class_names.index(text)
        lower = [name.lower() for name in self.class_names]
        if lower.count(text.lower()) == 1:
            return lower.index(text.lower())

        if not c_dim:
            raise ValueError(f"class={wanted}: this network knows none: it has no labels.")
        names = difflib.get_close_matches(text.lower(), lower, n=5) or lower[:_MOST_NAMES]
        near = ", ".join(self.class_names[lower.index(name)] for name in names)
        raise ValueError(
            f"class={wanted}: this network knows 0 to {c_dim - 1}"
            + (f", or by name: {near}." if near else ".")
        )

    def _latents(
        self, seeds: Sequence[int], class_idx: int | str | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draws `z [n, z_dim]` and one-hot `c [n, c_dim]`."""
        c_dim = self.shape.c_dim
        if len(seeds) == 0:
            raise ValueError("No seeds given: give at least one.")
        check_seeds(seeds)
        number = None if class_idx is None else self.find_class(class_idx)

        # A generator per seed: an image does not depend on the others that are asked for.
        draws = [np.random.RandomState(seed) for seed in seeds]
        z = np.stack([r.randn(self.config.G.z_dim) for r in draws]).astype(np.float32)
        # Drawn after z, so that z is the same with a class that is given.
        classes = [r.randint(max(c_dim, 1)) if number is None else number for r in draws]
        return z, np.eye(max(c_dim, 1), dtype=np.float32)[classes][:, :c_dim]


def check_seeds(seeds: Sequence[int] | np.ndarray, name: str = "seeds") -> None:
    """Refuses seeds that NumPy's generators do not take.

    Raises:
        ValueError: Names the first of them.
    """
    for seed in seeds:
        if not 0 <= seed <= _MOST_SEED:
            raise ValueError(f"{name}: {seed} is no seed; give numbers from 0 to {_MOST_SEED}.")


def parse_seeds(text: str, name: str = "seeds") -> list[int]:
    """Reads `"0-63"`, `"1,5,7-9"` as a list; `name` is what errors call it.

    Raises:
        ValueError: Something else than numbers and ranges.
    """
    seeds: list[int] = []
    count = 0
    for part in text.split(","):
        first, dash, last = part.partition("-")  # 7 or 7-9
        try:
            part = range(int(first), int(last) + 1) if dash else [int(first)]
        except ValueError:
            raise ValueError(
                f"{name}={text!r}: give numbers and ranges, as 0-63 or 1,5,7-9."
            ) from None
        count += len(part)
        if count > _MOST_SEEDS:
            raise ValueError(
                f"{name}={text!r} are more than {_MOST_SEEDS}: give at most so many at a time."
            )
        seeds += part
    check_seeds(seeds, name)
    if not seeds:
        raise ValueError(f"{name}={text!r} holds no number: give a range such as 0-63.")
    return seeds


def _mapping_program(graphdef: nnx.GraphDef) -> Callable[..., jax.Array]:
    """Compiles on first use: latents and labels to styles, `[n, num_ws, w_dim]`."""

    def styles(params, w_avg, z, c, psi, *, truncation_cutoff):
        G = nnx.merge(graphdef, params)
        ws = broadcast_ws(G.mapping(z, c), G.num_ws)  # [n, num_ws, w_dim]
        return truncate(ws, w_avg, psi, truncation_cutoff)

    return jax.jit(styles, static_argnames="truncation_cutoff")


def _synthesis_program(
    graphdef: nnx.GraphDef, resolution: int, fade: jax.Array | None
) -> Callable[..., jax.Array]:
    """Compiles on first use: styles and noise to images in [-1, 1], at full size.

    A network that has not grown so far draws at `resolution`, and pixels are repeated.
    """

    def synthesize(params, ws, noise, moving):
        G = nnx.merge(graphdef, params)
        img, _ = G.synthesis(ws, noise, moving, resolution=resolution, fade=fade)
        return repeat_pixels(img, G.img_resolution // resolution)

    return jax.jit(synthesize)


def _noise_program(layers: NoiseLayers, img_resolution: int) -> Callable[[np.ndarray], Noise]:
    """Compiles on first use: seeds to noise, each image's from its own seed alone."""

    def draw_one(seed: jax.Array) -> Noise:
        """Draws the noise of one image, `{block: {layer: [h, w, 1]}}`."""
        noise = make_noise(jax.random.key(seed), 1, layers, img_resolution)
        return jax.tree.map(lambda x: x[0], noise)

    return jax.jit(jax.vmap(draw_one))


def _in_chunks(draw: Callable[[np.ndarray], jax.Array | np.ndarray], n: int) -> np.ndarray:
    """Joins `draw(indices)` over chunks of equal size, so that one program serves them all."""
    # As few chunks as are needed, and those as equal as can be.
    size = math.ceil(n / math.ceil(n / CHUNK))
    # The last chunk is filled up with the last image.
    chunks = [np.minimum(np.arange(i, i + size), n - 1) for i in range(0, n, size)]
    return np.concatenate([np.asarray(draw(index)) for index in chunks])[:n]
