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

from stylegan_jax.inference.arguments import (
    NOISE_MODES,
    check_dtype,
    check_latents,
    check_noise,
    check_truncation,
    check_ws,
    part_of_noise,
    spread_psi,
)
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
from stylegan_jax.inference.transforms import check_transform, make_transform
from stylegan_jax.models import GENERATORS, IN_FLOAT32, make_model
from stylegan_jax.models.blocks import Noise
from stylegan_jax.sizes import ImageShape, Size

# What makes a network compute otherwise than it was trained: all resolutions that there can be.
_COMPUTE = {"float32": IN_FLOAT32, "bfloat16": {"num_bf16_res": 16}}


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
        takes_transform: Whether it can be told to move its images, as StyleGAN3 can.
        noise_inputs: Its noise inputs, low resolution first: block, layer, resolution, size.
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
        if compute_dtype is not None and compute_dtype not in _COMPUTE:
            raise ValueError(f"compute_dtype={compute_dtype!r}: give float32 or bfloat16.")
        self.origin, found = open_generator(path, step=step, network=network)
        self.class_names: list[str] = list(found.class_names)

        # The structure, which the arguments of its constructor give.
        self.network = found.networks[network]
        if compute_dtype is not None:
            kwargs = {**self.network.kwargs, **_COMPUTE[compute_dtype]}
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
        self.takes_transform: bool = G.takes_transform
        self.w_avg = np.asarray(self.network.buffers["w_avg"]) if self.has_styles else None
        self.noise_inputs = G.noise_layers

        # Compiled on first use.
        draw = functools.partial(draw_images, self.structure)
        self._map = jax.jit(functools.partial(map_latents, self.structure))
        self._truncate = jax.jit(truncate_styles)
        self._draw = jax.jit(draw)
        self._draw_pixels = jax.jit(lambda *args: to_grey_levels(draw(*args)))
        self._draw_noise = make_noise_program(self.noise_inputs, G.img_resolution)
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
        return [(layer.block, layer.layer) for layer in self.noise_inputs]

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
        z = check_latents(z, self.z_dim)
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
        check_truncation(truncation_psi, truncation_cutoff, self.num_ws)
        ws = self._check_ws(ws)
        if np.all(np.asarray(truncation_psi) == 1):
            return ws
        self._check_styles(f"truncation_psi={truncation_psi}", "leave it at 1")
        psi = spread_psi(truncation_psi, len(ws))
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
        transform: np.ndarray | None = None,
        dtype: str = "uint8",
    ) -> np.ndarray:
        """Draws images from styles.

        Args:
            ws: float32 `[n, num_ws, w_dim]`.
            noise: `const` (the stored noise), `random`, `none` (or None), or unit normal values
                `{block: {layer: [1 or n, h, w, 1]}}`.
            noise_seeds: For `random`, one seed per image; default 0, 1, 2 ...
            transform: Moves the images, `[3, 3]` or one per image `[n, 3, 3]`: the inverse of what
                happens to them, as `make_transform` returns it. Of networks that take one.
            dtype: `uint8`, or `float32` in about [-1, 1], not clipped.

        Returns:
            `[n, h, w, c]`.

        Raises:
            ValueError: Another shape, noise, or type; a transform without an inverse, or one for a
                network that takes none.
        """
        ws = self._check_ws(ws)
        if transform is not None:
            self._check_takes_transform()
            transform = check_transform(transform, len(ws))
        check_dtype(dtype)
        check_noise(noise, self.noise_inputs, len(ws))
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
            elif isinstance(noise, str) or not noise:
                part = None
            else:
                part = part_of_noise(noise, index)
            moved = None if transform is None else transform[index]
            return program(self.params, self.moving, ws[index], part, moved)

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
        transform: np.ndarray | None = None,
        dtype: str = "uint8",
    ) -> np.ndarray:
        """Draws images `[n, h, w, c]`; arguments as in `mapping` and `synthesis`."""
        ws = self.mapping(z, c, truncation_psi=truncation_psi, truncation_cutoff=truncation_cutoff)
        return self.synthesis(ws, noise, noise_seeds=noise_seeds, transform=transform, dtype=dtype)

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
        translate: Sequence[float] = (0.0, 0.0),
        rotate: float = 0.0,
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
            translate: As in `make_transform`; of networks that take a transform.
            rotate: Likewise.
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
        moves = any(translate) or rotate != 0
        transform = make_transform(translate, rotate) if moves else None
        return self.synthesis(ws, noise_mode, noise_seeds=own, transform=transform, dtype=dtype)

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
        check_dtype(dtype)
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

    def _check_takes_transform(self) -> None:
        """Refuses to move images of a network that cannot be told to."""
        if not self.takes_transform:
            raise ValueError(
                f"This {self.origin.family!r} takes no transform: its images cannot be moved. A "
                "StyleGAN3 can, and a StyleGAN2 that begins with waves (G.input='fourier')."
            )

    def _check_ws(self, ws: np.ndarray) -> np.ndarray:
        """Refuses what are no styles of this network."""
        return check_ws(ws, self.num_ws, self.w_dim)


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
