"""What a run shows of itself: the sample grid, and the strip of resolutions that have grown."""

import math
import re
from collections.abc import Iterator

import jax
import numpy as np
from etils import epath
from jax.sharding import Mesh
from ml_collections import ConfigDict
from PIL import Image

from stylegan_jax.data.pipeline import fixed_batch
from stylegan_jax.data.sources import ImageSource
from stylegan_jax.run.capacity import most_cells
from stylegan_jax.run.images import (
    grid_indices,
    grid_size,
    label_grid,
    make_grid,
    picture_text,
    save_png,
    show_channels,
    to_uint8,
)
from stylegan_jax.sizes import SQUARE_BASE, Size, name_size, size_at
from stylegan_jax.training.programs import make_sampler
from stylegan_jax.training.schedules import Level
from stylegan_jax.training.settings import SettingsError, image_size
from stylegan_jax.training.setup import Networks
from stylegan_jax.training.sharding import num_batch_devices, replicated
from stylegan_jax.training.state import TrainState

# Images of one call of the sampler; on many devices a multiple that they share evenly.
_CHUNK = 32
# Rows of the strip that are lower than this have no room for the names beside them.
_MIN_ROW_PX = 32


def choose_grid(config: ConfigDict) -> tuple[int, int]:
    """Returns columns and rows of the sample grid.

    Raises:
        SettingsError: The config asks for more than a picture holds; says how many are possible.
    """
    # As many images as fill a screen, unless the config says how many.
    size = image_size(config)
    cols, rows = grid_size(size)
    cols = config.io.grid_cols or cols
    rows = config.io.grid_rows or rows
    most = most_cells(*size)
    if cols * rows > most:
        wide = min(cols, math.isqrt(most))
        raise SettingsError(
            f"io.grid_cols={config.io.grid_cols}, io.grid_rows={config.io.grid_rows}, "
            f"data.resolution={config.data.resolution}: the sample grid would have {cols} x "
            f"{rows} images, and one picture holds {most}: give {wide} x "
            f"{min(rows, most // wide)} or fewer."
        )
    return cols, rows


class SampleGrid:
    """The sample grid: images of fixed latents, labels and the stored noise.

    Attributes:
        text: What `save_png` notes in its pictures.
    """

    def __init__(
        self,
        config: ConfigDict,
        source: ImageSource,
        networks: Networks,
        mesh: Mesh,
        key: jax.Array,
    ):
        """Chooses the reals, and draws the latents from `key`."""
        cols, rows = choose_grid(config)
        # Reals: one class per row where there are classes. Their labels are also the fakes'.
        labels = source.labels.values if source.c_dim else None
        index = grid_indices(len(source), cols, rows, labels=labels, seed=config.seed)
        self._reals = fixed_batch(source, index)
        self.text = picture_text(source.img_channels)
        self._z = np.asarray(jax.random.normal(key, (len(index), networks.z_dim)))

        # Devices that share a batch; the sampler is compiled on first use.
        self._cols = cols
        self._devices = num_batch_devices(mesh)
        # A picture shows all images, so every process gets all of them.
        self._sample = make_sampler(networks.G, mesh, out_sharding=replicated(mesh))

    def reals(self) -> np.ndarray:
        """Returns training images as a picture: one class per row where there are classes."""
        return make_grid(self._reals["image"], self._cols)

    def fakes(self, state: TrainState, level: Level) -> np.ndarray:
        """Returns images of `G_ema` for the same latents and the reals' labels, as a picture."""
        return make_grid(self._images(state, level, len(self._z)), self._cols)

    def first_row(self, state: TrainState, level: Level) -> np.ndarray:
        """Returns as many of the grid's images as stand in one row."""
        return make_grid(self._images(state, level, self._cols), self._cols)

    def _images(self, state: TrainState, level: Level, n: int) -> np.ndarray:
        """Returns the first n images of the grid, uint8 [n, h, w, c]."""
        fade = level.fade(state.nimg)
        images = []
        for part in chunks(n, math.lcm(_CHUNK, self._devices)):
            z = self._z[part]
            c = self._reals["label"][part]
            # Devices share the images evenly: the last ones are drawn more than once.
            padded = np.arange(-(-len(z) // self._devices) * self._devices) % len(z)
            img = self._sample(
                *(state.G_ema, state.stats, z[padded], c[padded], None, fade),
                resolution=level.resolution,
            )
            images.append(to_uint8(np.asarray(img))[: len(z)])
        return np.concatenate(images)


def write_growth_row(
    workdir: epath.Path, resolution: int, row: np.ndarray, base_grid: Size = SQUARE_BASE
) -> None:
    """Adds a row of samples to `growth.png`, which has one per resolution that has been grown.

    `base_grid` tells their sizes, which stand beside the rows. The rows lie in
    `samples/grown_*.png`, so that the strip goes on after a restart.
    """
    # The new row, and those of lower resolutions that lie there.
    folder = workdir / "samples"
    save_png(folder / f"grown_{resolution:04d}.png", row)
    names = [re.fullmatch(r"grown_(\d+)\.png", path.name) for path in folder.iterdir()]
    sides = sorted(side for name in names if name and (side := int(name[1])) <= resolution)
    rows = [_read_png(folder / f"grown_{side:04d}.png") for side in sides]

    strip = np.concatenate(rows)
    # Small images are enlarged until the names fit beside them.
    zoom = max(1, _MIN_ROW_PX // row.shape[0])
    strip = strip.repeat(zoom, axis=0).repeat(zoom, axis=1)
    labels = [f"{name_size(size_at(side, base_grid))} px" for side in sides]
    save_png(workdir / "growth.png", label_grid(strip, labels))


def _read_png(path: epath.Path) -> np.ndarray:
    """Returns pixels [h, w, 1 or 3]."""
    with path.open("rb") as file:
        pixels = np.asarray(Image.open(file))
    # PIL gives grey without that axis. Older releases wrote alpha.
    return show_channels(pixels[..., None] if pixels.ndim == 2 else pixels)


def chunks(n: int, size: int) -> Iterator[slice]:
    """Returns slices of `size` images and a shorter last one."""
    return (slice(i, min(i + size, n)) for i in range(0, n, size))
