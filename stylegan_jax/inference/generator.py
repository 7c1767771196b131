"""A trained generator: seeds to latents, latents to styles, styles and noise to images."""

import dataclasses
import functools
import zlib
from collections.abc import Sequence

import jax
import numpy as np
from etils import epath
from flax import nnx
from PIL import Image

from stylegan_jax.inference.cache import keep_programs
from stylegan_jax.inference.classes import check_labels, find_class, one_hot
from stylegan_jax.inference.opening import open_generator
from stylegan_jax.inference.pictures import to_pil
from stylegan_jax.inference.programs import (
    Structure,
    batch_sizes,
    draw_images,
    in_parts,
    make_noise_program,
    map_latents,
    to_grey_levels,
    truncate_styles,
)
from stylegan_jax.inference.seeds import check_seeds, draw_latents
from stylegan_jax.inference.stablehlo import PLATFORMS, write_sampler
from stylegan_jax.models import GENERATORS, make_model
from stylegan_jax.models.blocks import Noise
from stylegan_jax.sizes import ImageShape, Size

# The noise that was drawn with the network, new noise, or zeros.
NOISE_MODES = ("const", "random", "none")
# How many of the highest resolutions compute in bfloat16: none, or all that there can be.
_BF16_RES = {"float32": 0, "bfloat16": 16}


class Generator:
    """A trained generator.

    Attributes:
        origin: What was loaded: path, network, family, kimg, notes.
        network: Its name, the arguments of its constructor, parameters and buffers.
        structure: Its modules without parameters; with `draw_images`, a pure function.
        params: Its parameters, on the device.
        moving: What its layers moved in training and draw with, likewise.
        shape: Sizes of its images and labels.
        class_names: Names of its classes; empty where it has none or they are not known.
        z_dim: Length of a latent.
        w_dim: Length of a style.
        num_ws: Styles per image.
        has_styles: Whether its layers read styles of their own, as mixing and truncation need.
        w_avg: The mean style, float32 `[w_dim]`; None where it has no styles.
    """

    def __init__(
        self,
        path: epath.PathLike,
        *,
        step: int | str = "latest",
        network: str = "G_ema",
        compute_dtype: str | None = None,
    ):
        """Loads a generator; see `load`."""
        if compute_dtype is not None and compute_dtype not in _BF16_RES:
            raise ValueError(f"compute_dtype={compute_dtype!r}: give float32 or bfloat16.")
        self.origin, found = open_generator(path, step=step, network=network)
        self.class_names: list[str] = list(found.class_names)

        # The structure, which the arguments of its constructor give.
        self.network = found.networks[network]
        if compute_dtype is not None:
            kwargs = {**self.network.kwargs, "num_bf16_res": _BF16_RES[compute_dtype]}
            self.network = dataclasses.replace(self.network, kwargs=kwargs)
        graphdef, _ = make_model(GENERATORS[self.network.name], **self.network.kwargs)
        self.structure = Structure(graphdef, found.resolution, found.fade)
        self.params = jax.device_put(self.network.params)
        self.moving = jax.device_put(self.network.buffers.get("moving", {}))

        # What callers need to know in order to draw latents, styles and noise.
        G = nnx.merge(graphdef, self.params)
        height, width = self.network.size
        kwargs = self.network.kwargs
        self.shape = ImageShape(height, width, kwargs["img_channels"], kwargs["c_dim"])
        self.z_dim: int = G.z_dim
        self.w_dim: int = G.w_dim
        self.num_ws: int = G.num_ws
        self.has_styles: bool = G.has_styles
        self.w_avg = np.asarray(self.network.buffers["w_avg"]) if self.has_styles else None
        self._layers = G.noise_layers

        # Compiled on first use.
        draw = functools.partial(draw_images, self.structure)
        self._map = jax.jit(functools.partial(map_latents, self.structure))
        self._truncate = jax.jit(truncate_styles)
        self._draw = jax.jit(draw)
        self._draw_pixels = jax.jit(lambda *args: to_grey_levels(draw(*args)))
        self._draw_noise = make_noise_program(self._layers, G.img_resolution)
        self._batch_sizes = batch_sizes()

    @property
    def size(self) -> Size:
        """Height and width of its images."""
        return self.shape.size

    @property
    def img_channels(self) -> int:
        """Channels of its images."""
        return self.shape.channels

    @property
    def c_dim(self) -> int:
        """Length of its labels; 0: it has none."""
        return self.shape.c_dim

    def __repr__(self) -> str:
        """Returns such as `Generator(stylegan2, 256x256x3, runs/faces)`."""
        height, width = self.size
        sizes = f"{height}x{width}x{self.img_channels}"
        return f"Generator({self.origin.family}, {sizes}, {self.origin.path})"

    def fingerprint(self) -> str:
        """Returns 8 hexadecimal digits that change when the network does."""
        crc = 0
        for leaf in jax.tree.leaves((self.network.params, self.network.buffers)):
            crc = zlib.crc32(np.ascontiguousarray(leaf).tobytes(), crc)
        return f"{crc:08x}"

    def find_class(self, wanted: int | str) -> int:
        """Returns the number of a class, given as number, digits or name.

        Raises:
            ValueError: The network does not know it; says which names are near.
        """
        return find_class(wanted, self.c_dim, self.class_names)

    # Noise.

    def noise_layers(self) -> list[tuple[str, str]]:
        """Lists the noise inputs as `(block, layer)`, low resolution first; empty if none."""
        return [(layer.block, layer.layer) for layer in self._layers]

    def stored_noise(self, layers: Sequence[tuple[str, str]] | None = None) -> Noise:
        """Returns the noise that was drawn with the network, one for all images.

        Args:
            layers: `(block, layer)` of the inputs that get it, None: all. The others get zeros.

        Returns:
            `{block: {layer: [1, h, w, 1]}}`; what `synthesis` takes.
        """
        noise: Noise = {}
        # Zeros rather than nothing: the same program serves every choice of layers.
        for block, layer in self.noise_layers():
            values = self.network.buffers["noise_const"][block][layer]
            kept = layers is None or (block, layer) in layers
            noise.setdefault(block, {})[layer] = values if kept else values * 0
        return noise

    def random_noise(self, seeds: Sequence[int] | np.ndarray) -> Noise:
        """Draws noise for all inputs, image i's from `seeds[i]`.

        Returns:
            `{block: {layer: [n, h, w, 1]}}`; what `synthesis` takes.
        """
        check_seeds(seeds, "noise_seeds")
        return self._draw_noise(np.asarray(seeds, np.uint32))

    # Latents to styles.

    def mapping(
        self,
        z: np.ndarray,
        c: np.ndarray | None = None,
        *,
        truncation_psi: float | Sequence[float] = 1.0,
        truncation_cutoff: int | None = None,
    ) -> np.ndarray:
        """Maps latents and labels to styles.

        Args:
            z: Unit normal `[n, z_dim]`.
            c: Labels `[n, c_dim]`, or one for all `[c_dim]`; None for networks without.
            truncation_psi: Factor on the distance to the mean style; one, or one per image.
            truncation_cutoff: Only the first layers are truncated; None: all.

        Returns:
            float32 `[n, num_ws, w_dim]`.

        Raises:
            ValueError: Other shapes, labels that are missing, or truncation by no number, of layers
                that there are not, or of a network without styles.
        """
        z = np.asarray(z, np.float32)
        if z.ndim != 2 or z.shape[1] != self.z_dim or not len(z):
            raise ValueError(
                f"z has the shape {list(z.shape)}: wanted are latents [n, {self.z_dim}]."
            )
        labels = check_labels(c, len(z), self.c_dim)
        ws = in_parts(
            lambda index: self._map(self.params, z[index], labels[index]),
            len(z),
            self._batch_sizes,
        )
        return self.truncate(ws, truncation_psi, truncation_cutoff)

    def truncate(
        self,
        ws: np.ndarray,
        truncation_psi: float | Sequence[float],
        truncation_cutoff: int | None = None,
    ) -> np.ndarray:
        """Pulls styles towards their mean, `w_avg + psi * (w - w_avg)`; arguments as `mapping`.

        A sweep maps its latents once, and truncates them for each psi.

        Source: Karras et al. 2019 (StyleGAN), appendix B.
        """
        # float32 is what is computed in.
        if not np.all(np.abs(truncation_psi) <= np.finfo(np.float32).max):
            raise ValueError(f"truncation_psi={truncation_psi}: give a finite number, 1 for none.")
        if truncation_cutoff is not None and not 0 <= truncation_cutoff <= self.num_ws:
            raise ValueError(
                f"truncation_cutoff={truncation_cutoff}: this network has {self.num_ws} layers; "
                f"give 0 to {self.num_ws}, or none for all."
            )
        ws = self._check_ws(ws)
        if np.all(np.asarray(truncation_psi) == 1):
            return ws
        self._check_styles(f"truncation_psi={truncation_psi}", "leave it at 1")
        # One psi per image, also where all have the same.
        psi = np.asarray(truncation_psi, np.float32)
        if psi.shape not in ((), (len(ws),)):
            raise ValueError(
                f"{psi.size} values of truncation_psi for {len(ws)} images: give one each."
            )
        psi = np.broadcast_to(psi, len(ws))
        cutoff = self.num_ws if truncation_cutoff is None else truncation_cutoff
        return in_parts(
            lambda index: self._truncate(ws[index], self.w_avg, psi[index], cutoff),
            len(ws),
            self._batch_sizes,
        )

    def mix(self, ws: np.ndarray, others: np.ndarray, layers: Sequence[int]) -> np.ndarray:
        """Replaces the styles of some layers by those of other images.

        Args:
            ws: Styles `[n, num_ws, w_dim]`.
            others: Styles `[n, num_ws, w_dim]`, or of one image for all `[1, num_ws, w_dim]`.
            layers: Which are taken from `others`, as `range(4)` for the coarse ones.

        Returns:
            float32 `[n, num_ws, w_dim]`.

        Raises:
            ValueError: A network without styles, other shapes, or layers that it does not have.
        """
        self._check_styles("mixing", "give a StyleGAN's")
        if not all(0 <= layer < self.num_ws for layer in layers):
            raise ValueError(f"layers={list(layers)}: this network has 0 to {self.num_ws - 1}.")
        mixed = self._check_ws(ws).copy()
        mixed[:, list(layers)] = self._check_ws(others)[:, list(layers)]
        return mixed

    # Styles to images.

    def synthesis(
        self,
        ws: np.ndarray,
        noise: str | Noise | None = "const",
        *,
        noise_seeds: Sequence[int] | None = None,
        dtype: str = "uint8",
    ) -> np.ndarray:
        """Draws images from styles.

        Args:
            ws: float32 `[n, num_ws, w_dim]`.
            noise: `const` (the stored noise), `random`, `none` (or None), or unit normal values
                `{block: {layer: [1 or n, h, w, 1]}}`.
            noise_seeds: For `random`, one seed per image; default 0, 1, 2 ...
            dtype: `uint8`, or `float32` in about [-1, 1], not clipped.

        Returns:
            `[n, h, w, c]`.

        Raises:
            ValueError: Another shape, noise, or type.
        """
        ws = self._check_ws(ws)
        _check_dtype(dtype)
        if isinstance(noise, str) and noise not in NOISE_MODES:
            raise ValueError(f"noise={noise!r}: choose {', '.join(NOISE_MODES)}.")
        seeds = np.arange(len(ws)) if noise_seeds is None else np.asarray(noise_seeds)
        if len(seeds) != len(ws):
            raise ValueError(f"{len(seeds)} noise_seeds for {len(ws)} images: give one each.")
        if noise == "const":
            noise = self.stored_noise()
        program = self._draw_pixels if dtype == "uint8" else self._draw

        def draw(index: np.ndarray) -> jax.Array:
            # Random noise of a part at a time: at 1024 px one image's takes 11 MB.
            if noise == "random":
                part = self.random_noise(seeds[index])
            elif noise == "none" or not noise:
                part = None
            else:
                # Noise of one image is that of all.
                part = jax.tree.map(lambda x: x if len(x) == 1 else x[index], noise)
            return program(self.params, self.moving, ws[index], part)

        return in_parts(draw, len(ws), self._batch_sizes)

    def __call__(
        self,
        z: np.ndarray,
        c: np.ndarray | None = None,
        *,
        truncation_psi: float | Sequence[float] = 1.0,
        truncation_cutoff: int | None = None,
        noise: str | Noise | None = "const",
        noise_seeds: Sequence[int] | None = None,
        dtype: str = "uint8",
    ) -> np.ndarray:
        """Draws images `[n, h, w, c]`; arguments as in `mapping` and `synthesis`."""
        ws = self.mapping(z, c, truncation_psi=truncation_psi, truncation_cutoff=truncation_cutoff)
        return self.synthesis(ws, noise, noise_seeds=noise_seeds, dtype=dtype)

    # Seeds to images.

    def latents(
        self, seeds: Sequence[int], class_idx: int | str | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns what seeds stand for, `z [n, z_dim]` and one-hot `c [n, c_dim]`, float32.

        Args:
            seeds: Seed n stands for the latent `numpy.random.RandomState(n).randn(z_dim)`.
            class_idx: Class of every image, by number or name; None draws one per seed.

        Raises:
            ValueError: No seeds or none that NumPy takes, or an unknown class.
        """
        z, classes = draw_latents(seeds, self.z_dim, self.c_dim)
        if class_idx is not None:
            classes = np.full(len(z), self.find_class(class_idx))
        return z, one_hot(classes, self.c_dim)

    def labels(self, seeds: Sequence[int], class_idx: int | str | None = None) -> np.ndarray | None:
        """Returns the class number of each seed's image, int64 `[n]`; None without labels.

        Arguments as in `latents`.
        """
        _, c = self.latents(seeds, class_idx)
        return c.argmax(axis=1) if self.c_dim else None

    def styles(
        self,
        seeds: Sequence[int],
        *,
        truncation_psi: float | Sequence[float] = 1.0,
        truncation_cutoff: int | None = None,
        class_idx: int | str | None = None,
    ) -> np.ndarray:
        """Maps the latents of seeds to styles, float32 `[n, num_ws, w_dim]`.

        Arguments as in `latents` and `mapping`.
        """
        z, c = self.latents(seeds, class_idx)
        return self.mapping(
            z, c, truncation_psi=truncation_psi, truncation_cutoff=truncation_cutoff
        )

    def sample(
        self,
        seeds: Sequence[int],
        *,
        truncation_psi: float | Sequence[float] = 1.0,
        truncation_cutoff: int | None = None,
        noise_mode: str = "const",
        noise_seeds: Sequence[int] | None = None,
        class_idx: int | str | None = None,
        dtype: str = "uint8",
    ) -> np.ndarray:
        """Draws one image per seed, `[n, h, w, c]`; a seed's is the same in any company on a CPU.

        Args:
            seeds: As in `latents`.
            truncation_psi: Factor on the distance to the mean style; one, or one per seed.
            truncation_cutoff: Only the first layers are truncated; None: all.
            noise_mode: `const` (the stored noise), `random` or `none`.
            noise_seeds: For `random`, one seed per image; default: those of the latents.
            class_idx: Class of every image, by number or name; None draws one per seed.
            dtype: As in `synthesis`.

        Raises:
            ValueError: What `latents`, `mapping` and `synthesis` refuse.
        """
        if noise_mode not in NOISE_MODES:
            raise ValueError(f"noise_mode={noise_mode!r}: choose {', '.join(NOISE_MODES)}.")
        ws = self.styles(
            seeds,
            truncation_psi=truncation_psi,
            truncation_cutoff=truncation_cutoff,
            class_idx=class_idx,
        )
        own = seeds if noise_seeds is None else noise_seeds
        return self.synthesis(ws, noise_mode, noise_seeds=own, dtype=dtype)

    def pil(self, seeds: Sequence[int], **kwargs) -> list[Image.Image]:
        """Draws one picture per seed for Pillow; arguments as in `sample`."""
        return to_pil(self.sample(seeds, **kwargs))

    def export_stablehlo(
        self,
        path: epath.PathLike,
        *,
        platforms: Sequence[str] = PLATFORMS,
        dtype: str = "uint8",
    ) -> None:
        """Writes one function that draws without this package; see `stablehlo.py`."""
        _check_dtype(dtype)
        write_sampler(
            path,
            self.network,
            self.structure,
            platforms=platforms,
            as_uint8=dtype == "uint8",
            class_names=self.class_names,
        )

    def _check_styles(self, what: str, remedy: str) -> None:
        """Refuses what needs styles."""
        if not self.has_styles:
            raise ValueError(
                f"{what}: the layers of this {self.origin.family!r} read no styles; {remedy}."
            )

    def _check_ws(self, ws: np.ndarray) -> np.ndarray:
        """Refuses what are no styles."""
        ws = np.asarray(ws, np.float32)
        wanted = (self.num_ws, self.w_dim)
        if ws.ndim != 3 or ws.shape[1:] != wanted or not len(ws):
            raise ValueError(
                f"ws has the shape {list(ws.shape)}: wanted are styles [n, {self.num_ws}, "
                f"{self.w_dim}], as mapping(z) gives them."
            )
        return ws


def _check_dtype(dtype: str) -> None:
    """Refuses types that images do not come in."""
    if dtype not in ("uint8", "float32"):
        raise ValueError(f"dtype={dtype!r}: give uint8 or float32.")


def load(
    path: epath.PathLike,
    *,
    step: int | str = "latest",
    network: str = "G_ema",
    compute_dtype: str | None = None,
) -> Generator:
    """Loads a generator, and keeps its compiled programs for the next start (`cache.py`).

    Args:
        path: A run's workdir, its checkpoints folder or one step; an export; an official pickle,
            `.pt`, `.pth` or `.safetensors`. Local, or `gs://`.
        step: Of a run: image count (a number, or its digits), `latest` or `best`.
        network: `G_ema`, the average, or `G`.
        compute_dtype: `float32` or `bfloat16` for feature maps; None: as it was trained.

    Raises:
        OSError: There is no such file, checkpoint or bucket.
        CheckpointFileError: A file is damaged, or holds no generator.
        ValueError: An argument that is none of these.
    """
    keep_programs()
    return Generator(path, step=step, network=network, compute_dtype=compute_dtype)
